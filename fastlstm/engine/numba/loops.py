# SPDX-License-Identifier: MIT
"""What Numba compiles: cells, steps and chunks of steps, over the functions of arithmetic.py.

The formulas are those of csrc/kernels/cells.h, in forward to the same bits; numpy/backend.py has
them in NumPy. Shapes and letters: shared/network.py.
"""

import numpy as np
from numba import types

from .arithmetic import (
    BACK,
    ONE,
    PANEL,
    ROWS,
    TINY,
    TINY_GRADIENT,
    ZERO,
    add,
    add_step,
    clear,
    copy,
    flush,
    flushed,
    fma,
    jit,
    mixed,
    sigmoid,
    sigmoid_den,
    tanh,
    tanh_parts,
)

LSTM, GRU, GRU_BEFORE, RNN_TANH, RNN_RELU = range(5)


@jit
def lstm_gates(z, c, h):
    """One row: z (4 H,) has its sums; c (H,) and h (H,) become the new state, h unprojected."""
    H = len(c)
    zi, zf, zg, zo = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    for j in range(H):
        i_den, o_den = sigmoid_den(zi[j]) * BACK, sigmoid_den(zo[j]) * BACK
        f = sigmoid(zf[j])
        g, g_den = tanh_parts(zg[j])
        state = flush(fma(f, c[j], g / (i_den * g_den)), TINY)
        t, t_den = tanh_parts(state)
        c[j] = state
        h[j] = flush(t / (o_den * t_den), TINY)


@jit
def lstm_keep(z):
    """One row's sums become activations, for backward."""
    H = len(z) // 4
    zi, zf, zg, zo = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    for j in range(H):
        zi[j] = flush(sigmoid(zi[j]), TINY_GRADIENT)
        zf[j] = flush(sigmoid(zf[j]), TINY_GRADIENT)
        zg[j] = flush(tanh(zg[j]), TINY_GRADIENT)
        zo[j] = flush(sigmoid(zo[j]), TINY_GRADIENT)


@jit
def lstm_row_backward(z, c, c_prev, dh, dc, dz):
    """One row: dz from the activations z, dh and dc; dc becomes that of the state before."""
    H = len(c)
    zi, zf, zg, zo = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    di, df, dg, do = dz[:H], dz[H : 2 * H], dz[2 * H : 3 * H], dz[3 * H :]
    for j in range(H):
        i, f, g, o = zi[j], zf[j], zg[j], zo[j]
        t = tanh(c[j])
        dho = dh[j] * o
        d = fma(dho, fma(-t, t, ONE), dc[j])
        di[j] = flush(d * g * fma(-i, i, i), TINY_GRADIENT)
        df[j] = flush(d * c_prev[j] * fma(-f, f, f), TINY_GRADIENT)
        dg[j] = flush(d * i * fma(-g, g, ONE), TINY_GRADIENT)
        do[j] = flush(dho * t * (ONE - o), TINY_GRADIENT)
        dc[j] = flush(d * f, TINY_GRADIENT)


@jit
def gru_reset(sums, z, H):
    """One row's activations of r and u."""
    for j in range(2 * H):
        z[j] = sigmoid(sums[j])


@jit
def gru_state(z, h):
    """One row: n = tanh of its sum; h' = (1 - u) n + u h."""
    H = len(h)
    zu, zn = z[H : 2 * H], z[2 * H :]
    for j in range(H):
        zn[j] = tanh(zn[j])
        h[j] = mixed(zu[j], h[j], zn[j])


@jit
def gru_row_backward(z, h0, dh, dz):
    """One row: dz of n and u; dh becomes its part that bypasses the gates."""
    H = len(h0)
    zu, zn, du, dn = z[H : 2 * H], z[2 * H :], dz[H : 2 * H], dz[2 * H :]
    for j in range(H):
        u, n, d = zu[j], zn[j], dh[j]
        dn[j] = flush(d * (ONE - u) * fma(-n, n, ONE), TINY_GRADIENT)
        du[j] = flush(d * (h0[j] - n) * fma(-u, u, u), TINY_GRADIENT)
        dh[j] = d * u


@jit
def rnn_state(z, h, relu):
    """One row: its sums become activations, and those are h."""
    for j in range(len(h)):
        z[j] = (ZERO if z[j] < ZERO else z[j]) if relu else tanh(z[j])
        h[j] = flush(z[j], TINY)


# The first n rows of one step. These are small functions with few branches: in large ones Numba
# counts references to every slice, atomically, and a small step takes twice its time.


@jit
def lstm_rows(z, c, h, n):
    for i in range(n):
        lstm_gates(z[i], c[i], h[i])


@jit
def project(h, full, proj, n, edge):
    """h (B, P) from the first H columns of `full`, h before the projection."""
    P = h.shape[1]
    clear(h, n)
    add(h, full, proj, n, P, 0, proj.shape[1], edge)
    for i in range(n):
        for j in range(P):
            h[i, j] = flush(h[i, j], TINY)


