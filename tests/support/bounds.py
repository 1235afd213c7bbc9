# SPDX-License-Identifier: MIT
"""A forward-error bound for one time step in float32, element by element.

With u = 2^-24 and gamma(n) = n u / (1 - n u) (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd edition, section 3.1), and with e_x the error a layer inherits from the layer below
(0 in the first):

    z  = b + d + W x + R h     e_z = gamma(n) (|b| + |d| + |W| |x| + |R| |h|) + |W| e_x
         n roundings on the longest path: one per product and sum, and one for b + d;
         I + H fused multiply-adds: n = I + H + 1; without fusion n = 2 (I + H) + 1
    i, f, o = sigma(z)         e_i = e_z / 4 + A i        sigma' <= 1/4; A = 2 ULP <= 4 u, relative
    g = tanh(z)                e_g = e_z + A |g|          tanh'  <= 1
    c' = f c + i g             e_c = e_f |c| + e_i |g| + e_g i + e_i e_g + gamma(3) (f |c| + i |g|)
    h' = o tanh(c')            e_h = e_o |t| + (e_c + A |t|) o + e_o (e_c + A |t|) + u o |t|
    p  = V h'                  e_p = gamma(n) |V| |h'| + |V| e_h

    GRU: r, z as i, f, o above, e_m of m = R_n h + d_n and e_x of x's half k as e_z
    n = tanh(k + r m)          e_n = e_x + r e_m + e_r |m| + e_r e_m + gamma(2) (|k| + r |m|)
                                     + A |n|
    with the reset first       m = R_n (r h) + k in one sum, from e_rh = e_r |h| + u r |h|
    h' = n + z (h - n)         e_h = (1 - z) e_n + e_z (|h - n| + e_n) + gamma(2) (|n| + z |h - n|)
    RNN: h' = tanh(z) or max(z, 0):  e_h = e_z + A |h'|

Every right-hand side is evaluated at the exact values and then enlarged by SLACK, which covers the
second order terms (the exact value stands where the computed one belongs) and float64's own
rounding. Nothing in it is fitted to what an implementation happens to give.
"""

import numpy as np
import oracle

U = 2.0**-24
ACTIVATION = 4 * U
SLACK = 1 + 2.0**-8
TINY = 2.0**-61  # where relative bounds end: the engine takes magnitudes below 2^-62 for zero


def gamma(n):
    return n * U / (1 - n * U)


def product(x, e_x, h, W, R, b, fused, e_h=0.0):
    """z and e_z of b + W x + R h, from inexact x and h; b is one or two biases or none."""
    z = sum(b, x @ W.T + h @ R.T)
    size = np.abs(x) @ np.abs(W).T + np.abs(h) @ np.abs(R).T + sum(map(np.abs, b))
    n = (1 if fused else 2) * (W.shape[1] + R.shape[1]) + 1
    e_h = np.zeros_like(h) + e_h
    return z, gamma(n) * size + e_x @ np.abs(W).T + e_h @ np.abs(R).T + TINY


def squashed(f, slope, z, e_z):
    """f(z) and its error."""
    s = f(z)
    return s, slope * e_z + ACTIVATION * np.abs(s) + TINY


def gru(x, e_x, h, w, fused, reset_after):
    """h' and e_h of a GRU's step."""
    W, R = np.split(w["weight_ih"], 3), np.split(w["weight_hh"], 3)
    biased = "bias_ih" in w
    b = [np.split(w[n], 3) for n in ("bias_ih", "bias_hh")] if biased else []
    at = [[part[g] for part in b] for g in range(3)]
    r, e_r = squashed(oracle.sigma, 0.25, *product(x, e_x, h, W[0], R[0], at[0], fused))
    z, e_z = squashed(oracle.sigma, 0.25, *product(x, e_x, h, W[1], R[1], at[1], fused))
    if reset_after:
        none = np.zeros((x.shape[0], 0)), np.zeros((W[2].shape[0], 0))
        k, e_k = product(x, e_x, none[0], W[2], none[1], at[2][:1], fused)
        m, e_m = product(none[0], none[0], h, none[1], R[2], at[2][1:], fused)
        a = k + r * m
        e_a = e_k + r * e_m + e_r * np.abs(m) + e_r * e_m + gamma(2) * (np.abs(k) + r * np.abs(m))
    else:
        e_rh = e_r * np.abs(h) + U * r * np.abs(h) + TINY
        a, e_a = product(x, e_x, r * h, W[2], R[2], at[2], fused, e_rh)
    n, e_n = squashed(np.tanh, 1.0, a, e_a)
    apart = np.abs(h - n)
    e_h = (1 - z) * e_n + e_z * (apart + e_n) + gamma(2) * (np.abs(n) + z * apart) + TINY
    return (1 - z) * n + z * h, e_h


