# SPDX-License-Identifier: MIT
"""Operators on small integers with scales against sums of integers in NumPy, also where scales are
hostile; ONNX Runtime's own such operators; the product in codes. test_int8_models.py has models."""

from unittest import mock

import numpy as np
import onnx
import pytest
import quantized_models
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import by_onnxruntime, graph_of, model_of, node

import fastlstm
from fastlstm.engine import backend, int8
from fastlstm.models import plan
from fastlstm.models.graph import ModelError

F = np.float32
ISAS = fastlstm.runnable_isas()
RANGE = {"uint8": (0, 255), "int8": (-128, 127)}


def load(model, tmp_path, **options):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return fastlstm.load_model(path, **options)


def drawn(rng, kind, shape, extreme=False):
    low, high = RANGE[kind]
    if extreme:
        return np.full(shape, high if high == 255 else low, kind)
    return rng.integers(low, high + 1, shape).astype(kind)


# ---- the integer operators, exactly ----


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("k", [1, 7, 257, 258, 259, 2000, 5000])
@pytest.mark.parametrize("a_kind, b_kind, zeros", [
    ("uint8", "int8", "none"), ("uint8", "uint8", "one"), ("int8", "int8", "each"),
    ("int8", "uint8", "one"),
])  # fmt: skip
def test_sums_of_integers_are_exact(tmp_path, rng, k, a_kind, b_kind, zeros, isa):
    """At their largest too, where float32 does not hold a sum."""
    for extreme in (False, True):
        a = drawn(rng, a_kind, (3, k), extreme)
        b = drawn(rng, b_kind, (k, 5), extreme)
        a_zero, b_zero = np.zeros(1, np.int64), np.zeros(1, np.int64)
        constants, names = {"b": b}, "a b"
        if zeros != "none":
            shapes = ((), ()) if zeros == "one" else ((3,), (5,))
            a_zero, b_zero = (drawn(rng, n, s) for n, s in zip((a_kind, b_kind), shapes))
            if extreme:  # as far from the codes as can be
                a_zero, b_zero = (
                    np.full(z.shape, sum(RANGE[z.dtype.name]) - x.flat[0].astype(int), z.dtype)
                    for z, x in ((a_zero, a), (b_zero, b))
                )
            constants |= {"az": a_zero, "bz": b_zero}
            names = "a b az bz"
        graph = graph_of([node("MatMulInteger", names, "y")], {"a": a}, "y", constants)
        graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
        left = a.astype(np.int64) - np.asarray(a_zero, np.int64).reshape(-1, 1)
        right = b.astype(np.int64) - np.asarray(b_zero, np.int64).reshape(1, -1)
        y = load(model_of(graph), tmp_path, isa=isa)(a)
        assert y.dtype == np.int32 and np.array_equal(y, left @ right)


def by_hand(x, w, pads, stride, zero):
    """The sums of ConvInteger over one axis, and one group, in int64."""
    x = np.pad(x.astype(np.int64) - zero, ((0, 0), (0, 0), (pads, pads)))
    steps = (x.shape[2] - w.shape[2]) // stride + 1
    at = np.arange(steps)[:, None] * stride + np.arange(w.shape[2])
    return np.einsum("nctk,mck->nmt", x[:, :, at], w.astype(np.int64))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels, extreme", [(3, False), (90, False), (90, True), (900, True)])
def test_convolutions_of_integers_are_exact(tmp_path, rng, channels, extreme, isa):
    x = drawn(rng, "uint8", (2, channels, 9), extreme)
    w = drawn(rng, "int8", (4, channels, 3), extreme)
    made = node("ConvInteger", "x w z", "y", pads=[1, 1], strides=[2])
    graph = graph_of([made], {"x": x}, "y", {"w": w, "z": np.uint8(3)})
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    y = load(model_of(graph), tmp_path, isa=isa)(x)
    assert y.dtype == np.int32 and np.array_equal(y, by_hand(x, w, 1, 2, 3))


