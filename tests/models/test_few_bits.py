# SPDX-License-Identifier: MIT
"""Whole models that are asked to have bfloat16 or int8 weights: the bfloat16 product against its
order written in NumPy, which operators compute so, and the codes that int8 models keep. Their bits
are compared in test_int8_models.py, their files in test_saved.py."""

import json
import re

import numpy as np
import pytest
from bfloat16_order import products, rounded
from hypothesis import given, settings
from hypothesis import strategies as st
from isas import FLOATS
from onnx_models import graph_of, model_of, node
from test_int8_models import load

import fastlstm
from fastlstm.engine import backend, int8
from fastlstm.files.description import Layer
from fastlstm.files.safetensors.write import write_arrays
from fastlstm.models.graph import Graph, Node, Value

F = np.float32


def flushed(y):
    return np.where(np.abs(y) < 2.0**-62, F(0), y)


# ---- the product in bfloat16 ----


@pytest.mark.needs("c")
@settings(max_examples=60)
@given(
    rows=st.sampled_from([0, 1, 2, 7, 24, 25, 65]),
    k=st.sampled_from([1, 2, 3, 31, 32, 33, 64, 300]),
    out=st.sampled_from([1, 15, 16, 17, 48, 49, 200]), isa=st.sampled_from(FLOATS),
    seed=st.integers(0, 999), window=st.sampled_from([(1, 1), (3, 2)]),
)  # fmt: skip
def test_a_linear_of_bfloat16_bit_by_bit(rows, k, out, isa, seed, window):
    """Rows of all scales, among them one with an infinity and a NaN, and biases down to nothing."""
    rng, (taps, stride) = np.random.default_rng(seed), window
    x = F(rng.standard_normal((2, rows, k)) * 10.0 ** rng.integers(-25, 12, (2, rows, 1)))
    w = F(rng.standard_normal((out, taps * k)))
    b = F(rng.standard_normal(out) * 10.0 ** rng.integers(-40, 2, out))
    if rows > 2:
        x[0, 0, 0], x[0, 1], x[1, 2, -1] = np.nan, 0, np.inf
    made = backend.Operator("linear", [3, taps * k, out, -1, taps, stride], [], isa)
    made.pack(w, b)
    (y,) = made.run([x])
    steps = rows if taps == 1 else max((rows - taps) // stride + 1, 0)
    assert y.shape == (2, steps, out)
    at = np.arange(steps)[:, None] * stride + np.arange(taps)
    start = np.where(np.abs(b) < 2.0**-103, F(0), b)
    for n in range(2):
        there = x[n, at].reshape(steps, taps * k)
        with np.errstate(all="ignore"):
            due = products(np.broadcast_to(start, (steps, out)), rounded(w), rounded(there))
        assert np.array_equal(y[n], flushed(due), equal_nan=True)


def parts_of(rng):
    """(nodes, constants) of a model of all that has a matrix: convolutions over one axis and two,
    MatMul and Gemm of a moved matrix, a GRU."""
    constants = {
        "conv": F(rng.standard_normal((8, 6, 3)) / 4), "c": F(rng.standard_normal(8)),
        "wide": F(rng.standard_normal((2, 1, 1, 3)) / 2), "one": np.array([1]),
        "w": F(rng.standard_normal((1, 36, 16)) / 4), "r": F(rng.standard_normal((1, 36, 12)) / 4),
        "m": F(rng.standard_normal((5, 12)) / 4), "g": F(rng.standard_normal((4, 5))),
        "b": F(rng.standard_normal(4)),
    }  # fmt: skip
    nodes = [
        node("Conv", "x conv c", "d"),                      # (N, 8, T)
        node("Unsqueeze", "d one", "e"),
        node("Conv", "e wide", "f", pads=[0, 1, 0, 1]),     # (N, 2, 8, T)
        node("Reshape", "f shape", "h"),                    # (N, 16, T)
        node("Transpose", "h", "i", perm=[2, 0, 1]),
        node("GRU", "i w r", "j", hidden_size=12, linear_before_reset=1),
        node("Squeeze", "j one", "k"), node("Transpose", "m", "mt"), node("MatMul", "k mt", "n"),
        node("Reshape", "n flat", "o"), node("Gemm", "o g b", "y", transB=1, alpha=0.5),
    ]  # fmt: skip
    constants |= {"shape": np.array([0, 16, -1]), "flat": np.array([-1, 5])}
    return nodes, constants


@pytest.fixture
def whole(rng, tmp_path):
    graph = graph_of(*parts_of(rng)[:1], {"x": ("N", 6, "T")}, "y", parts_of(rng)[1])
    return lambda **options: load(model_of(graph), tmp_path, **options)


def kinds(model, x):
    """{(operator, precision of its weights)} of the plan."""
    return {
        (n.op.removesuffix("Last"), "int8" if len(n.inputs) > 3 else n.attrs.get("dtype"))
        if n.op != "Recurrent" else (n.op, n.attrs["layer"].dtype)
        for n in model.planned({"x": x}).graph.nodes
        if n.op in ("Linear", "Conv", "ConvLast", "Recurrent", "MatMul", "Gemm")
    }  # fmt: skip


def test_which_operators_compute_in_fewer_bits(whole, rng):
    """All but the convolution over two axes, which says why. Errors are those of the format."""
    x = F(rng.standard_normal((3, 6, 11)))
    exact = whole()
    due = exact(x)
    for dtype, bound in (("bfloat16", 0.03), ("int8", 0.03)):
        model = whole(dtype=dtype)
        assert model.dtype == dtype
        assert kinds(model, x) == {("Conv", None), ("Linear", dtype), ("Recurrent", dtype)}
        (note,) = {n.attrs["note"] for n in model.planned({"x": x}).graph.nodes
                   if "note" in n.attrs}  # fmt: skip
        assert note.endswith("are over one axis, this one has 2")
        assert 0 < model.error(x, reference=exact).max < bound * abs(due).max()
        again = exact.quantize(dtype)
        assert np.array_equal(again(x), model(x)) and again.error(x).max > 0


def test_numbers_beyond_bfloat16(tmp_path, rng):
    """A weight that would become infinite leaves its product in float32, by name; an input becomes
    infinite as in a layer."""
    constants = {"w": F(rng.standard_normal((4, 3))), "v": F(rng.standard_normal((4, 3)))}
    constants["w"][1, 1] = 3.4e38
    nodes = [node("MatMul", "x w", "y"), node("MatMul", "x v", "z")]
    graph = graph_of(nodes, {"x": ("N", 4)}, "y z", constants)
    model = load(model_of(graph), tmp_path, dtype="bfloat16")
    x = F(np.ones((1, 4)))
    assert model(x)[0][0, 1] > 3.39e38
    (note,) = [n.attrs["note"] for n in model.planned({"x": x}).graph.nodes if "note" in n.attrs]
    assert "too large for bfloat16" in note
    model.save(tmp_path / "m")
    again = fastlstm.load_model(tmp_path / "m")
    assert all(np.array_equal(a, b) for a, b in zip(again(x), model(x), strict=True))
    x[0, 2] = 3.4e38
    with np.errstate(all="ignore"):
        assert np.isinf(model(x)[1]).all()


# ---- the codes that a model keeps ----


def test_an_int8_model_keeps_codes(whole, rng):
    """Of every matrix whose product is in codes; one that another operator reads stays float32.
    The plan's codes and scales are those of the weights themselves, to the bit."""
    held = whole(dtype="int8").graph.constants
    codes = {n.partition("@")[0] for n, a in held.items() if a.dtype == np.int8}
    assert codes == {"conv", "w", "r", "mt", "g"}
    assert {n for n, a in held.items() if a.dtype == F and a.ndim > 1} == {"wide"}
    x = F(rng.standard_normal((3, 6, 11)))
    plan = whole(dtype="int8").planned({"x": x}).graph
    floats = whole().planned({"x": x}).graph
    linear = lambda graph: [n for n in graph.nodes if n.op == "Linear"]  # noqa: E731
    (layer,), (same,) = ([n for n in g.nodes if n.op == "Recurrent"] for g in (plan, floats))
    pairs = [(layer.attrs["weights"][n], same.attrs["weights"][n]) for n in
             ("weight_ih_l0", "weight_hh_l0")]  # fmt: skip
    for made, one in zip(linear(plan)[-2:], linear(floats), strict=True):
        w = int8.Codes(plan.constants[made.inputs[1]], plan.constants[made.inputs[3]])
        pairs.append((w, floats.constants[one.inputs[1]]))
    for found, array in pairs:
        due = int8.quantized("w", array)
        assert np.array_equal(found.codes, due.codes) and np.array_equal(found.scales, due.scales)


def test_scales_are_the_same_once_more(rng):
    """What coded.py's head says of any largest weight, down to those that count as zeros."""
    most = F(rng.integers(1 << 23, 1 << 24, 200_000) * 2.0 ** rng.integers(-120, 100, 200_000))
    most = np.concatenate([most, F([2**-100, 1, np.nextafter(F(1), F(0)), 127, 128])])
    once = int8.quantized("w", most[:, None])
    again = int8.quantized("w", once.astype(F))
    assert np.array_equal(again.scales, once.scales) and np.array_equal(again.codes, once.codes)
    rows = int8.quantized("w", F(rng.standard_normal((2000, 50)) * np.exp(rng.uniform(-9, 9))))
    again = int8.quantized("w", rows.astype(F))
    assert np.array_equal(again.scales, rows.scales) and np.array_equal(again.codes, rows.codes)


def test_a_matrix_with_other_uses_stays(tmp_path, rng):
    """Rows of codes along both axes, a table that is looked up, an output."""
    constants = {"w": F(rng.standard_normal((4, 4))), "v": F(rng.standard_normal((4, 4))),
                 "u": F(rng.standard_normal((4, 4))), "i": np.array([1])}  # fmt: skip
    nodes = [
        node("MatMul", "x w", "a"), node("Gemm", "a w", "b", transB=1), node("MatMul", "b v", "c"),
        node("Gather", "v i", "d"), node("Add", "c d", "e"), node("MatMul", "e u", "y"),
    ]  # fmt: skip
    graph = graph_of(nodes, {"x": ("N", 4)}, "y u", constants)
    model = load(model_of(graph), tmp_path, dtype="int8")
    assert not any(a.dtype == np.int8 for a in model.graph.constants.values())
    x = F(rng.standard_normal((3, 4)))
    assert np.array_equal(model(x)[1], constants["u"])
    exact = load(model_of(graph), tmp_path)(x)
    assert 0 < abs(model(x)[0] - exact[0]).max() < 0.1 * abs(exact[0]).max()


# ---- layers with weights of their own, as Keras' ----


def layer_graph(rng):
    """A graph with the package's own node of a recurrent layer."""
    layer = fastlstm.LSTM(5, 6)
    weights = {n: F(rng.standard_normal(a.shape)) for n, a in layer.state_dict().items()}
    attrs = {"layer": Layer("LSTM", input_size=5, hidden_size=6), "weights": weights}
    x = Value("x", np.dtype(F), ("t", "n", 5))
    return Graph([x], [Value("y", np.dtype(F), ("t", "n", 6))],
                 [Node("Recurrent", ["x"], ["y"], attrs)], {}, "own")  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "bfloat16", "float16"])
