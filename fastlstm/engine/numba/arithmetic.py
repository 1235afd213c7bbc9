# SPDX-License-Identifier: MIT
"""The C core's arithmetic, operation for operation, as functions that Numba compiles.

A sum is one chain in one order, bias, x[0] .. x[I-1], h[0] .. h[K-1], each product added by a fused
multiply-add; more than UNCUT products of x, or of h, are chains of CUT, which start from 0 and are
added in order; sigmoid and tanh are the sequences of csrc/kernels/vecmath.h. So the bits are the C
core's on every CPU with that instruction. Shapes and letters: shared/network.py. Every constant is
a float32: a Python float would turn the sum it stands in into float64.
"""

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_features = llvmlite.binding.get_host_cpu_features()
FUSED = bool(_features.get("fma") or _features.get("fp-armv8"))


def f32(text):
    return np.float32(float.fromhex(text))


ZERO, ONE = np.float32(0), np.float32(1)
TINY, TINY_GRADIENT = f32("0x1p-62"), f32("0x1p-96")  # see csrc/kernels/contract.h
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
UNCUT, CUT = 512, 256  # FL_UNCUT and FL_CUT of csrc/kernels/contract.h


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
    return numba.njit(error_model="numpy")(function)


@jit
def flush(a, tiny):
    """0 for what is below `tiny` in magnitude."""
    return ZERO if abs(a) < tiny else a


@jit
def mixed(u, h, n):
    """(1 - u) n + u h, a GRU's new state."""
    return flush(fma(u, h - n, n), TINY)


@jit
def copy(to, a):
    """Numba's own to[:] = a looks for overlap first, which takes longer."""
    for j in range(len(to)):
        to[j] = a[j]


@jit
def clear(a, n):
    """The first n rows of a matrix become 0."""
    for i in range(n):
        for j in range(a.shape[1]):
            a[i, j] = ZERO


@jit
def flushed(a):
    """a, or a copy whose tiny elements are zeros."""
    tiny, flat = 0, a.reshape(a.size)
    for x in flat:
        tiny += (abs(x) > ZERO) & (abs(x) < TINY)
    if tiny == 0:
        return a
    copy = np.empty(a.size, np.float32)
    for i in range(a.size):
        copy[i] = flush(flat[i], TINY)
    return copy.reshape(a.shape)


@jit
def sigmoid_den(a):
    """The denominator of sigmoid(a), whose numerator is SIGMOID_NUM."""
    a = HIGHEST if a > HIGHEST else a
    a = LOWEST if a < LOWEST else a
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
    b = FAR if b > FAR else b
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
    columns from j on, += rows b on of a times k0 to k1 of panel p's columns from q on, and of the
    panels after it where those are not enough. More than UNCUT products are summed CUT at a time.

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

        def at(data, row, row_size, column, type_):
            place = builder.gep(data, [builder.add(builder.mul(row, row_size), column)])
            return builder.bitcast(place, type_.as_pointer())

        def plus(value, n):
            return builder.add(value, value.type(n))

        def panel(v):
            return v * LANES // PANEL

        firsts = [builder.mul(plus(p, n), size) for n in range(panel(vectors - 1) + 1)]

        def add_products(sums, first, end):
            with cgutils.for_range_slice(builder, first, end, k0.type(1), inc=True) as (k, _):
                weights = []
                for v in range(vectors):
                    row, column = builder.add(firsts[panel(v)], k), plus(q, v * LANES % PANEL)
                    place = at(w.data, row, row.type(PANEL), column, vector)
                    weights.append(builder.load(place, align=4))
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

        several = builder.icmp_signed(">", builder.sub(k1, k0), k0.type(UNCUT))
        zero = ir.Constant(vector, [0.0] * LANES)
        places, sums = [], []
        for m in range(rows):
            for v in range(vectors):
                places.append(at(z.data, plus(r, m), z_row, plus(j, v * LANES), vector))
                start = builder.select(several, zero, builder.load(places[-1], align=4))
                sums.append(cgutils.alloca_once_value(builder, start))
        length = builder.select(several, k0.type(CUT), k0.type(UNCUT))
        with cgutils.for_range_slice(builder, k0, k1, length, inc=True) as (first, _):
            end = builder.add(first, length)
            add_products(sums, first, builder.select(builder.icmp_signed("<", end, k1), end, k1))
            for place, sum_ in zip(places, sums):
                total, before = builder.load(sum_), builder.load(place, align=4)
                total = builder.select(several, builder.fadd(before, total), total)
                builder.store(total, place, align=4)
                builder.store(zero, sum_)
        return context.get_dummy_value()

    @intrinsic
    def tile(context, z, a, w, r, j, b, p, q, k0, k1):
        return types.void(z, a, w, *[types.int64] * 7), emit

    return tile


tile_rows, tile_row = make_tile(ROWS, VECTORS), make_tile(1, PANEL // LANES)
# One row alone has few chains of sums: two panels at once take 0.6 of the time at 256 units.
PAIR = 2
tile_pair = make_tile(1, PAIR * PANEL // LANES)


def pack(w):
    """w (k, N) as panels of PANEL columns, one after the other: (panels, k, PANEL), zeros past N,
    from a multiple of 64 bytes on. A panel stays in a cache while all rows go through it."""
    k, n = w.shape
    panels = -(-n // PANEL)
    memory = np.zeros(panels * k * PANEL + 16, np.float32)
    start = -memory.ctypes.data % 64 // 4
    packed = memory[start : start + panels * k * PANEL].reshape(panels, k, PANEL)
    for p in range(panels):
        part = w[:, p * PANEL : (p + 1) * PANEL]
        packed[p, :, : part.shape[1]] = part
    return packed


@jit
def add(z, a, w, n, wide, k0, k1, edge):
    """The first n rows and `wide` columns of z += a w, for k0 to k1 of the packed w's k. edge
    (ROWS, PANEL): scratch for the columns that fill no panel."""
    add_step(z, a, w, n, wide, k0, k1, edge, 0)


@jit
def add_step(z, a, w, n, wide, k0, k1, edge, step):
    """The same; at odd steps from the last panel to the first: where the weights are larger than a
    cache, the next step finds there what this one read last."""
    rows, pairs = n // ROWS * ROWS, wide // PANEL // PAIR if n == 1 else 0
    if step % 2 == 0:
        for i in range(pairs):
            tile_pair(z, a, w, 0, PAIR * i * PANEL, 0, PAIR * i, 0, k0, k1)
    for i in range(PAIR * pairs, w.shape[0]):
        p = i if step % 2 == 0 else w.shape[0] - 1 - i + PAIR * pairs
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
    if step % 2:
        for i in range(pairs):
            p = PAIR * (pairs - 1 - i)
            tile_pair(z, a, w, 0, p * PANEL, 0, p, 0, k0, k1)
