/* SPDX-License-Identifier: MIT */
/*
 * Vectors of 4 floats in plain C, and the meaning of every operation. The other vec_*.h define the
 * same operations for other numbers L of lanes, and give the same bits in each lane, except where
 * this file is compiled for a CPU without a fused multiply-add.
 *
 *   vf_fma(a, b, c)      a * b + c in one rounding. Without the instruction it is computed in
 *                        double and then rounded to float: the same, unless the rounding to
 *                        double ends exactly half way between two floats
 *   vf_mad(a, b, c)      a * b + c for the long sums: vf_fma, or two roundings without the
 *                        instruction, since doubles would be slow
 *   vf_fnma(a, b, c)     c - a * b, rounded as vf_fma is
 *   vf_min(a, b)         a < b ? a : b, so the result is NaN where b is; vf_max likewise
 *   vf_le(a, b, x, y)    a <= b ? x : y, so y where a or b is NaN
 *   vf_copysign(a, s)    a with the sign bit of s; a must not be negative
 *   vf_shl23(a)          the bits of a, shifted left by 23: turns an integer n + 127, kept in the
 *                        low bits of a float by adding 1.5 * 2^23, into the float 2^n
 *   vf_flush(a, tiny)    |a| < tiny ? +0 : a; a NaN stays
 *   vf_has_tiny(a, t)    1 if a lane has 0 < |a| < t, else 0
 *   vf_storen, vf_loadn  the first n lanes only, 0 < n < L; memory past them is not touched, and
 *                        vf_loadn sets the other lanes to 0
 *   vf_keep(a)           a, held in a register: a compiler may otherwise load it again at each use
 *   vf_load, vf_store    need an address aligned to the vector; vf_loadu, vf_storeu do not
 *   vf_load_f16(p)       L numbers of IEEE binary16, converted to float32, which holds each of them
 *                        exactly: subnormals become normal, infinities and NaNs stay what they
 *                        are, whatever the CPU's mode for subnormals. p is aligned to the 2 L bytes
 *                        that are read
 *   vf_load_even(p), vf_load_odd(p)
 *                        of 2 L bfloat16 numbers those at even, or at odd, places, as float32. p is
 *                        aligned to the vector
 *
 * Vectors of L 32-bit integers, for sums of products of codes. The four bytes of lane i of a vector
 * of codes are the codes of column i for four consecutive k.
 *
 *   vi_start(s)          what a sum starts from, s being the sum of the row's codes: 0, or -128 s
 *                        where weights come as code + 128 (FL_CODE_ZERO of codes.h)
 *   vi_load(p)           4 L codes of weights, aligned to the vector
 *   vi_four(p)           the four codes at p, the same in every lane; at any alignment
 *   vi_dot(sum, w, a)    sum + the four products w * a of each lane, with a in -127 .. 127, and w
 *                        too, or a byte without a sign where FL_CODE_ZERO is 128
 *   vi_dot_16(sums, w, row, i, lines)
 *                        adds the products of the 4 L codes at w and the four codes of 16 bits of
 *                        line i of a row that has so many lines, to two vectors of sums; each set
 *                        divides the products between them in its own way
 *   vi_columns(sums)     the sums of L columns, made of these two vectors
 *   vi_float(sum)        as floats, rounded to the nearest
 */
#ifndef FL_VEC_GENERIC_H
#define FL_VEC_GENERIC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

/* Vectors of the compiler: with arrays of floats gcc 12 has to find the vectors itself, which takes
   five times as long and gives slower and larger code. A comparison gives -1 or 0 for each lane. */
#define FL_LANES 4
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t fl_words __attribute__((vector_size(16)));
typedef int16_t fl_shorts __attribute__((vector_size(16)));

#if !defined(__FP_FAST_FMAF) && !defined(__FMA__) && !defined(__ARM_FEATURE_FMA)
#define FL_TWO_ROUNDINGS 1
#endif

/* x where the mask is -1, y where it is 0 */
FL_INLINE vf fl_choose(vi mask, vf x, vf y) { return (vf)((mask & (vi)x) | (~mask & (vi)y)); }

FL_INLINE vf vf_set1(float x) { return (vf){x, x, x, x}; }
FL_INLINE vf vf_load(const float *p)
{
    return *(const vf *)__builtin_assume_aligned(p, sizeof(vf));
}
FL_INLINE vf vf_loadu(const float *p)
{
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}
/* Below 2^-14 a number's bits count units of 2^-24. From there on the exponent's bias of 15 becomes
   one of 127, and the exponent of infinities and NaNs, 31, becomes 255. */
