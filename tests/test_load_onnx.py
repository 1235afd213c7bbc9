# SPDX-License-Identifier: MIT
"""ONNX models: the operators' own test cases, drawn graphs against ONNX Runtime, ways in which
exporters leave weights, and models that cannot be read.

Every layer's arrays are held to a float64 oracle; where the engine runs the variant, its outputs
are held to the reference too (contents.lacks says which: none is listed here).
"""

import numpy as np
import onnx
import onnx.backend.test.case.node.gru
import onnx.backend.test.case.node.lstm
import onnx.backend.test.case.node.rnn  # each puts its cases into the list when imported
import onnxruntime
import pytest
import torch
import variant_oracle
from onnx import TensorProto, helper, numpy_helper

import fastlstm
from fastlstm.loaders import LoadError, inspect, load, load_all, read_state_dict, sniff
from fastlstm.loaders.contents import lacks, weights_of

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CASES = [
    case
    for case in onnx.backend.test.case.node._NodeTestCases
    if case.model.graph.node[0].op_type in GATES
]
BOUND = 1e-5


def only_layer(path, **options):
    """(Layer, its weights) of a model with one."""
    kind, arrays, layers = inspect(path, **options)
    assert kind == "onnx"
    ((prefix, layer),) = layers.items()
    return prefix, layer, weights_of(arrays, prefix, layer)


def check(path, x, reference, state=None, lengths=None, bound=BOUND):
    """The file's one layer against a reference {"y": (T, D, B, H), "h", "c": (D, B, H)}; x
    (T, B, I). Gives the Layer."""
    prefix, layer, weights = only_layer(path)
    assert layer.problem is None, layer.problem
    if layer.initial_state:
        assert state is None
        start = [np.float64(weights[name]) for name in layer.initial_state]
        state = [*start, *[np.zeros_like(start[0])] * (2 - len(start))]
    y, h, c = variant_oracle.run(layer, weights, x, state, lengths)
    results = [{"y": y, "h": h, "c": c}]
    if not lacks(layer):
        model = load(path, prefix)
        given = None
        if state is not None:
            given = (
                tuple(np.float32(s) for s in state)
                if layer.kind == "LSTM"
                else np.float32(state[0])
            )
        turn = layer.batch_first
        y, end = model(x.swapaxes(0, 1) if turn else x, given, lengths=lengths)
        end = end if layer.kind == "LSTM" else (end,)
        results.append({"y": y.swapaxes(0, 1) if turn else y} | dict(zip("hc", end, strict=False)))
    for result in results:
        for name, expected in reference.items():
            got = result[name]
            if name == "y":
                steps, count, batch, size = expected.shape
                expected = expected.transpose(0, 2, 1, 3).reshape(steps, batch, count * size)
            assert got.shape == expected.shape
            assert np.allclose(got, expected, rtol=bound, atol=bound), name
    return layer


