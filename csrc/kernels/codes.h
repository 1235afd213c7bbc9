/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of FL_INT8. A matrix of weights is codes and a scale for each of its rows (a
 * column of the panels): w = code * scale, with codes in -127 .. 127. A row of inputs, x at one
 * time or a state h, is made into codes in the same way when it is read:
 *
 *     m = max(least, |x[0]|, ..., |x[n - 1]|)     scale = m / top
 *     code = x * (top / m), rounded to float32 and then to the nearest integer, ties to even
 *
 * `least` is 1 for states, the inputs of upper layers among them: their numbers mostly are below 1,
 * so the scale is the same at every step. For other inputs it is 0, and a row of zeros has the
 * scale 0. The caller has set x below FL_TINY in magnitude to 0, so top / m is finite. `top` is
 * 127, or 32512 = 127 * 256 for an input whose codes have 16 bits, unless a sum of products of
 * codes could then leave 32 bits:
 *
 *     top = min(32512 or 127, floor((2^31 - 1) / s))     s: the largest sum of |codes| of a column
 *
 * so no sum overflows. If a row holds a NaN or an infinity, its codes are 0 and its scale is NaN,
 * so that all its sums are NaN.
 *
 * Sums of integers do not depend on their order. So the bits are the same on every instruction set,
 * with or without fused multiply-add. How codes lie in memory does depend on the set:
 *
 *     FL_CODE_ZERO   the byte by which a panel stands for a weight's code of 0. It is 0, or 128
 *                    where products are of a byte without a sign and one with a sign (x86's
 *                    vpdpbusd): the panels then hold code + 128, and a sum over a row of inputs
 *                    starts from -128 times the sum of the row's codes, which makes it exact in
 *                    32 bits although a part of it may wrap around.
 *     FL_CODE_PLANES 0: a code of 16 bits is an int16_t. 1: it is two bytes with signs,
 *                    256 * first + second, for sets whose products are of 8 bits only. First come
 *                    the first bytes of all codes, up to a multiple of 4, then the second ones.
 *
 * Included once for each instruction set by int8.h.
 */
#ifndef FL_CODES_H
#define FL_CODES_H

#include <math.h>
#include <string.h>

#include "kernels/contract.h"

/* The bits of |x|; as integers they have the order of the numbers, with infinity above all numbers
   and NaNs above infinity. */
FL_INLINE uint32_t fl_magnitude(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u & 0x7fffffffu;
}

/* The nearest integer to x, of a magnitude below 2^22. Adding 1.5 * 2^23 leaves it in the low bits
   of the sum. */
FL_INLINE int32_t fl_nearest(float x)
{
    const float sum = x + 0x1.8p23f;
    int32_t bits;
    memcpy(&bits, &sum, sizeof bits);
    return bits - 0x4b400000;
}

/* Writes the codes of n floats, and zeros to a multiple of 4 codes. Returns the scale, and writes
   the sum of the codes to *sum, or 0 for sets that do not need it. */
static float fl_int8_encode_run(void *codes, const float *x, size_t n, int bits, float least,
                                float top, int32_t *sum)
{
    const size_t end = fl_format_lines(FL_INT8, n) * 4, size = (size_t)bits / 8;
    uint32_t most = fl_magnitude(least);
    for (size_t i = 0; i < n; i++) {
        const uint32_t here = fl_magnitude(x[i]);
        most = here > most ? here : most;
    }
    *sum = 0;
    if (most >= 0x7f800000u || most == 0) {
        memset(codes, 0, end * size);
        return most ? NAN : 0.0f;
    }
    float m;
    memcpy(&m, &most, sizeof m);
    const float by = top / m;
    int8_t *const first = codes, *const second = first + end;
    int16_t *const wide = codes;
    uint32_t total = 0;
    for (size_t i = 0; FL_CODE_ZERO != 0 && i < n; i++)
        total += (uint32_t)fl_nearest(x[i] * by);
    *sum = (int32_t)total;
    if (bits == 8)
        for (size_t i = 0; i < n; i++)
            first[i] = (int8_t)fl_nearest(x[i] * by);
    else if (FL_CODE_PLANES)
        for (size_t i = 0; i < n; i++) {
            const int32_t code = fl_nearest(x[i] * by), high = (code + 128) >> 8;
            first[i] = (int8_t)high;
            second[i] = (int8_t)(code - 256 * high);
        }
    else
        for (size_t i = 0; i < n; i++)
            wide[i] = (int16_t)fl_nearest(x[i] * by);
    for (size_t i = n; i < end; i++) {
        if (bits == 16 && !FL_CODE_PLANES)
            wide[i] = 0;
        else
            first[i] = 0;
        if (bits == 16 && FL_CODE_PLANES)
            second[i] = 0;
    }
    return m / top;
}

#endif
