# SPDX-License-Identifier: MIT
"""Operators that move elements by shapes, and those that compute with shapes. Where NumPy gives a
view, so do they: callers must not write into outputs."""

import math

import numpy as np

from .call import operator


@operator("Shape", 1)
def shape_of(call, x):
    start, end = call.attr("start", 0), call.attr("end")
    return np.array(x.shape[slice(start, end)], np.int64)


@operator("Size", 1)
def size_of(call, x):
    return np.array(x.size, np.int64)


@operator("Reshape", 2)
def reshape(call, x, shape):
    sizes = call.ints(shape, "its shape")
    if not call.attr("allowzero", 0):
        for i, n in enumerate(sizes):
            if n == 0:
                if i >= x.ndim:
                    raise call.error(f"shape {sizes} takes axis {i} of the shape {x.shape}")
                sizes[i] = x.shape[i]
    rest = math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) > 1 or min(sizes, default=0) < -1:
        raise call.error(f"its shape is {sizes}")
    if -1 in sizes:
        if not rest or x.size % rest:
            raise call.error(f"the shape {x.shape} cannot become {sizes}")
        sizes[sizes.index(-1)] = x.size // rest
    if math.prod(sizes) != x.size:
        raise call.error(f"the shape {x.shape} cannot become {sizes}")
    return x.reshape(call.allowed(sizes, x.dtype))


@operator("Flatten", 1)
def flatten(call, x):
    axis = call.attr("axis", 1)
    if not -x.ndim <= axis <= x.ndim:
        raise call.error(f"axis is {axis}, of {x.ndim} axes")
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@operator("Squeeze", 1, 2)
def squeeze(call, x, axes=None):
    if axes is None:
        return np.squeeze(x)
    found = call.axes(call.ints(axes, "axes"), x.ndim)
    if any(x.shape[axis] != 1 for axis in found):
        raise call.error(f"axes {list(found)} of the shape {x.shape} are not all 1")
    return np.squeeze(x, found)


@operator("Unsqueeze", 2)
def unsqueeze(call, x, axes):
    axes = call.ints(axes, "axes")
    return np.expand_dims(x, call.axes(axes, x.ndim + len(axes)))


@operator("Transpose", 1)
def transpose(call, x):
    perm = call.attr("perm")
    if perm is None:
        return x.T
    if sorted(perm) != list(range(x.ndim)):
        raise call.error(f"perm {perm} does not fit the shape {x.shape}")
    return x.transpose(perm)


@operator("Expand", 2)
def expand(call, x, shape):
    sizes = call.allowed(call.ints(shape, "its shape"), x.dtype)
    try:
        return np.broadcast_to(x, call.allowed(np.broadcast_shapes(x.shape, sizes), x.dtype))
    except ValueError:
        raise call.error(f"the shape {x.shape} cannot be broadcast to {sizes}") from None


@operator("Tile", 2)
def tile(call, x, repeats):
    counts = call.ints(repeats, "repeats", x.ndim)
    call.allowed([n * count for n, count in zip(x.shape, counts)], x.dtype)
    call.allowed(counts, bool, "repeats")
    return np.tile(x, counts)


@operator("Concat", 1, many=True)
def concat(call, arrays):
    call.same(*arrays)
    first = arrays[0]
    axis = call.axis(call.attr("axis"), first.ndim)
    rest = [a.shape[:axis] + a.shape[axis + 1 :] for a in arrays]
    if any(a.ndim != first.ndim for a in arrays) or any(r != rest[0] for r in rest):
        shapes = ", ".join(str(a.shape) for a in arrays[:8])
        raise call.error(f"the shapes {shapes} cannot be joined at axis {axis}")
    whole = list(first.shape)
    whole[axis] = sum(a.shape[axis] for a in arrays)
    call.allowed(whole, first.dtype)
    return np.concatenate(arrays, axis)


