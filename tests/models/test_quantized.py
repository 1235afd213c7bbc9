# SPDX-License-Identifier: MIT
"""Whole models on small integers: the integer operators against sums in Python's integers, files of
onnxruntime.quantization against ONNX Runtime on the numbers that their codes stand for, models that
are asked to be int8, and the bits of all of them."""

import pickle
from unittest import mock

import numpy as np
import onnx
import onnxruntime
import pytest
import quantized_models
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
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
@pytest.mark.parametrize("name, made", quantized_models.every(), ids=lambda v: str(v)[:40])
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


def test_numbers_of_an_operator_that_do_not_fit():
    for ints in ([3, 4, 4], [2, 4, 4, -1, 3, 1], [2, 4, 4, -1, 1, 1, 12], [2, 1 << 17, 1],
                 [2, 4, 4, -1, 1, 0], [2, 4, 4, -1, 1, 1, 16, 0]):  # fmt: skip
        with pytest.raises(ValueError):
            backend.Operator("linear", ints)
    made = backend.Operator("linear", [2, 4, 3])
    good = np.ones((3, 4), np.int8), None, np.ones(3, F)
    for wrong in ((F(good[0]), None, good[2]), (good[0], None), (good[0], None, np.ones(4, F)),
                  (good[0][:2], None, good[2]), (good[0], None, None)):  # fmt: skip
        with pytest.raises(ValueError):
            made.pack(*wrong)


test_numbers_of_an_operator_that_do_not_fit = pytest.mark.needs("c")(
    test_numbers_of_an_operator_that_do_not_fit
)


# ---- files of onnxruntime.quantization ----

STEPS, CHANNELS, HIDDEN, TAGS = 12, 24, 20, 7


@pytest.fixture(scope="module")
def floats(tmp_path_factory):
    """The path of a model: Conv1d, relu, a bidirectional LSTM, two Linears."""
    rng = np.random.default_rng(11)

    def weights(*shape):
        return F(rng.uniform(-1, 1, shape) / np.sqrt(shape[-1]))

    constants = {
        "cw": weights(16, CHANNELS, 3), "cb": weights(16),
        "w": weights(2, 4 * HIDDEN, 16), "r": weights(2, 4 * HIDDEN, HIDDEN),
        "b": weights(2, 8 * HIDDEN), "shape": np.array([0, 0, 2 * HIDDEN]),
        "m": weights(2 * HIDDEN, 30), "mb": weights(30), "n": weights(30, TAGS),
        "nb": weights(TAGS),
    }  # fmt: skip
    nodes = [
        node("Conv", "x cw cb", "c", pads=[1, 1], strides=[2]), node("Relu", "c", "d"),
        node("Transpose", "d", "e", perm=[2, 0, 1]),
        node("LSTM", "e w r b", "f", direction="bidirectional", hidden_size=HIDDEN),
        node("Transpose", "f", "g", perm=[0, 2, 1, 3]), node("Reshape", "g shape", "h"),
        node("MatMul", "h m", "i"), node("Add", "i mb", "j"), node("Tanh", "j", "k"),
        node("MatMul", "k n", "l"), node("Add", "l nb", "y"),
    ]  # fmt: skip
    graph = graph_of(nodes, {"x": ("N", CHANNELS, "T")}, "y", constants)
    path = tmp_path_factory.mktemp("quantized") / "floats.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(model_of(graph, 17)), path)
    return path


OPTIONS = {
    "plain": {}, "channels": {"per_channel": True}, "reduced": {"reduce_range": True},
    "unsigned": {"weight_type": "QUInt8"},
    "asymmetric": {"extra_options": {"WeightSymmetric": False}},
}  # fmt: skip


@pytest.fixture(scope="module")
def dynamic(floats):
    """{name: path} of what quantize_dynamic makes of it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    found = {}
    for name, options in OPTIONS.items():
        options = {k: QuantType[v] if k == "weight_type" else v for k, v in options.items()}
        found[name] = floats.with_name(f"{name}.onnx")
        quantize_dynamic(floats, found[name], **options)
    return found


def x_of(rng, batch=3, steps=STEPS):
    return F(rng.standard_normal((batch, CHANNELS, steps)))


def numbers_of(path):
    """ONNX Runtime's run, in float32, of the model whose weights are what a quantised file's codes
    stand for: written here for the names of this module's model."""
    model = onnx.load(path)
    stored = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    floats = onnx.load(path.with_name("floats.onnx"))
    for i, each in enumerate(floats.graph.initializer):
        codes = stored.get(f"{each.name}_quantized")
        if codes is None:
            continue
        zero, scale = (stored[f"{each.name}_{n}"] for n in ("zero_point", "scale"))
        if codes.ndim == 3 and each.name in "wr":
            codes = codes.transpose(0, 2, 1)
            zero, scale = (
                a[..., None] if a.ndim == 2 else a.reshape(-1, 1, 1) for a in (zero, scale)
            )
        elif zero.ndim and zero.size > 1 and each.name == "cw":
            zero, scale = (a.reshape(-1, 1, 1) for a in (zero, scale))
        numbers = F((codes.astype(np.float64) - zero) * scale)
        floats.graph.initializer[i].CopyFrom(numpy_helper.from_array(numbers, each.name))
    session = onnxruntime.InferenceSession(floats.SerializeToString())
    return lambda x: session.run(None, {"x": x})[0]


