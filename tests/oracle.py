# SPDX-License-Identifier: MIT
"""An LSTM in float64 NumPy, written from the equations and from nothing else.

    i = sigma(W_i x + b_i + R_i h + d_i)        W: weight_ih, rows in the order i, f, g, o
    f = sigma(W_f x + b_f + R_f h + d_f)        R: weight_hh
    g = tanh (W_g x + b_g + R_g h + d_g)        b, d: bias_ih, bias_hh
    o = sigma(W_o x + b_o + R_o h + d_o)
    c' = f c + i g
    h' = o tanh(c')                             with a projection: h' = V (o tanh(c')), V: weight_hr

One time step of one direction of one layer at a time; no blocking, no fusion, no packing. It is
slow, and it is meant to be read. `test_oracle.py` holds it to torch.nn.LSTM in float64.
"""

import numpy as np


def sigma(z):
    """The logistic function 1 / (1 + exp(-z)), of float64."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-z))


def cell(x, h, c, weights):
    """One step of every row. x (B,I), h (B,P or H), c (B,H); returns h', c'."""
    z = x @ weights["weight_ih"].T + h @ weights["weight_hh"].T
    if "bias_ih" in weights:
        z = z + weights["bias_ih"] + weights["bias_hh"]
    zi, zf, zg, zo = np.split(z, 4, axis=1)
    c = sigma(zf) * c + sigma(zi) * np.tanh(zg)
    h = sigma(zo) * np.tanh(c)
    if "weight_hr" in weights:
        h = h @ weights["weight_hr"].T
    return h, c


def weights_of(params, layer, reverse):
    """The weights of one direction of one layer, float64, without the suffix of their names."""
    suffix = f"_l{layer}" + ("_reverse" if reverse else "")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return {n: np.asarray(params[n + suffix], np.float64) for n in names if n + suffix in params}


def run_direction(x, h, c, weights, lengths, reverse):
    """One direction over all steps. x (T,B,I); returns y (T,B,P or H), h and c at each row's end.

    Forward, a row's end is its step lengths[b] - 1; backward, it begins there and ends at step 0.
    """
    T, B, _ = x.shape
    y = np.zeros((T, B, h.shape[1]))
    h, c = h.copy(), c.copy()
    for t in reversed(range(T)) if reverse else range(T):
        live = t < lengths
        h_new, c_new = cell(x[t], h, c, weights)
        h[live], c[live] = h_new[live], c_new[live]
        y[t, live] = h[live]
    return y, h, c


def lstm(params, x, state=None, *, batch_first=False, lengths=None):
    """All layers and directions. Returns y, h, c in float64, with the shapes of torch.nn.LSTM.

    params: {torch's name: array}. x: (T,B,I), (B,T,I) with batch_first, or (T,I). The numbers of
    layers and directions, the projection and the biases follow from the names in params.
    """
    x = np.asarray(x, np.float64)
    unbatched = x.ndim == 2
    if unbatched:
        x = x[:, None, :]
    elif batch_first:
        x = x.swapaxes(0, 1)
    T, B, _ = x.shape
    lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
    L = sum(name.startswith("weight_ih_l") and not name.endswith("_reverse") for name in params)
    D = 2 if "weight_ih_l0_reverse" in params else 1

    if state is None:
        P, H = params["weight_hh_l0"].shape[1], params["weight_hh_l0"].shape[0] // 4
        state = np.zeros((L * D, B, P)), np.zeros((L * D, B, H))
    h0, c0 = (np.asarray(s, np.float64) for s in state)
    if unbatched and h0.ndim == 2:
        h0, c0 = h0[:, None, :], c0[:, None, :]

    h, c = [], []
    for layer in range(L):
        ys = []
        for d in range(D):
            n = layer * D + d
            y, h_end, c_end = run_direction(
                x, h0[n], c0[n], weights_of(params, layer, d == 1), lengths, reverse=d == 1
            )
            ys.append(y)
            h.append(h_end)
            c.append(c_end)
        x = np.concatenate(ys, axis=2)
    y, h, c = x, np.stack(h), np.stack(c)
    if unbatched:
        return y[:, 0], h[:, 0], c[:, 0]
    return (y.swapaxes(0, 1) if batch_first else y), h, c


def last(h, num_directions):
    """What return_sequences=False gives: the last layer's h, its directions side by side."""
    return np.concatenate(list(h[-num_directions:]), axis=-1)
