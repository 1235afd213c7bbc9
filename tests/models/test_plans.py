# SPDX-License-Identifier: MIT
"""What plans depend on, integers of fewer than 64 bits, and operators that become several others:
models of a few nodes against NumPy."""

import numpy as np
import pytest

from fastlstm.models.graph import Graph, ModelError, Node, Value
from fastlstm.models.model import Model
from fastlstm.models.plans import Pins

F, I = np.float32, np.int64


def model(nodes, inputs, outputs="y", constants=None, dtypes=None):
    """inputs: {name: (dtype, shape)}; a node is (op, "inputs", "outputs", attributes)."""
    given = [Value(n, np.dtype(d), shape) for n, (d, shape) in inputs.items()]
    made = [Value(n, np.dtype((dtypes or {}).get(n, F)), None) for n in outputs.split()]
    nodes = [
        Node(op, [n.strip("-") for n in i.split()], o.split(), a[0] if a else {})
        for op, i, o, *a in nodes
    ]
    return Model(Graph(given, made, nodes, constants or {}, "g"))


# ---- what a plan depends on ----


def test_only_the_values_that_decide_shapes_are_pinned():
    """Of two small vectors of integers one is a shape and the other is data: a plan serves all
    values of the other."""
    m = model(
        [("Reshape", "x s", "a"), ("Cast", "n", "f", {"to": 1}), ("Mul", "a f", "y")],
        {"x": (F, ("t", 6)), "s": (I, (2,)), "n": (I, (3,))},
    )
    x = np.arange(12, dtype=F).reshape(2, 6)
    for n in ([1, 2, 3], [4, 5, 6], [0, 0, 7]):
        y = m(x, np.array([4, 3]), np.array(n))
        assert np.array_equal(y, x.reshape(4, 3) * np.array(n, F))
    assert len(m._plans) == 1 and m._plans.pins == Pins((1,), ())
    assert m(x[:1], np.array([2, -1]), np.array([1, 1, 1])).shape == (2, 3)
    assert len(m._plans) == 2


def test_floats_are_pinned_last():
    m = model([("Resize", "x - s", "y")], {"x": (F, (1, 1, "w")), "s": (F, (3,))})
    x = np.arange(3, dtype=F).reshape(1, 1, 3)
    assert m(x, F([1, 1, 2])).tolist() == [[[0, 0, 1, 1, 2, 2]]]
    assert m(x, F([1, 1, 3])).shape == (1, 1, 9)
    assert m._plans.pins.values == (1,)


def test_no_value_is_pinned_for_an_operator_that_is_not_covered():
    """With its input pinned it would be computed once a call, when a plan is made."""
    m = model([("NonZero", "x", "y")], {"x": (I, (4,))}, dtypes={"y": I})
    with pytest.raises(ModelError, match=r"\(NonZero\): the operator is not covered"):
        m(np.arange(4))


def test_a_shape_that_is_made_of_data_is_refused():
    m = model(
        [("Slice", "x a b", "s"), ("Cast", "s", "n", {"to": 7}), ("Reshape", "x n", "y")],
        {"x": (F, ("n",))}, constants={"a": np.array([0]), "b": np.array([2])},
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"\(Reshape\): its input 1 decides a shape, and is"):
        m(np.full(100, 10, F))


@pytest.mark.parametrize("size", [1 << 17, (1 << 17) + 1])
def test_numbers_that_are_made_of_sizes_may_be_many(size):
    """Those above 1 MiB are no sizes, and made by each run."""
    nodes = [("Shape", "x", "s"), ("Squeeze", "s", "n"), ("Range", "a n b", "r"),
             ("Cast", "r", "f", {"to": 1}), ("Add", "x f", "y")]  # fmt: skip
    m = model(nodes, {"x": (F, ("n",))}, "y r", {"a": np.array(0), "b": np.array(1)}, {"r": I})
    x = np.full(size, 0.5, F)
    for _ in range(2):
        y, r = m(x)
        assert np.array_equal(r, np.arange(size)) and np.array_equal(y, np.arange(size) + F(0.5))


def test_a_mask_that_is_made_of_sizes_may_be_large():
    """What attention may look at, bool, of a few steps and then of 1,025, one after the other."""
    nodes = [("Shape", "x", "s", {"start": 1}), ("Squeeze", "s", "n"), ("Range", "a n b", "r"),
             ("Unsqueeze", "r axis", "c"), ("GreaterOrEqual", "c r", "m"),
             ("Where", "m x z", "y")]  # fmt: skip
    constants = {"a": np.array(0), "b": np.array(1), "axis": np.array([1]), "z": F(-1)}
    m = model(nodes, {"x": (F, ("k", "n"))}, "y m", constants, {"m": bool})
    for n in (3, 1025, 4):
        x, due = np.arange(n * n, dtype=F).reshape(n, n), np.tri(n, dtype=bool)
        y, mask = m(x)
        assert np.array_equal(mask, due) and np.array_equal(y, np.where(due, x, F(-1)))