def rms(a):
    return np.sqrt(np.mean(np.square(a.astype(np.float64))))


@pytest.mark.parametrize("name", OPTIONS)
def test_files_of_quantize_dynamic(dynamic, name, rng):
    """Nearer to what the file's weights say than ONNX Runtime, whose difference from us its own
    rounding explains."""
    x = x_of(rng)
    exact = numbers_of(dynamic[name])(x)
    theirs = onnxruntime.InferenceSession(dynamic[name]).run(None, {"x": x})[0]
    model = fastlstm.load_model(dynamic[name])
    ours = model(x)
    assert model.dtype == "int8"
    assert rms(ours - exact) <= rms(theirs - exact)
    assert abs(ours - theirs).max() <= abs(ours - exact).max() + abs(theirs - exact).max() + 1e-6
    back = fastlstm.load_model(dynamic[name], dtype="float32")
    assert back.dtype == "float32" and abs(back(x) - exact).max() <= 2e-6


def kinds(model, x):
    """[(operator, whether its weights are codes)] of the plan, without notes."""
    found = []
    for each in model.planned({"x": x}).graph.nodes:
        if each.op == "Recurrent":
            found.append(("Recurrent", each.attrs["layer"].dtype == "int8"))
        elif each.op in ("Linear", "Conv", "ConvLast"):
            found.append(("Linear" if "window" in each.attrs else each.op, len(each.inputs) > 3))
    return found


def test_which_products_run_in_codes(dynamic, floats, rng):
    x = x_of(rng)
    every = [("Linear", True), ("Recurrent", True), ("Linear", True), ("Linear", True)]
    for name in ("plain", "channels", "reduced"):
        assert kinds(fastlstm.load_model(dynamic[name]), x) == every
    assert kinds(fastlstm.load_model(floats, dtype="int8"), x) == every
    assert not any(coded for _, coded in kinds(fastlstm.load_model(floats), x))
    wide = fastlstm.load_model(dynamic["unsigned"])
    notes = {n.attrs.get("note") for n in wide.planned({"x": x}).graph.nodes} - {None}
    assert notes and all("-128" in note for note in notes)


def test_own_codes_and_scales_are_kept(dynamic, rng):
    """Of the plan's layers, number by number."""
    stored = {i.name: numpy_helper.to_array(i)
              for i in onnx.load(dynamic["channels"]).graph.initializer}  # fmt: skip
    plan = fastlstm.load_model(dynamic["channels"]).planned({"x": x_of(rng)})
    (layer,) = (n for n in plan.graph.nodes if n.op == "Recurrent")
    order = np.concatenate([np.arange(HIDDEN) + HIDDEN * i for i in (0, 2, 3, 1)])
    for d, end in enumerate(("", "_reverse")):
        for name, letter in (("weight_ih_l0", "w"), ("weight_hh_l0", "r")):
            found = layer.attrs["weights"][name + end]
            assert np.array_equal(found.codes, stored[f"{letter}_quantized"][d].T[order])
            assert np.array_equal(found.scales, stored[f"{letter}_scale"][d][order])
    *_, last = (n for n in plan.graph.nodes if n.op == "Linear")
    assert np.array_equal(plan.graph.constants[last.inputs[1]], stored["n_quantized"].T)
    assert np.array_equal(plan.graph.constants[last.inputs[3]], stored["n_scale"])


