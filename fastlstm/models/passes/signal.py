# SPDX-License-Identifier: MIT
"""Fourier transforms as products with constant matrices: the lengths have to be known. That of n
numbers x, of which each has a real and, or not, an imaginary part, is for m = 0 .. bins - 1

    y[m] = sum over j of x[j] exp(-2 pi i j m / length)
"""

import numpy as np

from .put import made_of_others


def matrix(n, length, bins, parts, inverse=False):
    """(2 bins, n parts): rows (bin, part of y), columns (j, part of x)."""
    turn = np.outer(np.arange(bins), np.arange(n)) % length * (2 * np.pi / length)
    cos, sin = np.cos(turn), np.sin(turn) * (1 if inverse else -1)
    if inverse:
        cos, sin = cos / length, sin / length
    whole = np.stack([[cos, -sin], [sin, cos]])[:, :parts]  # [part of y][part of x][m][j]
    return whole.transpose(2, 0, 3, 1).reshape(2 * bins, n * parts)


def real_inverse(bins, length):
    """(length, 2 bins): the real numbers whose transform begins with `bins` given ones, which the
    others mirror. The imaginary parts of the first, and of that in the middle, do not count."""
    turn = np.outer(np.arange(length), np.arange(bins)) % length * (2 * np.pi / length)
    both = np.where((np.arange(bins) == 0) | (2 * np.arange(bins) == length), 1, 2) / length
    both = np.where(2 * np.arange(bins) > length, 0, both)
    sin = np.where((np.arange(bins) == 0) | (2 * np.arange(bins) == length), 0, np.sin(turn))
    return np.stack([np.cos(turn) * both, -sin * both], -1).reshape(length, 2 * bins)


def _number(put, index, what):
    found = put.due(index, what)
    if found is not None and found.size != 1:
        raise put.node.error(f"{what} has the shape {found.shape}: one number is due")
    return None if found is None else int(found.reshape(-1)[0])


@made_of_others("DFT")
def dft(put, node):
    x = node.inputs[0]
    shape, get = put.shape(x), node.attrs.get
    axes, axis = len(shape), _number(put, 2, "the axis")
    axis = axes - 2 if axis is None else axis % axes
    onesided, inverse, parts, n = get("onesided", 0), get("inverse", 0), shape[-1], shape[axis]
    if None in (parts, n):
        raise node.not_known(f"the axis {axis} and the last one of {shape} have to be known before")
    length = _number(put, 1, "dft_length")
    if length is None:
        length = 2 * (n - 1) if onesided and inverse else n
    if axis == axes - 1 or parts not in (1, 2) or length < 1 or (onesided and parts != 1 + inverse):
        raise node.error(f"axis {axis} of {shape}, with a length of {length}")
    if onesided and inverse:
        bins, made = min(n, length // 2 + 1), 1
        weights = real_inverse(bins, length)
        used = bins
    else:
        bins, made = length // 2 + 1 if onesided else length, 2
        used = min(n, length)
        weights = matrix(used, length, bins, parts, inverse)
    whole = np.zeros((len(weights), n * parts))
    whole[:, : used * parts] = weights
    last = [*[a for a in range(axes - 1) if a != axis], axis, axes - 1]
    (y,) = put("Transpose", [x], perm=last)
    (y,) = put("Reshape", [y, put.ints(*[0] * (axes - 2), n * parts)])
    (y,) = put("Linear", [y, put.constant(whole)])
    (y,) = put("Reshape", [y, put.ints(*[0] * (axes - 2), len(weights) // made, made)])
    put("Transpose", [y], last=True, perm=np.argsort(last).tolist())


@made_of_others("STFT")
def stft(put, node):
    """A convolution of x (B, T, parts): frames overlap in memory and are not copied."""
    x = node.inputs[0]
    shape, step = put.shape(x), _number(put, 1, "frame_step")
    window, length = put.due(2, "the window"), _number(put, 3, "frame_length")
    length = length if length is not None else None if window is None else window.size
    if len(shape) == 2:
        (x,) = put("Unsqueeze", [x, put.ints(2)])
        shape = put.shape(x)
    if (
        len(shape) != 3
        or not length
        or step < 1
        or (window is not None and window.shape != (length,))
    ):
        raise node.error(f"frames of {length} every {step} of x of the shape {shape}")
    parts = shape[2]
    if parts not in (1, 2):
        raise node.not_known(f"the last axis of x, {shape}, has to be known before: 1 or 2")
    bins = length // 2 + 1 if node.attrs.get("onesided", 1) else length
    weights = matrix(length, length, bins, parts).reshape(2 * bins, length, parts)
    if window is not None:
        weights = weights * window[:, None]
    (y,) = put("ConvLast", [x, put.constant(weights.transpose(0, 2, 1)), ""],
               strides=[step], kernel_shape=[length])  # fmt: skip
    put("Reshape", [y, put.ints(0, 0, bins, 2)], last=True)