def rounded(sums, factor, zero):
    info = np.iinfo(zero.dtype)
    y = np.rint(sums.astype(F) * F(factor)).astype(np.float64) + zero
    return np.clip(y, info.min, info.max).astype(zero.dtype)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_qlinear_operators_are_onnx_s_definition(tmp_path, rng, runner, kind):
    """Scales of each output, a bias, and results at both ends of the range."""
    x, w = drawn(rng, kind, (2, 40, 9)), drawn(rng, "int8", (6, 40, 3))
    zero, y_zero = drawn(rng, kind, ()), drawn(rng, kind, ())
    x_scale, y_scale = F(0.02), F(0.5)
    w_scale = F(rng.uniform(0.001, 0.01, 6))
    bias = rng.integers(-50000, 50000, 6).astype(np.int32)
    made = node("QLinearConv", "x xs xz w ws wz ys yz b", "y", pads=[1, 1])
    constants = {"xs": x_scale, "xz": zero, "w": w, "ws": w_scale, "wz": np.zeros(6, np.int8),
                 "ys": y_scale, "yz": y_zero, "b": bias}  # fmt: skip
    graph = graph_of([made], {"x": x}, "y", constants)
    graph.output[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    (y,) = runner(model_of(graph))([x])
    sums = by_hand(x, w, 1, 1, int(zero)) + bias[:, None]
    due = rounded(sums, (x_scale * w_scale / y_scale)[:, None], y_zero)
    assert y.dtype == due.dtype and np.array_equal(y, due)
    a = x[0]
    made = node("QLinearMatMul", "a as az b bs bz ys yz", "y")
    constants = {"as": x_scale, "az": zero, "b": x[1].T.copy(), "bs": w_scale[0], "bz": zero,
                 "ys": F(0.3), "yz": y_zero}  # fmt: skip
    graph = graph_of([made], {"a": a}, "y", constants)
    graph.output[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    (y,) = runner(model_of(graph))([a])
    b = x[1].T.astype(np.int64) - int(zero)
    due = rounded((a.astype(np.int64) - int(zero)) @ b, x_scale * w_scale[0] / F(0.3), y_zero)
    assert np.array_equal(y, due)
    assert len(np.unique(due)) > 10


HOSTILE = [0.0, np.nan, -0.5, np.inf, -np.inf, 1e-45, 3e38]


def test_hostile_scales_follow_the_rule(runner):
    """IEEE's quotient, then NaN as 0 and infinity as the end of the range: by every runner."""
    x = F([0, 1, -1, 0.26, np.nan, np.inf, -np.inf, 1e-30, 2.5, 3.5])
    for scale in HOSTILE:
        for zero in (np.uint8(7), np.int8(-3), np.uint16(700), np.int16(-9)):
            made = node("QuantizeLinear", "x s z", "q")
            back = node("DequantizeLinear", "q s z", "y")
            graph = graph_of([made, back], {"x": x}, "q y", {"s": F(scale), "z": zero})
            graph.output[0].type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(zero.dtype)
            q, y = runner(model_of(graph))([x])
            info = np.iinfo(zero.dtype)
            with np.errstate(all="ignore"):
                due = np.clip(np.nan_to_num(np.rint(x / F(scale)) + F(zero)), info.min, info.max)
                assert np.array_equal(q, due.astype(zero.dtype)), (scale, zero.dtype)
                numbers = (q.astype(np.int64) - int(zero)).astype(F) * F(scale)
            assert np.array_equal(y, numbers, equal_nan=True)


def test_scales_of_wrong_lengths_are_refused(runner, rng):
    x = F(rng.standard_normal((2, 3)))
    for constants, said in (
        ({"s": F([1, 2]), "z": np.zeros(2, np.uint8)}, "for axis 1"),
        ({"s": F([1, 2, 3]), "z": np.zeros(2, np.uint8)}, "a zero point of the shape"),
        ({"s": np.ones((2, 2), F), "z": np.zeros((2, 2), np.uint8)}, "in blocks of 0"),
    ):
        graph = graph_of([node("QuantizeLinear", "x s z", "y")], {"x": x}, "y", constants)
        with pytest.raises(ModelError, match=said):
            runner(model_of(graph))([x])


@pytest.mark.parametrize("x", [
    [0, 0, 0], [1e-45, 0], [-3, 5], [2, 3], [-7, -1], [np.nan, 1], [np.inf, 1], [3e38, -3e38],
    [0.5, 1.5, 2.5, 255],
])  # fmt: skip
def test_dynamic_quantize_linear(runner, x):
    """By ONNX's formula; of numbers that have no finite range the scale is NaN and the codes 0."""
    x = F(x)
    graph = graph_of([node("DynamicQuantizeLinear", "x", "y s z")], {"x": x}, "y s z")
    for i in (0, 2):
        graph.output[i].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    y, scale, zero = runner(model_of(graph))([x])
    with np.errstate(all="ignore"):
        low, high = np.minimum(0, x.min()), np.maximum(0, x.max())
        due = F((F(high) - F(low)) / F(255))
    if not np.isfinite(due):
        assert np.isnan(scale) and zero == 0 and not y.any()
        return
    by = due if due else F(1)
    middle = np.uint8(np.rint(F(-F(low)) / by))
    assert (scale, zero) == (due, middle)
    assert np.array_equal(y, np.clip(np.rint(x / by) + F(middle), 0, 255).astype(np.uint8))


@pytest.mark.needs("c")
@pytest.mark.parametrize("name, made", list(quantized_models.every()), ids=lambda v: str(v)[:40])
def test_hostile_models_are_refused_or_run_by_the_rule(name, made, tmp_path):
    """NaN, 0, negative and infinite scales, zero points at the ends, wrong lengths: the C core and
    NumPy agree about the numbers, or a sentence says what does not fit."""
    x = np.linspace(-2, 2, 2 * 4 * 5, dtype=F).reshape(2, 4, 5)
    found = []
    for how in ("c", "numpy"):
        with mock.patch.object(plan, "NAME", how):
            try:
                found.append(load(made, tmp_path)(x))
            except fastlstm.LoadError as error:
                assert str(error).isprintable()
                found.append(None)
    assert (found[0] is None) == (found[1] is None)
    if found[0] is not None:
        assert found[0].shape == found[1].shape
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5, equal_nan=True)
    sound = name.split()[-1] in ("None", "3", "1") or "zero" in name
    assert found[0] is not None or not sound


@pytest.mark.once
def test_a_file_s_integers_as_codes(rng):
    """Those of -127 .. 127 as they are; one -128 as -127, many by another scale; else why not."""
    q = rng.integers(-127, 128, (40, 30)).astype(np.int8)
    scales = F(rng.uniform(0.1, 1, 40))
    made, note = int8.of_integers(q, 0, scales)
    assert note is None and np.array_equal(made.codes, q) and np.array_equal(made.scales, scales)
    shifted = (q.astype(int) // 2 + 70).astype(np.uint8)
    made, note = int8.of_integers(shifted, np.full(40, 50, np.uint8), F(0.5))
    assert note is None and np.array_equal(made.codes, shifted.astype(int) - 50)
    q[3, 4], q[5] = -128, -128
    made, note = int8.of_integers(q, 0, scales)
    assert note.startswith("2 of its rows")
    off = abs(made.astype(F) - q * scales[:, None])
    assert np.flatnonzero(off > 1e-5).tolist() == [3 * 30 + 4] and off[3, 4] <= 1.001 * scales[3]
    for zeros, scale, why in (
        (-5, 1.0, "beyond -128"), (300, 1.0, "integers of 8 bits"), (0.5, 1.0, "of 8 bits"),
        (1 << 40, 1.0, "of 8 bits"), (np.nan, 1.0, "of 8 bits"), (0, np.nan, "not all finite"),
        (0, -1.0, "not all finite"), (0, 3.4e38, "too large"),
    ):  # fmt: skip
        assert int8.of_integers(q, zeros, scale)[0] is None
        assert why in int8.of_integers(q, zeros, scale)[1]
    wide = np.full((2, 3), 65537, np.int32)  # of which 16 bits alone are 1
    made, why = int8.of_integers(wide, 0, 1.0)
    assert made is None and "int32" in why


# ---- the product in codes ----


@pytest.mark.needs("c")
@settings(max_examples=60)
@given(
    rows=st.sampled_from([0, 1, 2, 7, 24, 25, 65]), k=st.sampled_from([1, 3, 4, 5, 31, 64, 300]),
    out=st.sampled_from([1, 15, 16, 17, 48, 49, 200]), codes=st.sampled_from(int8.INPUTS),
    isa=st.sampled_from(ISAS), seed=st.integers(0, 999), window=st.sampled_from([(1, 1), (3, 2)]),
)  # fmt: skip
def test_a_linear_of_codes(rows, k, out, codes, isa, seed, window):
    """Against sums of integers in NumPy, by another rule for windows; rows of all scales."""
    rng, (taps, stride) = np.random.default_rng(seed), window
    x = F(rng.standard_normal((2, rows, k)) * 10.0 ** rng.integers(-25, 12, (2, rows, 1)))
    if rows > 2:
        x[0, 0, 0], x[0, 1], x[1, 2, -1] = np.nan, 0, np.inf
    w = int8.quantized("w", F(rng.standard_normal((out, taps * k))))
    b = F(rng.standard_normal(out))
    bits = 8 if codes == "int8" else 16
    made = backend.Operator("linear", [2, taps * k, out, -1, taps, stride, bits], [], isa)
    made.pack(w.codes, b, w.scales)
    (y,) = made.run([x])
    steps = rows if taps == 1 else max((rows - taps) // stride + 1, 0)
    assert y.shape == (2, steps, out)
    for n in range(2):
        for t in range(steps):
            row = x[n, t * stride : t * stride + taps].reshape(-1)
            row = np.where(np.abs(row) < 2.0**-62, F(0), row)
            q, scale = int8.encoded(row, 0, int8.top_of(w.codes, bits))
            sums = F(w.codes.astype(np.int64) @ q.astype(np.int64))
            with np.errstate(all="ignore"):
                due = (sums.astype(np.float64) * (w.scales * scale) + b).astype(F)
            due = np.where(np.abs(due) < 2.0**-62, F(0), due)
            np.testing.assert_allclose(y[n, t], due, rtol=3e-7, atol=0, equal_nan=True)


@pytest.mark.needs("c")
@pytest.mark.parametrize("isa", ISAS)
def test_the_largest_sums(isa):
    for k in (4096, 65536):
        codes = np.full((17, k), 127, np.int8)
        codes[1] = -127
        for bits in (8, 16):
            made = backend.Operator("linear", [2, k, 17, -1, 1, 1, bits], [], isa)
            made.pack(codes, None, np.ones(17, F))
            (y,) = made.run([np.ones((2, k), F)])
            assert np.array_equal(y, np.broadcast_to(y[0], y.shape))
            assert np.allclose(y[0], [127 * k, -127 * k, *[127 * k] * 15], rtol=1e-6)


@pytest.mark.needs("c")
def test_numbers_of_an_operator_that_do_not_fit():
    for ints in ([4, 4, 4], [2, 4, 4, -1, 3, 1], [2, 4, 4, -1, 1, 1, 12], [2, 1 << 17, 1],
                 [2, 4, 4, -1, 1, 0], [2, 4, 4, -1, 1, 1, 16, 0]):  # fmt: skip
        with pytest.raises(ValueError):
            backend.Operator("linear", ints)
    made = backend.Operator("linear", [2, 4, 3])
    good = np.ones((3, 4), np.int8), None, np.ones(3, F)
    for wrong in ((F(good[0]), None, good[2]), (good[0], None), (good[0], None, np.ones(4, F)),
                  (good[0][:2], None, good[2]), (good[0], None, None)):  # fmt: skip
        with pytest.raises(ValueError):
            made.pack(*wrong)


# ---- ONNX Runtime's operators on codes ----

MICROSOFT = {
    "QLinearAdd": ("a as az b as az ys yz", {}),
    "QLinearMul": ("a as az b as az ys yz", {}),
    "QLinearSigmoid": ("a as az ys yz", {}),
    "QLinearLeakyRelu": ("a as az ys yz", {"alpha": 0.2}),
    "QLinearSoftmax": ("a as az ys yz", {"axis": 1, "opset": 13}),
    "QLinearGlobalAveragePool": ("p as az ys yz", {"channels_last": 0}),
    "QLinearAveragePool": ("p as az ys yz", {"kernel_shape": [2, 2]}),
    "QLinearConcat": ("ys yz a as az b as az", {"axis": 0}),
    "QGemm": ("a as az w ws wz c ys yz", {"transB": 1, "alpha": 0.5}),
    "MatMulIntegerToFloat": ("a wt as ws az wz f", {}),
    "DynamicQuantizeMatMul": ("x wt ws wz f", {}),
}


@pytest.mark.once
@pytest.mark.parametrize("attrs", [
    {"opset": 12}, {"opset": 13}, {"opset": 12, "axis": 1}, {"opset": 11, "axis": 0},
    {"opset": 13, "axis": 1}, {"opset": 12, "axis": -1},
], ids=str)  # fmt: skip
def test_softmax_of_codes_is_that_of_its_set(attrs, runner, rng):
    """Before set 13 the axes from `axis` on were one."""
    constants = {"as": F(0.05), "az": np.uint8(120), "ys": F(1 / 256), "yz": np.uint8(0)}
    x = drawn(rng, "uint8", (2, 3, 4))
    made = node("QLinearSoftmax", "x as az ys yz", "y", **attrs)
    made.domain = "com.microsoft"
    graph = graph_of([made], {"x": x}, "y", constants)
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    model = model_of(graph, com_microsoft=1)
    (due,) = by_onnxruntime(model, {"x": x})
    (y,) = runner(model)([x])
    assert (y.dtype, y.shape) == (due.dtype, due.shape) and abs(y.astype(int) - due).max() <= 1


@pytest.mark.once
@pytest.mark.parametrize("op", MICROSOFT)
def test_onnx_runtimes_operators_on_codes(op, runner, rng):
    """One step of the result more or less where ONNX Runtime multiplies in another order."""
    names, attrs = MICROSOFT[op]
    arrays = {
        "a": drawn(rng, "uint8", (4, 10)), "b": drawn(rng, "uint8", (4, 10)),
        "p": drawn(rng, "uint8", (1, 2, 4, 4)), "as": F(0.05), "az": np.uint8(120),
        "ys": F(0.06), "yz": np.uint8(100), "w": drawn(rng, "int8", (6, 10)) // 2, "ws": F(0.03),
        "wz": np.int8(0), "c": rng.integers(-500, 500, 6).astype(np.int32),
        "f": F(rng.standard_normal(6)), "x": F(rng.standard_normal((4, 10))),
    }  # fmt: skip
    arrays["wt"] = arrays["w"].T.copy()
    given = next(n for n in names.split() if n in "abpx")
    made = node(op, names, "y", **attrs)
    made.domain = "com.microsoft"
    used = {n: arrays[n] for n in names.split() if n != given}
    graph = graph_of([made], {given: arrays[given]}, "y", used)
    coded = "Float" not in op and op != "DynamicQuantizeMatMul"
    if coded:
        graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    model = model_of(graph, com_microsoft=1)
    (due,) = by_onnxruntime(model, {given: arrays[given]})
    (y,) = runner(model)([arrays[given]])
    assert (y.dtype, y.shape) == (due.dtype, due.shape)
    if coded:
        assert abs(y.astype(int) - due).max() <= 1
    else:
        assert abs(y - due).max() <= (0.05 if op == "DynamicQuantizeMatMul" else 1e-5)
