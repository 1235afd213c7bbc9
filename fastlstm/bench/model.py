# SPDX-License-Identifier: MIT
"""Weights and inputs every peer is given, and the float64 forward they are checked against."""

from __future__ import annotations

import numpy as np

from .shapes import Shape


def make_weights(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """PyTorch's names, shapes and gate order (i f g o; r z n), uniform in +-1/sqrt(H), float32."""
    rng = np.random.default_rng(seed)
    bound = shape.H**-0.5

    def uniform(*size: int) -> np.ndarray:
        return rng.uniform(-bound, bound, size).astype(np.float32)

    weights, rows = {}, shape.gates * shape.H
    for layer, width in enumerate(shape.layer_inputs):
        for tail in ("", "_reverse")[: shape.D]:
            weights[f"weight_ih_l{layer}{tail}"] = uniform(rows, width)
            weights[f"weight_hh_l{layer}{tail}"] = uniform(rows, shape.H)
            weights[f"bias_ih_l{layer}{tail}"] = uniform(rows)
            weights[f"bias_hh_l{layer}{tail}"] = uniform(rows)
    return weights


def make_input(shape: Shape, seed: int = 1) -> np.ndarray:
    """(T, B, I) float32, standard normal."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((shape.T, shape.B, shape.I), dtype=np.float32)


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * a) + 0.5


# One step: za (B, G H) = W x + b_ih, zr (B, G H) = R h + b_hh -> the new h and c.


def _lstm(za, zr, h, c):
    i, f, g, o = np.split(za + zr, 4, axis=1)
    c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _sigmoid(o) * np.tanh(c), c


def _gru(za, zr, h, c):
    (ar, az, an), (hr, hz, hn) = np.split(za, 3, axis=1), np.split(zr, 3, axis=1)
    z = _sigmoid(az + hz)
    n = np.tanh(an + _sigmoid(ar + hr) * hn)
    return (1 - z) * n + z * h, c


def _rnn(za, zr, h, c):
    return np.tanh(za + zr), c


STEPS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def _one_direction(step, x, w, r, b_ih, b_hh, h, c, lengths, reverse):
    """x (T, B, K) -> y (T, B, H), h and c (B, H); rows past their length stand still, y is 0."""
    steps, _, _ = x.shape
    z_input = x @ w.T + b_ih  # the whole input product at once: (T, B, G H)
    y = np.zeros((*x.shape[:2], h.shape[1]))
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        h_new, c_new = step(z_input[t], h @ r.T + b_hh, h, c)
        live = (t < lengths)[:, None]
        c = np.where(live, c_new, c)
        h = np.where(live, h_new, h)
        y[t] = np.where(live, h_new, 0.0)
    return y, h, c


def forward64(weights, shape: Shape, x, state=None, lengths=None):
    """The equations in float64: y (T, B, D H), h and c (L D, B, H); c is of use for an LSTM only.

    `shape.T` and `shape.B` are not used: x says how many steps and rows there are.
    """
    w64 = {name: array.astype(np.float64) for name, array in weights.items()}
    steps, rows, _ = x.shape
    lengths = np.full(rows, steps) if lengths is None else np.asarray(lengths)
    if state is None:
        zeros = np.zeros((shape.L * shape.D, rows, shape.H))
        state = zeros, zeros
    y = x.astype(np.float64)
    h_all, c_all = [], []
    for layer in range(shape.L):
        outputs = []
        for direction, tail in enumerate(("", "_reverse")[: shape.D]):
            at, end = layer * shape.D + direction, f"l{layer}{tail}"
            out, h, c = _one_direction(
                STEPS[shape.cell],
                y,
                w64[f"weight_ih_{end}"],
                w64[f"weight_hh_{end}"],
                w64[f"bias_ih_{end}"],
                w64[f"bias_hh_{end}"],
                state[0][at].astype(np.float64),
                state[1][at].astype(np.float64),
                lengths,
                direction == 1,
            )
            outputs.append(out)
            h_all.append(h)
            c_all.append(c)
        y = np.concatenate(outputs, axis=2)
    return y, np.stack(h_all), np.stack(c_all)
