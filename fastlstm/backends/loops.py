# SPDX-License-Identifier: MIT
"""What Numba compiles: the C core's arithmetic, operation for operation, vectorised by LLVM.

A sum is one chain in one order, bias, x[0] .. x[I-1], h[0] .. h[K-1], each product added by a fused
multiply-add; sigmoid and tanh are the sequences of csrc/vecmath.h. So the bits are the C core's
on every CPU with that instruction. Shapes and letters: network.py. Every constant is a float32:
a Python float would turn the sum it stands in into float64.
"""

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LSTM, GRU, GRU_BEFORE, RNN_TANH, RNN_RELU = range(5)
_features = llvmlite.binding.get_host_cpu_features()
FUSED = bool(_features.get("fma") or _features.get("fp-armv8"))


def f32(text):
    return np.float32(float.fromhex(text))


ZERO, ONE = np.float32(0), np.float32(1)
TINY, TINY_GRADIENT = f32("0x1p-62"), f32("0x1p-96")  # see csrc/kernels.h
LOG2E, LN2_HI, LN2_LO = f32("0x1.715476p+0"), f32("0x1.62e4p-1"), f32("0x1.7f7d1cp-20")
ROUND_SIGMOID, ROUND_TANH = np.float32(0x3 << 22) + np.float32(63), np.float32(0x3 << 22) + 127
ROUND_TANH, HALF_LN2, MINUS_2LOG2E = np.float32(ROUND_TANH), f32("0x1.62e43p-2"), -2 * LOG2E
LOWEST, HIGHEST, FAR = np.float32(-104.5), np.float32(30), np.float32(20)
SIGMOID_NUM, BACK = f32("0x1p-64"), f32("0x1p64")
POLY = [f32(h) for h in (
    "-0x1p-1", "0x1.5554aep-3", "-0x1.555486p-5", "0x1.1228f4p-7", "-0x1.6d9a5cp-10"
)]  # fmt: skip
P0, P1, P2, P3, P4 = POLY
Q0, Q1, Q2, Q3, Q4 = (np.float32(q * 2.0 ** (n + 2)) for n, q in enumerate(POLY))
# A tile of sums in registers: 16 of the 32 of AVX-512, 8 of the 16 of AVX2, of 32 of NEON.
LANES = 16 if _features.get("avx512f") else 8
ROWS, VECTORS = 4, 4 if LANES == 16 else 2
PANEL = 64


@intrinsic
def fma(context, a, b, c):
    """a b + c, rounded once; twice on a CPU that would have to call a library for it."""

    def emit(context, builder, signature, values):
        a, b, c = values
        return builder.fma(a, b, c) if FUSED else builder.fadd(builder.fmul(a, b), c)

    return types.float32(types.float32, types.float32, types.float32), emit


@intrinsic
def shl23(context, a):
    """The low bits of a as an exponent."""

    def emit(context, builder, signature, values):
        bits = builder.bitcast(values[0], ir.IntType(32))
        return builder.bitcast(builder.shl(bits, bits.type(23)), ir.FloatType())

    return types.float32(types.float32), emit


@intrinsic
def with_sign(context, a, s):
    """a >= 0 with the sign bit of s."""

    def emit(context, builder, signature, values):
        a, s = (builder.bitcast(v, ir.IntType(32)) for v in values)
        return builder.bitcast(builder.or_(a, builder.and_(s, s.type(1 << 31))), ir.FloatType())

    return types.float32(types.float32, types.float32), emit


def jit(function):
    return numba.njit(nogil=True, error_model="numpy")(function)


@jit
def flush(a, tiny):
    return ZERO if abs(a) < tiny else a


@jit
def copy(to, a):
    """Numba's own to[:] = a looks for overlap first, which takes longer."""
    for j in range(len(to)):
        to[j] = a[j]


@jit
def clear(a, n):
    """The first n rows."""
    for i in range(n):
        for j in range(a.shape[1]):
            a[i, j] = ZERO


