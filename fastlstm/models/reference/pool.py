# SPDX-License-Identifier: MIT
"""Pools over the spatial axes of (N, C, ...)."""

import math

import numpy as np

from .call import mean, operator
from .windows import Windows


def _windows(call, x):
    kernel = call.attr("kernel_shape")
    if not kernel:
        raise call.error("the attribute kernel_shape is missing")
    windows = Windows(call, x, kernel)
    call.work(math.prod(x.shape[:2]) * math.prod(windows.sizes) * windows.points)
    call.allowed([*x.shape[:2], *windows.sizes], x.dtype)
    return windows, tuple(range(-len(kernel), 0))


@operator("MaxPool", 1)
def max_pool(call, x):
    call.kind(x, "fiu", "its input")
    windows, last = _windows(call, x)
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    view = windows.view(windows.padded(x, low))
    if len(call.node.outputs) < 2:
        return view.max(last)
    return view.max(last), _indices(call, x, windows, view)


def _indices(call, x, windows, view):
    """The place of each maximum in x, counted through all of it."""
    spatial = x.shape[2:]
    call.allowed(view.shape, np.int64, "all its windows")
    # Where elements are equal the first counts, but never one of the pads.
    index = np.arange(math.prod(spatial), dtype=np.int64).reshape(spatial)
    index = windows.view(windows.padded(index[None, None], -1))
    flat = view.reshape(*view.shape[: x.ndim], -1)
    index = np.broadcast_to(index.reshape(*index.shape[: x.ndim], -1), flat.shape)
    best = np.where(index >= 0, flat == flat.max(-1, keepdims=True), False).argmax(-1)
    found = np.take_along_axis(index, best[..., None], -1)[..., 0]
    if call.attr("storage_order", 0):
        place = np.unravel_index(np.maximum(found, 0), spatial)
        found = np.ravel_multi_index(place, spatial, order="F").astype(np.int64)
    planes = np.arange(x.shape[0] * x.shape[1], dtype=np.int64) * math.prod(spatial)
    return found + planes.reshape(*x.shape[:2], *[1] * len(spatial))


@operator("MaxUnpool", 2, 3)
def max_unpool(call, x, indices, shape=None):
    """Each element back at its place, which MaxPool gave, zeros around."""
    call.kind(indices, "iu", "indices")
    kernel = call.attr("kernel_shape") or []
    n = x.ndim - 2
    strides, pads = call.attr("strides") or [1] * n, call.attr("pads") or [0] * (2 * n)
    if n < 1 or len(kernel) != n or indices.shape != x.shape or len(pads) != 2 * n:
        raise call.error(f"kernel_shape {kernel}, indices {indices.shape} for {x.shape}")
    natural = [
        (size - 1) * strides[i] + kernel[i] - pads[i] - pads[i + n]
        for i, size in enumerate(x.shape[2:])
    ]
    whole = call.allowed([*x.shape[:2], *natural], x.dtype)
    sizes = whole if shape is None else call.allowed(call.ints(shape, "its shape", x.ndim), x.dtype)
    if x.size and not (indices.min() >= 0 and indices.max() < math.prod(whole)):
        raise call.error(f"an index outside of the shape {whole}")
    place = np.unravel_index(indices.astype(np.int64).reshape(-1), whole)
    y = np.zeros(sizes, x.dtype)
    if any(p.size and p.max() >= size for p, size in zip(place, sizes)):
        raise call.error(f"an index outside of the shape {sizes}")
    y[place] = x.reshape(-1)
    return y


@operator("AveragePool", 1)
def average_pool(call, x):
    call.kind(x, "f", "its input")
    windows, last = _windows(call, x)
    total = windows.view(windows.padded(x, 0)).sum(last)
    for size, kernel in zip(windows.sizes, windows.kernel):
        call.allowed([size, kernel], np.int64, "its counts")
    counts = windows.counts(x.shape[2:], bool(call.attr("count_include_pad", 0)))
    return total / counts.astype(x.dtype)


@operator("LpPool", 1)
def lp_pool(call, x):
    call.kind(x, "f", "its input")
    p = call.attr("p", 2)
    windows, last = _windows(call, x)
    powers = np.abs(windows.padded(x, 0)) ** p
    return (windows.view(powers).sum(last) ** (1 / p)).astype(x.dtype)


def _global(op, function):
    @operator(op, 1)
    def call_global(call, x):
        call.kind(x, "f", "its input")
        call.ndim(x, range(3, 64), "its input")
        axes = tuple(range(2, x.ndim))
        if 0 in x.shape[2:] and op == "GlobalMaxPool":
            raise call.error(f"the maximum of nothing: {x.shape}")
        return np.asarray(function(call, x, axes), x.dtype)


_global("GlobalAveragePool", lambda call, x, axes: mean(x, axes))
_global("GlobalMaxPool", lambda call, x, axes: x.max(axes, keepdims=True))
_global(
    "GlobalLpPool",
    lambda call, x, axes: (
        (np.abs(x) ** call.attr("p", 2)).sum(axes, keepdims=True) ** (1 / call.attr("p", 2))
    ),
)


@operator("Col2Im", 3)
def col2im(call, x, image, block):
    """Columns (N, C * block, windows) added up into images (N, C, image...)."""
    call.ndim(x, 3, "its input")
    block = call.ints(block, "block_shape")
    image = call.ints(image, "image_shape", len(block))
    points = math.prod(block)
    if min(block, default=0) < 1 or min(image) < 1 or x.shape[1] % points:
        raise call.error(f"block_shape {block}, image_shape {image} for {x.shape}")
    shape = call.allowed([x.shape[0], x.shape[1] // points, *image], x.dtype)
    windows = Windows(call, np.broadcast_to(np.zeros((), bool), shape), block)
    if math.prod(windows.sizes) != x.shape[2] or points > 1 << 16:
        raise call.error(f"{math.prod(windows.sizes)} windows, the input has {x.shape[2]}")
    sides = zip(image, windows.before, windows.after)
    y = np.zeros(call.allowed([*shape[:2], *(n + b + a for n, b, a in sides)], x.dtype), x.dtype)
    columns = x.reshape(*shape[:2], points, *windows.sizes)
    for i, (_, cut) in enumerate(windows.positions()):
        y[(..., *cut)] += columns[:, :, i]
    return y[(..., *(slice(b, b + n) for b, n in zip(windows.before, image)))]