@pytest.mark.parametrize("shapes", [((2, 3), (3, 2)), ((1, 6), (6, 1))])
def test_a_plan_is_of_one_shape_of_a_constant(shapes):
    """Two streams of one model, with constants of the same numbers in other shapes."""
    nodes = [("MatMul", "x m", "a"), ("ReduceSum", "a", "b", {"keepdims": 0}), ("Add", "b h", "y")]
    m = model(nodes, {"x": (F, (1, "i")), "m": (F, ("i", "o")), "h": (F, (1,))})
    for shape in (*shapes, shapes[0]):
        s = m.stream(state={"h": "y"}, m=np.ones(shape, F))
        s.step(np.ones((1, shape[0]), F))
        assert s.state["h"].tolist() == [6]


def test_a_stream_keeps_its_plan_where_steps_give_integers():
    """As long as the plan does not depend on their values."""
    m = model(
        [("Gather", "w i", "e"), ("Add", "e h", "z")],
        {"i": (I, (1,)), "h": (F, (1, 4))}, "z", {"w": np.eye(4, dtype=F)},
    )  # fmt: skip
    s = m.stream(state={"h": "z"})
    for i in (0, 3, 3):
        s.step(np.array([i]))
    assert s.state["h"].tolist() == [[1, 0, 0, 2]]
    assert len(s._plans) == 1


def test_outputs_that_are_constants_inputs_or_the_same_value():
    m = model(
        [("Identity", "x", "a"), ("Neg", "x", "b"), ("Identity", "b", "c"), ("Identity", "k", "d")],
        {"x": (F, (2,))}, "b c a d", {"k": F([7])},
    )  # fmt: skip
    assert [y.tolist() for y in m(F([1, 2]))] == [[-1, -2], [-1, -2], [1, 2], [7]]


# ---- integers of fewer than 64 bits ----

KINDS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32]


@pytest.mark.parametrize("kind", KINDS)
def test_integers_wrap_around_as_the_file_s_do(kind):
    """And what is computed of them afterwards sees the wrapped ones."""
    info = np.iinfo(kind)
    a = np.array([info.max, info.min, info.max, 3], kind)
    b = np.array([1, info.max, info.max, 7], kind)
    for op, function in {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}.items():
        m = model(
            [(op, "a b", "y"), ("Less", "y a", "less"), ("Cast", "y", "f", {"to": 1})],
            {"a": (kind, ("n",)), "b": (kind, ("n",))},
            "y less f", dtypes={"y": kind, "less": bool},
        )  # fmt: skip
        y, less, f = m(a, b)
        with np.errstate(over="ignore"):
            want = function(a, b)
        assert y.dtype == kind and np.array_equal(y, want)
        assert np.array_equal(less, want < a) and np.array_equal(f, want.astype(F))


@pytest.mark.parametrize("kind", KINDS)
def test_casts_to_integers_wrap_around(kind):
    code = {"int8": 3, "uint8": 2, "int16": 5, "uint16": 4, "int32": 6, "uint32": 12}
    to = {"to": code[np.dtype(kind).name]}
    m = model(
        [("Cast", "x", "a", to), ("Cast", "a", "b", {"to": 7}), ("Abs", "b", "y")],
        {"x": (I, ("n",))}, dtypes={"y": I},
    )  # fmt: skip
    x = np.array([0, 1, -1, 127, 128, 255, 256, -129, 40000, 2**31, -(2**31) - 1, 2**40 + 5])
    assert np.array_equal(m(x), np.abs(x.astype(kind).astype(I)))


def test_numbers_beyond_an_input_s_type_are_refused():
    m = model([("Neg", "x", "y")], {"x": (np.int8, ("n",))}, dtypes={"y": np.int8})
    assert m(np.array([127, -128])).tolist() == [-127, -128]
    with pytest.raises(ValueError, match=r"x: int8 .*: there are numbers beyond int8"):
        m(np.array([128]))


def test_float16_and_float64_at_the_border():
    m = model(
        [("Add", "a b", "y")], {"a": (np.float16, (2,)), "b": (np.float16, (2,))},
        dtypes={"y": np.float16},
    )  # fmt: skip
    y = m(np.array([60000, 1], np.float16), np.array([60000, 2], np.float16))
    assert y.dtype == np.float16 and y.tolist() == [np.inf, 3]