@jit
def flushed(a):
    """a, or a copy whose tiny elements are zeros."""
    tiny, flat = 0, a.reshape(a.size)
    for x in flat:
        tiny += (ZERO < abs(x)) & (abs(x) < TINY)
    if tiny == 0:
        return a
    copy = np.empty(a.size, np.float32)
    for i in range(a.size):
        copy[i] = flush(flat[i], TINY)
    return copy.reshape(a.shape)


@jit
def sigmoid_den(a):
    a = HIGHEST if HIGHEST < a else a
    a = LOWEST if LOWEST > a else a
    t = fma(a, -LOG2E, ROUND_SIGMOID)
    n = t - ROUND_SIGMOID
    r = fma(n, LN2_LO, fma(n, LN2_HI, a))
    r2 = r * r
    high = fma(r2, P4, fma(r, P3, P2))
    p = fma(r2, fma(r2, high, fma(r, P1, P0)), r)
    s = shl23(t)
    hi = s + SIGMOID_NUM
    lo = SIGMOID_NUM - (hi - s)
    return hi + fma(-s, p, lo)


@jit
def sigmoid(a):
    return SIGMOID_NUM / sigmoid_den(a)


@jit
def tanh_parts(x):
    """(numerator, denominator) of tanh(x)."""
    b = abs(x)
    b = FAR if FAR < b else b
    t = fma(b, MINUS_2LOG2E, ROUND_TANH)
    n = t - ROUND_TANH
    r = fma(n, HALF_LN2, b)
    r2 = r * r
    high = fma(r2, Q4, fma(r, Q3, Q2))
    p = fma(r2, fma(r2, high, fma(r, Q1, Q0)), r + r)
    s = shl23(t)
    return with_sign(fma(s, p, ONE - s), x), fma(-s, p, ONE + s)


@jit
def tanh(x):
    num, den = tanh_parts(x)
    return num / den


def make_tile(rows, vectors):
    """tile(z, a, w, r, j, b, p, q, k0, k1): `rows` rows of z, from r on, and `vectors` vectors of
    columns from j on, += rows b on of a times k0 to k1 of panel p's columns from q on.

    The sums stay in registers over all k. LLVM's vectoriser would keep them in memory, at a third
    of the speed, so this is its code written out.
    """
    vector, real, index = ir.VectorType(ir.FloatType(), LANES), ir.FloatType(), ir.IntType(32)
    splat = ir.Constant(ir.VectorType(index, LANES), [0] * LANES)

    def emit(context, builder, signature, values):
        z, a, w = (
            context.make_array(t)(context, builder, v) for t, v in zip(signature.args[:3], values)
        )
        r, j, b, p, q, k0, k1 = values[3:]
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f32"
        )
        z_row, a_row, size = (builder.extract_value(x.shape, 1) for x in (z, a, w))

        def at(data, row, row_size, column, kind):
            place = builder.gep(data, [builder.add(builder.mul(row, row_size), column)])
            return builder.bitcast(place, kind.as_pointer())

        def plus(value, n):
            return builder.add(value, value.type(n))

        first = builder.mul(p, size)
        places, sums = [], []
        for m in range(rows):
            for v in range(vectors):
                places.append(at(z.data, plus(r, m), z_row, plus(j, v * LANES), vector))
                sums.append(cgutils.alloca_once_value(builder, builder.load(places[-1], align=4)))
        with cgutils.for_range_slice(builder, k0, k1, k0.type(1), inc=True) as (k, _):
            row = builder.add(first, k)
            weights = [
                builder.load(at(w.data, row, row.type(PANEL), plus(q, v * LANES), vector), align=4)
                for v in range(vectors)
            ]
            for m in range(rows):
                x = builder.load(at(a.data, plus(b, m), a_row, builder.sub(k, k0), real))
                x = builder.insert_element(ir.Constant(vector, ir.Undefined), x, index(0))
                x = builder.shuffle_vector(x, x, splat)
                for v in range(vectors):
                    total = builder.load(sums[m * vectors + v])
                    if FUSED:
                        total = builder.call(fused, [x, weights[v], total])
                    else:
                        total = builder.fadd(builder.fmul(x, weights[v]), total)
                    builder.store(total, sums[m * vectors + v])
        for place, total in zip(places, sums):
            builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    @intrinsic
    def tile(context, z, a, w, r, j, b, p, q, k0, k1):
        return types.void(z, a, w, *[types.int64] * 7), emit

    return tile


