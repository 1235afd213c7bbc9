# SPDX-License-Identifier: MIT
"""LSTM, GRU and RNN in float64 NumPy, written from the equations and from nothing else.

LSTM
    i = sigma(W_i x + b_i + R_i h + d_i)        W: weight_ih, rows in the order i, f, g, o
    f = sigma(W_f x + b_f + R_f h + d_f)        R: weight_hh
    g = tanh (W_g x + b_g + R_g h + d_g)        b, d: bias_ih, bias_hh
    o = sigma(W_o x + b_o + R_o h + d_o)
    c' = f c + i g
    h' = o tanh(c')                             with a projection: h' = V (o tanh(c')), V: weight_hr

GRU; W, R, b, d with rows in the order r, z, n

    r = sigma(W_r x + b_r + R_r h + d_r)
    z = sigma(W_z x + b_z + R_z h + d_z)
    n = tanh (W_n x + b_n + r (R_n h + d_n))    "gru"
    n = tanh (W_n x + b_n + R_n (r h) + d_n)    "gru_before"
    h' = (1 - z) n + z h

RNN

    h' = tanh(W x + b + R h + d)                "rnn_tanh"
    h' = max(W x + b + R h + d, 0)              "rnn_relu"

A GRU and an RNN have no c: here theirs is an array of no features, passed along.
One time step of one direction of one layer at a time; no blocking, no fusion, no packing. It is
slow, and it is meant to be read. `test_oracle.py` holds it to torch.nn in float64.
"""

import functools

import numpy as np


def sigma(z):
    """The logistic function 1 / (1 + exp(-z)), of float64."""
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-z))


GATES = {"lstm": 4, "gru": 3, "gru_before": 3, "rnn_tanh": 1, "rnn_relu": 1}


def lstm(x, h, c, weights):
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


def gru(x, h, c, weights, reset_after=True):
    """The same for a GRU."""
    biased = "bias_ih" in weights
    W, R = (np.split(weights[f"weight_{w}"], 3) for w in ("ih", "hh"))
    b, d = (np.split(weights[f"bias_{w}"], 3) if biased else (0, 0, 0) for w in ("ih", "hh"))
    r = sigma(x @ W[0].T + b[0] + h @ R[0].T + d[0])
    z = sigma(x @ W[1].T + b[1] + h @ R[1].T + d[1])
    recurrent = r * (h @ R[2].T + d[2]) if reset_after else (r * h) @ R[2].T + d[2]
    n = np.tanh(x @ W[2].T + b[2] + recurrent)
    return (1 - z) * n + z * h, c


def rnn(x, h, c, weights, nonlinearity):
    """The same for an RNN."""
    a = x @ weights["weight_ih"].T + h @ weights["weight_hh"].T
    if "bias_ih" in weights:
        a = a + weights["bias_ih"] + weights["bias_hh"]
    return (np.tanh(a) if nonlinearity == "tanh" else np.maximum(a, 0)), c


CELLS = {
    "lstm": lstm,
    "gru": gru,
    "gru_before": functools.partial(gru, reset_after=False),
    "rnn_tanh": functools.partial(rnn, nonlinearity="tanh"),
    "rnn_relu": functools.partial(rnn, nonlinearity="relu"),
}


def weights_of(params, layer, reverse):
    """The weights of one direction of one layer, float64, without the suffix of their names."""
    suffix = f"_l{layer}" + ("_reverse" if reverse else "")
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    return {n: np.asarray(params[n + suffix], np.float64) for n in names if n + suffix in params}


def run_direction(x, h, c, weights, lengths, reverse, cell="lstm"):
    """One direction over all steps. x (T,B,I); returns y (T,B,P or H), h and c at each row's end.

    Forward, a row's end is its step lengths[b] - 1; backward, it begins there and ends at step 0.
    """
    T, B, _ = x.shape
    y = np.zeros((T, B, h.shape[1]))
    h, c = h.copy(), c.copy()
    for t in reversed(range(T)) if reverse else range(T):
        live = t < lengths
        h_new, c_new = CELLS[cell](x[t], h, c, weights)
        h[live], c[live] = h_new[live], c_new[live]
        y[t, live] = h[live]
    return y, h, c


def network(params, x, state=None, *, cell="lstm", batch_first=False, lengths=None):
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
        P, H = params["weight_hh_l0"].shape[1], params["weight_hh_l0"].shape[0] // GATES[cell]
        state = np.zeros((L * D, B, P)), np.zeros((L * D, B, H if cell == "lstm" else 0))
    h0, c0 = (np.asarray(s, np.float64) for s in state)
    if unbatched and h0.ndim == 2:
        h0, c0 = h0[:, None, :], c0[:, None, :]

    h, c = [], []
    for layer in range(L):
        ys = []
        for d in range(D):
            n = layer * D + d
            y, h_end, c_end = run_direction(
                x, h0[n], c0[n], weights_of(params, layer, d == 1), lengths, d == 1, cell
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
