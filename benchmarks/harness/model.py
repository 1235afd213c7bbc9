# SPDX-License-Identifier: MIT
"""Weights and inputs every peer is given, and the float64 forward they are checked against."""

from __future__ import annotations

import numpy as np

from .shapes import Shape


def make_weights(shape: Shape, seed: int = 0) -> dict[str, np.ndarray]:
    """Names and shapes of PyTorch's nn.LSTM, uniform in +-1/sqrt(H), float32, gates i f g o."""
    rng = np.random.default_rng(seed)
    bound = shape.H**-0.5

    def uniform(*size: int) -> np.ndarray:
        return rng.uniform(-bound, bound, size).astype(np.float32)

    weights = {}
    for layer, width in enumerate(shape.layer_inputs):
        for tail in ("", "_reverse")[: shape.D]:
            weights[f"weight_ih_l{layer}{tail}"] = uniform(4 * shape.H, width)
            weights[f"weight_hh_l{layer}{tail}"] = uniform(4 * shape.H, shape.H)
            weights[f"bias_ih_l{layer}{tail}"] = uniform(4 * shape.H)
            weights[f"bias_hh_l{layer}{tail}"] = uniform(4 * shape.H)
    return weights


def make_input(shape: Shape, seed: int = 1) -> np.ndarray:
    """(T, B, I) float32, standard normal."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((shape.T, shape.B, shape.I), dtype=np.float32)


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * a) + 0.5


def _one_direction(x, w, r, b, h, c, lengths, reverse):
    """x (T, B, K) -> y (T, B, H), h and c (B, H); rows past their length stand still, y is 0."""
    steps, _, _ = x.shape
    z_input = x @ w.T + b  # the whole input product at once: (T, B, 4H)
    y = np.zeros((*x.shape[:2], h.shape[1]))
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        i, f, g, o = np.split(z_input[t] + h @ r.T, 4, axis=1)
        c_new = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h_new = _sigmoid(o) * np.tanh(c_new)
        live = (t < lengths)[:, None]
        c = np.where(live, c_new, c)
        h = np.where(live, h_new, h)
        y[t] = np.where(live, h_new, 0.0)
    return y, h, c


def forward64(weights, shape: Shape, x, state=None, lengths=None):
    """The equations in float64: y (T, B, D H), h and c (layers D, B, H).

    `shape.T` and `shape.B` are not used: x says how many steps and rows there are.
    """
    w64 = {name: array.astype(np.float64) for name, array in weights.items()}
    steps, rows, _ = x.shape
    lengths = np.full(rows, steps) if lengths is None else np.asarray(lengths)
    if state is None:
        zeros = np.zeros((shape.layers * shape.D, rows, shape.H))
        state = zeros, zeros
    y = x.astype(np.float64)
    h_all, c_all = [], []
    for layer in range(shape.layers):
        outputs = []
        for direction, tail in enumerate(("", "_reverse")[: shape.D]):
            at = layer * shape.D + direction
            out, h, c = _one_direction(
                y,
                w64[f"weight_ih_l{layer}{tail}"],
                w64[f"weight_hh_l{layer}{tail}"],
                w64[f"bias_ih_l{layer}{tail}"] + w64[f"bias_hh_l{layer}{tail}"],
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