def model_of(nodes, inputs, outputs, initializers=(), opset=14, graph_only=False, **kwargs):
    info = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None)  # noqa: E731
    graph = helper.make_graph(
        nodes, "g", [info(name) for name in inputs], [info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in dict(initializers).items()],
    )  # fmt: skip
    if graph_only:
        return graph
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_the_operators_cases_are_all_here():
    assert {case.name for case in CASES} >= {
        "test_simple_rnn_defaults", "test_lstm_with_peepholes", "test_gru_seq_length",
        "test_lstm_batchwise", "test_lstm_with_initial_bias",
    }  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_operators_own_cases(tmp_path, case):
    """Their weights are inputs; here they are stored, as a model's are."""
    (node,) = case.model.graph.node
    inputs, outputs = case.data_sets[0]
    given = dict(zip([n for n in node.input if n], inputs, strict=True))
    roles = "X W R B sequence_lens initial_h initial_c P".split()
    roles = dict(zip(roles, node.input, strict=False))
    stored = {name: given[name] for role, name in roles.items() if role in "WRBP" and name}
    rest = [name for name in given if name not in stored]
    case.model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in stored.items())
    path = tmp_path / "case.onnx"
    onnx.save(case.model, path)
    turned = any(a.name == "layout" and a.i for a in node.attribute)
    swap = (lambda a: a.swapaxes(0, 1)) if turned else (lambda a: a)
    state = None
    if roles.get("initial_h") in rest:
        state = [swap(given[roles[r]]) for r in ("initial_h", "initial_c") if roles.get(r) in rest]
    found = dict(zip([n for n, o in zip(("y", "h", "c"), node.output, strict=False) if o], outputs,
                     strict=True))  # fmt: skip
    reference = {}
    for name, array in found.items():
        # layout 1: Y (B, T, D, H), Y_h (B, D, H)
        reference[name] = array.transpose(1, 2, 0, 3) if turned and name == "y" else swap(array)
    lengths = given.get(roles.get("sequence_lens", ""))
    layer = check(path, swap(given["X"]), reference, state, lengths)
    assert layer.kind == node.op_type and layer.batch_first == turned


# ---- drawn graphs against ONNX Runtime

ACTIVATIONS = {
    "Sigmoid": 0, "Tanh": 0, "Relu": 0, "HardSigmoid": 2, "Affine": 2, "LeakyRelu": 1,
    "ThresholdedRelu": 1, "ScaledTanh": 2, "Elu": 1, "Softsign": 0, "Softplus": 0,
}  # fmt: skip


