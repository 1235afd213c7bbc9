# SPDX-License-Identifier: MIT
"""The operators in NumPy where no file reaches: memory and work that are too much, inputs that do
not fit, the package's own operators, the interpreter."""

import itertools
import tracemalloc

import numpy as np
import pytest

import fastlstm
from fastlstm.files.description import Layer
from fastlstm.models import elementwise, reference
from fastlstm.models.graph import Graph, ModelError, Node, Value

F = np.float32
ONES = np.ones((2, 3), F)
CUBE = np.ones((1, 2, 5), F)
FAR = 1 << 62


def ints(*values):
    return np.array(values, np.int64)


def compute(op, *arrays, outputs=1, max_bytes=1 << 20, **attrs):
    names = [f"i{i}" if a is not None else "" for i, a in enumerate(arrays)]
    node = Node(op, names, [f"o{i}" for i in range(outputs)], attrs, "n")
    return reference.compute(node, list(arrays), max_bytes)


# What would need more than 1 MiB, or has sizes beyond 2^62: (operator, inputs, attributes)
BOMBS = [
    ("Expand", [ONES, ints(1 << 20, 2, 3)], {}),
    ("Expand", [np.ones((), F), ints(FAR, FAR, FAR)], {}),
    ("Pad", [ONES, ints(0, 1 << 30, 0, 0)], {}),
    ("Pad", [ONES, ints(0, FAR, 0, FAR)], {"mode": "edge"}),
    ("Tile", [ONES, ints(1 << 20, 1 << 20)], {}),
    ("Tile", [np.ones((0, 3), F), ints(FAR, FAR)], {}),
    ("ConstantOfShape", [ints(FAR, FAR)], {}),
    ("ConstantOfShape", [ints(0, FAR, FAR)], {}),
    ("Range", [F(0), F(1e30), F(1)], {}),
    ("Range", [ints(0)[0], ints(FAR)[0], ints(1)[0]], {}),
    ("OneHot", [np.zeros(5, np.int64), ints(1 << 40), np.array([0, 1], F)], {}),
    ("Concat", [np.ones((1000, 100), F)] * 4, {"axis": 0}),
    ("Add", [np.ones((1000, 1), F), np.ones((1, 1000), F)], {}),
    ("Where", [np.ones((1000, 1), bool), np.ones((1, 1000), F), np.ones(1, F)], {}),
    ("MatMul", [np.ones((1000, 1), F), np.ones((1, 1000), F)], {}),
    ("Gemm", [np.ones((1000, 1), F), np.ones((1, 1000), F)], {}),
    ("Einsum", [np.ones(1000, F), np.ones(1000, F)], {"equation": "a,b->ab"}),
    ("Gather", [np.ones((1, 1000), F), np.zeros(1000, np.int64)], {}),
    ("GatherND", [np.ones((1, 1000), F), np.zeros((1000, 1), np.int64)], {}),
    ("Resize", [CUBE, None, np.array([1, 1, 1e9], F)], {}),
    ("Resize", [CUBE, None, None, ints(1, 2, FAR)], {"mode": "linear"}),
    ("Conv", [CUBE, np.ones((1, 2, 1), F)], {"pads": [1 << 40, 0]}),
    ("ConvTranspose", [CUBE, np.ones((2, 1, 1), F)], {"strides": [1 << 40]}),
    ("ConvTranspose", [CUBE, np.ones((2, 1, 1), F)], {"output_padding": [1 << 40]}),
    ("ConvTranspose", [CUBE, np.ones((2, 1, 1), F)], {"output_shape": [1 << 40]}),
    ("MaxPool", [CUBE], {"kernel_shape": [1], "pads": [1 << 40, 0]}),
    ("AveragePool", [CUBE], {"kernel_shape": [1 << 40], "pads": [1 << 40, 0]}),
    ("Col2Im", [CUBE, ints(1 << 40), ints(2)], {}),
    ("MaxUnpool", [CUBE, np.zeros(CUBE.shape, np.int64), ints(1, 2, FAR)], {"kernel_shape": [1]}),
    ("CenterCropPad", [ONES, ints(1 << 30, 1 << 30)], {}),
    ("HannWindow", [ints(1 << 40)], {}),
    ("DFT", [np.ones((1, 4, 1), F), ints(1 << 40)], {}),
    ("MelWeightMatrix", [ints(1 << 40), ints(8), ints(8000), F(0), F(4000)], {}),
    ("EyeLike", [np.ones((1000, 1000), bool)], {"dtype": 11}),
    ("Cast", [np.ones(1 << 18, bool)], {"to": 7}),
    ("LSTM", [np.ones((1, 1 << 15, 1), F), np.ones((1, 16, 1), F), np.ones((1, 16, 4), F)], {}),
]  # fmt: skip


