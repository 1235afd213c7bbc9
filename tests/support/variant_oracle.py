# SPDX-License-Identifier: MIT
"""One layer of any variant in float64 NumPy, from the operators' definitions and nothing else.

What test_load_onnx.py and test_load_keras.py hold loaded weights to, whether the engine runs the
variant or not. Each step works on z = W x + b + R h + d, its gates cut to [-clip, clip] first.

    LSTM  i = f(z_i + p_i c), f = f(z_f + p_f c) or 1 - i, g = g(z_g), c' = f c + i g,
          o = f(z_o + p_o c'), h' = o h(c')              activations (f, g, h); peepholes p
    GRU   r = f(z_r), z = f(z_z), n = g(W x + b + r (R h + d)) or g(W x + b + R (r h) + d),
          h' = (1 - z) n + z h                           RNN   h' = f(z)
"""

import math

import numpy as np

_erf = np.vectorize(math.erf)
FUNCTIONS = {
    "sigmoid": lambda z, a: 1 / (1 + np.exp(-z)),
    "tanh": lambda z, a: np.tanh(z),
    "relu": lambda z, a: np.maximum(z, 0),
    "affine": lambda z, a: a.alpha * z + a.beta,
    "leaky_relu": lambda z, a: np.where(z >= 0, z, a.alpha * z),
    "thresholded_relu": lambda z, a: np.where(z > a.alpha, z, 0),
    "scaled_tanh": lambda z, a: a.alpha * np.tanh(a.beta * z),
    "hard_sigmoid": lambda z, a: np.clip(a.alpha * z + a.beta, 0, 1),
    "elu": lambda z, a: np.where(z >= 0, z, a.alpha * (np.exp(np.minimum(z, 0)) - 1)),
    "softsign": lambda z, a: z / (1 + np.abs(z)),
    "softplus": lambda z, a: np.logaddexp(0, z),
    "selu": lambda z, a: (
        1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * (np.exp(np.minimum(z, 0)) - 1))
    ),
    "silu": lambda z, a: z / (1 + np.exp(-z)),
    "gelu": lambda z, a: 0.5 * z * (1 + _erf(z / math.sqrt(2))),
    "exponential": lambda z, a: np.exp(z),
}


def _step(layer, acts, w, x, h, c):
    def act(which, z):
        if layer.clip is not None:
            z = np.clip(z, -layer.clip, layer.clip)
        return FUNCTIONS[acts[which].name](z, acts[which])

    zero = np.zeros(len(w["weight_ih"]))
    b, d = w.get("bias_ih", zero), w.get("bias_hh", zero)
    z = x @ w["weight_ih"].T + b
    if layer.kind == "RNN":
        return act(0, z + h @ w["weight_hh"].T + d), c
    if layer.kind == "GRU":
        (zr, zz, zn), (dr, dz, dn) = np.split(z, 3, axis=1), np.split(d, 3)
        rr, rz, rn = np.split(w["weight_hh"], 3)
        reset, update = act(0, zr + h @ rr.T + dr), act(0, zz + h @ rz.T + dz)
        inner = reset * (h @ rn.T + dn) if layer.reset_after else (reset * h) @ rn.T + dn
        new = act(1, zn + inner)
        return (1 - update) * new + update * h, c
    zi, zf, zg, zo = np.split(z + h @ w["weight_hh"].T + d, 4, axis=1)
    pi, pf, po = np.split(w["peephole"], 3) if "peephole" in w else (0, 0, 0)
    i = act(0, zi + pi * c)
    f = 1 - i if layer.input_forget else act(0, zf + pf * c)
    c = f * c + i * act(1, zg)
    return act(0, zo + po * c) * FUNCTIONS[acts[2].name](c, acts[2]), c


def run(layer, weights, x, state=None, lengths=None):
    """y (T, B, D H) in time's order, h (D, B, H), c (D, B, H); x (T, B, I)."""
    steps, batch = x.shape[:2]
    lengths = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    shape = (layer.num_directions, batch, layer.hidden_size)
    h0, c0 = (np.zeros(shape), np.zeros(shape)) if state is None else state
    ys, hs, cs = [], [], []
    for d in range(layer.num_directions):
        end = "_l0_reverse" if d else "_l0"
        own = {
            name[: -len(end)]: np.asarray(array, np.float64)
            for name, array in weights.items()
            if name.endswith(end)
        }
        h, c = np.float64(h0[d]), np.float64(c0[d])
        y = np.zeros((steps, batch, layer.hidden_size))
        back = d == 1 or layer.direction == "reverse"
        for t in reversed(range(steps)) if back else range(steps):
            live = (t < lengths)[:, None]
            new = _step(layer, layer.directions[d], own, np.float64(x[t]), h, c)
            h, c = np.where(live, new[0], h), np.where(live, new[1], c)
            y[t] = np.where(live, h, 0)
        ys.append(y), hs.append(h), cs.append(c)
    return np.concatenate(ys, axis=2), np.stack(hs), np.stack(cs)
