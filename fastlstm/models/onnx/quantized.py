# SPDX-License-Identifier: MIT
"""ONNX Runtime's operators on small integers with scales, as ONNX's: dequantised, computed,
quantised again, which is how docs/ContribOperators.md of microsoft/onnxruntime defines them.

Triples of inputs are (codes, scale, zero point), the last of which may be missing.
"""

import numpy as np

from ..graph import Node
from .microsoft import _due, _given, microsoft
from .older import NEWEST, normalised


def _float(target, node, at):
    """What the three inputs from number `at` on stand for, as floats."""
    inputs = [_given(node, at + i) for i in range(3)]
    return target.add(node, "DequantizeLinear", inputs[: 3 if inputs[2] else 2])


def _put(target, node, y, at):
    """The node's output: y as codes by the scale and zero point that inputs `at`, `at` + 1 are."""
    zero = _given(node, at + 1)
    inputs = [y, node.inputs[at], *([zero] if zero else [])]
    target.add(node, "QuantizeLinear", inputs, node.outputs)


@microsoft("QLinearAdd", "QLinearMul")
def of_two(target, node):
    _due(node, 2)
    _due_at(node, 1, 3, 4, 6)
    op = node.op.removeprefix("com.microsoft.QLinear")
    y = target.add(node, op, [_float(target, node, 0), _float(target, node, 3)])
    _put(target, node, y, 6)


def _due_at(node, *indices):
    for index in indices:
        if not _given(node, index):
            raise node.error(f"its input {index} is missing")


@microsoft("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax")
def of_one(target, node):
    """`opset` says of which set a Softmax is: before 13 all axes from `axis` on are one."""
    _due_at(node, 0, 1, 3)
    op, attrs = node.op.removeprefix("com.microsoft.QLinear"), dict(node.attrs)
    version = attrs.pop("opset", NEWEST)
    if op == "Softmax":
        attrs.setdefault("axis", -1)
    y = target.fresh(node, op.lower())
    normalised(target, Node(op, [_float(target, node, 0)], [y], attrs, node.name), version)
    _put(target, node, y, 3)


@microsoft("QLinearAveragePool", "QLinearGlobalAveragePool")
def pools(target, node):
    _due_at(node, 0, 1, 3)
    op, attrs = node.op.removeprefix("com.microsoft.QLinear"), dict(node.attrs)
    if attrs.pop("channels_last", 0):
        target.put(node)
        return
    _put(target, node, target.add(node, op, [_float(target, node, 0)], **attrs), 3)


@microsoft("QLinearConcat")
def concat(target, node):
    """Inputs: the scale and zero point of the output, then triples."""
    count = (len(node.inputs) - 2) // 3
    if count < 1 or len(node.inputs) != 2 + 3 * count:
        raise node.error(f"{len(node.inputs)} inputs, two and then triples are due")
    parts = [_float(target, node, 2 + 3 * i) for i in range(count)]
    _put(target, node, target.add(node, "Concat", parts, axis=node.attrs.get("axis", 0)), 0)


@microsoft("QuantizeLinear", "DequantizeLinear")
def single(target, node):
    """ONNX's own, of 16 bits before ONNX had them."""
    op = node.op.removeprefix("com.microsoft.")
    target.add(node, op, node.inputs, node.outputs, **node.attrs)


def _scaled(target, node, sums, scales, bias):
    """The node's output: sums of integers as floats, times the product of two scales, and more."""
    floats = target.add(node, "Cast", [sums], to=1)
    scale = target.add(node, "Mul", list(scales))
    y = target.add(node, "Mul", [floats, scale], None if bias else node.outputs)
    if bias:
        target.add(node, "Add", [y, bias], node.outputs)


def _short(inputs):
    while not inputs[-1]:
        inputs.pop()
    return inputs


@microsoft("MatMulIntegerToFloat")
def mat_mul_integer_to_float(target, node):
    """Inputs: A, B, their scales, their zero points, bias."""
    _due(node, 4)
    zeros = [_given(node, 4), _given(node, 5)]
    sums = target.add(node, "MatMulInteger", _short([*node.inputs[:2], *zeros]))
    _scaled(target, node, sums, node.inputs[2:4], _given(node, 6))


@microsoft("DynamicQuantizeMatMul")
def dynamic_quantize_mat_mul(target, node):
    """Inputs: A, floats; B, its scale and zero point; bias."""
    _due(node, 3)
    made = [target.fresh(node, what) for what in ("codes", "scale", "zero")]
    target.add(node, "DynamicQuantizeLinear", node.inputs[:1], made)
    inputs = _short([made[0], node.inputs[1], made[2], _given(node, 3)])
    sums = target.add(node, "MatMulInteger", inputs)
    _scaled(target, node, sums, (made[1], node.inputs[2]), _given(node, 4))


@microsoft("QGemm")
def q_gemm(target, node):
    """Inputs: triples A and B, C of int32 or none, the scale and zero point of Y; without these Y
    is float."""
    _due_at(node, 0, 1, 2, 3, 4, 5)
    a, a_scale, a_zero, b, b_scale, b_zero = node.inputs[:6]
    if node.attrs.get("transA"):
        a = target.add(node, "Transpose", [a], perm=[1, 0])
    if node.attrs.get("transB"):
        b = target.add(node, "Transpose", [b], perm=[1, 0])
    y = target.add(node, "MatMulInteger", [a, b, a_zero, b_zero])
    if _given(node, 6):
        y = target.add(node, "Add", [y, node.inputs[6]])
    alpha = node.attrs.get("alpha", 1.0)
    if alpha != 1:
        factor = target.constant(node, alpha, "alpha", np.float32)
        a_scale = target.add(node, "Mul", [a_scale, factor])
    if not _given(node, 7):
        _scaled(target, node, y, (a_scale, b_scale), "")
        return
    scale = target.add(node, "Mul", [a_scale, b_scale])
    floats = target.add(node, "Mul", [target.add(node, "Cast", [y], to=1), scale])
    _put(target, node, floats, 7)
