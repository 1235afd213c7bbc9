# SPDX-License-Identifier: MIT
"""Pools over one and two axes, torch.nn.functional's."""

import math

import numpy as np

from ...models.graph import Node
from ...models.reference import compute
from ..array import Tensor, axis_of, wrap
from ..compute import apply, packed, quick
from ..elementwise import float_of
from ..packing import MOST_KEPT
from .conv import described, each


def _batched(x, axes, name):
    """(x with a batch axis, was one added). RuntimeError for another number of axes."""
    if x.ndim in (axes + 1, axes + 2):
        return (x, False) if x.ndim == axes + 2 else (x.unsqueeze(0), True)
    if name == "max_pool1d":
        raise RuntimeError(
            "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for "
            f"input, but got:{described(x.shape)}"
        )
    if axes == 1:
        raise of_dimensions(x, name)
    if name == "avg_pool2d":
        axis_of(-3, x.ndim)
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got:{described(x.shape)}"
        )
    raise RuntimeError("non-empty 3D or 4D (batch mode) tensor expected for input")


def of_dimensions(x, name):
    return RuntimeError(
        f"Expected 2 to 3 dimensions, but got {x.ndim}-dimensional tensor for argument #1 'self' "
        f"(while checking arguments for {name})"
    )


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
        if name == "max_pool1d" and p > k // 2:
            raise RuntimeError(
                "max_pool1d() padding should be at most half of kernel size, but got "
                f"padding={p} and kernel_size={k}"
            )
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    out = []
    for n, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation):
        left = n + 2 * p - ((k - 1) * d + 1)
        count = (-(-left // s) if ceil_mode else left // s) + 1
        out.append(count - (ceil_mode and (count - 1) * s >= n + p))
    if min(out) < 1:
        if name == "max_pool1d":
            raise RuntimeError(f"max_pool1d() Invalid computed output size: {out[0]}")
        one = ["1"] * (axes == 1)
        sizes = ["x".join(map(str, [x.shape[1], *one, *n])) for n in (x.shape[2:], out)]
        raise RuntimeError(
            f"Given input size: ({sizes[0]}). Calculated output size: ({sizes[1]}). Output size is "
            "too small"
        )
    return {"kernel_shape": kernel, "strides": stride, "pads": (*padding, *padding),
            "ceil_mode": int(ceil_mode)}, dilation  # fmt: skip


def _in_numpy(op, x, attrs, outputs=1):
    attrs = {k: list(v) if isinstance(v, tuple) else v for k, v in attrs.items()}
    return compute(Node(op, ["x"], ["y", "i"][:outputs], attrs), [x.numpy()])


def _pooled(op, x, attrs, runs, key):
    """The C core computes, but for windows that are larger than the padded input, which ceil_mode
    may ask for. What runs is kept for the key."""
    extents = [
        (k - 1) * d + 1 for k, d in zip(attrs["kernel_shape"], attrs.get("dilations", (1, 1)))
    ]
    pads = attrs["pads"][: len(extents)]
    if any(n + 2 * p < e for n, p, e in zip(x.shape[2:], pads, extents)):
        return wrap(_in_numpy(op, x, attrs)[0])
    found = packed(op, [x], **attrs)
    if len(runs) < MOST_KEPT and not any(isinstance(n, list) for n in key):
        runs[key] = found.run
    return found(x)


def _quick(runs, key, x, axes):
    if type(x) is Tensor and x.ndim == axes + 2:
        try:
            return quick(runs, key, x)
        except TypeError:  # a list among the numbers
            pass
    return None


def _max_pool(axes):
    name, runs = f"max_pool{axes}d", {}

    def max_pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
                 return_indices=False):  # fmt: skip
        key = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        y = _quick(runs, key, input, axes)
        if y is not None:
            return y
        x = float_of(input)
        if axes == 1 and return_indices and x.ndim not in (2, 3):
            raise of_dimensions(x, name)
        x, added = _batched(x, axes, name)
        attrs, dilation = _attrs(x, kernel_size, stride, padding, dilation, ceil_mode, axes, name)
        attrs["dilations"] = dilation
        if return_indices:
            y, places = _in_numpy("MaxPool", x, attrs, 2)
            made = [wrap(y), wrap(places % max(1, math.prod(x.shape[2:])))]
            return tuple(a.squeeze(0) if added else a for a in made)
        y = _pooled("MaxPool", x, attrs, runs, key)
        return y.squeeze(0) if added else y

    max_pool.__name__ = name
    return max_pool


max_pool1d, max_pool2d = _max_pool(1), _max_pool(2)


def _avg_pool(axes):
    name, runs = f"avg_pool{axes}d", {}

    def run(input, kernel_size, stride, padding, ceil_mode, count_include_pad):
        key = (kernel_size, stride, padding, ceil_mode, count_include_pad)
        y = _quick(runs, key, input, axes)
        if y is not None:
            return y
        x, added = _batched(float_of(input), axes, name)
        attrs, _ = _attrs(x, kernel_size, stride, padding, 1, ceil_mode, axes, name)
        attrs["count_include_pad"] = int(count_include_pad)
        y = _pooled("AveragePool", x, attrs, runs, key)
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
        if axes == 2 and np.ndim(output_size) and x.ndim <= len(output_size):
            raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
        any_axes = name == "adaptive_avg_pool2d" and output_size in (1, (1, 1), [1, 1])
        if any_axes and x.ndim < 2:
            axis_of(-2, x.ndim)
        if x.ndim not in (axes + 1, axes + 2) and not any_axes:
            if axes == 1:
                raise of_dimensions(x, name)
            colon = ":" if "max" in name else ""
            raise RuntimeError(
                f"{name}(): Expected 3D or 4D tensor, but got{colon} {described(x.shape)}"
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
