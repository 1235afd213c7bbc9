# SPDX-License-Identifier: MIT
"""Resize: each output is a weighted sum of inputs around its place, one axis after the other."""

import math

import numpy as np

from .call import operator

_PLACES = (
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
    "half_pixel_symmetric", "tf_crop_and_resize",
)  # fmt: skip


def _sizes(call, x, axes, scales, sizes):
    """(new sizes, scales) of the `axes`."""
    old = [x.shape[axis] for axis in axes]
    if (scales is None) == (sizes is None):
        raise call.error("one of scales and sizes is due")
    if scales is not None:
        if scales.shape != (len(axes),) or scales.dtype.kind != "f":
            raise call.error(f"scales {scales.dtype} of the shape {scales.shape}")
        scales = [float(s) for s in scales]
        if not all(math.isfinite(s) and s > 0 for s in scales):
            raise call.error(f"scales {scales}")
        return [math.floor(n * s) for n, s in zip(old, scales)], scales
    new = call.ints(sizes, "sizes", len(axes))
    policy = call.attr("keep_aspect_ratio_policy", "stretch")
    if min(new, default=0) < 0 or (0 in old and any(new)):
        raise call.error(f"sizes {new} from the shape {x.shape}")
    ratios = [n / m if m else 1.0 for n, m in zip(new, old)]
    if policy != "stretch":
        if policy not in ("not_larger", "not_smaller"):
            raise call.error(f"keep_aspect_ratio_policy is {policy!r}")
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        ratios = [ratio] * len(axes)
        new = [math.floor(ratio * m + 0.5) for m in old]
    return new, ratios


def _places(call, mode, old, new, scale, roi):
    """Where each of the `new` outputs of an axis lies among its `old` inputs."""
    i = np.arange(new, dtype=np.float64)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * (old - 1) / (new - 1) if new > 1 else i * 0
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "tf_crop_and_resize":
        start, end = roi
        if new > 1:
            return start * (old - 1) + i * (end - start) * (old - 1) / (new - 1)
        return i * 0 + 0.5 * (start + end) * (old - 1)
    if mode == "pytorch_half_pixel" and new <= 1:
        return i * 0
    offset = 0.0
    if mode == "half_pixel_symmetric":
        offset = old / 2 * (1 - new / (scale * old))
    return offset + (i + 0.5) / scale - 0.5


def _nearest(call, places):
    mode = call.attr("nearest_mode", "round_prefer_floor")
    rounds = {
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "floor": np.floor, "ceil": np.ceil,
    }  # fmt: skip
    if mode not in rounds:
        raise call.error(f"nearest_mode is {mode!r}")
    return rounds[mode](places).astype(np.int64)


def _cubic(distance, a):
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _weights(call, mode, places, old, scale):
    """The matrix (new, old) that computes an axis."""
    reach = 1 if mode == "linear" else 2
    shrink = min(scale, 1.0) if call.attr("antialias", 0) else 1.0
    taps = math.ceil(reach / shrink)
    call.room([places.size, 2 * taps], np.float64, "its weights")
    call.room([places.size, old], np.float64, "its weights")
    first = np.floor(places)[:, None] + np.arange(1 - taps, taps + 1)
    distance = (first - places[:, None]) * shrink
    if mode == "linear":
        weights = np.maximum(0, 1 - np.abs(distance))
    else:
        weights = _cubic(distance, call.attr("cubic_coeff_a", -0.75))
    if call.attr("exclude_outside", 0):
        weights = np.where((first < 0) | (first >= old), 0, weights)
    weights = weights / weights.sum(1, keepdims=True)
    matrix = np.zeros((places.size, old))
    index = np.clip(first, 0, old - 1).astype(np.int64)
    np.add.at(matrix, (np.arange(places.size)[:, None], index), weights)
    return matrix


@operator("Resize", 1, 4)
def resize(call, x, roi=None, scales=None, sizes=None):
    mode = call.attr("mode", "nearest")
    where = call.attr("coordinate_transformation_mode", "half_pixel")
    axes = call.attr("axes")
    axes = range(x.ndim) if axes is None else call.axes(axes, x.ndim)
    if mode not in ("nearest", "linear", "cubic") or where not in _PLACES:
        raise call.error(f"mode {mode!r} with {where!r}")
    if scales is not None and scales.size == 0 and sizes is not None:
        scales = None
    new, ratios = _sizes(call, x, axes, scales, sizes)
    crop = where == "tf_crop_and_resize"
    if crop and (roi is None or roi.shape != (2 * len(axes),)):
        raise call.error("tf_crop_and_resize without roi")
    whole = list(x.shape)
    for axis, n in zip(axes, new):
        whole[axis] = n
    call.room(whole, np.float64)
    if 0 in whole:
        return np.zeros(whole, x.dtype)
    y, outside = x, []
    for i, (axis, n, scale) in enumerate(zip(axes, new, ratios)):
        old = x.shape[axis]
        if n == old and scale == 1 and not crop:
            continue
        ends = (float(roi[i]), float(roi[i + len(axes)])) if crop else None
        places = _places(call, where, old, n, scale, ends)
        if crop:
            outside.append((axis, (places < 0) | (places > old - 1)))
        if mode == "nearest":
            y = np.take(y, np.clip(_nearest(call, places), 0, old - 1), axis)
        else:
            shape = [*y.shape[:axis], n, *y.shape[axis + 1 :]]
            call.room(shape, np.float64, "an axis resized")
            call.work(math.prod(shape) * old)
            matrix = _weights(call, mode, places, old, scale)
            y = np.moveaxis(np.tensordot(matrix, y, (1, axis)), 0, axis)
    if outside and any(where.any() for _, where in outside):
        y = y.copy()
        for axis, away in outside:
            y[(slice(None),) * axis + (away,)] = call.attr("extrapolation_value", 0.0)
    if x.dtype.kind in "iu" and mode != "nearest":
        info = np.iinfo(x.dtype)
        y = np.clip(np.trunc(y), info.min, info.max)
    return y.astype(x.dtype)