FL_INLINE vf vf_load_f16(const uint16_t *p)
{
    const vi half = {p[0], p[1], p[2], p[3]}, magnitude = half & 0x7fff;
    const vi bias = 0x38000000 + ((magnitude >= 0x7c00) & 0x38000000);
    const vf small = __builtin_convertvector(magnitude, vf) * 0x1p-24f;
    const vf value = fl_choose(magnitude < 0x400, small, (vf)((magnitude << 13) + bias));
    return (vf)((fl_words)value | (fl_words)(half & 0x8000) << 16);
}
FL_INLINE void vf_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
FL_INLINE void vf_storeu(float *p, vf a) { memcpy(p, &a, sizeof a); }
FL_INLINE void vf_storen(float *p, vf a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = a[i];
}
FL_INLINE vf vf_loadn(const float *p, size_t n)
{
    vf r = {0};
    for (size_t i = 0; i < n; i++)
        r[i] = p[i];
    return r;
}
FL_INLINE vf vf_load_even(const uint16_t *p)
{
    return (vf)((fl_words){p[0], p[2], p[4], p[6]} << 16);
}
FL_INLINE vf vf_load_odd(const uint16_t *p)
{
    return (vf)((fl_words){p[1], p[3], p[5], p[7]} << 16);
}

FL_INLINE vf vf_keep(vf a) { return a; }

FL_INLINE vf vf_add(vf a, vf b) { return a + b; }
FL_INLINE vf vf_sub(vf a, vf b) { return a - b; }
FL_INLINE vf vf_mul(vf a, vf b) { return a * b; }
FL_INLINE vf vf_div(vf a, vf b) { return a / b; }
#if defined(FL_TWO_ROUNDINGS)
/* One function: inlined it would be a third of the code. */
static FL_NOINLINE vf vf_fma(vf a, vf b, vf c)
{
    vf r;
    for (int i = 0; i < 4; i++)
        r[i] = (float)((double)a[i] * (double)b[i] + (double)c[i]);
    return r;
}
FL_INLINE vf vf_mad(vf a, vf b, vf c) { return a * b + c; }
#else
FL_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return (vf){__builtin_fmaf(a[0], b[0], c[0]), __builtin_fmaf(a[1], b[1], c[1]),
                __builtin_fmaf(a[2], b[2], c[2]), __builtin_fmaf(a[3], b[3], c[3])};
}
FL_INLINE vf vf_mad(vf a, vf b, vf c) { return vf_fma(a, b, c); }
#endif
FL_INLINE vf vf_fnma(vf a, vf b, vf c) { return vf_fma(-a, b, c); }
FL_INLINE vf vf_min(vf a, vf b) { return fl_choose(a < b, a, b); }
FL_INLINE vf vf_max(vf a, vf b) { return fl_choose(a > b, a, b); }
FL_INLINE vf vf_le(vf a, vf b, vf x, vf y) { return fl_choose(a <= b, x, y); }

FL_INLINE vf vf_abs(vf a) { return (vf)((vi)a & 0x7fffffff); }
FL_INLINE vf vf_copysign(vf a, vf s) { return (vf)((fl_words)a | ((fl_words)s & 0x80000000u)); }
FL_INLINE vf vf_shl23(vf a) { return (vf)((fl_words)a << 23); }
FL_INLINE vf vf_flush(vf a, vf tiny) { return (vf)((vi)a & ~(vf_abs(a) < tiny)); }
FL_INLINE int vf_has_tiny(vf a, vf tiny)
{
    const vf b = vf_abs(a);
    const vi lanes = (b < tiny) & (b > 0.0f);
    return (lanes[0] | lanes[1] | lanes[2] | lanes[3]) != 0;
}

#define FL_CODE_ZERO 0
#define FL_CODE_PLANES 0

/* A product of two codes is exact in 16 bits, and so is the sum of two: with the bytes of w and a
   at even places (e) and at odd places (o), 16 bits for each, vi_dot adds both halves of w_e a_e +
   w_o a_o. */
FL_INLINE vi vi_start(int32_t sum)
{
    (void)sum;
    return (vi){0};
}
FL_INLINE vi vi_load(const int8_t *p)
{
    vi r;
    memcpy(&r, p, sizeof r);
    return r;
}
FL_INLINE vi vi_four(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return (vi){four, four, four, four};
}
FL_INLINE vi vi_dot(vi sum, vi w, vi a)
{
    const fl_shorts w_e = (fl_shorts)w << 8 >> 8, w_o = (fl_shorts)w >> 8;
    const fl_shorts a_e = (fl_shorts)a << 8 >> 8, a_o = (fl_shorts)a >> 8;
    const vi pairs = (vi)(w_e * a_e + w_o * a_o);
    return sum + (pairs << 16 >> 16) + (pairs >> 16);
}
FL_INLINE void vi_dot_16(vi sums[2], const int8_t *w, const int8_t *row, size_t line, size_t lines)
{
    int16_t x[4];
    memcpy(x, row + 8 * line, sizeof x);
    (void)lines;
    sums[0] += (vi){w[0] * x[0] + w[1] * x[1], w[2] * x[2] + w[3] * x[3], w[4] * x[0] + w[5] * x[1],
                    w[6] * x[2] + w[7] * x[3]};
    sums[1] += (vi){w[8] * x[0] + w[9] * x[1], w[10] * x[2] + w[11] * x[3],
                    w[12] * x[0] + w[13] * x[1], w[14] * x[2] + w[15] * x[3]};
}
FL_INLINE vi vi_columns(const vi s[2])
{
    return (vi){s[0][0] + s[0][1], s[0][2] + s[0][3], s[1][0] + s[1][1], s[1][2] + s[1][3]};
}
FL_INLINE vf vi_float(vi sum) { return __builtin_convertvector(sum, vf); }

#endif