# ---- operators that become others ----

EQUATIONS = {
    "ij->ji": [(2, 3)], "ij->": [(2, 3)], "ij->j": [(2, 3)], "ii->i": [(3, 3)],
    "iji->j": [(3, 2, 3)],
    "iii": [(2, 2, 2)], "i,i": [(4,), (4,)], "i,j": [(4,), (3,)], "ij,jk": [(2, 3), (3, 4)],
    "bij,bjk->bik": [(2, 3, 4), (2, 4, 5)], "abc,bcd->da": [(2, 3, 4), (3, 4, 5)],
    "abcd,cdba->": [(2, 3, 4, 5), (4, 5, 3, 2)], "ij,kj->ikj": [(2, 3), (4, 3)],
    "ab,bc,cd->ad": [(2, 3), (3, 4), (4, 5)], "i,ij,j->": [(2,), (2, 3), (3,)],
    "a,b,c->cba": [(2,), (3,), (4,)], "...ij,...jk->...ik": [(2, 1, 3, 4), (5, 4, 2)],
    "...i,i->...": [(2, 3, 4), (4,)], "...": [(2, 3)], "i...->...": [(2, 3, 4)],
    "bhid,bhjd->bhij": [(2, 2, 3, 4), (2, 2, 5, 4)], "ij,k->i": [(2, 3), (4,)],
    "ij,ij->i": [(0, 3), (0, 3)], "ij,jk->ik": [(2, 0), (0, 3)],
}  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation, rng):
    arrays = [rng.standard_normal(shape).astype(F) for shape in EQUATIONS[equation]]
    names = "abc"[: len(arrays)]
    want = np.einsum(equation, *arrays)
    for free in (False, True):
        inputs = {
            n: (F, tuple(f"{n}{i}" if free else s for i, s in enumerate(a.shape)))
            for n, a in zip(names, arrays)
        }
        m = model([("Einsum", " ".join(names), "y", {"equation": equation})], inputs)
        y = m(*arrays)
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "equation, message",
    [("ij,jk", "for 1 inputs"), ("ijk", "for an array of 2 axes"), ("ij->k", "the result of"),
     ("ij->ii", "the result of"), ("i.j->i", "for an array of 2"),
     ("i1->i", "the equation")],
)  # fmt: skip
def test_equations_that_do_not_fit(equation, message):
    m = model([("Einsum", "a", "y", {"equation": equation})], {"a": (F, (2, 3))})
    with pytest.raises(ModelError, match=message):
        m(np.zeros((2, 3), F))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [None, 5, 8, 11])
def test_fourier_transforms(parts, length, rng):
    x = rng.standard_normal((3, 8, 4, parts)).astype(F)
    z = x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)
    constants = {"axis": np.array(1), "n": np.array(length or 8)}
    names = "x n axis" if length else "x - axis"
    for attrs, want in [
        ({}, np.fft.fft(z, length, 1)),
        ({"inverse": 1}, np.fft.ifft(z, length, 1)),
        *([({"onesided": 1}, np.fft.rfft(z, length, 1))] if parts == 1 else []),
        *([({"onesided": 1, "inverse": 1}, np.fft.irfft(z, length, 1))] if parts == 2 else []),
    ]:
        for shape in ((3, 8, 4, parts), ("b", "t", "c", parts)):
            m = model([("DFT", names, "y", attrs)], {"x": (F, shape)}, constants=constants)
            y = m(x)
            y = y[..., 0] + (1j * y[..., 1] if y.shape[-1] == 2 else 0)
            assert y.shape == want.shape
            np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("onesided", [0, 1])
def test_frames_of_a_stream_are_those_of_the_whole(onesided, rng):
    """STFT is a convolution: its bits do not depend on how many frames there are."""
    x, window = rng.standard_normal((2, 100)).astype(F), np.hanning(16).astype(F)
    constants = {"step": np.array(4), "window": window}
    attrs = {"onesided": onesided}
    m = model([("STFT", "x step window", "y", attrs)], {"x": (F, ("b", "t"))}, constants=constants)
    y = m(x)
    frames = np.lib.stride_tricks.sliding_window_view(x, 16, 1)[:, ::4] * window
    want = np.fft.fft(frames)[..., : 9 if onesided else 16]
    assert y.shape == (2, 22, want.shape[-1], 2)
    np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], want, rtol=1e-5, atol=1e-5)
    assert np.array_equal(m(x[1:, 20:48])[0], y[1, 5:9])


