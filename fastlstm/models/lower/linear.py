# SPDX-License-Identifier: MIT
"""Products with matrices: Linear, MatMul, Gemm."""

import numpy as np

from . import activation
from .builder import lowers


@lowers("Linear")
def linear(b, node):
    x, weight, *rest = node.inputs
    bias = rest[0] if rest else ""
    w, constant = b.known(weight), b.known(bias)
    number, floats = activation.numbers(node)
    if w is not None and (constant is not None or not bias):
        if w.ndim != 2 or 0 in w.shape:
            raise node.error(f"weights (outputs, inputs) are due, got {w.shape}")
        weights = [None if a is None else np.ascontiguousarray(a, np.float32)
                   for a in (w, constant)]  # fmt: skip
        b.emit(node, "linear", [b.format, w.shape[1], w.shape[0], number], floats, weights, [x])
        return
    if number >= 0:
        raise node.error("an activation goes with constant weights alone")
    b.emit(node, "matmul", [0, 1], inputs=[x, weight, bias])


@lowers("MatMul")
def matmul(b, node):
    b.emit(node, "matmul", [0, 0])


@lowers("Gemm")
def gemm(b, node):
    attrs = node.attrs
    scales = [attrs.get("alpha", 1.0), attrs.get("beta", 1.0)]
    if b.dtype(node.inputs[0]).kind == "i":
        if scales != [1, 1] or any(node.inputs[2:]):
            raise node.error("of int64 only the product is covered: no C, alpha or beta")
        scales = []
    b.emit(node, "matmul", [attrs.get("transA", 0), attrs.get("transB", 0)], scales)
