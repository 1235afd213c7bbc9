# SPDX-License-Identifier: MIT
"""Cells with other activations, clipped sums, coupled gates or peepholes, as Numba compiles them.

The steps are those of loops.py with functions chosen by number (shared/activations.py), and z keeps
the sums. For backward, numpy/backend.py makes the factors of all steps at once; here they are only
multiplied. Shapes and letters: shared/network.py.
"""

import numpy as np
from numba import types

from ..shared import activations
from .arithmetic import (
    ONE,
    PANEL,
    ROWS,
    TINY,
    TINY_GRADIENT,
    add,
    clear,
    copy,
    flush,
    fma,
    jit,
    mixed,
    sigmoid,
    tanh,
)  # fmt: skip
from .loops import (
    BOOL,
    COUNTS,
    F1,
    F2,
    F3,
    GRU,
    GRU_BEFORE,
    INT,
    LSTM,
    Y,
    add_upstream,
    clear_stopped,
    input_sums,
    project,
    reset_gradient,
    write_output,
)  # fmt: skip


def _chain(functions):
    """value(number, x, a, b) calls the function with that number in the list `functions`."""

    def link(here, function, others):
        @jit
        def value(number, x, a, b):
            if number == here:
                return np.float32(function(x, a, b))
            return others(number, x, a, b)

        return value

    @jit
    def value(number, x, a, b):
        return x

    for here, function in reversed(list(enumerate(functions))):
        value = link(here, jit(function), value)
    return value


SIGMOID, TANH = (list(activations.VALUES).index(name) for name in ("sigmoid", "tanh"))
value = _chain(list(activations.VALUES.values()))


@jit
def activate(to, z, number, a, b, clip):
    """to = f(z, cut to [-clip, clip]), f being function `number` with alpha a and beta b."""
    for j in range(len(to)):
        to[j] = max(min(z[j], clip), -clip) if abs(z[j]) > clip else z[j]
    if number == SIGMOID:
        for j in range(len(to)):
            to[j] = sigmoid(to[j])
    elif number == TANH:
        for j in range(len(to)):
            to[j] = tanh(to[j])
    else:
        for j in range(len(to)):
            to[j] = value(number, to[j], a, b)


@jit
def lstm_row(z, c, h, gates, numbers, ab, clip, coupled, peephole):
    """z (4 H,) sums, to which the peepholes are added; gates (4 H,) activations; c (H,), h (H,) are
    replaced."""
    H = len(c)
    if len(peephole):
        for j in range(H):
            z[j] = fma(peephole[j], c[j], z[j])
            z[H + j] = fma(peephole[H + j], c[j], z[H + j])
    activate(gates[: 2 * H], z[: 2 * H], numbers[0], ab[0, 0], ab[0, 1], clip)
    activate(gates[2 * H : 3 * H], z[2 * H : 3 * H], numbers[1], ab[1, 0], ab[1, 1], clip)
    for j in range(H):
        f = ONE - gates[j] if coupled else gates[H + j]
        c[j] = flush(fma(f, c[j], gates[j] * gates[2 * H + j]), TINY)
    if len(peephole):
        for j in range(H):
            z[3 * H + j] = fma(peephole[2 * H + j], c[j], z[3 * H + j])
    activate(gates[3 * H :], z[3 * H :], numbers[0], ab[0, 0], ab[0, 1], clip)
    activate(gates[:H], c, numbers[2], ab[2, 0], ab[2, 1], np.float32(np.inf))
    for j in range(H):
        h[j] = flush(gates[3 * H + j] * gates[j], TINY)


@jit
def lstm_step(z, s, r, proj, h, c, n, full, gates, numbers, ab, clip, coupled, peephole, edge):
    H, P = c.shape[1], h.shape[1]
    add(z, h, r, n, z.shape[1], 0, P, edge)
    for i in range(n):
        to = full[i, :H] if proj.size else h[i]
        lstm_row(z[i], c[i], to, gates[i], numbers, ab, clip, coupled, peephole)
        if s.shape[0]:
            copy(s[i], c[i])
    if proj.size:
        project(h, full, proj, n, edge)


@jit
def mix(h, gates):
    """One row: h' = (1 - u) n + u h; gates (3 H,): r, u, n."""
    H = len(h)
    u, n = gates[H : 2 * H], gates[2 * H :]
    for j in range(H):
        h[j] = mixed(u[j], h[j], n[j])