@pytest.mark.parametrize("op, arrays, attrs", BOMBS, ids=[b[0] for b in BOMBS])
def test_what_needs_too_much_memory_is_refused_before_it_is_made(op, arrays, attrs):
    # A size of 64 bits is an error of its own where it fits no shape.
    with pytest.raises(ModelError, match=rf"node 'n' \({op}\): .*(is the limit|the shape)"):
        compute(op, *arrays, **attrs)


# What does not fit: (operator, inputs, attributes, words)
MISFITS = [
    ("Add", [ONES, np.ones((2, 4), F)], {}, r"shapes \(2, 3\) and \(2, 4\) cannot be"),
    ("Add", [ONES, np.ones((2, 3))], {}, "its inputs are float32, float64: one type is due"),
    ("Add", [ONES], {}, "an input is missing: 2 are due"),
    ("Add", [ONES, None], {}, "an input is missing: 2 are due"),
    ("Add", [ONES, ONES, ONES], {}, "3 inputs, it takes 2"),
    ("Sqrt", [ints(4)], {}, "its input is int64"),
    ("Not", [ONES], {}, "its input is float32"),
    ("PRelu", [ONES, np.ones((4, 2, 3), F)], {}, r"a slope of the shape \(4, 2, 3\)"),
    ("Cast", [ONES], {"to": 8}, "to=8: elements of that type are not computed with"),
    ("Clip", [ONES, ONES], {}, r"min or max has the shape \(2, 3\): one number is due"),
    ("Reshape", [ONES, ints(4)], {}, r"the shape \(2, 3\) cannot become \[4\]"),
    ("Reshape", [ONES, ints(-1, -1)], {}, r"its shape is \[-1, -1\]"),
    ("Reshape", [ONES, ints(0, 0, 0)], {}, "takes axis 2"),
    ("Reshape", [ONES, ints(-2, 3)], {}, r"its shape is \[-2, 3\]"),
    ("Reshape", [ONES, ONES], {}, "its shape is float32"),
    ("Squeeze", [ONES, ints(0)], {}, "are not all 1"),
    ("Squeeze", [ONES, ints(2)], {}, "axes is 2, of 2 axes"),
    ("Unsqueeze", [ONES, ints(0, 0)], {}, "name one twice"),
    ("Transpose", [ONES], {"perm": [0, 0]}, r"perm \[0, 0\] does not fit"),
    ("Expand", [ONES, ints(2, 4)], {}, "cannot be broadcast to"),
    ("Concat", [ONES, np.ones((3, 3), F)], {"axis": 1}, "cannot be joined at axis 1"),
    ("Concat", [ONES, ONES], {}, "axis is None, of 2 axes"),
    ("Split", [ONES, ints(1, 1)], {"axis": 1}, r"in parts of \[1, 1\]"),
    ("Split", [ONES, ints(-1, 4)], {"axis": 1}, r"in parts of \[-1, 4\]"),
    ("Slice", [ONES, ints(0), ints(1), ints(0), ints(0)], {}, "a step of 0"),
    ("Slice", [ONES, ints(0), ints(1), ints(5)], {}, "axes is 5, of 2 axes"),
    ("Pad", [ONES, ints(1, 1)], {}, "pads has 2 numbers, 4 are due"),
    ("Pad", [np.ones((0, 1), F), ints(1, 0, 0, 0)], {"mode": "reflect"}, "an axis of size 0"),
    ("Pad", [ONES, ints(-3, 0, 0, 0)], {}, "pads"),
    ("Range", [F(0), F(1), F(0)], {}, "in steps of 0.0"),
    ("Gather", [ONES, ints(2)], {}, "an index 2 of an axis of 2"),
    ("Gather", [ONES, ints(-3)], {}, "an index -3 of an axis of 2"),
    ("Gather", [np.ones((0, 2), F), ints(0)], {}, "an index 0 of an axis of 0"),
    ("Gather", [ONES, np.ones(1, F)], {}, "indices is float32"),
    ("GatherElements", [ONES, np.zeros((3, 3), np.int64)], {"axis": 1}, "for"),
    ("ScatterND", [ONES, np.zeros((1, 3), np.int64), np.ones(1, F)], {}, "do not fit"),
    ("OneHot", [ints(0), ints(-1), np.ones(2, F)], {}, "would have the shape"),
    ("TopK", [ONES, ints(4)], {}, "k is 4, of an axis of 3"),
    ("MatMul", [ONES, ONES], {}, r"the product of the shapes \(2, 3\) and \(2, 3\)"),
    ("MatMul", [np.ones((), F), ONES], {}, "A has the shape"),
    ("Gemm", [ONES, ONES.T, np.ones((3, 2), F)], {}, r"the shapes \(2, 2\) and \(3, 2\) cannot be"),
    ("Einsum", [ONES], {"equation": "abc->a"}, "the term 'abc' for 2 axes"),
    ("Einsum", [ONES], {"equation": "ab->c"}, "an output that no input has"),
    ("Einsum", [ONES], {}, "the term '' for 2 axes"),
    ("Conv", [CUBE, np.ones((1, 3, 1), F)], {}, "in 1 groups"),
    ("Conv", [CUBE, np.ones((1, 2, 6), F)], {}, "a window of 6 is larger than axis 2, 5"),
    ("Conv", [CUBE, np.ones((1, 2, 1), F)], {"strides": [0]}, r"strides \[0\]"),
    ("Conv", [CUBE, np.ones((1, 2, 1), F)], {"pads": [-1, 0]}, r"pads \[-1, 0\]"),
    ("Conv", [CUBE, np.ones((1, 2, 1), F)], {"group": 0}, "in 0 groups"),
    ("Conv", [CUBE, np.ones((1, 2, 1), F)], {"kernel_shape": [2]}, r"kernel_shape \[2\]"),
    ("ConvTranspose", [CUBE, np.ones((3, 2, 1), F)], {}, "in 1 groups"),
    ("MaxPool", [CUBE], {}, "kernel_shape is missing"),
    ("MaxPool", [CUBE], {"kernel_shape": [1, 1]}, r"kernel_shape \[1, 1\]"),
    ("Softmax", [ONES], {"axis": 2}, "axis is 2, of 2 axes"),
    ("BatchNormalization", [CUBE, *[np.ones(3, F)] * 4], {}, r"scale of the shape \(3,\)"),
    ("LayerNormalization", [ONES, np.ones(2, F)], {}, "cannot be broadcast"),
    ("GroupNormalization", [CUBE, np.ones(2, F), np.ones(2, F)], {"num_groups": 3}, "3 groups of"),
    ("ReduceSum", [ONES, ints(0, 0)], {}, "name one twice"),
    ("ArgMax", [np.ones((0, 1), F)], {}, "is empty"),
    ("LSTM", [CUBE, np.ones((1, 16, 4), F), np.ones((1, 16, 4), F)], {}, "W has the shape"),
    ("LSTM", [CUBE, np.ones((1, 16, 5), F), np.ones((1, 12, 4), F)], {}, "R has the shape"),
    ("GRU", [CUBE, np.ones((1, 12, 5), F), np.ones((1, 12, 4), F)],
     {"activations": ["Sigmoid", "?"]}, r"the activation '\?' is unknown"),
    ("RNN", [CUBE, np.ones((1, 4, 5), F), np.ones((1, 4, 4), F)], {"direction": "bidirectional"},
     "with weights of 1 directions"),
    ("RNN", [CUBE, np.ones((2, 4, 5), F), np.ones((2, 4, 4), F)],
     {"direction": "bidirectional", "activations": ["Tanh"]}, "1 activations, 2 are due"),
    ("GRU", [CUBE, np.ones((1, 12, 5), F), np.ones((1, 12, 4), F)],
     {"activations": ["Sigmoid", "Tanh", "Tanh"]}, "3 activations, 2 are due"),
    ("QuantizeLinear", [ONES, np.ones(2, F), np.zeros(2, np.int8)], {}, "for axis 1"),
    ("DequantizeLinear", [ONES, np.ones(1, F)], {}, "its input is float32"),
    ("MatMulInteger", [np.ones((2, 2), np.int8), ONES.T], {}, "B is float32"),
    ("Resize", [CUBE, None, np.array([1, 1, 0], F)], {}, "scales"),
    ("Resize", [CUBE], {}, "one of scales and sizes is due"),
    ("STFT", [np.ones((1, 8), F), ints(0), None, ints(4)], {}, "frames of 4 every 0"),
    ("MaskPack", [ONES, np.ones((2, 2), bool)], {}, r"a mask of the shape \(2, 2\)"),
    ("Magic", [ONES], {}, "the operator is not covered"),
]  # fmt: skip