def drawn(seed):
    """(model, {input: array}, x (T, B, I), state or None, lengths or None) of one random node."""
    rng = np.random.default_rng([7, seed])
    kind = ("LSTM", "GRU", "RNN")[seed % 3]
    plain = seed % 2 == 0  # what torch could have exported: the engine runs half of the graphs
    size, width, steps, batch = (int(rng.integers(1, n)) for n in (9, 7, 8, 5))
    direction = rng.choice(["forward", "bidirectional"] + ([] if plain else ["reverse"]))
    count = 2 if direction == "bidirectional" else 1
    gates = GATES[kind]
    # where activations have no bound, larger weights let the values and ORT's rounding explode
    scale = 0.7 if plain else 0.35
    real = lambda *shape: (scale * rng.standard_normal(shape)).astype(np.float32)  # noqa: E731
    stored = {"W": real(count, gates * size, width), "R": real(count, gates * size, size)}
    if rng.random() < 0.8:
        stored["B"] = real(count, 2 * gates * size)
    given, x = {}, real(steps, batch, width)
    lengths = rng.integers(1, steps + 1, batch) if rng.random() < 0.3 else None
    if lengths is not None:
        given["lens"] = lengths.astype(np.int32)
    attributes = {"hidden_size": size, "direction": str(direction)}
    if rng.random() < 0.3:
        attributes["layout"] = 0
    state = None
    if rng.random() < 0.5:
        state = [real(count, batch, size) for _ in range(2 if kind == "LSTM" else 1)]
        names = ("h0", "c0")
        stored_state = not plain and rng.random() < 0.4
        (stored if stored_state else given).update(zip(names, state, strict=False))
    if kind == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(0, 2))
    if not plain:
        number = {"LSTM": 3, "GRU": 2, "RNN": 1}[kind] * count
        if rng.random() < 0.6:
            names = [str(rng.choice(list(ACTIVATIONS))) for _ in range(number)]
            attributes["activations"] = names
            alphas = [float(rng.uniform(0.2, 0.9)) for n in names if ACTIVATIONS[n] > 0]
            betas = [float(rng.uniform(0.2, 0.9)) for n in names if ACTIVATIONS[n] > 1]
            attributes |= {"activation_alpha": alphas} if alphas else {}
            attributes |= {"activation_beta": betas} if betas else {}
        if rng.random() < 0.4:
            attributes["clip"] = float(rng.uniform(0.3, 1.5))
        if kind == "LSTM" and rng.random() < 0.4:
            attributes["input_forget"] = 1
        if kind == "LSTM" and rng.random() < 0.5:
            stored["P"] = real(count, 3 * size)
    order = ["X", "W", "R", "B", "lens", "h0", "c0", "P"]
    order = order[: 8 if kind == "LSTM" else 6]
    inputs = [n if n in stored or n in given or n == "X" else "" for n in order]
    outputs = ["y", "h", "c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, inputs, outputs, name="layer", **attributes)
    model = model_of([node], ["X", *given], outputs, stored)
    for value in model.graph.input:
        if value.name == "lens":
            value.type.tensor_type.elem_type = TensorProto.INT32
    kept = state if "h0" not in stored else None
    return model, given | {"X": x}, x, kept, lengths


@pytest.mark.parametrize("seed", range(90))
def test_drawn_graphs_agree_with_onnxruntime(tmp_path, seed):
    model, given, x, state, lengths = drawn(seed)
    path = tmp_path / "drawn.onnx"
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    reference = dict(zip(names, session.run(None, given), strict=True))
    if state is not None and len(state) == 1:
        state = [state[0], np.zeros_like(state[0])]
    layer = check(path, x, reference, state, lengths)
    assert seed % 2 or not lacks(layer), lacks(layer)


# ---- where exporters leave the weights


def torch_weights(rng, size=4, width=3):
    module = torch.nn.LSTM(width, size)
    return module, {n: v.detach().numpy() for n, v in module.named_parameters()}


def unsliced(source, rows, out, size, opset):
    """Nodes that put the gates i, f, g, o of `source` in ONNX's order, as PyTorch exports them."""
    order, nodes, parts = (0, 3, 1, 2), [], []
    for n, gate in enumerate(order):
        part = f"{out}.{n}"
        ends = [gate * size, (gate + 1) * size]
        if opset < 10:
            nodes.append(helper.make_node("Slice", [source], [part], axes=[0], starts=ends[:1],
                                          ends=ends[1:]))  # fmt: skip
        else:
            for name, value in (("s", ends[0]), ("e", ends[1]), ("a", 0)):
                nodes.append(helper.make_node(
                    "Constant", [], [f"{part}.{name}"],
                    value=numpy_helper.from_array(np.array([value], np.int64))))  # fmt: skip
            nodes.append(
                helper.make_node("Slice", [source, *(f"{part}.{n}" for n in "sea")], [part])
            )
        parts.append(part)
    nodes.append(helper.make_node("Concat", parts, [f"{out}.all"], axis=0))
    return nodes, f"{out}.all"


@pytest.mark.parametrize("opset", [9, 14])
@pytest.mark.parametrize("body", ["top", "If", "Loop"])
def test_weights_computed_from_torchs(tmp_path, rng, opset, body):
    """Slice, Concat, Unsqueeze, Identity, Cast, Transpose, Squeeze, Reshape of what is stored, with
    the node in the graph itself or in a body that sees the outer constants."""
    module, arrays = torch_weights(rng)
    stored = {n: a for n, a in arrays.items() if n != "weight_hh_l0"}
    stored["turned"] = arrays["weight_hh_l0"].T.astype(np.float64).copy()
    nodes = [
        helper.make_node("Transpose", ["turned"], ["t"], perm=[1, 0]),
        helper.make_node("Cast", ["t"], ["u"], to=TensorProto.FLOAT),
        helper.make_node("Identity", ["u"], ["weight_hh_l0"]),
    ]
    outs = []
    for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
        more, out = unsliced(name, 4, f"o.{name}", 4, opset)
        nodes, outs = nodes + more, [*outs, out]
    nodes.append(helper.make_node("Concat", outs[2:], ["b"], axis=0))
    for source, out in ((outs[0], "W"), (outs[1], "R"), ("b", "B")):
        if opset < 13:
            nodes.append(helper.make_node("Unsqueeze", [source], [out], axes=[0]))
        else:
            stored["zero"] = np.array([0], np.int64)
            nodes.append(helper.make_node("Unsqueeze", [source, "zero"], [out]))
    lstm = helper.make_node("LSTM", ["X", "W", "R", "B"], ["y", "h", "c"], hidden_size=4)
    if body == "top":
        nodes.append(lstm)
    else:
        inner = model_of([lstm], [], ["y"], opset=opset, graph_only=True)
        if body == "If":
            nodes.append(helper.make_node("If", ["X"], ["y"], then_branch=inner, else_branch=inner))
        else:
            nodes.append(helper.make_node("Loop", ["X", ""], ["y"], body=inner))
    model = model_of(nodes, ["X"], ["y"], stored, opset)
    onnx.save(model, tmp_path / "m.onnx")
    found = load_all(tmp_path / "m.onnx")
    assert len(found) == (2 if body == "If" else 1)
    for layer in found.values():
        for name, array in layer.state_dict().items():
            assert np.array_equal(array, arrays[name]), name


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_what_torch_exports(tmp_path, rng, kind, options):
    torch.manual_seed(6)
    module = getattr(torch.nn, kind)(3, 4, **options).eval()
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    path = tmp_path / "torch.onnx"
    torch.onnx.export(module, (torch.from_numpy(x),), str(path), dynamo=False, opset_version=17)
    with torch.no_grad():
        expected = module(torch.from_numpy(x))[0].numpy()
    layers = load_all(path)
    assert len(layers) == options.get("num_layers", 1)
    y = x
    for layer in layers.values():
        assert layer.kind == kind
        y = layer(y)[0]
    assert np.abs(y - expected).max() <= 2e-6


def test_quantised_weights(tmp_path, rng):
    """DynamicQuantizeLSTM: weights transposed and of int8; the reference dequantises them."""
    for per_channel, code in ((False, np.int8), (True, np.int8), (False, np.uint8)):
        low, high = (-128, 128) if code is np.int8 else (0, 256)
        w = rng.integers(low, high, (2, 3, 16)).astype(code)
        r = rng.integers(low, high, (2, 4, 16)).astype(code)
        shape = (2, 16) if per_channel else (2,)
        scales = [rng.uniform(0.01, 0.02, shape).astype(np.float32) for _ in range(2)]
        zeros = [rng.integers(-3 if code is np.int8 else 120, 9 if code is np.int8 else 130, shape)
                 .astype(code) for _ in range(2)]  # fmt: skip
        b = rng.standard_normal((2, 32)).astype(np.float32)
        stored = {"W": w, "R": r, "B": b, "ws": scales[0], "wz": zeros[0], "rs": scales[1],
                  "rz": zeros[1]}  # fmt: skip
        node = helper.make_node(
            "DynamicQuantizeLSTM",
            ["X", "W", "R", "B", "", "", "", "", "ws", "wz", "rs", "rz"], ["y", "h", "c"],
            domain="com.microsoft", hidden_size=4, direction="bidirectional",
        )  # fmt: skip
        path = tmp_path / "q.onnx"
        onnx.save(model_of([node], ["X"], ["y"], stored), path)
        layer = load(path)
        assert (layer.input_size, layer.hidden_size, layer.bidirectional) == (3, 4, True)
        x = rng.standard_normal((6, 2, 3)).astype(np.float32)
        wide = [s.reshape(2, 1, -1) for s in (*scales, *(z.astype(np.float32) for z in zeros))]
        real = {"W": ((w - wide[2]) * wide[0]).transpose(0, 2, 1).copy(),
                "R": ((r - wide[3]) * wide[1]).transpose(0, 2, 1).copy(), "B": b}  # fmt: skip
        plain = helper.make_node("LSTM", ["X", "W", "R", "B"], ["y", "h", "c"], hidden_size=4,
                                 direction="bidirectional")  # fmt: skip
        onnx.save(model_of([plain], ["X"], ["y"], real), tmp_path / "p.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "p.onnx"))
        expected = session.run(["y"], {"X": x})[0].transpose(0, 2, 1, 3).reshape(6, 2, 8)
        assert np.abs(layer(x)[0] - expected).max() <= 2e-6


def test_dequantize_linear_is_folded(tmp_path, rng):
    q = {
        n: rng.integers(-100, 100, s).astype(np.int8)
        for n, s in (("w", (1, 16, 3)), ("r", (1, 16, 4)))
    }
    stored = {"qw": q["w"], "qr": q["r"], "s": np.float32(0.01), "z": np.int8(3),
              "rows": rng.uniform(0.01, 0.02, 16).astype(np.float32)}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["qw", "s", "z"], ["W"]),
        helper.make_node("DequantizeLinear", ["qr", "rows"], ["R"], axis=1),
        helper.make_node("LSTM", ["X", "W", "R"], ["y"], hidden_size=4),
    ]
    onnx.save(model_of(nodes, ["X"], ["y"], stored), tmp_path / "d.onnx")
    _, _, weights = only_layer(tmp_path / "d.onnx")
    order = np.r_[0:4, 8:12, 12:16, 4:8]
    expected = ((q["w"][0].astype(int) - 3) * np.float32(0.01)).astype(np.float32)
    assert np.array_equal(weights["weight_ih_l0"], expected[order])
    expected = (q["r"][0] * stored["rows"][:, None]).astype(np.float32)
    assert np.array_equal(weights["weight_hh_l0"], expected[order])


