# SPDX-License-Identifier: MIT
"""Elementwise operators, single and fused: the C operator `pointwise`."""

import numpy as np

from ..elementwise import (
    ELEMENTWISE,
    MOST_INPUTS,
    MOST_INSTRUCTIONS,
    Code,
    instructions_of,
    numbers_of,
)
from .builder import lowers


def emit(b, node, code, constants, inputs):
    if len(inputs) > MOST_INPUTS or len(code) > MOST_INSTRUCTIONS:
        raise node.error(f"{len(node.inputs)} inputs, at most {MOST_INPUTS} are covered")
    b.emit(node, "pointwise", numbers_of(code, len(inputs)), constants, inputs=inputs)


@lowers(*ELEMENTWISE)
def elementwise(b, node):
    emit(b, node, *instructions_of(node, b.dtype, b.known))


@lowers("Pointwise")
def pointwise(b, node):
    emit(b, node, node.attrs["code"], node.attrs.get("consts", ()), node.inputs)


@lowers("BatchNormalization")
def batch_normalization(b, node):
    """x scale / sqrt(var + eps) + (bias - mean scale / sqrt(var + eps)), by channel."""
    if node.attrs.get("training_mode", 0) or any(node.outputs[1:]):
        raise node.error("training_mode is not covered")
    names = ("scale", "bias", "mean", "variance")
    given = [b.due(node, 1 + i, name).astype(np.float64) for i, name in enumerate(names)]
    scale, bias, mean, variance = given
    axes = len(b.shape(node.inputs[0]))
    if axes < 2 or any(a.ndim != 1 or a.shape != scale.shape for a in given):
        raise node.error(f"its parameters have the shapes {[a.shape for a in given]}")
    slope = scale / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    code = Code()
    x, a, c = code.input("x"), code.input("slope"), code.input("offset")
    code.add("add", code.add("mul", x, a), c)
    parameters = [
        b.constant(p.astype(np.float32).reshape(-1, *[1] * (axes - 2)))
        for p in (slope, bias - mean * slope)
    ]
    instructions, constants, _ = code.finish()
    emit(b, node, instructions, constants, [node.inputs[0], *parameters])
