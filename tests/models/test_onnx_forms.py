# SPDX-License-Identifier: MIT
"""Every form that an operator of an ONNX file has had since set 7, and some before, against ONNX
Runtime or NumPy; ONNX Runtime's own operators."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import by_onnxruntime, graph_of, model_of, node

pytestmark = pytest.mark.once
F = np.float32
RNG = np.random.default_rng(7)
X = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32)
BATCH = {n: RNG.uniform(0.5, 1.5, 3).astype(np.float32) for n in ("s", "b", "m", "v")}
ONE = np.array([[[[1, 2, 3, 4], [5, 6, 7, 8]]]], np.float32)
REDUCTIONS = ("Max", "Min", "Mean", "Prod", "L1", "L2", "LogSumExp", "SumSquare")

# (operator set, node, {input: array}, {constant: array})
FORMS = [
    *[(v, node("Squeeze", "x", "y", axes=[0, -1]), X[:1, :, :, :1]) for v in (11, 12)],
    (7, node("Squeeze", "x", "y"), X[:1, :, :, :1]),
    (7, node("Squeeze", "x", "y", axes=[3]), X[..., :1]),
    *[(v, node("Unsqueeze", "x", "y", axes=[0, 2]), X) for v in (7, 11, 12)],
    *[(v, node(f"Reduce{r}", "x", "y", axes=[1, 2]), np.abs(X)) for v in (7, 11, 13, 17)
      for r in REDUCTIONS],
    *[(7, node(f"Reduce{r}", "x", "y", keepdims=0), np.abs(X)) for r in (*REDUCTIONS, "Sum")],
    (11, node("ReduceSum", "x", "y", axes=[-1], keepdims=0), X),
    (13, node("ReduceSum", "x a", "y"), X, {"a": np.array([1])}),
    (13, node("ReduceSum", "x", "y", noop_with_empty_axes=1), X),
    (18, node("ReduceMax", "x a", "y", keepdims=0), X, {"a": np.array([-1, 0])}),
    (7, node("Split", "x", "y z", axis=2), X),
    (11, node("Split", "x", "y z", axis=-1, split=[2, 3]), X),
    (13, node("Split", "x s", "y z", axis=1), X, {"s": np.array([1, 2])}),
    (18, node("Split", "x", "y z", axis=3, num_outputs=2), X),
    *[(11, node("ConvTranspose", "x w", "y", strides=[2, 2], output_shape=[8, 9], **a), X,
       {"w": X[0, :, :3, :2, None].transpose(0, 3, 1, 2)})
      for a in ({}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"})],
    (7, node("Slice", "x", "y", starts=[1, 0], ends=[99, -1], axes=[1, 3]), X),
    (7, node("Slice", "x", "y", starts=[0, 1], ends=[1, 2]), X),
    (10, node("Slice", "x a b c d", "y"), X, {
        "a": np.array([-1]), "b": np.array([-9]), "c": np.array([2]), "d": np.array([-2])}),
    *[(v, node("Pad", "x", "y", pads=[0, 1, 0, 2, 1, 0, 0, 2], mode=m), X) for v in (7, 10)
      for m in ("constant", "reflect", "edge")],
    (7, node("Pad", "x", "y", pads=[0, 0, 0, 0, 0, 0, 1, 1], value=2.5), X),
    (11, node("Pad", "x p v", "y"), X, {
        "p": np.array([0, 0, -1, 0, 0, 0, 1, 1]), "v": np.float32(3)}),
    (18, node("Pad", "x p v a", "y"), X, {
        "p": np.array([1, 2]), "v": np.float32(3), "a": np.array([-1])}),
    (19, node("Pad", "x p", "y", mode="wrap"), X, {"p": np.array([0, 1, 0, 0, 0, 1, 0, 2])}),
    *[(v, node("Clip", "x", "y", **a), X) for v in (7, 10)
      for a in ({}, {"min": -0.5}, {"min": -0.5, "max": 0.25})],
    *[(v, helper.make_node("Clip", ["x", "", "m"], ["y"]), X, {"m": np.float32(0.5)})
      for v in (11, 12, 13)],
    *[(v, node("Dropout", "x", "y", ratio=0.3), X) for v in (7, 10)],
    (12, node("Dropout", "x r", "y", seed=3), X, {"r": np.float32(0.3)}),
    (13, node("Dropout", "x r t", "y m"), X, {"r": np.float32(0.3), "t": np.bool_(False)}),
    (7, node("TopK", "x", "y z", axis=1, k=2), X),
    (10, node("TopK", "x k", "y z"), X, {"k": np.array([3])}),
    (11, node("TopK", "x k", "y z", largest=0), X, {"k": np.array([3])}),
    *[(7, node("Upsample", "x", "y", mode=m, scales=[1.0, 1.0, 2.0, 3.0]), ONE)
      for m in ("nearest", "linear")],
    *[(9, node("Upsample", "x s", "y", mode=m), ONE, {"s": np.float32([1, 1, 2, 1.5])})
      for m in ("nearest", "linear")],
    *[(10, node("Resize", "x s", "y", mode=m), ONE, {"s": np.float32([1, 1, *s])})
      for m in ("nearest", "linear") for s in ((2, 3), (1, 0.6), (0.5, 0.5), (1.7, 1))],
    *[(11, node("Resize", "x r s", "y", mode=m, coordinate_transformation_mode=c), ONE,
       {"r": np.float32([]), "s": np.float32([1, 1, 1.5, 2])})
      for m in ("nearest", "linear", "cubic")
      for c in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")],
    *[(v, node(op, "x", "y", axis=a), X) for v in (7, 11, 12)
      for op in ("Softmax", "LogSoftmax", "Hardmax") for a in (0, 1, 2, 3)],
    *[(v, node(op, "x", "y"), X) for v in (7, 11, 13)
      for op in ("Softmax", "LogSoftmax", "Hardmax")],
    (11, node("Softmax", "x", "y", axis=-2), X),
    (13, node("Softmax", "x", "y", axis=1), X),
    *[(v, node("BatchNormalization", "x s b m v", "y", epsilon=0.01, momentum=0.8), X, BATCH)
      for v in (7, 9, 14, 15)],
    *[(v, node("Cast", "x", "y", to=7), X) for v in (7, 9, 13, 19, 21)],
    *[(v, node("Flatten", "x", "y", axis=a), X) for v, a in ((7, 0), (9, 2), (11, -1), (21, 4))],
    *[(v, node("Gemm", "x w b", "y", transA=1, alpha=0.5, beta=2.0), X[0, 0], {
        "w": X[0, 1], "b": X[0, 2, :1]}) for v in (7, 9, 11, 13)],
    *[(v, node("Add", "x b", "y"), X, {"b": X[0, 0, 0]}) for v in (7, 13, 14)],
    (9, node("Scatter", "x i u", "y", axis=1), X, {
        "i": np.zeros((1, 1, 1, 2), np.int64), "u": np.ones((1, 1, 1, 2), np.float32)}),
    (7, node("Concat", "x x", "y", axis=-3), X),
    (18, node("GroupNormalization", "x s b", "y", num_groups=3), X, {
        n: BATCH[n] for n in ("s", "b")}),
    (21, node("GroupNormalization", "x s b", "y", num_groups=3), X, {
        n: BATCH[n] for n in ("s", "b")}),
    (17, node("LayerNormalization", "x s", "y", axis=2), X, {"s": X[0, 0]}),
    (17, node("DFT", "x", "y", axis=2, onesided=1), X[..., :1]),
    (20, node("DFT", "x n a", "y"), X[..., :1], {"n": np.int64(6), "a": np.int64(1)}),
    (9, node("MeanVarianceNormalization", "x", "y"), X),
    (7, node("LRN", "x", "y", size=3), X),
    *[(v, node("MaxPool", "x", "y", kernel_shape=[2, 3], **a), X) for v, a in (
        (7, {}), (8, {"strides": [2, 2]}), (10, {"ceil_mode": 1, "strides": [2, 2]}),
        (11, {"auto_pad": "SAME_LOWER"}), (12, {"dilations": [2, 1]}))],
    *[(v, node("AveragePool", "x", "y", kernel_shape=[2, 3], pads=[1, 1, 0, 1], **a), X)
      for v, a in ((7, {"count_include_pad": 1}), (10, {"ceil_mode": 1, "strides": [2, 2]}))],
    (14, node("Reshape", "x s", "y"), X, {"s": np.array([0, -1, 2])}),
    (7, node("Shape", "x", "y"), X),
    (15, node("Shape", "x", "y", start=-3, end=3), X),
]  # fmt: skip


def identify(form):
    return f"{form[1].op_type}-{form[0]}"


@pytest.mark.parametrize("form", FORMS, ids=map(identify, FORMS))
def test_forms_of_older_sets(form, runner):
    version, made, x, *constants = form
    model = model_of(graph_of([made], {"x": x}, " ".join(made.output), *constants), version)
    expected = by_onnxruntime(model, {"x": x})
    for y, due in zip(runner(model)([x]), expected, strict=True):
        assert (y.dtype, y.shape) == (due.dtype, due.shape)
        np.testing.assert_allclose(y, due, rtol=1e-5, atol=2e-6)


BEFORE = [
    (1, node("Concat", "x x", "y"), lambda x: np.concatenate([x, x], 1)),
    (1, node("Reshape", "x", "y", shape=[0, -1], consumed_inputs=[0]), lambda x: x.reshape(2, -1)),
    (1, node("Cast", "x", "y", to="INT32"), lambda x: x.astype(np.int32)),
    (1, node("Relu", "x", "y", consumed_inputs=[0]), lambda x: np.maximum(x, 0)),
    (1, node("Pad", "x", "y", paddings=[0, 0, 0, 1, 0, 0, 0, 0]),
     lambda x: np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 0)))),
    (2, node("Pad", "x", "y", pads=[0, 0, 0, 1, 0, 0, 0, 0]),
     lambda x: np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 0)))),
    (1, node("Split", "x", "y z", axis=0), lambda x: x[:1]),
    (1, node("Add", "x x", "y", broadcast=1), lambda x: x + x),
    (6, node("Dropout", "x", "y", is_test=1), lambda x: x),
    (1, node("Selu", "x", "y"),
     lambda x: 1.0507 * np.where(x > 0, x, 1.6732 * np.expm1(np.minimum(x, 0)))),
    *[(v, node("PRelu", "x s", "y"),
       lambda x, s=s: np.where(x < 0, x * s.reshape(-1, 1, 1), x), {"s": s})
      for v in (1, 6) for s in (F([0.1, -0.2, 3]), F([0.3]), F([[[0.1]], [[-0.2]], [[3]]]))],
]  # fmt: skip


@pytest.mark.parametrize("form", BEFORE, ids=map(identify, BEFORE))
def test_forms_before_set_7(form, runner):
    """Which ONNX Runtime does not run."""
    version, made, expected, *constants = form
    model = model_of(graph_of([made], {"x": X}, " ".join(made.output), *constants), version)
    y = runner(model)([X])[0]
    assert y.dtype == expected(X).dtype
    np.testing.assert_allclose(y, expected(X), rtol=1e-6, atol=1e-6)


MICROSOFT = [
    (node("Gelu", "x", "y"), {}),
    (node("FastGelu", "x b", "y"), {"b": X[0, 0, 0]}),
    (node("BiasGelu", "x b", "y"), {"b": X[0, 0, 0]}),
    (node("QuickGelu", "x", "y", alpha=1.5), {}),
    (node("FusedMatMul", "x w", "y", alpha=0.5), {"w": X[0, 0].T.copy()}),
    (node("FusedMatMul", "x w", "y", alpha=0.5, transB=1), {"w": X[0, 0]}),
    (node("FusedMatMul", "x w", "y", transA=1, transB=1), {"w": X[0, 0].T.copy()}),
    (node("FusedConv", "x w", "y", activation="LeakyRelu", activation_params=[0.1]),
     {"w": X[:, :, :2, :2]}),
    (node("FusedConv", "x w b", "y", activation="Clip", activation_params=[0.0, 0.5]),
     {"w": X[:, :, :2, :2], "b": X[0, 0, 0, :2]}),
    (node("FusedConv", "x w", "y", activation="Relu"), {"w": X[:, :, :2, :2]}),
]  # fmt: skip


@pytest.mark.parametrize("made, constants", MICROSOFT, ids=[m[0].op_type for m in MICROSOFT])
def test_onnx_runtimes_own_operators(made, constants, runner):
    made = onnx.NodeProto.FromString(made.SerializeToString())
    made.domain = "com.microsoft"
    model = model_of(graph_of([made], {"x": X}, "y", constants), com_microsoft=1)
    (due,) = by_onnxruntime(model, {"x": X})
    np.testing.assert_allclose(runner(model)([X])[0], due, rtol=1e-5, atol=2e-6)


PARTS = [
    (11, {}, {}), (13, {}, {}), (18, {"num_outputs": 3}, {}), (11, {"split": [1, 1, 1]}, {}),
    (13, {}, {"s": np.array([1, 1, 1])}),
]  # fmt: skip


@pytest.mark.parametrize("version, attrs, sizes", PARTS, ids=[f"{v}-{a}" for v, a, _ in PARTS])
@pytest.mark.parametrize("named", ["a--", "--a", "ab-"])
def test_parts_without_names_are_parts(named, version, attrs, sizes, runner):
    outputs = [name.strip("-") for name in named]
    made = helper.make_node("Split", ["x", *sizes], outputs, axis=1, **attrs)
    model = model_of(graph_of([made], {"x": X}, " ".join(outputs), sizes), version)
    due = [X[:, i : i + 1] for i in range(3) if outputs[i]]
    for y, part in zip(runner(model)([X]), due, strict=True):
        np.testing.assert_array_equal(y, part)


@pytest.mark.parametrize("epsilon", [{}, {"epsilon": 1e-5}], ids=["default", "given"])
@pytest.mark.parametrize("simplified", [False, True])
def test_skip_layer_normalization(simplified, epsilon, runner):
    x, skip, gamma = X[0] * F(1e-3), X[1] * F(1e-3), X[0, 0, 0]
    constants = {"skip": skip, "g": gamma, "b": X[0, 0, 1], "c": X[0, 0, 2]}
    name = "SkipSimplifiedLayerNormalization" if simplified else "SkipLayerNormalization"
    names = ["x", "skip", "g", "c"] if simplified else ["x", "skip", "g", "b", "c"]
    constants |= {n: constants[n] * F(1e-3) for n in "bc"}  # so small that epsilon is seen
    made = helper.make_node(name, names, ["y", "", "", "s"], domain="com.microsoft", **epsilon)
    model = model_of(graph_of([made], {"x": x}, "y s", constants), com_microsoft=1)
    for y, due in zip(runner(model)([x]), by_onnxruntime(model, {"x": x}), strict=True):
        np.testing.assert_allclose(y, due, rtol=1e-5, atol=2e-6)


def lstm_of_integers(rng, directions, batch):
    """DynamicQuantizeLSTM. With weights below 64 no pair of products exceeds 16 bits, where ONNX
    Runtime saturates on CPUs without the instructions for int8."""
    constants = {
        "w": rng.integers(-64, 64, (directions, 12, 64)).astype(np.int8),
        "r": rng.integers(-64, 64, (directions, 16, 64)).astype(np.int8),
        "b": rng.standard_normal((directions, 128)).astype(np.float32),
        "ws": np.full(directions, 0.01, np.float32), "wz": np.zeros(directions, np.int8),
        "rs": np.full(directions, 0.02, np.float32), "rz": np.zeros(directions, np.int8),
    }  # fmt: skip
    names = ["x", "w", "r", "b", "", "", "", "", "ws", "wz", "rs", "rz"]
    made = helper.make_node(
        "DynamicQuantizeLSTM", names, ["y", "h", "c"], domain="com.microsoft", hidden_size=16,
        direction="bidirectional" if directions == 2 else "forward",
    )  # fmt: skip
    graph = graph_of([made], {"x": (5, batch, 12)}, "y h c", constants)
    return model_of(graph, com_microsoft=1)


@pytest.mark.parametrize("directions, batch", [(1, 1), (2, 1), (2, 3)])
def test_dynamic_quantize_lstm(directions, batch, rng, runner):
    model = lstm_of_integers(rng, directions, batch)
    x = rng.standard_normal((5, batch, 12)).astype(np.float32)
    for y, due in zip(runner(model)([x]), by_onnxruntime(model, {"x": x}), strict=True):
        if runner.kind == "reference":
            np.testing.assert_allclose(y, due, rtol=1e-5, atol=1e-5)
        else:  # a plan has codes of its own: test_int8_models.py says whose are nearer
            assert np.sqrt(np.mean((y - due) ** 2)) <= 6e-3 and abs(y - due).max() <= 0.03