DTYPES = "float32 float64 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64"


@pytest.mark.parametrize("raw", [True, False])
def test_tensors_are_bit_equal_to_the_librarys(tmp_path, rng, raw):
    """Every element type, stored raw and one by one, through onnx.numpy_helper and here."""
    arrays = {
        f"{dtype}.{n}": rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
        for dtype in DTYPES.split()
        for n, shape in enumerate([(), (5,), (2, 3), (0, 4)])
    }
    tensors = []
    for name, array in arrays.items():
        if raw:
            tensors.append(numpy_helper.from_array(array, name))
        else:
            code = helper.np_dtype_to_tensor_dtype(array.dtype)
            values = array.reshape(-1)
            values = values.view(np.uint16) if array.dtype == np.float16 else values
            tensors.append(helper.make_tensor(name, code, array.shape, array.reshape(-1).tolist()))
    model = model_of([helper.make_node("Identity", ["X"], ["y"])], ["X"], ["y"])
    model.graph.initializer.extend(tensors)
    onnx.save(model, tmp_path / "t.onnx")
    found = read_state_dict(tmp_path / "t.onnx")
    assert list(found) == list(arrays)
    for tensor in onnx.load(tmp_path / "t.onnx").graph.initializer:
        theirs = numpy_helper.to_array(tensor)
        ours = found[tensor.name]
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), tensor.name
        assert ours.tobytes() == theirs.tobytes(), tensor.name


