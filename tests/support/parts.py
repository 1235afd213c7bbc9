# SPDX-License-Identifier: MIT
"""Layers of precision "bfloat16x3" and "bfloat16x6" beside what they should give: the parts of
numbers and the order of products of csrc/kernels/bfloat16.h in NumPy, layers as they are after
training, and float64."""

import numpy as np
import oracle
from bfloat16_order import products

F = np.float32
PARTS = {"bfloat16x3": 2, "bfloat16x6": 3}
LARGEST = F(255 * 2.0**120)  # of bfloat16
BOUND = 2.0**-56  # smaller parts are 0


def nearest(x):
    """Finite float32 to 8 bits of precision, ties to even, at most the largest; below BOUND 0."""
    m, e = np.frexp(x.astype(np.float64))
    near = np.clip(np.ldexp(np.rint(m * 256), e - 8), -LARGEST, LARGEST)
    return np.where(np.abs(near) < BOUND, 0, near).astype(F)


def split(x, parts):
    """The parts of x: each is what the ones before it leave, rounded."""
    rest, taken = np.asarray(x, F), []
    for _ in range(parts):
        taken.append(nearest(rest))
        rest = rest - taken[-1]
    return taken


def sums(total, w, rows, parts):
    """total (B, N) += rows (B, K) W^T, 32 numbers after 32, of each the products of parts from the
    smallest on."""
    w, rows = split(w, parts), split(rows, parts)
    for k in range(0, w[0].shape[1], 32):
        piece = slice(k, k + 32)
        for b in reversed(range(parts)):
            for a in reversed(range(parts - b)):
                total = products(total, w[b][:, piece], rows[a][:, piece])
    return total


def as_trained(layer, rng, largest=1.0):
    """The layer with weights as after training: few are large, up to `largest`, the biases too."""
    shapes = {n: a.shape for n, a in layer.state_dict().items()}
    weights = {n: F(np.clip(rng.standard_t(3, s) / np.sqrt(layer.hidden_size), -largest, largest))
               for n, s in shapes.items()}  # fmt: skip
    layer.load_state_dict(weights)
    return layer


def like(layer, precision, **options):
    """The layer once more in another precision."""
    made = layer.copy_with(precision=precision, **options)
    made.take_weights(layer.packed.arrays)
    return made


def rms_errors(layer, x, state=None):
    """{precision: root of the mean square of y's differences from float64} of the layer."""
    given = None
    if state is not None:
        none = np.zeros((*state[0].shape[:2], 0))  # for cells without c
        given = (*state, none)[:2]
    due = exact(layer, x, given)
    parts = None if state is None else layer.state_from_parts(state)
    made = {}
    for precision in ("float32", *PARTS):
        y = like(layer, precision)(x, parts)[0]
        made[precision] = np.sqrt(np.mean((y - due) ** 2))
    return made


def exact(layer, x, state):
    """y in float64; x (T, B, I)."""
    params = {n: a.astype(np.float64) for n, a in layer.state_dict().items()}
    return oracle.network(params, x.astype(np.float64), state, cell=layer.cell)[0]