@operator("Split", 1, 2)
def split(call, x, sizes=None):
    axis = call.axis(call.attr("axis", 0), x.ndim)
    size, outputs = x.shape[axis], len(call.node.outputs)
    if sizes is None:
        count = call.attr("num_outputs", outputs)
        if not 0 < count <= max(1, outputs):
            raise call.error(f"num_outputs is {count}, it has {outputs}")
        part = -(-size // count)
        parts = [max(0, min(part, size - i * part)) for i in range(count)]
    else:
        if sizes.dtype.kind not in "iu" or sizes.ndim != 1:
            raise call.error(f"split is {sizes.dtype} of the shape {sizes.shape}")
        parts = sizes.tolist()
    if min(parts, default=0) < 0 or sum(parts) != size or len(parts) < outputs:
        raise call.error(f"axis {axis} of the shape {x.shape} in parts of {parts[:16]}")
    return np.split(x, np.cumsum(parts[:-1]), axis)


def bounds(start, end, step, size):
    """(start, end or None, step) for a Python slice of an axis: ONNX cuts both to the axis."""
    if start < 0:
        start += size
    if end < 0:
        end += size
    if step > 0:
        return min(max(start, 0), size), min(max(end, 0), size), step
    end = min(max(end, -1), size - 1)
    start = min(max(start, 0), size - 1)  # not as Python, where one before the axis is nothing
    return (0, 0, 1) if start < 0 else (start, None if end < 0 else end, step)


@operator("Slice", 3, 5)
def slices(call, x, starts, ends, axes=None, steps=None):
    starts, ends = call.ints(starts, "starts"), call.ints(ends, "ends", len(starts))
    axes = list(range(len(starts))) if axes is None else call.ints(axes, "axes", len(starts))
    axes = call.axes(axes, x.ndim)
    steps = [1] * len(starts) if steps is None else call.ints(steps, "steps", len(starts))
    if 0 in steps:
        raise call.error("a step of 0")
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        cut[axis] = slice(*bounds(start, end, step, x.shape[axis]))
    return x[tuple(cut)]


def _places(mode, before, size, after):
    """Which element of an axis of `size` each place of the padded one has."""
    places = np.arange(-before, size + after)
    if mode == "edge":
        return np.clip(places, 0, size - 1)
    if mode == "wrap":
        return places % size
    period = max(2 * (size - 1), 1)
    places = np.abs(places) % period
    return np.minimum(places, period - places) if size > 1 else places * 0


@operator("Pad", 2, 4)
def pad(call, x, pads, value=None, axes=None):
    mode = call.attr("mode", "constant")
    axes = range(x.ndim) if axes is None else call.axes(call.ints(axes, "axes"), x.ndim)
    pads = call.ints(pads, "pads", 2 * len(axes))
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise call.error(f"mode is {mode!r}")
    sides = [(0, 0)] * x.ndim
    for i, axis in enumerate(axes):
        sides[axis] = pads[i], pads[i + len(axes)]
    kept = []
    for n, (before, after) in zip(x.shape, sides):  # negative ones take away
        if n + before + after < 0 or -before > n or -after > n:
            raise call.error(f"pads {pads} of the shape {x.shape}")
        kept.append(slice(max(-before, 0), n - max(-after, 0)))
    x = x[tuple(kept)]
    sides = [(max(before, 0), max(after, 0)) for before, after in sides]
    call.allowed([n + sum(side) for n, side in zip(x.shape, sides)], x.dtype)
    if mode == "constant":
        fill = 0 if value is None else call.scalar(value, "its value")
        return np.pad(x, sides, constant_values=fill)
    for axis, (before, after) in enumerate(sides):
        if before or after:
            if not x.shape[axis]:
                raise call.error(f"an axis of size 0 cannot be padded by mode {mode!r}")
            x = np.take(x, _places(mode, before, x.shape[axis], after), axis)
    return x


@operator("CenterCropPad", 2)
def center_crop_pad(call, x, shape):
    axes = call.attr("axes")
    axes = range(x.ndim) if axes is None else call.axes(axes, x.ndim)
    sizes = list(x.shape)
    for axis, n in zip(axes, call.ints(shape, "its shape", len(axes))):
        sizes[axis] = n
    call.allowed(sizes, x.dtype)
    cut, sides = [], []
    for old, new in zip(x.shape, sizes):
        start = max(old - new, 0) // 2
        cut.append(slice(start, start + min(old, new)))
        gap = max(new - old, 0)
        sides.append((gap // 2, gap - gap // 2))
    return np.pad(x[tuple(cut)], sides)


@operator("ConstantOfShape", 1)
def constant_of_shape(call, shape):
    fill = call.attr("value")
    fill = np.zeros(1, np.float32) if fill is None else fill
    if not isinstance(fill, np.ndarray) or fill.size != 1:
        raise call.error("value is not one number")
    return np.full(call.allowed(call.ints(shape, "its shape"), fill.dtype), fill.reshape(()))


@operator("Range", 3)
def ranges(call, start, limit, delta):
    call.same(start, limit, delta)
    call.kind(start, "fiu", "start")
    first, last, step = (call.scalar(a, "start, limit or delta") for a in (start, limit, delta))
    if not step or not all(map(math.isfinite, (first, last, step))):
        raise call.error(f"from {first} to {last} in steps of {step}")
    count = max(0, math.ceil((last - first) / step))
    call.allowed([count], np.float64)
    return (first + np.arange(count) * step).astype(start.dtype)


@operator("EyeLike", 1)
def eye_like(call, x):
    call.ndim(x, 2, "its input")
    code = call.attr("dtype")
    dtype = x.dtype if code is None else call.dtype(code, "dtype")
    k = call.attr("k", 0)
    return np.eye(*call.allowed(x.shape, dtype), max(-x.shape[0], min(k, x.shape[1])), dtype)


@operator("Trilu", 1, 2)
def trilu(call, x, k=None):
    call.ndim(x, range(2, 64), "its input")
    k = 0 if k is None else call.scalar(k, "k")
    k = max(-(1 << 62), min(k, 1 << 62))
    k = max(-x.shape[-2] - 1, min(k, x.shape[-1] + 1))
    return (np.triu if call.attr("upper", 1) else np.tril)(x, k)


@operator("DepthToSpace", 1)
def depth_to_space(call, x):
    call.ndim(x, 4, "its input")
    n, c, h, w = x.shape
    b = call.attr("blocksize", 0)
    if b < 1 or c % (b * b):
        raise call.error(f"blocksize {b} of {c} channels")
    if call.attr("mode", "DCR") == "DCR":
        y = x.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(n, c // (b * b), h * b, w * b)


@operator("SpaceToDepth", 1)
def space_to_depth(call, x):
    call.ndim(x, 4, "its input")
    n, c, h, w = x.shape
    b = call.attr("blocksize", 0)
    if b < 1 or h % b or w % b:
        raise call.error(f"blocksize {b} of the shape {x.shape}")
    y = x.reshape(n, c, h // b, b, w // b, b)
    order = (0, 3, 5, 1, 2, 4) if call.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return y.transpose(order).reshape(n, c * b * b, h // b, w // b)


@operator("ReverseSequence", 2)
def reverse_sequence(call, x, lengths):
    call.ndim(x, range(2, 64), "its input")
    batch, time = call.attr("batch_axis", 1), call.attr("time_axis", 0)
    if {batch, time} != {0, 1}:
        raise call.error(f"batch_axis {batch} and time_axis {time}: 0 and 1 are due")
    call.kind(lengths, "iu", "sequence_lens")
    if lengths.shape != (x.shape[batch],):
        raise call.error(f"sequence_lens of the shape {lengths.shape} for {x.shape}")
    if lengths.size and not (lengths.min() >= 0 and lengths.max() <= x.shape[time]):
        raise call.error(f"sequence_lens beyond the {x.shape[time]} steps")
    x = x if batch == 0 else x.swapaxes(0, 1)
    steps = np.arange(x.shape[1])[None, :]
    lengths = lengths[:, None]
    order = np.where(steps < lengths, lengths - 1 - steps, steps).astype(np.int64)
    y = x[np.arange(x.shape[0])[:, None], order]
    return y if batch == 0 else y.swapaxes(0, 1)
