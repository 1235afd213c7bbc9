# SPDX-License-Identifier: MIT
"""Resize, by the C operator "resize" and its lowering, against ONNX Runtime; what is refused."""

import numpy as np
import pytest

from fastlstm.engine.c import _core as core
from fastlstm.models.graph import Graph, ModelError, Node, Value
from fastlstm.models.lower.resize import ROUNDINGS, RULES
from fastlstm.models.model import Model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import helper, numpy_helper  # noqa: E402

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

F = np.float32
REFUSED = "resize: shapes or types do not fit"


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(F)


def nodes_of(x, scales, sizes, attrs):
    names = ["x", "", "scales" if scales else "", "sizes" if sizes else ""]
    constants = {}
    if scales:
        constants["scales"] = np.array(scales, F)
    if sizes:
        constants["sizes"] = np.array(sizes, np.int64)
    return Node("Resize", names[: 4 if sizes else 3], ["y"], attrs, "the node"), constants


def by_onnxruntime(x, node, constants):
    graph = helper.make_graph(
        [helper.make_node("Resize", node.inputs, ["y"], **node.attrs)],
        "g",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(x.dtype), None)],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


def by_fastlstm(x, node, constants, shape=None):
    values = [Value("x", x.dtype, shape or x.shape)]
    graph = Graph(values, [Value("y", x.dtype, None)], [node], constants, "g")
    return Model(graph).run({"x": x})[0]


X1, X2, LAST = normal(2, 3, 7), normal(2, 3, 6, 5), normal(2, 6, 5, 3)
TARGETS = [  # (x, scales, sizes)
    (X1, [1, 1, 2.5], None), (X1, None, [2, 3, 3]), (X2, [1, 1, 2, 2], None),
    (X2, [1, 1, 0.5, 1.7], None), (X2, None, [2, 3, 1, 11]), (X2, None, [2, 3, 13, 5]),
    (LAST, [1, 2, 3, 1], None),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: f"{t[0].shape}-{t[1] or t[2]}")
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_against_onnxruntime(target, rule, mode):
    x, scales, sizes = target
    if x is LAST and mode == "linear":
        pytest.skip("ONNX Runtime has no linear Resize of these axes")
    for rounding in ROUNDINGS if mode == "nearest" else ROUNDINGS[:1]:
        attrs = {"mode": mode, "coordinate_transformation_mode": rule, "nearest_mode": rounding}
        node, constants = nodes_of(x, scales, sizes, attrs)
        want = by_onnxruntime(x, node, constants)
        y = by_fastlstm(x, node, constants)
        assert y.shape == want.shape
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)


def test_channels_last_is_the_same():
    for linear in (0, 1):
        ints = [linear, 0, 0, 9, 8]
        (first,) = core.Operator("resize", [2, 2, *ints], [0, 0]).run([X2])
        last = np.ascontiguousarray(np.moveaxis(X2, 1, -1))
        (y,) = core.Operator("resize", [1, 2, *ints], [0, 0]).run([last])
        np.testing.assert_array_equal(np.moveaxis(y, -1, 1), first)


def test_threads_have_the_same_bits_and_sizes_may_be_an_input():
    x = normal(2, 60, 70, 40)
    op = core.Operator("resize", [1, 2, 1, 0, 0, 150, 90], [0, 0])
    (y,) = op.run([x])
    assert all(np.array_equal(op.run([x], threads=n)[0], y) for n in (2, 3, 4))
    op = core.Operator("resize", [1, 2, 1, 0, 0, 0, 0], [0, 0])
    assert np.array_equal(op.run([x, np.array([2, 150, 90, 40])])[0], y)
    for sizes in ([2, 150, 90, 41], [2, 150, -1, 40], [2, 150, 90], [2, 2**62, 2**62, 40]):
        with pytest.raises(core.OperatorError, match=REFUSED):
            op.run([x, np.array(sizes)])
    with pytest.raises(core.OperatorError, match=REFUSED):
        op.run([x])


def test_nearest_takes_any_type_and_sizes_may_be_zero():
    op = core.Operator("resize", [1, 1, 0, 1, 2, 0], [2])
    assert op.run([np.array([[3, 4]])])[0].tolist() == [[3, 3, 4, 4]]
    assert op.run([np.array([[True, False]])])[0].tolist() == [[True, True, False, False]]
    assert op.run([np.zeros((0, 2), F)])[0].shape == (0, 4)
    assert op.run([np.zeros((2, 0), F)])[0].shape == (2, 0)
    with pytest.raises(core.OperatorError, match=REFUSED):
        core.Operator("resize", [1, 1, 0, 1, 2, 3], [0]).run([np.zeros((2, 0), F)])
    with pytest.raises(core.OperatorError, match=REFUSED):
        core.Operator("resize", [1, 1, 1, 1, 2, 3], [0]).run([np.array([[3, 4]])])