@jit
def lstm_projected(z, c, h, proj, full, n, edge):
    """full (B, N): scratch for h before the projection."""
    H = c.shape[1]
    for i in range(n):
        lstm_gates(z[i], c[i], full[i, :H])
    project(h, full, proj, n, edge)


@jit
def lstm_kept(z, s, c, n):
    """What backward needs: activations in z, c in s."""
    for i in range(n):
        lstm_keep(z[i])
        copy(s[i], c[i])


@jit
def gru_rows(z, s, keep, h, sums, bias_n, r, n, edge, step):
    """sums (B, N): those of r and u whole; of n its recurrent part, which r multiplies."""
    H = h.shape[1]
    for i in range(n):
        copy(sums[i, : 2 * H], z[i, : 2 * H])
        copy(sums[i, 2 * H :], bias_n)
    add_step(sums, h, r, n, 3 * H, 0, H, edge, step)
    for i in range(n):
        gru_reset(sums[i], z[i], H)
        for j in range(H):
            z[i, 2 * H + j] = fma(z[i, j], sums[i, 2 * H + j], z[i, 2 * H + j])
        if keep:
            copy(s[i], sums[i, 2 * H :])
        gru_state(z[i], h[i])


@jit
def gru_before_rows(z, h, sums, reset, r, r_n, n, edge, step):
    """reset (B, H): r h; sums (B, N): the sums of n in its first H columns."""
    H = h.shape[1]
    add_step(z, h, r, n, 2 * H, 0, H, edge, step)
    for i in range(n):
        gru_reset(z[i], z[i], H)
        for j in range(H):
            sums[i, j] = z[i, 2 * H + j]
            reset[i, j] = flush(z[i, j] * h[i, j], TINY)
    add_step(sums, reset, r_n, n, H, 0, H, edge, step)
    for i in range(n):
        copy(z[i, 2 * H :], sums[i, :H])
        gru_state(z[i], h[i])


@jit
def rnn_rows(z, h, r, relu, n, edge, step):
    add_step(z, h, r, n, h.shape[1], 0, h.shape[1], edge, step)
    for i in range(n):
        rnn_state(z[i], h[i], relu)


@jit
def write_output(y, h, n):
    """A step's outputs y (B, K) from h; 0 where a row does not run."""
    for b in range(n):
        for j in range(h.shape[1]):
            y[b, j] = h[b, j]
    for b in range(n, y.shape[0]):
        for j in range(h.shape[1]):
            y[b, j] = ZERO


@jit
def clear_stopped(z, s, n):
    """0 in what backward needs of the rows that do not run."""
    clear(z[n:], z.shape[0] - n)
    clear(s[n:], s.shape[0] - n)


@jit
def input_sums(z, bias, a, w, edge):
    """z = bias + a w of all steps and rows."""
    steps, B, N = z.shape
    I = a.shape[2]
    sums = z.reshape(steps * B, N)
    for i in range(steps * B):
        copy(sums[i], bias)
    add(sums, flushed(a.reshape(steps * B, I)), w, steps * B, N, 0, I, edge)


@jit
def add_upstream(dh, dy, n):
    """dh += dy of one step, and dy becomes dh; 0 where a row does not run."""
    for b in range(n):
        for j in range(dh.shape[1]):
            dh[b, j] += dy[b, j]
    write_output(dy, dh, n)


@jit
def lstm_steps(z, s, running, reverse, r, proj, h, c, y, scratch, edge):
    steps = z.shape[0]
    for i in range(steps):
        t = steps - 1 - i if reverse else i
        n = running[t]
        add_step(z[t], h, r, n, z.shape[2], 0, h.shape[1], edge, i)
        if proj.size:
            lstm_projected(z[t], c, h, proj, scratch, n, edge)
        else:
            lstm_rows(z[t], c, h, n)
        if s.shape[0]:
            lstm_kept(z[t], s[t], c, n)
        write_output(y[t], h, n)


@jit
def gru_steps(cell, z, s, running, reverse, r, r_n, bias_n, h, y, scratch, edge):
    steps, keep = z.shape[0], s.shape[0] > 0
    reset = np.empty_like(h)
    for i in range(steps):
        t = steps - 1 - i if reverse else i
        n = running[t]
        if cell == GRU:
            gru_rows(z[t], s[t] if keep else reset, keep, h, scratch, bias_n, r, n, edge, i)
        else:
            gru_before_rows(z[t], h, scratch, reset, r, r_n, n, edge, i)
        write_output(y[t], h, n)


@jit
def rnn_steps(z, running, reverse, r, relu, h, y, edge):
    steps = z.shape[0]
    for i in range(steps):
        t = steps - 1 - i if reverse else i
        rnn_rows(z[t], h, r, relu, running[t], edge, i)
        write_output(y[t], h, running[t])