@pytest.mark.parametrize("op, arrays, attrs, words", MISFITS, ids=[m[0] for m in MISFITS])
def test_what_does_not_fit_is_an_error_that_names_the_node(op, arrays, attrs, words):
    with pytest.raises(ModelError, match=rf"node 'n' \({op}\): .*{words}"):
        compute(op, *arrays, **attrs)


def random_call(rng, op):
    """Arrays, attributes and outputs without sense."""
    dtypes = [np.float32, np.int64, bool, np.uint8, np.float16]
    arrays = []
    for _ in range(rng.integers(0, 6)):
        shape = rng.integers(0, 5, rng.integers(0, 5))
        arrays.append(rng.integers(-3, 4, shape).astype(dtypes[rng.integers(len(dtypes))]))
        if rng.random() < 0.1:
            arrays[-1] = None
    attrs = {}
    for name in (
        "axis", "axes", "perm", "pads", "kernel_shape", "strides", "group", "to", "blocksize",
        "num_groups", "k", "batch_dims", "equation", "mode", "dilations", "p", "size", "epsilon",
    ):  # fmt: skip
        if rng.random() < 0.2:
            number = int(rng.integers(-3, 4))
            kinds = [number, [number] * int(rng.integers(0, 5)), float(number), "reflect"]
            attrs[name] = kinds[rng.integers(4)]
    return arrays, attrs, int(rng.integers(1, 4))


