# SPDX-License-Identifier: MIT
"""Backward of every cell in float64 NumPy, at states that may be given: a step of one direction of
one layer at a time, written from the equations of oracle.py.

The gradient of a weight is a sum over steps whose terms are products of states, slopes and the
gradients that came back so far. Its value follows from the states alone, in float64, so there are
two of them: at the exact states, which is the gradient of the function, and at the float32 states
that a forward call gave, which is the most that its backward can compute from what it was handed.
Gates are computed here from the states before their step, and not taken from the call.

A track, one direction of one layer, has its steps in the order in which it takes them; h and c are
(T + 1, B, n): before the first step, then after each. `test_exact_backward.py` holds all of it to
autograd.
"""

import numpy as np
import oracle


def in_step_order(array, lengths):
    """Each row's first lengths[b] steps turned around, (T, B, n): its own inverse."""
    t = np.arange(len(array))[:, None]
    return array[np.where(t < lengths, lengths - 1 - t, t), np.arange(len(lengths))]


def lstm(x, h, c, h_after, c_after, w, dh, dc):
    """One step back: dz, dz towards h, what dW_hh's rows are products with, dh and dc before the
    step, and the gradient of the projection or None."""
    z = x @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias_ih"] + w["bias_hh"]
    zi, zf, zg, zo = np.split(z, 4, axis=1)
    i, f, o, g = oracle.sigma(zi), oracle.sigma(zf), oracle.sigma(zo), np.tanh(zg)
    t, d_proj = np.tanh(c_after), None
    if "weight_hr" in w:
        d_proj, dh = dh.T @ (o * t), dh @ w["weight_hr"]
    dc = dc + dh * o * (1 - t * t)
    dz = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
    dz = np.concatenate(dz, axis=1)
    return dz, dz, [h], dz @ w["weight_hh"], dc * f, d_proj


def gru(x, h, c, h_after, c_after, w, dh, dc, reset_after=True):
    W, R = (np.split(w[f"weight_{n}"], 3) for n in ("ih", "hh"))
    b, d = (np.split(w[f"bias_{n}"], 3) for n in ("ih", "hh"))
    r = oracle.sigma(x @ W[0].T + b[0] + h @ R[0].T + d[0])
    z = oracle.sigma(x @ W[1].T + b[1] + h @ R[1].T + d[1])
    product = h @ R[2].T + d[2] if reset_after else (r * h) @ R[2].T + d[2]
    n = np.tanh(x @ W[2].T + b[2] + (r * product if reset_after else product))
    dn, dz = dh * (1 - z) * (1 - n * n), dh * (h - n) * z * (1 - z)
    d_reset = dn * product if reset_after else (dn @ R[2]) * h
    dr = d_reset * r * (1 - r)
    back = dh * z + dr @ R[0] + dz @ R[1]
    back += (dn * r) @ R[2] if reset_after else (dn @ R[2]) * r
    towards_h = np.concatenate([dr, dz, dn * r if reset_after else dn], axis=1)
    seen = [h, h, h if reset_after else r * h]
    return np.concatenate([dr, dz, dn], axis=1), towards_h, seen, back, dc, None


def gru_before(*args):
    return gru(*args, reset_after=False)


def rnn_tanh(x, h, c, h_after, c_after, w, dh, dc):
    dz = dh * (1 - h_after * h_after)
    return dz, dz, [h], dz @ w["weight_hh"], dc, None


def rnn_relu(x, h, c, h_after, c_after, w, dh, dc):
    dz = dh * (h_after > 0)
    return dz, dz, [h], dz @ w["weight_hh"], dc, None


BACK = {f.__name__: f for f in (lstm, gru, gru_before, rnn_tanh, rnn_relu)}


def states(x, h, c, w, lengths, cell):
    """h (T + 1, B, K) and c (T + 1, B, H) of a track that reads x (T, B, I), in float64."""
    hs, cs = [h], [c]
    for s in range(len(x)):
        live = (s < lengths)[:, None]
        new = oracle.CELLS[cell](x[s], hs[-1], cs[-1], w)
        hs.append(np.where(live, new[0], hs[-1]))
        cs.append(np.where(live, new[1], cs[-1]))
    return np.stack(hs), np.stack(cs)


