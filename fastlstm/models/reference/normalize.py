# SPDX-License-Identifier: MIT
"""Softmax and its like, and normalisation by means and variances."""

import math

import numpy as np

from .call import mean, operator


def softmax_of(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis, keepdims=True)


@operator("Softmax", 1)
def softmax(call, x):
    call.kind(x, "f", "its input")
    return softmax_of(x, call.axis(call.attr("axis", -1), x.ndim))


@operator("LogSoftmax", 1)
def log_softmax(call, x):
    call.kind(x, "f", "its input")
    axis = call.axis(call.attr("axis", -1), x.ndim)
    x = x - x.max(axis, keepdims=True, initial=-np.inf)
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


@operator("Hardmax", 1)
def hardmax(call, x):
    call.kind(x, "f", "its input")
    axis = call.axis(call.attr("axis", -1), x.ndim)
    if not x.size:
        return x
    best = np.expand_dims(x.argmax(axis), axis)
    y = np.zeros(x.shape, x.dtype)
    np.put_along_axis(y, best, 1, axis)
    return y


def _channels(call, array, x, what):
    """The array (C,), for axis 1 of x."""
    if x.ndim < 2 or array.shape != (x.shape[1],):
        raise call.error(f"{what} of the shape {array.shape} for {x.shape}")
    return array.reshape([-1] + [1] * (x.ndim - 2))


@operator("BatchNormalization", 5)
def batch_normalization(call, x, scale, bias, middle, variance):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias for each channel. With training_mode=1
    by the batch's own statistics; then also the running ones."""
    call.kind(x, "f", "its input")
    parts = [scale, bias, middle, variance]
    names = ("scale", "B", "mean", "var")
    scale, bias, middle, variance = (_channels(call, a, x, n) for a, n in zip(parts, names))
    epsilon = call.attr("epsilon", 1e-5)
    extra = ()
    if call.attr("training_mode", 0):
        axes = (0, *range(2, x.ndim))
        old = middle, variance
        middle = mean(x, axes)[0]
        variance = mean((x - middle) ** 2, axes)[0]
        m = call.attr("momentum", 0.9)
        extra = tuple(
            (a * m + b * (1 - m)).astype(a.dtype).reshape(-1)
            for a, b in ((old[0], middle), (old[1], variance))
        )
    factor = scale / np.sqrt(variance + np.asarray(epsilon, variance.dtype))
    return ((x - middle) * factor + bias).astype(x.dtype), *extra


def _standard(call, x, axes, epsilon):
    """((x - mean) / deviation, mean, 1 / deviation) over `axes`, kept."""
    middle = mean(x, axes)
    centred = x - middle
    inverse = 1 / np.sqrt(mean(centred * centred, axes) + epsilon)
    return centred * inverse, middle, inverse


@operator("InstanceNormalization", 3)
def instance_normalization(call, x, scale, bias):
    call.kind(x, "f", "its input")
    call.ndim(x, range(3, 64), "its input")
    scale, bias = _channels(call, scale, x, "scale"), _channels(call, bias, x, "B")
    y = _standard(call, x, tuple(range(2, x.ndim)), call.attr("epsilon", 1e-5))[0]
    return (y * scale + bias).astype(x.dtype)


@operator("GroupNormalization", 3)
def group_normalization(call, x, scale, bias):
    call.kind(x, "f", "its input")
    call.ndim(x, range(2, 64), "its input")
    groups = call.attr("num_groups", 0)
    if groups < 1 or x.shape[1] % groups:
        raise call.error(f"{groups} groups of {x.shape[1]} channels")
    scale, bias = _channels(call, scale, x, "scale"), _channels(call, bias, x, "bias")
    split = x.reshape(x.shape[0], groups, -1 if x.size else 0)
    y = _standard(call, split, (2,), call.attr("epsilon", 1e-5))[0].reshape(x.shape)
    return (y * scale + bias).astype(x.dtype)


@operator("LayerNormalization", 2, 3)
def layer_normalization(call, x, scale, bias=None):
    """Over the axes from `axis` on; outputs y, mean, 1 / deviation."""
    call.kind(x, "f", "its input")
    axes = tuple(range(call.axis(call.attr("axis", -1), x.ndim), x.ndim))
    for array in (scale, bias):
        if array is not None and call.broadcast(x, array) != x.shape:
            raise call.error(f"scale or B of the shape {array.shape} for {x.shape}")
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    y, middle, inverse = _standard(call, wide, axes, call.attr("epsilon", 1e-5))
    y = y.astype(x.dtype) * scale
    return (y if bias is None else y + bias), middle, inverse


@operator("RMSNormalization", 2)
def rms_normalization(call, x, scale):
    call.kind(x, "f", "its input")
    axes = tuple(range(call.axis(call.attr("axis", -1), x.ndim), x.ndim))
    if call.broadcast(x, scale) != x.shape:
        raise call.error(f"scale of the shape {scale.shape} for {x.shape}")
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    square = mean(wide * wide, axes)
    return (wide / np.sqrt(square + call.attr("epsilon", 1e-5))).astype(x.dtype) * scale


@operator("com.microsoft.SkipLayerNormalization", 3, 5)
def skip_layer_normalization(call, x, skip, gamma, beta=None, bias=None):
    call.kind(x, "f", "its input")
    if call.broadcast(x, skip) != x.shape or gamma.shape != x.shape[-1:]:
        raise call.error(f"the shapes {x.shape}, {skip.shape} and {gamma.shape} do not fit")
    whole = x + skip if bias is None else x + skip + bias
    y, middle, inverse = _standard(call, whole, (-1,), call.attr("epsilon", 1e-12))
    y = y * gamma
    return (y if beta is None else y + beta), middle, inverse, whole


@operator("MeanVarianceNormalization", 1)
def mean_variance_normalization(call, x):
    call.kind(x, "f", "its input")
    axes = call.axes(call.attr("axes", [0, 2, 3]), x.ndim)
    centred = x - mean(x, axes)
    deviation = np.sqrt(mean(centred * centred, axes))
    return (centred / (deviation + 1e-9)).astype(x.dtype)


@operator("LpNormalization", 1)
def lp_normalization(call, x):
    call.kind(x, "f", "its input")
    axis, p = call.axis(call.attr("axis", -1), x.ndim), call.attr("p", 2)
    if p not in (1, 2):
        raise call.error(f"p is {p}: 1 or 2 are due")
    norm = (np.abs(x) ** p).sum(axis, keepdims=True) ** (1 / p)
    return np.where(norm == 0, 0, x / norm).astype(x.dtype)


@operator("LRN", 1)
def local_response_normalization(call, x):
    """x / (bias + alpha / size * the sum of the squares of `size` channels around) ^ beta"""
    call.kind(x, "f", "its input")
    call.ndim(x, range(2, 64), "its input")
    size, channels = call.attr("size", 0), x.shape[1]
    if size < 1:
        raise call.error(f"size is {size}")
    before, after = (size - 1) // 2, math.ceil((size - 1) / 2)
    total = np.zeros((x.shape[0], channels + 1, *x.shape[2:]), np.float64)
    np.cumsum(x * x, 1, out=total[:, 1:])
    low = np.maximum(np.arange(channels) - before, 0)
    high = np.minimum(np.arange(channels) + after + 1, channels)
    sums = total[:, high] - total[:, low]
    factor = call.attr("bias", 1.0) + call.attr("alpha", 1e-4) / size * sums
    return (x / factor ** call.attr("beta", 0.75)).astype(x.dtype)
