# SPDX-License-Identifier: MIT
"""Convolutions and pools with channels last."""

import numpy as np

from . import activation
from .builder import lowers

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
    if min(ints) < 0:
        raise node.error("negative pads are not covered")
    return PAD_RULES.index(rule), ints


def _convolution(b, node, operator, transposed):
    w = b.due(node, 1, "the weights")
    bias = b.due(node, 2, "the bias") if len(node.inputs) > 2 and node.inputs[2] else None
    group = int(node.attrs.get("group", 1))
    if w.ndim < 3 or (
        list(w.shape[2:]) != _numbers(node, "kernel_shape", w.ndim - 2, 0)
        and ("kernel_shape" in node.attrs)
    ):
        raise node.error(f"weights of {w.shape} do not have the kernel_shape")
    rule, ints = _window(node, list(w.shape[2:]))
    more = []
    if transposed:
        axes = w.ndim - 2
        more = [
            *_numbers(node, "output_padding", axes, 0),
            *_numbers(node, "output_shape", axes, 0),
        ]
    channels, outputs = (w.shape[0], w.shape[1] * group)
    if not transposed:
        channels, outputs = w.shape[1] * group, w.shape[0]
    number, floats = activation.numbers(node)
    weights = [None if a is None else np.ascontiguousarray(a, np.float32) for a in (w, bias)]
    b.emit(
        node, operator,
        [b.format, w.ndim - 2, channels, outputs, group, rule, number, *ints, *more],
        floats, weights, node.inputs[:1],
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
