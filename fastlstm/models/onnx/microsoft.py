# SPDX-License-Identifier: MIT
"""ONNX Runtime's own operators (the domain com.microsoft) as ONNX's.

By docs/ContribOperators.md of microsoft/onnxruntime. A function is f(target, node). Operators that
are not here stay as they are, as "com.microsoft.X".
"""

import numpy as np

MICROSOFT = {}
PREFIX = "com.microsoft."


def microsoft(*ops):
    """Registers a function for these operators."""

    def register(function):
        for op in ops:
            MICROSOFT[PREFIX + op] = function
        return function

    return register


def _given(node, index):
    return node.inputs[index] if index < len(node.inputs) else ""


def _due(node, count):
    for index in range(count):
        if not _given(node, index):
            raise node.error(f"its input {index} is missing")


@microsoft("FusedMatMul", "TransposeMatMul")
def fused_mat_mul(target, node):
    """alpha * A B, either transposed. The axes to exchange are known for a constant only."""
    _due(node, 2)
    if any(node.attrs.get(n) for n in ("transA", "transBatchA", "transBatchB")):
        target.put(node)
        return
    b = node.inputs[1]
    if node.attrs.get("transB"):
        known = target.known(b)
        if known is None or known.ndim < 2:
            target.put(node)
            return
        b = target.constant(node, known.swapaxes(-1, -2), "transposed", known.dtype)
    alpha = node.attrs.get("alpha", 1.0)
    if alpha == 1:
        target.add(node, "MatMul", [node.inputs[0], b], node.outputs)
        return
    product = target.add(node, "MatMul", [node.inputs[0], b])
    factor = target.constant(node, alpha, "alpha", np.float32)
    target.add(node, "Mul", [product, factor], node.outputs)


@microsoft("Gelu", "BiasGelu", "FastGelu")
def gelu(target, node):
    _due(node, 1)
    x = node.inputs[0]
    if _given(node, 1):
        x = target.add(node, "Add", node.inputs[:2])
    form = "tanh" if node.op.endswith("FastGelu") else "none"
    target.add(node, "Gelu", [x], node.outputs, approximate=form)


@microsoft("QuickGelu")
def quick_gelu(target, node):
    """x * sigmoid(alpha x)"""
    _due(node, 1)
    alpha = target.constant(node, node.attrs.get("alpha", 1.702), "alpha", np.float32)
    gate = target.add(node, "Sigmoid", [target.add(node, "Mul", [node.inputs[0], alpha])])
    target.add(node, "Mul", [node.inputs[0], gate], node.outputs)


@microsoft("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def skip_layer_normalization(target, node):
    """The normalisation of x + skip + bias: inputs x, skip, gamma, beta (not of the simplified
    one), bias; outputs y, mean, 1 / deviation, the sum."""
    _due(node, 3)
    simplified = "Simplified" in node.op
    outputs = [*node.outputs, "", "", "", ""][:4]
    if outputs[1] or outputs[2]:
        target.put(node)
        return
    bias = _given(node, 3 if simplified else 4)
    whole = [outputs[3] or target.fresh(node, "sum")]
    if bias:
        first = target.add(node, "Add", node.inputs[:2])
        target.add(node, "Add", [first, bias], whole)
    else:
        target.add(node, "Add", node.inputs[:2], whole)
    op = "RMSNormalization" if simplified else "LayerNormalization"
    inputs = [whole[0], node.inputs[2], *([] if simplified else [_given(node, 3)])]
    attrs = {"axis": -1, "epsilon": node.attrs.get("epsilon", 1e-12)}
    target.add(node, op, inputs, outputs[:1], **attrs)


# What FusedConv and FusedGemm apply: {name: names of the attributes, in activation_params' order}
_ACTIVATIONS = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "LeakyRelu": ("alpha",), "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"), "Softplus": (), "Softsign": (),
}  # fmt: skip


def _activated(target, node, y, name, numbers):
    """Adds the activation of the value `y` that gives the node's output; whether it is known."""
    if name == "Clip" and len(numbers) == 2:
        ends = [
            target.constant(node, n, what, np.float32) for n, what in zip(numbers, ("min", "max"))
        ]
        target.add(node, "Clip", [y, *ends], node.outputs)
    else:
        attrs = dict(zip(_ACTIVATIONS[name], numbers))
        target.add(node, name, [y], node.outputs, **attrs)


@microsoft("FusedConv")
def fused_conv(target, node):
    """The activation of Conv(x, W, b) + z."""
    _due(node, 2)
    attrs = dict(node.attrs)
    name, numbers = attrs.pop("activation", ""), attrs.pop("activation_params", [])
    if name and name not in _ACTIVATIONS and not (name == "Clip" and len(numbers) == 2):
        target.put(node)
        return
    z = _given(node, 3)
    y = target.add(
        node, "Conv", node.inputs[:3], node.outputs if not (z or name) else None, **attrs
    )
    if z:
        y = target.add(node, "Add", [y, z], None if name else node.outputs)
    if name:
        _activated(target, node, y, name, numbers)


@microsoft("FusedGemm")
def fused_gemm(target, node):
    _due(node, 2)
    attrs = dict(node.attrs)
    name = attrs.pop("activation", "")
    numbers = [attrs.pop(f"activation_{n}", None) for n in ("alpha", "beta", "gamma")]
    numbers = [n for n in numbers if n is not None]
    if name and name not in _ACTIVATIONS:
        target.put(node)
        return
    y = target.add(node, "Gemm", node.inputs, None if name else node.outputs, **attrs)
    if name:
        _activated(target, node, y, name, numbers)
