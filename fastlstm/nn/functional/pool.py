# SPDX-License-Identifier: MIT
"""Pools over one and two axes, torch.nn.functional's."""

import math

import numpy as np

from ...models.graph import Node
from ...models.reference import compute
from ..array import wrap
from ..compute import apply
from ..elementwise import float_of
from .conv import each


def _batched(x, axes, name):
    """(x with a batch axis, was one added). RuntimeError for another number of axes."""
    if x.ndim not in (axes + 1, axes + 2):
        raise RuntimeError(
            f"Expected {axes + 1}D or {axes + 2}D (batch mode) tensor with optional 0 dim batch "
            f"size for input, but got:[{', '.join(map(str, x.shape))}]"
            if name != "max_pool1d"
            else f"max_pool1d: Expected 2D or 3D input, but got: {x.ndim}D"
        )
    return (x, False) if x.ndim == axes + 2 else (x.unsqueeze(0), True)


def _attrs(x, kernel, stride, padding, dilation, ceil_mode, axes, name):
    kernel = each(kernel, axes)
    stride = kernel if stride is None or stride == () else each(stride, axes)
    padding, dilation = each(padding, axes), each(dilation, axes)
    if min(kernel) < 1:
        raise RuntimeError(f"{name}: kernel_size must be greater than zero, but got {kernel[0]}")
    if min(stride) < 1:
        raise RuntimeError("stride should not be zero")
    for p, k, d in zip(padding, kernel, dilation):
        if p < 0:
            raise RuntimeError("pad must be non-negative, but got pad=" + str(p))
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation):
        room = n + 2 * p - ((k - 1) * d + 1)
        if room < 0 and not (ceil_mode and room > -s):
            raise RuntimeError(
                f"{name}: an input of the shape {tuple(x.shape)} is too small for "
                f"kernel_size={k}, stride={s}, padding={p}, dilation={d}: there is no output"
            )
    return {"kernel_shape": kernel, "strides": stride, "pads": (*padding, *padding),
            "ceil_mode": int(ceil_mode)}, dilation  # fmt: skip


def _max_pool(axes):
    name = f"max_pool{axes}d"

    def max_pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
                 return_indices=False):  # fmt: skip
        x, added = _batched(float_of(input), axes, name)
        attrs, dilation = _attrs(x, kernel_size, stride, padding, dilation, ceil_mode, axes, name)
        if return_indices:
            attrs = {k: list(v) if isinstance(v, tuple) else v for k, v in attrs.items()}
            node = Node("MaxPool", ["x"], ["y", "i"], attrs | {"dilations": list(dilation)})
            y, places = compute(node, [x.numpy()])
            plane = max(1, math.prod(x.shape[2:]))
            made = [wrap(y), wrap(places % plane)]
            return tuple(a.squeeze(0) if added else a for a in made)
        y = apply("MaxPool", [x], dilations=dilation, **attrs)
        return y.squeeze(0) if added else y

    max_pool.__name__ = name
    return max_pool


max_pool1d, max_pool2d = _max_pool(1), _max_pool(2)


def _avg_pool(axes):
    name = f"avg_pool{axes}d"

    def run(input, kernel_size, stride, padding, ceil_mode, count_include_pad):
        x, added = _batched(float_of(input), axes, name)
        attrs, _ = _attrs(x, kernel_size, stride, padding, 1, ceil_mode, axes, name)
        y = apply("AveragePool", [x], count_include_pad=int(count_include_pad), **attrs)
        return y.squeeze(0) if added else y

    return run


_avg1, _avg2 = _avg_pool(1), _avg_pool(2)


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    return _avg1(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):  # fmt: skip
    if divisor_override is not None:
        raise NotImplementedError("avg_pool2d: divisor_override is not supported")
    return _avg2(input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def _adaptive(axes, op):
    """Output i of n along an axis of m is of the elements floor(i m / n) .. ceil((i + 1) m / n)."""
    name = f"adaptive_{'avg' if op == 'ReduceMean' else 'max'}_pool{axes}d"

    def along(x, axis, count):
        size = x.shape[axis]
        if size % count == 0:
            shape = (*x.shape[:axis], count, size // count, *x.shape[axis + 1 :])
            return apply(op, [x.reshape(shape)], ((axis + 1,),), keepdims=0)
        parts = []
        for i in range(count):
            part = x.narrow(
                axis, i * size // count, -(-(i + 1) * size // count) - i * size // count
            )
            parts.append(apply(op, [part], ((axis,),), keepdims=1).numpy())
        return wrap(np.concatenate(parts, axis))

    def adaptive_pool(input, output_size, return_indices=False):
        if return_indices:
            raise NotImplementedError(f"{name}: return_indices is not supported")
        x = float_of(input)
        if x.ndim not in (axes + 1, axes + 2):
            raise RuntimeError(
                f"{name}(): Expected {axes + 1}D or {axes + 2}D tensor, but got "
                f"[{', '.join(map(str, x.shape))}]"
            )
        sizes = (output_size,) * axes if np.ndim(output_size) == 0 else tuple(output_size)
        for i, count in enumerate(sizes):
            axis = x.ndim - axes + i
            if count is not None and x.shape[axis] != count:
                if 0 in (count, x.shape[axis]):
                    raise RuntimeError(
                        f"{name}(): output_size {sizes} of an input of the shape {tuple(x.shape)}"
                    )
                x = along(x, axis, int(count))
        return x

    adaptive_pool.__name__ = name
    return adaptive_pool


adaptive_avg_pool1d, adaptive_avg_pool2d = _adaptive(1, "ReduceMean"), _adaptive(2, "ReduceMean")
adaptive_max_pool1d, adaptive_max_pool2d = _adaptive(1, "ReduceMax"), _adaptive(2, "ReduceMax")
