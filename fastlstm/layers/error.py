# SPDX-License-Identifier: MIT
"""How far the outputs of a layer of fewer bits are from those of its float32 original."""

from typing import NamedTuple

import numpy as np

from ..engine import arguments


class Error(NamedTuple):
    """max      the largest |difference| of an output element, which are of magnitudes up to 1
    rms      the root of the mean of their squares
    where    the index of the largest in y
    """

    max: float
    rms: float
    where: tuple[int, ...]


def error(layer, x, state, reference):
    """The Error of layer(x, state)[0] against reference(x, state)[0]. See LSTM.error."""
    x = arguments.real("x", x)
    ours, exact = layer(x, state)[0], reference(x, state)[0]
    if ours.shape != exact.shape:
        raise ValueError(f"the reference's outputs have the shape {exact.shape}, not {ours.shape}")
    if not ours.size:
        raise ValueError(f"x of shape {x.shape} gives no outputs to compare")
    return difference(ours, exact)


def difference(ours, exact):
    """The Error of one array against another of the same shape, which is not empty."""
    off = np.abs(ours.astype(np.float64) - exact)
    off[np.isnan(ours) & np.isnan(exact)] = 0
    at = np.unravel_index(int(np.argmax(off)), ours.shape)
    where = tuple(int(i) for i in at)
    return Error(float(off[at]), float(np.sqrt(np.mean(off**2))), where)