@jit
def reset_gradient(w_hh, dz, n, edge):
    """(n, H): the gradient of r h in a GRU that resets before the product."""
    H = dz.shape[1] // 3
    dn, reset = np.empty((n, H), np.float32), np.zeros((n, H), np.float32)
    for i in range(n):
        copy(dn[i], dz[i, 2 * H :])
    add(reset, dn, w_hh, n, H, 2 * H, 3 * H, edge)
    return reset


@jit
def step_backward(cell, w_hh, w_hr, z, s, h0, c0, dh, dc, dz, n, scratch, edge, step):
    """One step back in time: dz from dh and dc, which become those of the state before it."""
    N, K = z.shape[1], dh.shape[1]
    H = dc.shape[1] if cell == LSTM else K
    if cell == LSTM:
        if w_hr.size:
            clear(scratch, n)
            add(scratch, dh, w_hr, n, H, 0, K, edge)
        for i in range(n):
            lstm_row_backward(
                z[i], s[i], c0[i], scratch[i, :H] if w_hr.size else dh[i], dc[i], dz[i]
            )
    elif cell == RNN_TANH or cell == RNN_RELU:  # noqa: SIM109
        for i in range(n):
            for j in range(K):
                y = z[i, j]
                slope = (ONE if y > ZERO else ZERO) if cell == RNN_RELU else fma(-y, y, ONE)
                dz[i, j] = flush(dh[i, j] * slope, TINY_GRADIENT)
    else:
        for i in range(n):
            gru_row_backward(z[i], h0[i], dh[i], dz[i])
    if cell == GRU:
        for i in range(n):
            for j in range(H):
                r, dn = z[i, j], dz[i, 2 * H + j]
                dz[i, j] = flush(dn * s[i, j] * fma(-r, r, r), TINY_GRADIENT)
                scratch[i, 2 * H + j] = flush(dn * r, TINY_GRADIENT)
            copy(scratch[i, : 2 * H], dz[i, : 2 * H])
        add_step(dh, scratch, w_hh, n, K, 0, N, edge, step)
        return
    if cell == GRU_BEFORE:
        reset = reset_gradient(w_hh, dz, n, edge)
        for i in range(n):
            for j in range(H):
                r, d = z[i, j], reset[i, j]
                dz[i, j] = flush(d * h0[i, j] * fma(-r, r, r), TINY_GRADIENT)
                dh[i, j] = fma(d, r, dh[i, j])
        N = 2 * H
    else:
        clear(dh, n)
    add_step(dh, dz, w_hh, n, K, 0, N, edge, step)


def make(source):
    """{name: function} of what is compiled. `source`, a number made of these files, is a part of
    them, so that the cache on disk tells versions apart: Numba by itself looks at the date of the
    one file where a function stands.
    """

    def forward(cell, w, r, r2, bias, bias_n, a, z, s, running, reverse, h, c, y):
        """Some steps of one track; the arrays are those of Cell.forward in numpy/backend.py. r2: an
        LSTM's projection, or R_n of "gru_before"."""
        if source < 0:
            return
        _, B, N = z.shape
        scratch, edge = np.empty((B, N), np.float32), np.zeros((ROWS, PANEL), np.float32)
        input_sums(z, bias, a, w, edge)
        if cell == LSTM:
            lstm_steps(z, s, running, reverse, r, r2, h, c, y, scratch, edge)
        elif cell == GRU or cell == GRU_BEFORE:  # noqa: SIM109
            gru_steps(cell, z, s, running, reverse, r, r2, bias_n, h, y, scratch, edge)
        else:
            rnn_steps(z, running, reverse, r, cell == RNN_RELU, h, y, edge)
        for t in range(s.shape[0]):
            clear_stopped(z[t], s[t], running[t])

    def backward(cell, w_hh, w_hr, z, s, h0, c0, dy, running, reverse, dh, dc, dz):
        """The same steps, back in time; the arrays are those of Cell.backward in
        numpy/backend.py."""
        if source < 0:
            return
        steps, B, N = z.shape
        scratch, edge = np.empty((B, N), np.float32), np.zeros((ROWS, PANEL), np.float32)
        for i in range(steps):
            t = i if reverse else steps - 1 - i
            n = running[t]
            add_upstream(dh, dy[t], n)
            step_backward(
                cell, w_hh, w_hr, z[t], s[t], h0[t], c0[t], dh, dc, dz[t], n, scratch, edge, i
            )
            clear(dz[t, n:], B - n)

    return {"forward": forward, "backward": backward}


F1, F2, F3 = types.float32[::1], types.float32[:, ::1], types.float32[:, :, ::1]
Y, COUNTS = types.float32[:, :, :], types.int64[::1]
INT, BOOL = types.int64, types.boolean
SIGNATURES = {
    "forward": (INT, F3, F3, F3, F1, F1, F3, F3, F3, COUNTS, BOOL, F2, F2, Y),
    "backward": (INT, F3, F3, F3, F3, F3, F3, F3, COUNTS, BOOL, F2, F2, F3),
}