# ---- what cannot be read


def _lstm_model(stored=("W", "R", "B"), **attributes):
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 16, 3), "R": (1, 16, 4), "B": (1, 32)}
    arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    node = helper.make_node("LSTM", ["X", "W", "R", "B"], ["y"], hidden_size=4, name="the node",
                            **attributes)  # fmt: skip
    rest = [n for n in shapes if n not in stored]
    return model_of([node], ["X", *rest], ["y"], {n: arrays[n] for n in stored})


def test_external_data_is_off_and_bounded(tmp_path):
    model = _lstm_model()
    path = tmp_path / "e.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(LoadError, match=r"w\.bin.*external_data=True"):
        load(path)
    layer = load(path, external_data=True)
    onnx.save(_lstm_model(), tmp_path / "inside.onnx")
    for name, array in load(tmp_path / "inside.onnx").state_dict().items():
        assert np.array_equal(array, layer.state_dict()[name])
    secret = tmp_path / "secret"
    secret.write_bytes((tmp_path / "w.bin").read_bytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(secret)
    (folder / "fifo").mkdir()
    for location in ("../secret", str(secret), "link", "fifo", "missing", "", "a\0b"):
        changed = onnx.load(path, load_external_data=False)
        for tensor in changed.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        (folder / "m.onnx").write_bytes(changed.SerializeToString())
        with pytest.raises(LoadError):
            load(folder / "m.onnx", external_data=True)


PROBLEMS = {
    "weights from outside": (_lstm_model(("W", "B")), "R ('R') is not a constant"),
    "direction": (_lstm_model(direction="sideways"), "direction"),
    "activations": (_lstm_model(activations=["Tanh"]), "1 activations, 3 are due"),
    "an unknown activation": (_lstm_model(activations=["Sine", "Tanh", "Tanh"]), "'sine'"),
    "two directions": (_lstm_model(direction="bidirectional"), "is due"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_name_the_node(tmp_path, name):
    model, says = PROBLEMS[name]
    onnx.save(model, tmp_path / "p.onnx")
    with pytest.raises(LoadError) as caught:
        load(tmp_path / "p.onnx")
    assert says in str(caught.value) and "the node" in str(caught.value)


def test_variants_are_refused_where_the_object_is_made(tmp_path):
    for attributes, says in (
        ({"clip": 3.0}, "clipped at 3"), ({"input_forget": 1}, "coupled input and forget"),
        ({"direction": "reverse"}, "a reverse direction alone"),
        ({"activations": ["HardSigmoid", "Tanh", "Tanh"]}, "hard_sigmoid(0.2, 0.5)"),
    ):  # fmt: skip
        path = tmp_path / "v.onnx"
        onnx.save(_lstm_model(**attributes), path)
        prefix, layer, weights = only_layer(path)
        assert prefix == "the node." and len(weights) == 4 and layer.hidden_size == 4
        if lacks(layer):
            with pytest.raises(LoadError) as caught:
                load(path)
            assert says in str(caught.value) and "engine does not run yet" in str(caught.value)


def test_an_lstm_in_single_operators_is_refused_by_name(tmp_path):
    nodes = [
        helper.make_node("Sigmoid", ["a"], ["f"]), helper.make_node("Sigmoid", ["b"], ["i"]),
        helper.make_node("Tanh", ["g0"], ["g"]), helper.make_node("Mul", ["f", "c"], ["fc"]),
        helper.make_node("Mul", ["i", "g"], ["ig"]), helper.make_node("Add", ["fc", "ig"], ["c2"]),
    ]  # fmt: skip
    onnx.save(model_of(nodes, ["a", "b", "g0", "c"], ["c2"]), tmp_path / "s.onnx")
    with pytest.raises(
        LoadError, match="written out as single operators.*export it as the operator"
    ):
        load(tmp_path / "s.onnx")
    onnx.save(model_of(nodes[:3], ["a", "b", "g0"], ["g"]), tmp_path / "n.onnx")
    with pytest.raises(LoadError, match="the model has no LSTM, GRU or RNN"):
        load(tmp_path / "n.onnx")
    assert sniff(tmp_path / "n.onnx") == "onnx"


def test_onnx_is_not_needed(tmp_path):
    import subprocess
    import sys

    onnx.save(_lstm_model(), tmp_path / "m.onnx")
    code = (
        "import sys\nsys.modules.update(onnx=None, google=None, h5py=None)\n"
        "import fastlstm\nprint(fastlstm.load(sys.argv[1]).hidden_size)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "4\n", done.stderr
    assert isinstance(load(tmp_path / "m.onnx"), fastlstm.LSTM)