def track_gradients(x, h, c, w, lengths, cell, dy, dh, dc):
    """dx, dh0, dc0 and {name: gradient} of a track's weights; all in step order."""
    biases = "bias_ih" in w
    zero = np.zeros(len(w["weight_ih"]))
    w = {"bias_ih": zero, "bias_hh": zero} | w
    grads, dx = {name: np.zeros(a.shape) for name, a in w.items()}, np.zeros(x.shape)
    for s in reversed(range(len(x))):
        n = np.flatnonzero(s < lengths)
        before, after = (h[s, n], c[s, n]), (h[s + 1, n], c[s + 1, n])
        dh[n] += dy[s, n]
        dz, dz_h, seen, back, dc_before, d_proj = BACK[cell](
            x[s, n], *before, *after, w, dh[n], dc[n]
        )
        dh[n], dc[n], dx[s, n] = back, dc_before, dz @ w["weight_ih"]
        grads["weight_ih"] += dz.T @ x[s, n]
        parts = np.split(dz_h, len(seen), axis=1)
        grads["weight_hh"] += np.concatenate([d.T @ v for d, v in zip(parts, seen, strict=True)])
        grads["bias_ih"] += dz.sum(0)
        grads["bias_hh"] += dz_h.sum(0)
        if d_proj is not None:
            grads["weight_hr"] += d_proj
    names = [name for name in grads if biases or "bias" not in name]
    return dx, dh, dc, {name: grads[name] for name in names}


def gradients(cell, params, x, state, lengths, upstream, masks=None, given=None):
    """{name: gradient} of x, h0, c0 and of every weight under torch's name, float64.

    params    {torch's name: array}; L and D follow from the names
    x         (T, B, I); state: h0 (L D, B, K) and c0 (L D, B, H), of no features without c
    upstream  dy (T, B, D K), dh and dc as the state
    masks     what dropout multiplies the outputs of each layer but the last with, (T, B, D K)
    given     float32 states to take all slopes and products at: for each track h and c, in step
              order; None: the exact ones
    """
    x = np.asarray(x, np.float64)
    L = sum(name.startswith("weight_ih_l") and not name.endswith("_reverse") for name in params)
    D = 2 if "weight_ih_l0_reverse" in params else 1
    T, B, _ = x.shape
    lengths = np.full(B, T) if lengths is None else np.asarray(lengths)
    h0, c0 = (np.asarray(s, np.float64) for s in state)
    dy, dh, dc = (np.array(u, np.float64) for u in upstream)
    live = (np.arange(T)[:, None] < lengths)[..., None]
    turn = [lambda a: a, lambda a: in_step_order(a, lengths)]
    inputs, of_track = [x], []
    for layer in range(L):
        outputs = []
        for d in range(D):
            i, w = layer * D + d, oracle.weights_of(params, layer, d == 1)
            h, c = given[i] if given else (None, None)
            if given is None:
                h, c = states(turn[d](inputs[-1]), h0[i], c0[i], w, lengths, cell)
            of_track.append((w, np.asarray(h, np.float64), np.asarray(c, np.float64)))
            outputs.append(turn[d](np.where(live, h[1:], 0)))
        outputs = np.concatenate(outputs, axis=2)
        if masks is not None and layer + 1 < L:
            outputs = outputs * masks[layer]  # in float32 where the states are
        inputs.append(np.asarray(outputs, np.float64))
    found = {}
    for layer in reversed(range(L)):
        below = np.zeros(inputs[layer].shape)
        if masks is not None and layer + 1 < L:
            dy = dy * masks[layer]
        for d in range(D):
            i, (w, h, c) = layer * D + d, of_track[layer * D + d]
            part = np.split(dy, D, axis=2)[d]
            dx, dh[i], dc[i], grads = track_gradients(
                turn[d](inputs[layer]), h, c, w, lengths, cell, turn[d](part), dh[i], dc[i]
            )
            below += turn[d](dx)
            end = f"_l{layer}" + ("_reverse" if d else "")
            found |= {name + end: array for name, array in grads.items()}
        dy = below
    return {"x": dy, "h0": dh, "c0": dc} | {name: found[name] for name in params}
