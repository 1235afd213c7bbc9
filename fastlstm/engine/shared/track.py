# SPDX-License-Identifier: MIT
"""The weights of one track, which is one layer in one direction, for the backends without C.

Letters: I input, H hidden, P projection, K = P or H, G gates, N = G H sums of gates in a row.
"""

import numpy as np

from .. import bfloat16, int8
from ..variants import RELU, USUAL
from .activations import Function

ACTIVATIONS = {
    "lstm": USUAL["LSTM"], "gru": USUAL["GRU"], "gru_before": USUAL["GRU"],
    "rnn_tanh": USUAL["RNN"], "rnn_relu": (RELU,),
}  # fmt: skip
FUNCTIONS = {cell: [Function(one) for one in usual] for cell, usual in ACTIVATIONS.items()}
# Of weight matrices; the last three are float32 matrices and, in C, products of bfloat16 parts.
# Here these are float32's, which are no less accurate.
DTYPES = ("float32", "float16", "int8", "bfloat16", "bfloat16x1", "bfloat16x3", "bfloat16x6")


class Track:
    """The weights of one track, all float32; or with dtype "int8" or "bfloat16" w, r and proj as
    int8.Matrix or bfloat16.Matrix, and neither w_ih, w_hh nor w_hr. With "int8" the layer's number
    and the bits of x's codes matter too.

    w_ih, w_hh, w_hr   torch's matrices, (N, I or D K), (N, K) and (P, H), or (0, 0) without a
                       projection: the layer's own arrays, or rounded copies
    w, r, proj         copies, transposed for products from the left: (I or D K, N), (K, N), (H, P);
                       a backend may pack them further
    bias               (N,) whatever is added to W x
    bias_n             (H,) b_hh of "gru"'s n, which the reset gate multiplies; else zeros
    functions          the activations, in the order of engine.variants.USUAL
    variant            an engine.variants.Variant, or None for torch's cell; with one:
    clip, coupled      None or a float32; is f = 1 - i?
    peephole           None or (3 H,), of i, f and o
    """

    def __init__(
        self, cell, hidden, w_ih, w_hh, b_ih, b_hh, w_hr, peephole, variant, direction, dtype,
        first_layer=True, input_bits=16,
    ):  # fmt: skip
        if dtype == "int8":
            none = int8.Codes(np.empty((0, 0), np.int8), np.empty(0, np.float32))
            first, *rest = w_ih, w_hh, none if w_hr is None else w_hr
            self.w = int8.Matrix(
                first.codes, first.scales, *((0, input_bits) if first_layer else (1, 8))
            )
            self.r, self.proj = (int8.Matrix(w.codes, w.scales, 1, 8) for w in rest)
        else:
            w_hr = np.empty((0, 0), np.float32) if w_hr is None else w_hr
            if dtype == "bfloat16":
                self.w, self.r, self.proj = (
                    bfloat16.Matrix(bfloat16.rounded(w).T) for w in (w_ih, w_hh, w_hr)
                )
            elif dtype == "float16":
                w_ih, w_hh, w_hr = map(rounded, (w_ih, w_hh, w_hr))
        if dtype not in ("int8", "bfloat16"):
            self.w_ih, self.w_hh, self.w_hr = map(compiled_can_read, (w_ih, w_hh, w_hr))
            self.w, self.r, self.proj = map(without_subnormals, (w_ih.T, w_hh.T, w_hr.T))
        zeros = np.zeros(w_ih.shape[0], np.float32)
        b_ih, b_hh = zeros if b_ih is None else b_ih, zeros if b_hh is None else b_hh
        self.bias_n = np.zeros(hidden, np.float32)
        if cell == "gru":
            self.bias_n, b_hh = without_subnormals(b_hh[2 * hidden :]), b_hh.copy()
            b_hh[2 * hidden :] = 0
        self.bias = without_subnormals(b_ih + b_hh)
        self.functions, self.variant = FUNCTIONS[cell], variant
        self.clip, self.coupled, self.peephole = None, False, None
        if variant is not None:
            self.functions = [Function(one) for one in variant.activations[direction]]
            self.clip = None if variant.clip is None else np.float32(variant.clip)
            self.coupled = variant.input_forget
            self.peephole = None if peephole is None else without_subnormals(peephole)

    @property
    def nbytes(self):
        """Bytes of the copies."""
        copies = (a for name, a in vars(self).items() if not name.startswith("w_"))
        kinds = np.ndarray | int8.Matrix | bfloat16.Matrix
        return sum(a.nbytes for a in copies if isinstance(a, kinds))


def rounded(array):
    """To the nearest float16, ties to even, as float32; past its range Inf."""
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(np.float32)


def without_subnormals(array):
    """A contiguous float32 copy in which subnormal numbers are zeros."""
    array = np.array(array, np.float32, order="C")
    array[np.abs(array) < np.finfo(np.float32).tiny] = 0
    return array


def compiled_can_read(array):
    """The array, or a copy: contiguous and writeable, which Numba's signatures ask for though
    nothing is written."""
    ok = array.flags.c_contiguous and array.flags.writeable
    return array if ok else np.array(array, order="C")


def is_torchs(cell, variant):
    """Does this variant compute what torch's cell does, perhaps in reverse?"""
    if variant is None or variant.clip is not None or variant.input_forget or variant.peepholes:
        return variant is None
    return set(variant.activations) == {ACTIVATIONS[cell]}
