# SPDX-License-Identifier: MIT
"""Convolutions and pools with channels last."""

import math

import numpy as np

from ...engine import parts
from . import activation
from .builder import lowers

BFLOAT16 = 3  # csrc/fastlstm.h
PAD_RULES = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")  # csrc/ops/window.h


def _numbers(node, name, count, default):
    """`count` ints of an attribute."""
    given = list(node.attrs.get(name) or [default] * count)
    if len(given) != count:
        raise node.error(f"{name} has {len(given)} numbers, {count} are due")
    return [int(n) for n in given]


def _window(node, size):
    """(the rule of padding, the ints of csrc/ops/window.h)."""
    rule = node.attrs.get("auto_pad", "NOTSET") or "NOTSET"
    if rule not in PAD_RULES:
        raise node.error(f"there is no auto_pad {rule!r}")
    if len(size) not in (1, 2):
        raise node.error(f"windows over 1 and 2 axes are covered, this one has {len(size)}")
    ints = [*size]
    for name, times, default in (("strides", 1, 1), ("dilations", 1, 1), ("pads", 2, 0)):
        ints += _numbers(node, name, times * len(size), default)
    return PAD_RULES.index(rule), ints


def _convolution(b, node, operator, transposed):
    x, *given = node.inputs
    found = [b.known(name) for name in given]
    packed = all(a is not None or not name for a, name in zip(found, given))
    shape = b.shape(given[0])
    if None in shape:
        raise node.error(f"weights of the shape {shape}: all sizes must be known")
    group = int(node.attrs.get("group", 1))
    kernel, axes = list(shape[2:]), len(shape) - 2
    if list(node.attrs.get("kernel_shape") or kernel) != kernel:
        raise node.error(f"weights of {shape} do not have the kernel_shape")
    rule, ints = _window(node, kernel)
    more = []
    if transposed:
        more = [
            *_numbers(node, "output_padding", axes, 0),
            *_numbers(node, "output_shape", axes, 0),
        ]
    channels, outputs = (shape[0], shape[1] * group)
    if not transposed:
        channels, outputs = shape[1] * group, shape[0]
    number, floats = activation.numbers(node)
    format = b.format
    if not format and parts.conv_in_parts(
        b.precision, channels // group * math.prod(kernel), outputs // group
    ):
        format = BFLOAT16
        more.append(parts.BITS[b.precision])
    weights = None
    if packed:
        weights = [None if a is None else np.ascontiguousarray(a, np.float32)
                   for a in (*found, None)[:2]]  # fmt: skip
    b.emit(
        node, operator, [format, axes, channels, outputs, group, rule, number, *ints, *more],
        floats, weights, [x] if packed else node.inputs,
    )  # fmt: skip


@lowers("ConvLast")
def conv(b, node):
    _convolution(b, node, "conv", False)


@lowers("ConvTransposeLast")
def conv_transposed(b, node):
    _convolution(b, node, "conv_transposed", True)


def _pool(b, node, operator, number):
    if any(node.outputs[1:]):
        raise node.error("the output of indices is not covered")
    size = node.attrs.get("kernel_shape")
    if not size:
        raise node.error("kernel_shape is missing")
    rule, ints = _window(node, [int(n) for n in size])
    ceil = int(node.attrs.get("ceil_mode", 0) != 0)
    b.emit(node, operator, [len(size), rule, ceil, number, *ints], outputs=node.outputs[:1])


@lowers("MaxPoolLast")
def max_pool(b, node):
    _pool(b, node, "max_pool", 0)


@lowers("AveragePoolLast")
def average_pool(b, node):
    _pool(b, node, "average_pool", int(node.attrs.get("count_include_pad", 0) != 0))


@lowers("LpPoolLast")
def lp_pool(b, node):
    p = node.attrs.get("p", 2)
    if p not in (1, 2):
        raise node.error(f"p must be 1 or 2, not {p}")
    _pool(b, node, "lp_pool", p)
