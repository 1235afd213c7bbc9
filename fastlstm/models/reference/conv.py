# SPDX-License-Identifier: MIT
"""Convolutions: with weights W (M, C / groups, kernel...) over x (N, C, ...)."""

import math

import numpy as np

from .call import operator
from .windows import Windows

# A product for each point of the kernel needs no more memory than the output. All windows are
# copied out for one product where there are more points than this, or where few channels make the
# copy small.
MAX_POINTS = 4096


def _checked(call, x, weight, bias, channels_of_weight):
    """The groups and the kernel's shape."""
    call.ndim(x, range(3, 12), "X")
    call.ndim(weight, x.ndim, "W")
    groups = call.attr("group", 1)
    kernel = list(weight.shape[2:])
    if (call.attr("kernel_shape") or kernel) != kernel:
        raise call.error(f"kernel_shape {call.attr('kernel_shape')} for W of {weight.shape}")
    if groups < 1 or x.shape[1] != channels_of_weight * (groups if weight.ndim else 1):
        raise call.error(f"W of the shape {weight.shape} in {groups} groups for {x.shape}")
    if bias is not None:
        call.ndim(bias, 1, "B")
    return groups, kernel


def convolved(call, x, weight, bias=None, fill=0):
    """Each group's products, summed over the kernel's points. fill: what pads are."""
    groups, kernel = _checked(call, x, weight, bias, weight.shape[1])
    rows = weight.shape[0]
    if rows % groups or (bias is not None and bias.shape != (rows,)):
        raise call.error(f"{rows} output channels in {groups} groups, with their B")
    windows = Windows(call, x, kernel)
    shape = call.allowed([x.shape[0], rows, *windows.sizes], x.dtype)
    count = math.prod(windows.sizes)
    call.work(math.prod(shape) * weight.shape[1] * windows.points)
    padded = windows.padded(x, fill)
    n, c = x.shape[0], weight.shape[1]
    w = weight.reshape(groups, rows // groups, c, -1)
    y = np.zeros((n, groups, rows // groups, count), x.dtype)
    if windows.points <= MAX_POINTS and c * windows.points > rows // groups:
        for i, (_, cut) in enumerate(windows.positions()):
            part = padded[(..., *cut)].reshape(n, groups, c, count)
            y += np.matmul(w[..., i], part)
    else:
        call.allowed([n, groups, c, windows.points, count], x.dtype, "all its windows")
        spatial = len(kernel)
        view = windows.view(padded).reshape(n, groups, c, *windows.sizes, *kernel)
        view = np.moveaxis(view, range(-spatial, 0), range(3, 3 + spatial))
        view = view.reshape(n, groups, c * windows.points, count)
        y += np.matmul(w.reshape(groups, rows // groups, -1), view)
    y = y.reshape(shape)
    return y if bias is None else y + bias.reshape([-1] + [1] * (x.ndim - 2))


@operator("Conv", 2, 3)
def conv(call, x, weight, bias=None):
    call.same(*(a for a in (x, weight, bias) if a is not None))
    call.kind(x, "f", "X")
    return convolved(call, x, weight, bias)


@operator("ConvTranspose", 2, 3)
def conv_transpose(call, x, weight, bias=None):
    """Each input element times the kernel, added where the windows of a Conv would have been."""
    call.same(*(a for a in (x, weight, bias) if a is not None))
    call.kind(x, "f", "X")
    call.ndim(x, range(3, 12), "X")
    call.ndim(weight, x.ndim, "W")
    groups, kernel = call.attr("group", 1), list(weight.shape[2:])
    spatial = len(kernel)
    if groups < 1 or x.shape[1] % groups or weight.shape[0] != x.shape[1]:
        raise call.error(f"W of the shape {weight.shape} in {groups} groups for {x.shape}")
    if (call.attr("kernel_shape") or kernel) != kernel:
        raise call.error(f"kernel_shape {call.attr('kernel_shape')} for W of {weight.shape}")
    rows = weight.shape[1] * groups
    if bias is not None and bias.shape != (rows,):
        raise call.error(f"B of the shape {bias.shape} for {rows} channels")
    sizes, before, strides, dilations = _transposed(call, x.shape[2:], kernel)
    full = [(n - 1) * s + (k - 1) * d + 1 if n else 0
            for n, s, k, d in zip(x.shape[2:], strides, kernel, dilations)]  # fmt: skip
    whole = [max(f, b + n) for f, b, n in zip(full, before, sizes)]
    call.allowed([x.shape[0], rows, *sizes], x.dtype)
    call.allowed([x.shape[0], rows, *whole], x.dtype, "its output before pads are cut off")
    call.work(x.size * weight.shape[1] * math.prod(kernel))
    if math.prod(kernel) > 16 * MAX_POINTS:
        raise call.error(f"a kernel of {math.prod(kernel)} points")
    n, c = x.shape[0], x.shape[1] // groups
    y = np.zeros((n, rows, *whole), x.dtype)
    w = weight.reshape(groups, c, weight.shape[1], -1).swapaxes(1, 2)
    flat = x.reshape(n, groups, c, -1)
    for i, position in enumerate(np.ndindex(*kernel)):
        part = np.matmul(w[..., i], flat).reshape(n, rows, *x.shape[2:])
        cut = tuple(
            slice(p * d, p * d + (m - 1) * s + 1 if m else p * d, s)
            for p, d, m, s in zip(position, dilations, x.shape[2:], strides)
        )
        y[(..., *cut)] += part
    y = y[(..., *(slice(b, b + m) for b, m in zip(before, sizes)))]
    return y if bias is None else y + bias.reshape([-1] + [1] * spatial)


def _transposed(call, shape, kernel):
    """(output sizes, what is cut off before, strides, dilations) of a ConvTranspose."""
    n, auto = len(kernel), call.attr("auto_pad", "NOTSET")
    strides, dilations = (call.attr(a) or [1] * n for a in ("strides", "dilations"))
    pads, extra = call.attr("pads") or [0] * (2 * n), call.attr("output_padding") or [0] * n
    given = call.attr("output_shape")
    for name, values, count, least in (
        ("strides", strides, n, 1), ("dilations", dilations, n, 1), ("pads", pads, 2 * n, 0),
        ("output_padding", extra, n, 0), ("output_shape", given or [0] * n, n, 0),
    ):  # fmt: skip
        if len(values) != count or min(values) < least:
            raise call.error(f"{name} {values} for {n} spatial axes")
    sizes, before = [], []
    for i in range(n):
        whole = (shape[i] - 1) * strides[i] + extra[i] + (kernel[i] - 1) * dilations[i] + 1
        if given or auto.startswith("SAME"):
            size = given[i] if given else shape[i] * strides[i]
            total = max(0, whole - size)
            first = total // 2 if auto == "SAME_UPPER" else total - total // 2
        else:
            first = 0 if auto == "VALID" else pads[i]
            size = whole - (0 if auto == "VALID" else pads[i] + pads[i + n])
        sizes.append(size)
        before.append(first)
    return sizes, before, strides, dilations