@jit
def gru_step(z, s, r, bias_n, h, n, sums, gates, numbers, ab, clip, edge):
    H = h.shape[1]
    for i in range(n):
        copy(sums[i, : 2 * H], z[i, : 2 * H])
        copy(sums[i, 2 * H :], bias_n)
    add(sums, h, r, n, 3 * H, 0, H, edge)
    for i in range(n):
        g = gates[i]
        copy(z[i, : 2 * H], sums[i, : 2 * H])
        activate(g[: 2 * H], z[i, : 2 * H], numbers[0], ab[0, 0], ab[0, 1], clip)
        for j in range(H):
            z[i, 2 * H + j] = fma(g[j], sums[i, 2 * H + j], z[i, 2 * H + j])
        activate(g[2 * H :], z[i, 2 * H :], numbers[1], ab[1, 0], ab[1, 1], clip)
        if s.shape[0]:
            copy(s[i], sums[i, 2 * H :])
        mix(h[i], g)


@jit
def gru_before_step(z, r, r_n, h, n, sums, reset, gates, numbers, ab, clip, edge):
    """As gru_before_rows of loops.py; gates (B, 3 H): all rows', until the second product."""
    H = h.shape[1]
    add(z, h, r, n, 2 * H, 0, H, edge)
    for i in range(n):
        activate(gates[i, : 2 * H], z[i, : 2 * H], numbers[0], ab[0, 0], ab[0, 1], clip)
        copy(sums[i, :H], z[i, 2 * H :])
        for j in range(H):
            reset[i, j] = flush(gates[i, j] * h[i, j], TINY)
    add(sums, reset, r_n, n, H, 0, H, edge)
    for i in range(n):
        copy(z[i, 2 * H :], sums[i, :H])
        activate(gates[i, 2 * H :], z[i, 2 * H :], numbers[1], ab[1, 0], ab[1, 1], clip)
        mix(h[i], gates[i])


@jit
def rnn_step(z, r, h, n, numbers, ab, clip, edge):
    add(z, h, r, n, h.shape[1], 0, h.shape[1], edge)
    for i in range(n):
        activate(h[i], z[i], numbers[0], ab[0, 0], ab[0, 1], clip)
        for j in range(h.shape[1]):
            h[i, j] = flush(h[i, j], TINY)


@jit
def lstm_step_backward(w_hh, w_hr, z, f, fc, peephole, dh, dc, dz, n, full, edge):
    """z, f (B, 4 H), fc (B, H): activations and factors of one step."""
    H = dc.shape[1]
    if w_hr.size:
        clear(full, n)
        add(full, dh, w_hr, n, H, 0, dh.shape[1], edge)
    for i in range(n):
        up = full[i, :H] if w_hr.size else dh[i]
        for j in range(H):
            do, d = flush(up[j] * f[i, 3 * H + j], TINY_GRADIENT), fma(up[j], fc[i, j], dc[i, j])
            if len(peephole):
                d = fma(do, peephole[2 * H + j], d)
            di = flush(d * f[i, j], TINY_GRADIENT)
            df = flush(d * f[i, H + j], TINY_GRADIENT)
            dz[i, j], dz[i, H + j], dz[i, 3 * H + j] = di, df, do
            dz[i, 2 * H + j] = flush(d * f[i, 2 * H + j], TINY_GRADIENT)
            d *= z[i, H + j]
            if len(peephole):
                d = fma(di, peephole[j], fma(df, peephole[H + j], d))
            dc[i, j] = flush(d, TINY_GRADIENT)
    clear(dh, n)
    add(dh, dz, w_hh, n, dh.shape[1], 0, 4 * H, edge)


@jit
def gru_candidate(f, dh, dz, n):
    """dz of u and n."""
    H = dh.shape[1]
    for i in range(n):
        for j in range(H):
            dz[i, H + j] = flush(dh[i, j] * f[i, H + j], TINY_GRADIENT)
            dz[i, 2 * H + j] = flush(dh[i, j] * f[i, 2 * H + j], TINY_GRADIENT)


@jit
def gru_step_backward(w_hh, z, f, dh, dz, n, scratch, edge):
    H = dh.shape[1]
    gru_candidate(f, dh, dz, n)
    for i in range(n):
        for j in range(H):
            dn = dz[i, 2 * H + j]
            dz[i, j] = flush(dn * f[i, j], TINY_GRADIENT)
            scratch[i, 2 * H + j] = flush(dn * z[i, j], TINY_GRADIENT)
            dh[i, j] *= z[i, H + j]
        copy(scratch[i, : 2 * H], dz[i, : 2 * H])
    add(dh, scratch, w_hh, n, H, 0, 3 * H, edge)