@pytest.mark.parametrize("op", sorted(set(reference.TABLE) - {"Recurrent"}))
def test_calls_without_sense_are_model_errors(op, rng):
    """200 for each operator: nothing but results and ModelErrors."""
    for _ in range(200):
        arrays, attrs, outputs = random_call(rng, op)
        try:
            found = compute(op, *arrays, outputs=outputs, max_bytes=1 << 24, **attrs)
        except ModelError:
            continue
        assert all(isinstance(a, np.ndarray) and a.dtype != object for a in found)


LAYERS = {
    "LSTM": (fastlstm.LSTM, {"num_layers": 2, "bidirectional": True}),
    "GRU": (fastlstm.GRU, {"num_layers": 2}),
    "RNN": (fastlstm.RNN, {"bidirectional": True}),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_recurrent_is_the_package_s_own_layer(kind, rng):
    cls, options = LAYERS[kind]
    layer = cls(4, 6, **options)
    direction = "bidirectional" if options.get("bidirectional") else "forward"
    description = Layer(kind, 4, 6, num_layers=options.get("num_layers", 1), direction=direction)
    weights = layer.state_dict()
    x, lengths = rng.standard_normal((5, 3, 4)).astype(F), ints(5, 0, 2)
    state = [rng.standard_normal(s).astype(F) for s in layer.state_shapes(3)]
    node = Node("Recurrent", ["x", "n", "h", "c"], ["y", "hn", "cn"], {
        "layer": description, "weights": weights})  # fmt: skip
    found = reference.compute(node, [x, lengths, *state])
    y, end = layer(x, layer.state_from_parts(state), lengths=lengths)
    for a, b in zip(found, [y, *layer.state_parts(end)], strict=True):
        assert np.array_equal(a, b)
    assert node.attrs["built"][2] is not layer
    with pytest.raises(ModelError, match=r"\(Recurrent\): .*lengths"):
        reference.compute(node, [x, ints(9, 9, 9)])


def test_an_rnn_uses_the_first_of_more_activations(rng):
    """ONNX's own default has two, whatever the direction."""
    arrays = [rng.standard_normal(shape).astype(F) for shape in ((5, 2, 3), (1, 4, 3), (1, 4, 4))]
    for one, more in ((["Tanh"], ["Tanh", "Tanh"]), (["Relu"], ["Relu", "Tanh", "Tanh"])):
        due, found = (compute("RNN", *arrays, activations=names)[0] for names in (one, more))
        assert np.array_equal(found, due)


@pytest.mark.parametrize("op", elementwise.ELEMENTWISE)
def test_instructions_compute_what_operators_do(op, rng):
    kind = bool if op in ("And", "Or", "Xor", "Not") else np.int64 if op.startswith("Bit") else F
    count = 2 if op in reference.TABLE and op not in elementwise._WITH_CONSTANTS else 1
    node = Node(op, ["a", "b"][:count], ["y"], {"to": 7, "fmod": 1, "direction": "LEFT"})
    low, high = {"Acosh": (1, 3), "Asin": (-1, 1), "Acos": (-1, 1), "Atanh": (-0.9, 0.9)}.get(
        op, (0.5, 2)
    )
    arrays = [rng.uniform(low, high, (2, 3)).astype(kind) for _ in range(2)]
    if op == "Where":
        node.inputs.insert(0, "c")
    while True:
        try:
            given = arrays[: len(node.inputs)]
            if op == "Where":
                given = [arrays[0] > 1, *arrays]
            if op == "Clip":
                given = given[:1] + [a.reshape(-1)[0] for a in given[1:]]
            (due,) = reference.compute(node, given)
            break
        except ModelError as error:
            assert "it takes 1" in str(error)
            node.inputs.pop()
    types = dict(zip([*node.inputs, "y"], [*given, due]))
    code, consts, names = elementwise.instructions_of(
        node, lambda name: types[name].dtype, lambda name: None
    )
    made = Node("Pointwise", names, ["y"], {"code": code, "consts": consts})
    (y,) = reference.compute(made, [types[name] for name in names])
    assert y.dtype == due.dtype
    np.testing.assert_allclose(y, due, rtol=1e-6)


ACTIVATIONS = [
    ("relu", None, None, lambda y: np.maximum(y, 0)),
    ("clip", -0.5, 0.5, lambda y: np.clip(y, -0.5, 0.5)),
    ("leaky_relu", 0.1, None, lambda y: np.where(y < 0, 0.1 * y, y)),
    ("elu", 2.0, 3.0, lambda y: 3 * np.where(y < 0, 2 * np.expm1(y), y)),
    ("sigmoid", None, None, lambda y: 1 / (1 + np.exp(-y))),
]


@pytest.mark.parametrize(
    "name, alpha, beta, function", ACTIVATIONS, ids=[a[0] for a in ACTIVATIONS]
)
def test_activations_of_products(name, alpha, beta, function, rng):
    x, w = (rng.standard_normal(s).astype(F) for s in ((2, 3), (4, 3)))
    y = compute("Linear", x, w, w[:, 0], activation=(name, alpha, beta))[0]
    assert y.dtype == F
    np.testing.assert_allclose(y, function(x @ w.T + w[:, 0]), rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match="there is no activation 'magic'"):
        compute("Linear", x, w, activation=("magic", None, None))


@pytest.mark.parametrize("axes", [1, 2])
def test_channels_last(axes, rng):
    x = rng.standard_normal((2, 4, 7, 6)[: axes + 2]).astype(F)
    w = rng.standard_normal((4, 2, 3, 2)[: axes + 2]).astype(F)
    last, kernel = np.moveaxis(x, 1, -1), {"kernel_shape": [2] * axes, "strides": [2] * axes}
    for op, others, attrs in (
        ("Conv", [w, w[:, 0, 0].reshape(-1)[:4]], {"group": 2, "pads": [1] * 2 * axes}),
        ("ConvTranspose", [w], {"group": 2, "strides": [2] * axes}), ("MaxPool", [], kernel),
        ("AveragePool", [], kernel | {"pads": [1] * 2 * axes}), ("LpPool", [], kernel),
    ):  # fmt: skip
        due = compute(op, x, *others, **attrs)[0]
        y = compute(f"{op}Last", last, *others, **attrs)[0]
        assert np.array_equal(y, np.moveaxis(due, 1, -1)), op


def test_masks():
    """Packed, unpacked: by hand."""
    x = np.arange(8, dtype=F).reshape(2, 4, 1) + 1
    mask = np.array([[False, True, False, True], [False, False, False, False]])
    y, lengths = compute("MaskPack", x, mask)
    assert y[:, :, 0].tolist() == [[2, 4, 0, 0], [0, 0, 0, 0]] and lengths.tolist() == [2, 0]
    rows = {
        (): [[0, 2, 2, 4], [0, 0, 0, 0]], ("zeros",): [[0, 2, 0, 4], [0, 0, 0, 0]],
        ("reverse",): [[2, 2, 4, 4], [0, 0, 0, 0]],
    }  # fmt: skip
    for names, due in rows.items():
        found = compute("MaskUnpack", y, mask, **dict.fromkeys(names, 1))[0]
        assert found[:, :, 0].tolist() == due


def graph(nodes, outputs=("y",), inputs=("x",)):
    values = [[Value(n, np.dtype(F), None) for n in names] for names in (inputs, outputs)]
    return Graph(*values, nodes, {"k": np.full(3, 2, F)}, "g")


def test_the_interpreter_forgets_what_nothing_reads_any_more():
    """A chain of 50 operators on 1 MiB keeps three arrays at most."""
    names = ["x", *(f"v{i}" for i in range(49)), "y"]
    chain = graph([Node("Neg", [a], [b]) for a, b in itertools.pairwise(names)])
    x = np.ones(1 << 18, F)
    tracemalloc.start()
    reference.run(chain, {"x": x})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * x.nbytes


def test_inputs_and_outputs_of_the_interpreter():
    nodes = [Node("Mul", ["x", "k"], ["y"]), Node("Neg", ["y"], [""])]
    found = reference.run(graph(nodes, ("y", "x", "k", "y")), {"x": np.ones(3, F)})
    assert [a.tolist() for a in found] == [[2] * 3, [1] * 3, [2] * 3, [2] * 3]
    for given in ({}, {"x": np.ones(3, F), "z": np.ones(3, F)}):
        with pytest.raises(ModelError, match=r"g: inputs missing: \[.*\], unknown: \[.*\]"):
            reference.run(graph(nodes), given)
    with pytest.raises(ModelError, match=r"\(Neg\): 2 outputs, the operator has 1"):
        reference.run(graph([Node("Neg", ["x"], ["y", "z"])]), {"x": np.ones(3, F)})


def test_the_condition_of_a_branch_is_one_bool():
    then, other = (graph([Node(op, ["x"], ["t"])], ("t",), ()) for op in ("Neg", "Abs"))
    choice = Node("If", ["c"], ["y"], {"then_branch": then, "else_branch": other}, "n")
    whole = graph([choice], inputs=("x", "c"))
    x = np.full(3, -1, F)
    assert reference.run(whole, {"x": x, "c": np.array([[False]])})[0].tolist() == [1] * 3
    for wrong in (np.array([True, False]), np.ones(1, F)):
        with pytest.raises(ModelError, match=r"node 'n' \(If\): its condition is not one bool"):
            reference.run(whole, {"x": x, "c": wrong})