@pytest.mark.parametrize(
    "ints, floats",
    [([0, 1, 0, 0, 0], []), ([0, 1, 0, 0, 0, 0], []), ([0, 1, 0, 0, 0, 0], [-1]),
     ([0, 1, 0, 0, 0, 0], [np.nan]), ([0, 1, 0, 0, 0, 0], [np.inf]), ([-1, 1, 0, 0, 0, 0], [1]),
     ([8, 1, 0, 0, 0, 0], [1]), ([0, 3, 0, 0, 0, 0, 0, 0], [1, 1, 1]), ([0, 1, 0, 4, 0, 0], [1]),
     ([0, 1, 0, 0, 4, 0], [1]), ([0, 1, 0, 0, 0, -1], [1])],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(ints, floats):
    with pytest.raises(core.OperatorError, match=REFUSED):
        core.Operator("resize", ints, floats)


def test_a_bomb_is_refused():
    with pytest.raises(core.OperatorError, match=REFUSED):
        core.Operator("resize", [0, 1, 0, 0, 0, 0], [3e38]).run([np.zeros(4, F)])


@pytest.mark.parametrize(
    "attrs, message",
    [({"mode": "best"}, "mode 'best' with 'half_pixel'"),
     ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize without roi"),
     ({"mode": "cubic", "coordinate_transformation_mode": "no"}, "mode 'cubic' with 'no'"),
     ({"nearest_mode": "up"}, "nearest_mode 'up' is not covered")],
)  # fmt: skip
def test_what_is_refused(attrs, message):
    node, constants = nodes_of(X2, [1, 1, 2, 2], None, attrs)
    with pytest.raises(ModelError, match=message):
        by_fastlstm(X2, node, constants, ("n", "c", "h", "w"))


BY_MATRICES = [
    (X2, [1, 1, 2, 2], None, {"mode": "cubic"}),
    (X2, None, [2, 3, 4, 3], {"mode": "cubic", "antialias": 1}),
    (X2, [1, 1, 0.6, 0.6], None, {"mode": "linear", "antialias": 1}),
    (X2, [1, 1, 0.8, 0.8], None, {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5}),
    (X2, None, [20, 20], {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}),
    (X2, [1, 1, 1.5, 2], None,
     {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"}),
    (normal(1, 2, 3, 4, 5), [1, 1, 2, 2, 2], None, {"mode": "nearest"}),
    (np.arange(40, dtype=np.uint8).reshape(1, 1, 5, 8) * 6, [1, 1, 2, 1.5], None,
     {"mode": "linear"}),
]  # fmt: skip


@pytest.mark.parametrize("case", BY_MATRICES, ids=lambda c: f"{c[0].shape}-{c[3]}")
def test_what_becomes_products_with_matrices(case):
    """Also where the sizes of x are free: a plan depends on those that are resized."""
    x, scales, sizes, attrs = case
    node, constants = nodes_of(x, scales, sizes, attrs)
    want = by_onnxruntime(x, node, constants)
    for shape in (None, ("n", *"cdhw"[-x.ndim + 1 :])):
        y = by_fastlstm(x, node, constants, shape)
        assert (y.shape, y.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5 if y.dtype == F else 1)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("shape", [(1, 1, 4, 8), (1, 1, "h", 8)])
def test_the_shape_is_known_before(policy, shape):
    """What is made of the shape is as the array is."""
    x, attrs = normal(1, 1, 4, 8), {"axes": [2, 3], "keep_aspect_ratio_policy": policy}
    node, constants = nodes_of(x, None, [3, 3], attrs)
    values = [Value("y", np.dtype(F), None), Value("s", np.dtype(np.int64), None)]
    nodes = [node, Node("Shape", ["y"], ["s"])]
    y, s = Model(Graph([Value("x", x.dtype, shape)], values, nodes, constants, "g")).run({"x": x})
    want = by_onnxruntime(x, node, constants)
    assert y.shape == want.shape == tuple(s)
    np.testing.assert_allclose(y, want, rtol=1e-6)


@pytest.mark.parametrize("attrs", [{"mode": "cubic"}, {"mode": "nearest", "antialias": 1}])
def test_sizes_of_zero_by_matrices(attrs):
    for shape, scales in (((0, 3, 6, 5), [1, 1, 2, 2]), ((2, 3, 6, 5), [1, 1, 0.1, 2])):
        node, constants = nodes_of(X2, scales, None, attrs)
        y = by_fastlstm(np.zeros(shape, F), node, constants, tuple("nchw"))
        assert y.shape == (shape[0], 3, int(6 * scales[2]), 10)
