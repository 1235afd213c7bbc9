# SPDX-License-Identifier: MIT
"""Matrices of bfloat16 numbers, which NumPy does not have: the upper halves of float32 numbers. How
the C core adds their products is in csrc/kernels/bfloat16.h; the backends without it multiply by
NumPy, in an order of its own."""

import numpy as np

F32 = np.float32
_BLOCK = 1 << 20  # numbers that are rounded or widened at a time
_LEAST = 0x2380  # the bits of 2^-56: smaller numbers become 0


class _DType:
    """What a Bfloat16 has for a dtype: its name and kind, which is how it is told."""

    name, kind, itemsize = "bfloat16", "f", 2

    def __str__(self):
        return self.name


class Bfloat16:
    """An array of bfloat16. bits: uint16, each the upper half of a float32."""

    dtype = _DType()

    def __init__(self, bits):
        self.bits = bits
        self.shape, self.size, self.nbytes = bits.shape, bits.size, bits.nbytes

    def astype(self, dtype, copy=True):
        """The numbers, which float32 holds exactly."""
        wide = np.empty(self.shape, np.uint32)
        to, bits = wide.reshape(-1), self.bits.reshape(-1)
        for start in range(0, len(bits), _BLOCK):
            to[start : start + _BLOCK] = bits[start : start + _BLOCK]
        to <<= np.uint32(16)
        return wide.view(F32).astype(dtype, copy=False)


def bits_of(array):
    """uint16 of a float32 array: each number's nearest bfloat16, ties to even; 0 where that is
    below 2^-56 in magnitude, infinity from 3.3962e38 on; a NaN stays a NaN."""
    u = np.ascontiguousarray(array, F32).view(np.uint32)
    rounded = u + (np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1)))
    rounded = (rounded >> np.uint32(16)).astype(np.uint16)
    rounded[(rounded & np.uint16(0x7FFF)) < _LEAST] = 0
    nan = np.isnan(array)
    if nan.any():
        rounded[nan] = (u[nan] >> np.uint32(16)).astype(np.uint16) | np.uint16(0x40)
    return rounded


def quantized(name, array):
    """A float32 matrix (rows, K) as Bfloat16; ValueError, with `name`, if a finite number would
    become infinite."""
    bits = np.empty(array.shape, np.uint16)
    step = max(1, _BLOCK // max(1, array.shape[1]))
    for start in range(0, len(array), step):
        bits[start : start + step] = bits_of(array[start : start + step])
    lost = ((bits & np.uint16(0x7FFF)) == 0x7F80) & np.isfinite(array)
    if lost.any():
        raise ValueError(
            f"{name} holds {array[lost][0]:g}, which is too large for bfloat16: its largest number "
            "is 3.38953e+38. Keep this layer in float32"
        )
    return Bfloat16(bits)


def rounded(array):
    """A float32 array with each number rounded as `bits_of` says."""
    return Bfloat16(bits_of(array)).astype(F32)


class Matrix:
    """A matrix W (N, K) to be multiplied from the left: `rows @ matrix` is rows W^T, for rows (...,
    K), which are rounded; the sums are float32, in NumPy's order.

    transposed   W^T (K, N), float32, of numbers that bfloat16 holds
    """

    __array_ufunc__ = None  # so that `array @ matrix` calls __rmatmul__

    def __init__(self, transposed):
        self.transposed = transposed
        self.size, self.nbytes = transposed.size, transposed.nbytes

    def __rmatmul__(self, rows):
        return np.matmul(rounded(rows), self.transposed)

    def __getitem__(self, at):
        """matrix[:, a:b]: some of its columns, which are rows of W."""
        return Matrix(self.transposed[at])
