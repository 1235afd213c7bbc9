# SPDX-License-Identifier: MIT
"""Products with matrices: Linear, MatMul, Gemm."""

import numpy as np

from ...engine import int8, parts
from . import activation
from .builder import lowers

FLOAT32, INT8, BFLOAT16 = 0, 2, 3  # formats' numbers in csrc/fastlstm.h


@lowers("Linear")
def linear(b, node):
    x, weight, bias, scale = [*node.inputs, "", ""][:4]
    w, constant = b.known(weight), b.known(bias)
    number, floats = activation.numbers(node)
    if w is not None and (constant is not None or not bias):
        if w.ndim != 2 or 0 in w.shape:
            raise node.error(f"weights (outputs, inputs) are due, got {w.shape}")
        constant = None if constant is None else np.ascontiguousarray(constant, np.float32)
        weights = [w if scale else np.ascontiguousarray(w, np.float32), constant]
        ints = [b.format, w.shape[1], w.shape[0], number, *node.attrs.get("window", (1, 1))]
        if node.attrs.get("dtype") == "bfloat16":
            ints[0] = BFLOAT16
        if scale:
            weights.append(b.due(node, 3, "the scales of its weights"))
            if not int8.is_codes(weights[0], weights[2]):
                raise node.error("its weights are no 8-bit codes with scales")
            ints[0] = INT8
            ints.append(8 if node.attrs.get("codes") == "int8" else 16)
        if ints[0] == FLOAT32 and parts.matrix_in_parts(b.precision, *w.shape[::-1]):
            ints[0] = BFLOAT16
            ints.append(parts.BITS[b.precision])
        b.emit(node, "linear", ints, floats, weights, [x])
        return
    if number >= 0 or scale or not {"window", "dtype"}.isdisjoint(node.attrs):
        raise node.error("an activation, a window, a dtype, scales: go with constant weights alone")
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