def test_blocks_of_pixels_with_free_sizes(rng):
    x = rng.standard_normal((2, 12, 3, 4)).astype(F)
    for mode in ("DCR", "CRD"):
        attrs = {"blocksize": 2, "mode": mode}
        m = model(
            [("DepthToSpace", "x", "a", attrs), ("SpaceToDepth", "a", "y", attrs)],
            {"x": (F, ("n", 12, "h", "w"))}, "a y",
        )  # fmt: skip
        a, y = m(x)
        assert a.shape == (2, 3, 6, 8)
        channel = (0 * 2 + 1) * 3 + 1 if mode == "DCR" else 1 * 4 + 0 * 2 + 1
        assert a[0, 1, 2 * 1 + 0, 2 * 2 + 1] == x[0, channel, 1, 2]
        assert np.array_equal(y, x)


def test_sequences_are_reversed_up_to_their_lengths(rng):
    x = rng.standard_normal((5, 3, 2)).astype(F)
    m = model([("ReverseSequence", "x n", "y")], {"x": (F, ("t", "b", 2)), "n": (I, ("b",))})
    y = m(x, np.array([5, 0, 3]))
    want = x.copy()
    want[:, 0], want[:3, 2] = x[::-1, 0], x[2::-1, 2]
    assert np.array_equal(y, want)
    with pytest.raises(ModelError, match="out of range"):
        m(x, np.array([6, 0, 0]))


def test_a_normalization_s_other_outputs(rng):
    x = rng.standard_normal((2, 3, 4)).astype(F)
    m = model(
        [("LayerNormalization", "x g", "y m r", {"axis": 1}), ("Squeeze", "m a", "z")],
        {"x": (F, ("n", 3, 4))}, "y z", {"g": np.ones((3, 4), F), "a": np.array([1, 2])},
    )  # fmt: skip
    np.testing.assert_allclose(m(x)[1], x.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_batch_normalization_by_parameters_of_the_call(rng):
    x, (g, b, mean) = (
        rng.standard_normal((2, 3, 4)).astype(F),
        rng.standard_normal((3, 3)).astype(F),
    )
    var = np.abs(g) + 1
    m = model(
        [("BatchNormalization", "x g b m v", "y")],
        {"x": (F, ("n", 3, "t")), **dict.fromkeys("gbmv", (F, (3,)))},
    )
    at = (None, slice(None), None)
    want = (x - mean[at]) / np.sqrt(var[at] + 1e-5) * g[at] + b[at]
    np.testing.assert_allclose(m(x, g, b, mean, var), want, rtol=1e-5, atol=1e-5)
    assert m._plans.pins == Pins()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "op, shape, w, attrs",
    [
        ("Conv", (2, 4, 9), (6, 2, 3), {"group": 2}),
        ("Conv", (2, 4, 5, 6), (6, 4, 2, 3), {}),
        ("ConvTranspose", (2, 4, 9), (4, 3, 3), {"group": 2, "strides": [2]}),
        ("Gemm", (5, 4), (4, 6), {}),
    ],
)
def test_batch_normalization_goes_into_the_product_before_it(op, shape, w, attrs, bias, rng):
    """The product alone, by the same engine, and the normalization of it in float64."""
    x, w = (rng.standard_normal(size).astype(F) for size in (shape, w))
    g, b, mean, var, old = (rng.uniform(0.5, 3, 6).astype(F) for _ in range(5))
    constants = {"w": w} | ({"c": old} if bias else {})
    product = (op, "x w c" if bias else "x w", "v", attrs)
    inputs = {"x": (F, shape)}
    alone = model([product], inputs, "v", dict(constants))(x).astype(np.float64)
    all_of_it = model(
        [product, ("BatchNormalization", "v g b m s", "y", {"epsilon": 1e-3})],
        inputs, "y", constants | {"g": g, "b": b, "m": mean, "s": var},
    )  # fmt: skip
    at = (None, slice(None), *[None] * (alone.ndim - 2))
    want = (alone - mean[at]) / np.sqrt(var[at].astype(np.float64) + 1e-3) * g[at] + b[at]
    np.testing.assert_allclose(all_of_it(x), want, rtol=1e-5, atol=1e-5)
    left = {node.op for node in all_of_it.plan_of([x]).graph.nodes}
    assert not left & {"BatchNormalization", "Mul", "Add", "Pointwise"}


def test_dropout_of_training_is_refused():
    m = model(
        [("Dropout", "x r t", "y")], {"x": (F, (2,)), "t": (bool, ())}, constants={"r": F(0.5)}
    )
    assert m(F([1, 2]), np.array(False)).tolist() == [1, 2]
    with pytest.raises(ModelError, match="dropout of training"):
        m(F([1, 2]), np.array(True))
