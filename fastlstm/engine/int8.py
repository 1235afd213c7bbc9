# SPDX-License-Identifier: MIT
"""Matrices of 8-bit codes: how weights are made into them, and the products of the backends without
C. The rules are those of csrc/kernels/codes.h, which says why they are what they are.

    weights    w = code * scale, a scale for each row, code = round(w * (127 / most)), where most is
               the largest |w| of the row and scale is most / 127
    inputs     x = code * scale, a scale for each row of x (one step of one sequence), codes of 16
               or 8 bits, made whenever x is read; states h likewise, of 8 bits
"""

import numpy as np

F32 = np.float32
INPUTS = ("int16", "int8")  # the codes of a first layer's x
TOP = 127  # the largest code of 8 bits
TOP_16 = 127 * 256  # and of 16 bits
_BLOCK = 1 << 20  # integers of a file that are looked at at once
LEAST = F32(2.0**-100)  # the weights of a row that are all smaller count as zeros


class Codes:
    """A matrix as codes, int8 (rows, K), none of them -128, and scales, float32 (rows,)."""

    dtype = np.dtype(np.int8)

    def __init__(self, codes, scales):
        self.codes, self.scales = codes, scales

    @property
    def shape(self):
        return self.codes.shape

    @property
    def nbytes(self):
        return self.codes.nbytes + self.scales.nbytes

    @property
    def size(self):
        return self.codes.size

    def astype(self, dtype, copy=True):
        """The numbers that the codes stand for, code * scale, each rounded once to float32."""
        return (self.codes.astype(F32) * self.scales[:, None]).astype(dtype, copy=False)


def is_codes(codes, scales):
    """May these arrays, perhaps a file's, be a matrix's codes and scales?"""
    return (
        codes.dtype == np.int8
        and codes.ndim == 2
        and scales.dtype == F32
        and scales.shape == codes.shape[:1]
        and codes.min(initial=0) >= -TOP
        and bool(np.isfinite(scales).all())
        and scales.min(initial=0) >= 0
    )


def quantized(name, array):
    """A float32 matrix (rows, K) as Codes; ValueError if a weight is not finite, with `name`."""
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a NaN or an infinity, which has no 8-bit code")
    most = np.abs(array).max(1, initial=0)
    most[most < LEAST] = 0
    with np.errstate(divide="ignore"):
        by = np.where(most > 0, F32(TOP) / most, F32(0))
    codes = np.rint(array * by[:, None]).astype(np.int8)
    return Codes(codes, most / F32(TOP))


def numbers(integers, zeros, scales):
    """(integers - zeros) * scales, float32: integers (rows, K), the others a number or (rows,)."""
    by = np.asarray(scales, F32).reshape(-1, 1)
    with np.errstate(all="ignore"):
        return (integers.astype(F32) - np.reshape(zeros, (-1, 1)).astype(F32)) * by


def of_integers(integers, zeros, scales):
    """(Codes, a note or None) of a file's matrix (integers - zeros) * scales, small integers (rows,
    K), with zeros and scales of one number or (rows,); (None, why) if they are no codes. They are
    the file's own, but for a -128 that the zero point leaves: it becomes -127, or where a row has
    many, all of the row is rounded once more, to 127 steps. The note says so."""
    rows, columns = integers.shape
    if integers.dtype.itemsize > 1:
        return None, f"the file's integers are {integers.dtype}, not of 8 bits"
    zeros = np.broadcast_to(np.asarray(zeros, np.float64).reshape(-1), rows)
    if not (np.abs(zeros) < 256).all() or (zeros != np.rint(zeros)).any():
        return None, "the file's zero points are no integers of 8 bits"
    zeros = zeros.astype(np.int16)
    scales = np.array(np.broadcast_to(np.asarray(scales, F32).reshape(-1), rows))
    if not (np.isfinite(scales) & (scales >= 0)).all():
        return None, "the file's scales are not all finite and at least 0"
    codes, step, edges = np.empty(integers.shape, np.int8), max(1, _BLOCK // max(1, columns)), 0
    for at in range(0, rows, step):
        some = slice(at, at + step)
        centred = integers[some].astype(np.int16) - zeros[some, None]
        if centred.min(initial=0) < -TOP - 1 or centred.max(initial=0) > TOP:
            return None, "the file's codes less their zero points are beyond -128 .. 127"
        count = (centred < -TOP).sum(1)
        # One -128 of many codes is off by less as a -127 than all are by a new scale, by 0.29.
        again = 12 * count > columns
        centred[again] = np.rint(centred[again] * (TOP / (TOP + 1))).astype(np.int16)
        with np.errstate(over="ignore"):
            scales[some][again] *= F32((TOP + 1) / TOP)
        codes[some] = np.maximum(centred, -TOP)
        edges += int((count > 0).sum())
    if not np.isfinite(scales).all():
        return None, "the file's scales are too large"
    note = f"{edges} of its rows hold the code -128, which is rounded to -127"
    return Codes(codes, scales), note if edges else None


def top_of(codes, bits):
    """The largest code that a row of inputs of `bits` bits may have, so that no sum of products,
    nor any part of it, leaves 32 bits; codes: (rows, K)."""
    most = max(1, int(np.abs(codes.astype(np.int64)).sum(1).max(initial=0)))
    return min((2**31 - 1) // most, TOP_16 if bits == 16 else TOP)


def encoded(rows, least, top):
    """(codes, scales) of rows (..., K): codes as floats that are whole numbers; of a row with a NaN
    or an infinity they are 0 and the scale is NaN."""
    most = np.maximum(np.abs(rows).max(-1, initial=0), F32(least))
    with np.errstate(all="ignore"):
        by = np.where((most > 0) & np.isfinite(most), F32(top) / most, F32(0))
        codes = np.rint(rows * by[..., None])
        codes[~np.isfinite(most)] = 0
        return codes, np.where(np.isfinite(most), most / F32(top), F32(np.nan))


class Matrix(Codes):
    """Codes of a matrix W (N, K), to be multiplied from the left: `rows @ matrix` is rows W^T, for
    rows (..., K), by exact sums of codes, which are floats here, for BLAS.

    least, bits   how rows become codes: 1 and 8 for states, 0 and 16 or 8 for a first layer's input
    """

    __array_ufunc__ = None  # so that `array @ matrix` calls __rmatmul__

    def __init__(self, codes, scales, least, bits, top=None):
        super().__init__(codes.astype(np.float64), scales)
        self.least, self.bits = least, bits
        self.top = top_of(codes, bits) if top is None else top

    def __rmatmul__(self, rows):
        codes, scales = encoded(rows, self.least, self.top)
        sums = (codes.astype(np.float64) @ self.codes.T).astype(F32)
        return sums * (self.scales * scales[..., None])

    def __getitem__(self, at):
        """matrix[:, a:b]: some of its columns, which are rows of W."""
        return Matrix(self.codes[at[1]], self.scales[at[1]], self.least, self.bits, self.top)