def test_own_layers_are_saved_in_fewer_bits(tmp_path, rng, dtype):
    x, model = F(rng.standard_normal((4, 3, 5))), fastlstm.Model(layer_graph(rng), dtype=dtype)
    model.save(tmp_path / "m")
    again = fastlstm.load_model(tmp_path / "m")
    assert again.dtype == dtype and np.array_equal(again(x), model(x))
    for other in ("float32", "bfloat16", "int8"):
        one, two = (m.quantize(other)(x) for m in (again, model))
        assert np.array_equal(one, two)
    weights = again.graph.nodes[0].attrs["weights"]
    assert isinstance(weights["weight_ih_l0"], int8.Codes) == (dtype == "int8")


def saved_parts(path):
    """(the configuration, {name: array}) of a saved file."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    config, arrays = json.loads(header.pop("__metadata__")["fastlstm"]), {}
    for name, entry in header.items():
        begin, end = (8 + size + n for n in entry["data_offsets"])
        dtype = {"F32": "f4", "I8": "i1", "I64": "i8"}[entry["dtype"]]
        arrays[name] = np.frombuffer(raw[begin:end], dtype).reshape(entry["shape"])
    return config, arrays


def test_codes_that_cannot_be_are_refused(tmp_path, rng):
    """-128, scales that are infinite, negative, of another length or not there, in layers and in
    matrices; versions that are not known."""
    fastlstm.Model(layer_graph(rng), dtype="int8").save(tmp_path / "m")
    config, arrays = saved_parts(tmp_path / "m")
    assert config["version"] == 2
    tensors = config["model"]["graph"]["nodes"][0][3]["weights"]["tensors"]
    codes, scales = tensors["weight_ih_l0"], tensors["weight_ih_l0_scale"]

    def refused(changed, edited, words):
        write_arrays(tmp_path / "n", json.dumps(edited), changed)
        with pytest.raises(fastlstm.LoadError, match=words) as caught:
            fastlstm.load_model(tmp_path / "n")(np.zeros((2, 1, 5), F))
        assert str(caught.value).isprintable()

    why = "the codes of 'weight_ih_l0' or their scales are none"
    for name, wrong in (
        (codes, np.full((24, 5), -128, np.int8)), (codes, np.zeros((23, 5), np.int8)),
        (codes, np.zeros(24, np.int8)), (scales, np.full(24, np.inf, F)),
        (scales, np.full(24, -1, F)), (scales, np.full(24, np.nan, F)), (scales, np.zeros(3, F)),
        (scales, np.zeros(24, np.int8)),
    ):  # fmt: skip
        refused(arrays | {name: wrong}, config, why)
    text = json.dumps(config)
    refused(arrays, json.loads(text.replace('"weight_ih_l0_scale"', '"other"')), why)
    refused(arrays | {codes: np.zeros((24, 4), np.int8)}, config, "weight_ih_l0|fit together")
    for version in (0, 3, 1 << 70, "2", 2.0, True, None):
        refused(arrays, config | {"version": version}, "this fastlstm reads 1 and 2")
    with pytest.raises(fastlstm.LoadError, match="a whole model"):
        fastlstm.load(tmp_path / "m")


def test_scales_of_matrices_that_cannot_be(whole, tmp_path):
    """Where the codes are of a matrix, they are numbers times scales like those of any file: the
    product stays in float32 where that is no number, and a wrong length is refused."""
    whole(dtype="int8").save(tmp_path / "m")
    config, arrays = saved_parts(tmp_path / "m")
    constants = config["model"]["graph"]["constants"]
    name = next(t for n, t in constants.items() if re.match("g@scales", n))
    x = np.ones((1, 6, 5), F)
    write_arrays(tmp_path / "n", json.dumps(config), arrays | {name: np.full(4, np.inf, F)})
    model = fastlstm.load_model(tmp_path / "n")
    notes = [n.attrs["note"] for n in model.planned({"x": x}).graph.nodes if "note" in n.attrs]
    assert any("NaN or an infinity" in note for note in notes)
    assert not np.isfinite(model(x)).all()
    write_arrays(tmp_path / "n", json.dumps(config), arrays | {name: np.ones(3, F)})
    with pytest.raises(fastlstm.LoadError, match="scales of the shape"):
        fastlstm.load_model(tmp_path / "n")(x)
