# SPDX-License-Identifier: MIT
"""What becomes of the outputs of a bidirectional layer's two directions, f and b, each (..., K):

    concat   [f, b], (..., 2 K), as torch and the engine have it
    sum      f + b           mul   f b           ave   (f + b) / 2           (..., K)

These are the merge modes of Keras' Bidirectional. The engine always gives [f, b]; the others are
taken from that here, each element by one or two float32 operations of NumPy in the order written
above, so that the bits are the same on every backend and depend on nothing but f and b.
"""

import numpy as np

MERGES = ("concat", "sum", "mul", "ave")


def checked_merge(value, bidirectional):
    """merge= of a layer; TypeError or ValueError for what it cannot be."""
    if not isinstance(value, str):
        raise TypeError(f"merge must be a str, got {type(value).__name__}")
    if value not in MERGES:
        raise ValueError(f"merge {value!r} is not known; there are: {', '.join(MERGES)}")
    if value != "concat" and not bidirectional:
        raise ValueError(f"merge={value!r} needs two directions to merge: bidirectional=True")
    return value


def _halves(both):
    """f and b of (..., 2 K), views."""
    width = both.shape[-1] // 2
    return both[..., :width], both[..., width:]


def merged(how, both, out=None):
    """`both`, [f, b] of shape (..., 2 K), merged to (..., K); in `out` if that is given. `how` is
    one of MERGES but "concat"."""
    f, b = _halves(both)
    with np.errstate(all="ignore"):  # unbounded activations may overflow
        out = (np.multiply if how == "mul" else np.add)(f, b, out=out)
        if how == "ave":
            np.multiply(out, np.float32(0.5), out=out)  # the bits of / 2
    return out


def merged_gradient(how, dy, both):
    """The gradient (..., 2 K) with respect to [f, b], of `dy` (..., K), that with respect to
    `merged`. both: [f, b], which "mul" needs; None for the others."""
    with np.errstate(all="ignore"):
        if how == "mul":
            f, b = _halves(both)
            return np.concatenate([dy * b, dy * f], axis=-1)
        if how == "ave":
            dy = dy * np.float32(0.5)
        return np.concatenate([dy, dy], axis=-1)