@pytest.mark.once
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_files_of_quantize_static(floats, tmp_path, rng, form, per_channel):
    """Every integer on the way is ONNX Runtime's."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = [{"x": x_of(rng)} for _ in range(2)]

        def get_next(self):
            return self.left.pop() if self.left else None

    path = tmp_path / "static.onnx"
    quantize_static(floats, path, Reader(), quant_format=QuantFormat[form], per_channel=per_channel)
    x = x_of(rng)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    due = onnxruntime.InferenceSession(path, options).run(None, {"x": x})[0]
    y = fastlstm.load_model(path)(x)
    step = max(numpy_helper.to_array(i).max() for i in onnx.load(path).graph.initializer
               if i.name == "y_scale" or i.name == "l_scale")  # fmt: skip
    assert np.mean(abs(y - due) > 1e-5) < 0.02 and abs(y - due).max() <= 1.01 * step


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


# ---- models that are asked to be int8 ----


def test_quantize_error_and_save(floats, tmp_path, rng):
    x, model = x_of(rng), fastlstm.load_model(floats)
    fine, coarse = (model.quantize("int8", inputs=n) for n in int8.INPUTS)
    assert (model.dtype, fine.dtype, coarse.codes) == ("float32", "int8", "int8")
    assert 0 < fine.error(x).rms < 4e-3 and fine.error(x).rms < coarse.error(x).rms
    found, off = fine.error(x), abs(fine(x).astype(np.float64) - model(x))
    assert found.max == off.max() and off[found.where] == off.max()
    assert found == fastlstm.load_model(floats, dtype="int8").error(x, reference=model)
    for each in (fine, coarse):
        each.save(tmp_path / "saved")
        again = fastlstm.load_model(tmp_path / "saved")
        assert (again.dtype, again.codes) == ("int8", each.codes)
        assert np.array_equal(again(x), each(x))
        assert np.array_equal(pickle.loads(pickle.dumps(each))(x), each(x))
    back = fastlstm.load_model(tmp_path / "saved", dtype="float32")
    assert np.array_equal(back(x), model(x))
    assert np.array_equal(fine.quantize("float32")(x), model(x))
    with pytest.raises(ValueError, match="pass it as reference"):
        model.error(x)
    for wrong in ("int4", 8, None):
        with pytest.raises((ValueError, TypeError), match="dtype"):
            model.quantize(wrong)
    with pytest.raises(ValueError, match="inputs 'int4'"):
        model.quantize("int8", inputs="int4")


def test_a_file_s_codes_are_saved(dynamic, tmp_path, rng):
    x, model = x_of(rng), fastlstm.load_model(dynamic["channels"])
    model.save(tmp_path / "saved")
    again = fastlstm.load_model(tmp_path / "saved")
    assert again.dtype == "int8" and np.array_equal(again(x), model(x))
    assert (tmp_path / "saved").stat().st_size < 1.3 * dynamic["channels"].stat().st_size


def test_weights_that_are_not_finite_stay_floats(tmp_path, rng):
    """By name, in a note; the other products become codes."""
    w = F(rng.standard_normal((5, 4)))
    w[0, 0] = np.nan
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "x v", "y")]
    v = F(rng.standard_normal((5, 4)))
    graph = graph_of([*nodes, node("Add", "a y", "z")], {"x": (3, 5)}, "z", {"w": w, "v": v})
    model = load(model_of(graph), tmp_path, dtype="int8")
    x = np.zeros((3, 5), F)
    plan = model.planned({"x": x}).graph
    assert sorted(len(n.inputs) > 3 for n in plan.nodes if n.op == "Linear") == [False, True]
    (note,) = (n.attrs["note"] for n in plan.nodes if "note" in n.attrs)
    assert "NaN" in note
    assert np.isnan(model(x)[:, 0]).all()


# ---- bits ----


@pytest.mark.needs("c", "bits", "workers")
def test_bits(floats, dynamic, rng):
    """Rows alone and in batches, threads, instruction sets, windows of a longer signal."""
    x = x_of(rng, 70, 40)
    for path, dtype in ((floats, "int8"), (dynamic["plain"], None), (dynamic["channels"], None)):
        due = fastlstm.load_model(path, dtype=dtype)(x)
        for isa in ISAS:
            for threads in (1, 2, 4):
                model = fastlstm.load_model(path, dtype=dtype, isa=isa, num_threads=threads)
                assert np.array_equal(model(x), due), (isa, threads)
            for rows in ([0], [69], [3, 4], list(range(65))):
                assert np.array_equal(model(x[rows]), due[:, rows]), (isa, rows)


@pytest.mark.needs("c", "bits")
def test_a_stream_is_the_whole_call(tmp_path, rng):
    hidden = 24
    constants = {
        "w": F(rng.standard_normal((1, 4 * hidden, 10)) / 3),
        "r": F(rng.standard_normal((1, 4 * hidden, hidden)) / 5),
        "m": F(rng.standard_normal((hidden, 6))), "axis": np.array([1]),
    }  # fmt: skip
    nodes = [node("LSTM", "x w r   h c", "f hn cn", hidden_size=hidden)]
    nodes[0].input[:] = ["x", "w", "r", "", "", "h", "c"]
    nodes += [node("Squeeze", "f axis", "g"), node("MatMul", "g m", "y")]
    graph = graph_of(nodes, {"x": ("T", "N", 10), "h": (1, "N", hidden), "c": (1, "N", hidden)},
                     "y hn cn", constants)  # fmt: skip
    for isa in ISAS:
        model = load(model_of(graph), tmp_path, dtype="int8", isa=isa)
        x = F(rng.standard_normal((40, 3, 10)))
        none = np.zeros((1, 3, hidden), F)
        whole = model(x, none, none)[0]
        for cuts in ([1] * 40, [7, 33], [39, 1]):
            stream, at, parts = model.stream(3), 0, []
            for n in cuts:
                parts.append(np.array(stream.step(x[at : at + n])))
                at += n
            assert np.array_equal(np.concatenate(parts), whole), (isa, cuts)