def cell(x, e_x, h, c, w, fused, name="lstm"):
    """h', e_h, c', e_c of one step of one direction, from exact h and c and inexact x."""
    if name != "lstm":
        if name.startswith("gru"):
            h_new, e_h = gru(x, e_x, h, w, fused, name == "gru")
        else:
            b = [w[n] for n in ("bias_ih", "bias_hh") if n in w]
            z, e_z = product(x, e_x, h, w["weight_ih"], w["weight_hh"], b, fused)
            f = np.tanh if name == "rnn_tanh" else lambda a: np.maximum(a, 0)
            h_new, e_h = squashed(f, 1.0, z, e_z)
        return h_new, e_h * SLACK, c, 0 * c
    W, R = w["weight_ih"], w["weight_hh"]
    z = x @ W.T + h @ R.T
    size = np.abs(x) @ np.abs(W).T + np.abs(h) @ np.abs(R).T
    terms = W.shape[1] + R.shape[1]
    if "bias_ih" in w:
        z = z + w["bias_ih"] + w["bias_hh"]
        size = size + np.abs(w["bias_ih"]) + np.abs(w["bias_hh"])
    e_z = gamma((1 if fused else 2) * terms + 1) * size + e_x @ np.abs(W).T + TINY
    zi, zf, zg, zo = np.split(z, 4, axis=1)
    ei, ef, eg, eo = np.split(e_z, 4, axis=1)
    i, f, g, o = oracle.sigma(zi), oracle.sigma(zf), np.tanh(zg), oracle.sigma(zo)
    ei, ef, eo = (e / 4 + ACTIVATION * s + TINY for e, s in ((ei, i), (ef, f), (eo, o)))
    eg = eg + ACTIVATION * np.abs(g) + TINY
    c_new = f * c + i * g
    e_c = ef * np.abs(c) + ei * np.abs(g) + eg * i + ei * eg
    e_c = e_c + gamma(3) * (f * np.abs(c) + i * np.abs(g)) + TINY
    t = np.tanh(c_new)
    e_t = e_c + ACTIVATION * np.abs(t) + TINY
    h_new = o * t
    e_h = eo * np.abs(t) + e_t * o + eo * e_t + U * np.abs(h_new) + TINY
    if "weight_hr" in w:
        V = w["weight_hr"]
        n = (1 if fused else 2) * V.shape[1]
        e_h = gamma(n) * (np.abs(h_new) @ np.abs(V).T) + e_h @ np.abs(V).T + TINY
        h_new = h_new @ V.T
    return h_new, e_h * SLACK, c_new, e_c * SLACK


def step(params, x, h, c, fused=True, name="lstm"):
    """One step through all layers and directions, from exact x (B,I) and exact states.

    h is (L*D,B,P or H), c (L*D,B,H), all float64. Returns (y, e_y), (h', e_h), (c', e_c).
    """
    D = 2 if "weight_ih_l0_reverse" in params else 1
    e_x = np.zeros_like(x)
    hs, cs = [], []
    for layer in range(h.shape[0] // D):
        below, e_below = x, e_x
        parts = []
        for d in range(D):
            n = layer * D + d
            w = oracle.weights_of(params, layer, d == 1)
            h_new, e_h, c_new, e_c = cell(below, e_below, h[n], c[n], w, fused, name)
            parts.append((h_new, e_h))
            hs.append((h_new, e_h))
            cs.append((c_new, e_c))
        x, e_x = (np.concatenate(p, axis=1) for p in zip(*parts, strict=True))
    h, e_h = (np.stack(p) for p in zip(*hs, strict=True))
    c, e_c = (np.stack(p) for p in zip(*cs, strict=True))
    return (x, e_x), (h, e_h), (c, e_c)