tile_rows, tile_row = make_tile(ROWS, VECTORS), make_tile(1, PANEL // LANES)


def pack(w):
    """w (k, N) as panels of PANEL columns, one after the other: (panels, k, PANEL), zeros past N,
    from a multiple of 64 bytes on. A panel stays in a cache while all rows go through it."""
    k, n = w.shape
    panels = -(-n // PANEL)
    room = np.zeros(panels * k * PANEL + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    packed = room[start : start + panels * k * PANEL].reshape(panels, k, PANEL)
    for p in range(panels):
        part = w[:, p * PANEL : (p + 1) * PANEL]
        packed[p, :, : part.shape[1]] = part
    return packed


@jit
def add(z, a, w, n, wide, k0, k1, edge):
    """The first n rows and `wide` columns of z += a w, for k0 to k1 of the packed w's k. edge
    (ROWS, PANEL): room for the columns that fill no panel."""
    rows = n // ROWS * ROWS
    for p in range(w.shape[0]):
        j = p * PANEL
        if j + PANEL <= wide:
            for r in range(0, rows, ROWS):
                for q in range(0, PANEL, VECTORS * LANES):
                    tile_rows(z, a, w, r, j + q, r, p, q, k0, k1)
            for r in range(rows, n):
                tile_row(z, a, w, r, j, r, p, 0, k0, k1)
            continue
        for r in range(0, n, ROWS):
            m = min(ROWS, n - r)
            for i in range(m):
                copy(edge[i, : wide - j], z[r + i, j:wide])
            if m == ROWS:
                for q in range(0, PANEL, VECTORS * LANES):
                    tile_rows(edge, a, w, 0, q, r, p, q, k0, k1)
            else:
                for i in range(m):
                    tile_row(edge, a, w, i, 0, r + i, p, 0, k0, k1)
            for i in range(m):
                copy(z[r + i, j:wide], edge[i, : wide - j])


@jit
def lstm_gates(z, c, h):
    """One row: z (4 H,) sums; c (H,) and h (H,) are replaced."""
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
    """One row's sums become activations."""
    H = len(z) // 4
    zi, zf, zg, zo = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
    for j in range(H):
        zi[j] = flush(sigmoid(zi[j]), TINY_GRADIENT)
        zf[j] = flush(sigmoid(zf[j]), TINY_GRADIENT)
        zg[j] = flush(tanh(zg[j]), TINY_GRADIENT)
        zo[j] = flush(sigmoid(zo[j]), TINY_GRADIENT)


@jit
def lstm_back(z, c, c_prev, dh, dc, dz):
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
        h[j] = flush(fma(zu[j], h[j] - zn[j], zn[j]), TINY)


@jit
def gru_back(z, h0, dh, dz):
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
    for j in range(len(h)):
        z[j] = (ZERO if z[j] < ZERO else z[j]) if relu else tanh(z[j])
        h[j] = flush(z[j], TINY)


# Steps of a chunk in order. Small functions with few branches: in large ones Numba counts
# references to every slice, atomically, and a small step takes twice its time.


@jit
def lstm_rows(z, c, h, n):
    for i in range(n):
        lstm_gates(z[i], c[i], h[i])


@jit
def lstm_projected(z, c, h, proj, full, n, edge):
    """full (B, N): room for h before the projection."""
    H, P = c.shape[1], h.shape[1]
    for i in range(n):
        lstm_gates(z[i], c[i], full[i, :H])
    clear(h, n)
    add(h, full, proj, n, P, 0, H, edge)
    for i in range(n):
        for j in range(P):
            h[i, j] = flush(h[i, j], TINY)


@jit
def lstm_kept(z, s, c, n):
    for i in range(n):
        lstm_keep(z[i])
        copy(s[i], c[i])


@jit
def gru_rows(z, s, keep, h, sums, bias_n, r, n, edge):
    """n's own sum apart, in sums (B, N)."""
    H = h.shape[1]
    for i in range(n):
        copy(sums[i, : 2 * H], z[i, : 2 * H])
        copy(sums[i, 2 * H :], bias_n)
    add(sums, h, r, n, 3 * H, 0, H, edge)
    for i in range(n):
        gru_reset(sums[i], z[i], H)
        for j in range(H):
            z[i, 2 * H + j] = fma(z[i, j], sums[i, 2 * H + j], z[i, 2 * H + j])
        if keep:
            copy(s[i], sums[i, 2 * H :])
        gru_state(z[i], h[i])


@jit
def gru_before_rows(z, h, sums, reset, r, r_n, n, edge):
    """reset (B, H): r h; sums (B, N): that of n in its first H columns."""
    H = h.shape[1]
    add(z, h, r, n, 2 * H, 0, H, edge)
    for i in range(n):
        gru_reset(z[i], z[i], H)
        for j in range(H):
            sums[i, j] = z[i, 2 * H + j]
            reset[i, j] = flush(z[i, j] * h[i, j], TINY)
    add(sums, reset, r_n, n, H, 0, H, edge)
    for i in range(n):
        copy(z[i, 2 * H :], sums[i, :H])
        gru_state(z[i], h[i])


@jit
def rnn_rows(z, h, r, relu, n, edge):
    add(z, h, r, n, h.shape[1], 0, h.shape[1], edge)
    for i in range(n):
        rnn_state(z[i], h[i], relu)


@jit
def put(y, h, n):
    """A step's outputs; 0 where a row does not run."""
    for b in range(n):
        for j in range(h.shape[1]):
            y[b, j] = h[b, j]
    for b in range(n, y.shape[0]):
        for j in range(h.shape[1]):
            y[b, j] = ZERO


@jit
def rest_clear(z, s, n):
    clear(z[n:], z.shape[0] - n)
    clear(s[n:], s.shape[0] - n)


@jit
def lstm_steps(z, s, rows, back, r, proj, h, c, y, scratch, edge):
    steps = z.shape[0]
    for i in range(steps):
        t = steps - 1 - i if back else i
        n = rows[t]
        add(z[t], h, r, n, z.shape[2], 0, h.shape[1], edge)
        if proj.size:
            lstm_projected(z[t], c, h, proj, scratch, n, edge)
        else:
            lstm_rows(z[t], c, h, n)
        if s.shape[0]:
            lstm_kept(z[t], s[t], c, n)
        put(y[t], h, n)


@jit
def gru_steps(kind, z, s, rows, back, r, r_n, bias_n, h, y, scratch, edge):
    steps, keep = z.shape[0], s.shape[0] > 0
    reset = np.empty_like(h)
    for i in range(steps):
        t = steps - 1 - i if back else i
        n = rows[t]
        if kind == GRU:
            gru_rows(z[t], s[t] if keep else reset, keep, h, scratch, bias_n, r, n, edge)
        else:
            gru_before_rows(z[t], h, scratch, reset, r, r_n, n, edge)
        put(y[t], h, n)


@jit
def rnn_steps(z, rows, back, r, relu, h, y, edge):
    steps = z.shape[0]
    for i in range(steps):
        t = steps - 1 - i if back else i
        rnn_rows(z[t], h, r, relu, rows[t], edge)
        put(y[t], h, rows[t])


@jit
def unstep(kind, w_hh, w_hr, z, s, h0, c0, dh, dc, dz, n, scratch, edge):
    """The same step back: dz from dh and dc, which become those of the state before."""
    N, K = z.shape[1], dh.shape[1]
    H = dc.shape[1] if kind == LSTM else K
    if kind == LSTM:
        if w_hr.size:
            clear(scratch, n)
            add(scratch, dh, w_hr, n, H, 0, K, edge)
        for i in range(n):
            lstm_back(z[i], s[i], c0[i], scratch[i, :H] if w_hr.size else dh[i], dc[i], dz[i])
    elif kind == RNN_TANH or kind == RNN_RELU:
        for i in range(n):
            for j in range(K):
                y = z[i, j]
                slope = (ONE if y > ZERO else ZERO) if kind == RNN_RELU else fma(-y, y, ONE)
                dz[i, j] = flush(dh[i, j] * slope, TINY_GRADIENT)
    else:
        for i in range(n):
            gru_back(z[i], h0[i], dh[i], dz[i])
    if kind == GRU:
        for i in range(n):
            for j in range(H):
                r, dn = z[i, j], dz[i, 2 * H + j]
                dz[i, j] = flush(dn * s[i, j] * fma(-r, r, r), TINY_GRADIENT)
                scratch[i, 2 * H + j] = flush(dn * r, TINY_GRADIENT)
            copy(scratch[i, : 2 * H], dz[i, : 2 * H])
        add(dh, scratch, w_hh, n, K, 0, N, edge)
        return
    if kind == GRU_BEFORE:
        dn, reset = np.empty((n, H), np.float32), np.zeros((n, H), np.float32)
        for i in range(n):
            copy(dn[i], dz[i, 2 * H :])
        add(reset, dn, w_hh, n, H, 2 * H, N, edge)  # the gradient of r h
        for i in range(n):
            for j in range(H):
                r, d = z[i, j], reset[i, j]
                dz[i, j] = flush(d * h0[i, j] * fma(-r, r, r), TINY_GRADIENT)
                dh[i, j] = fma(d, r, dh[i, j])
        N = 2 * H
    else:
        clear(dh, n)
    add(dh, dz, w_hh, n, K, 0, N, edge)


def forward(kind, w, r, r2, bias, bias_n, a, z, s, rows, back, h, c, y):
    """Some steps of one layer and direction: Cell.forward in numpy.py says which is what. r2: an
    LSTM's projection, or R_n of "gru_before"."""
    steps, B, N = z.shape
    I = a.shape[2]
    scratch, edge = np.empty((B, N), np.float32), np.zeros((ROWS, PANEL), np.float32)
    sums = z.reshape(steps * B, N)
    for i in range(steps * B):
        copy(sums[i], bias)
    add(sums, flushed(a.reshape(steps * B, I)), w, steps * B, N, 0, I, edge)
    if kind == LSTM:
        lstm_steps(z, s, rows, back, r, r2, h, c, y, scratch, edge)
    elif kind == GRU or kind == GRU_BEFORE:
        gru_steps(kind, z, s, rows, back, r, r2, bias_n, h, y, scratch, edge)
    else:
        rnn_steps(z, rows, back, r, kind == RNN_RELU, h, y, edge)
    for t in range(s.shape[0]):
        rest_clear(z[t], s[t], rows[t])


def backward(kind, w_hh, w_hr, z, s, h0, c0, dy, rows, back, dh, dc, dz):
    """The same steps back: Cell.backward in numpy.py."""
    steps, B, N = z.shape
    scratch, edge = np.empty((B, N), np.float32), np.zeros((ROWS, PANEL), np.float32)
    for i in range(steps):
        t = i if back else steps - 1 - i
        n = rows[t]
        for b in range(n):
            for j in range(dh.shape[1]):
                dh[b, j] += dy[t, b, j]
            copy(dy[t, b], dh[b])
        unstep(kind, w_hh, w_hr, z[t], s[t], h0[t], c0[t], dh, dc, dz[t], n, scratch, edge)
        clear(dy[t, n:], B - n)
        clear(dz[t, n:], B - n)


_f1, _f2, _f3 = types.float32[::1], types.float32[:, ::1], types.float32[:, :, ::1]
_y, _rows = types.float32[:, :, :], types.int64[::1]
SIGNATURES = {
    forward: (types.int64, _f3, _f3, _f3, _f1, _f1, _f3, _f3, _f3, _rows, types.boolean, _f2, _f2, _y),
    backward: (types.int64, _f3, _f3, _f3, _f3, _f3, _f3, _f3, _rows, types.boolean, _f2, _f2, _f3),
}  # fmt: skip


def compiled(function):
    """`function` in machine code for its one signature, from the cache on disk where there is one.

    The cache is beside this file or, where that cannot be written, in the user's cache directory
    or NUMBA_CACHE_DIR; where nothing can be written there is none.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no place that can be written
        dispatcher = numba.njit(**options)(function)
    dispatcher.compile(SIGNATURES[function])
    dispatcher.disable_compile()
    return dispatcher
