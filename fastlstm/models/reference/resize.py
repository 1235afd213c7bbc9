# SPDX-License-Identifier: MIT
"""Resize: each output is a weighted sum of inputs around its place, one axis after the other."""

import dataclasses
import math

import numpy as np

from .call import operator

_PLACES = (
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_half_pixel_for_nn",
    "half_pixel_symmetric", "tf_crop_and_resize",
)  # fmt: skip


def of_one_ratio(old, new, policy):
    """(sizes, ratio) where all axes get one ratio: the largest that makes none larger than `new`
    asks (not_larger), or the smallest that makes none smaller."""
    ratios = [n / m if m else 1.0 for n, m in zip(new, old)]
    ratio = (min if policy == "not_larger" else max)(ratios, default=1.0)
    return [math.floor(ratio * m + 0.5) for m in old], ratio


def _sizes(call, shape, axes, scales, sizes):
    """(new sizes, scales) of the `axes`."""
    old = [shape[axis] for axis in axes]
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
        raise call.error(f"sizes {new} from the shape {shape}")
    if policy == "stretch":
        return new, [n / m if m else 1.0 for n, m in zip(new, old)]
    if policy not in ("not_larger", "not_smaller"):
        raise call.error(f"keep_aspect_ratio_policy is {policy!r}")
    new, ratio = of_one_ratio(old, new, policy)
    return new, [ratio] * len(axes)


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
    call.allowed([places.size, 2 * taps], np.float64, "its weights")
    call.allowed([places.size, old], np.float64, "its weights")
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


@dataclasses.dataclass
class Step:
    """How one axis is resized.

    index      where each output is taken from, or None
    matrix     (outputs, inputs) of the weights, or None: one of the two is there
    outside    of each output whether it lies outside of x, which tf_crop_and_resize fills; or None
    """

    axis: int
    index: np.ndarray | None
    matrix: np.ndarray | None
    outside: np.ndarray | None


def steps(call, shape, roi, scales, sizes):
    """(the shape of the output, [Step]) of a Resize of an array of this shape."""
    mode = call.attr("mode", "nearest")
    where = call.attr("coordinate_transformation_mode", "half_pixel")
    axes = call.attr("axes")
    axes = range(len(shape)) if axes is None else call.axes(axes, len(shape))
    if mode not in ("nearest", "linear", "cubic") or where not in _PLACES:
        raise call.error(f"mode {mode!r} with {where!r}")
    if scales is not None and scales.size == 0 and sizes is not None:
        scales = None
    new, ratios = _sizes(call, shape, axes, scales, sizes)
    crop = where == "tf_crop_and_resize"
    if crop and (roi is None or roi.shape != (2 * len(axes),)):
        raise call.error("tf_crop_and_resize without roi")
    whole, found = list(shape), []
    for axis, n in zip(axes, new):
        whole[axis] = n
    call.allowed(whole, np.float64)
    for i, (axis, n, scale) in enumerate(zip(axes, new, ratios)):
        old = shape[axis]
        if 0 in whole or (n == old and scale == 1 and not crop):
            continue
        ends = (float(roi[i]), float(roi[i + len(axes)])) if crop else None
        places = _places(call, where, old, n, scale, ends)
        outside = (places < 0) | (places > old - 1) if crop else None
        index = matrix = None
        if mode == "nearest":
            index = np.clip(_nearest(call, places), 0, old - 1)
        else:
            matrix = _weights(call, mode, places, old, scale)
        found.append(Step(axis, index, matrix, outside))
    return whole, found


@operator("Resize", 1, 4)
def resize(call, x, roi=None, scales=None, sizes=None):
    whole, found = steps(call, x.shape, roi, scales, sizes)
    if 0 in whole:
        return np.zeros(whole, x.dtype)
    y = x
    for step in found:
        if step.index is not None:
            y = np.take(y, step.index, step.axis)
            continue
        new, old = step.matrix.shape
        shape = [*y.shape[: step.axis], new, *y.shape[step.axis + 1 :]]
        call.allowed(shape, np.float64, "an axis resized")
        call.work(math.prod(shape) * old)
        y = np.moveaxis(np.tensordot(step.matrix, y, (1, step.axis)), 0, step.axis)
    outside = [(s.axis, s.outside) for s in found if s.outside is not None and s.outside.any()]
    if outside:
        y = y.copy()
        for axis, away in outside:
            y[(slice(None),) * axis + (away,)] = call.attr("extrapolation_value", 0.0)
    if x.dtype.kind in "iu" and call.attr("mode", "nearest") != "nearest":
        info = np.iinfo(x.dtype)
        y = np.clip(np.trunc(y), info.min, info.max)
    return y.astype(x.dtype)