@jit
def gru_before_step_backward(w_hh, z, f, dh, dz, n, edge):
    H = dh.shape[1]
    gru_candidate(f, dh, dz, n)
    reset = reset_gradient(w_hh, dz, n, edge)
    for i in range(n):
        for j in range(H):
            dz[i, j] = flush(reset[i, j] * f[i, j], TINY_GRADIENT)
            dh[i, j] = fma(reset[i, j], z[i, j], dh[i, j] * z[i, H + j])
    add(dh, dz, w_hh, n, H, 0, 2 * H, edge)


@jit
def rnn_step_backward(w_hh, f, dh, dz, n, edge):
    for i in range(n):
        for j in range(dh.shape[1]):
            dz[i, j] = flush(dh[i, j] * f[i, j], TINY_GRADIENT)
    clear(dh, n)
    add(dh, dz, w_hh, n, dh.shape[1], 0, dh.shape[1], edge)


def make(source):
    """As loops.make."""

    def forward(
        cell, w, r, r2, bias, bias_n, numbers, ab, clip, coupled, peephole, a, z, s, running,
        reverse, h, c, y,
    ):  # fmt: skip
        """numbers (3,), ab (3, 2): the activations; clip: Inf for none; peephole (3 H,) or (0,)."""
        if source < 0:
            return
        steps, B, N = z.shape
        scratch, gates = np.empty((B, N), np.float32), np.empty((B, N), np.float32)
        edge, reset = np.zeros((ROWS, PANEL), np.float32), np.empty_like(h)
        none = np.empty((0, 0), np.float32)
        input_sums(z, bias, a, w, edge)
        for i in range(steps):
            t = steps - 1 - i if reverse else i
            n = running[t]
            kept = s[t] if s.shape[0] else none
            if cell == LSTM:
                lstm_step(
                    z[t], kept, r, r2, h, c, n, scratch, gates, numbers, ab, clip, coupled,
                    peephole, edge,
                )  # fmt: skip
            elif cell == GRU:
                gru_step(z[t], kept, r, bias_n, h, n, scratch, gates, numbers, ab, clip, edge)
            elif cell == GRU_BEFORE:
                gru_before_step(
                    z[t], r, r2, h, n, scratch, reset, gates, numbers, ab, clip, edge
                )  # fmt: skip
            else:
                rnn_step(z[t], r, h, n, numbers, ab, clip, edge)
            write_output(y[t], h, n)
        for t in range(s.shape[0]):
            clear_stopped(z[t], s[t], running[t])

    def backward(cell, w_hh, w_hr, z, f, fc, peephole, dy, running, reverse, dh, dc, dz):
        """z: activations; f, fc: numpy/backend.py's factors; the rest as in loops.py."""
        if source < 0:
            return
        steps, B, N = z.shape
        scratch, edge = np.empty((B, N), np.float32), np.zeros((ROWS, PANEL), np.float32)
        for i in range(steps):
            t = i if reverse else steps - 1 - i
            n = running[t]
            add_upstream(dh, dy[t], n)
            if cell == LSTM:
                lstm_step_backward(
                    w_hh, w_hr, z[t], f[t], fc[t], peephole, dh, dc, dz[t], n, scratch, edge
                )  # fmt: skip
            elif cell == GRU:
                gru_step_backward(w_hh, z[t], f[t], dh, dz[t], n, scratch, edge)
            elif cell == GRU_BEFORE:
                gru_before_step_backward(w_hh, z[t], f[t], dh, dz[t], n, edge)
            else:
                rnn_step_backward(w_hh, f[t], dh, dz[t], n, edge)
            clear(dz[t, n:], B - n)

    return {"forward": forward, "backward": backward}


SIGNATURES = {
    "forward": (
        INT, F3, F3, F3, F1, F1, types.int64[::1], F2, types.float32, BOOL, F1, F3, F3, F3,
        COUNTS, BOOL, F2, F2, Y,
    ),
    "backward": (INT, F3, F3, F3, F3, F3, F1, F3, COUNTS, BOOL, F2, F2, F3),
}  # fmt: skip
