/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of FL_BFLOAT16. A bfloat16 number is the upper half of a float32: 8 bits of
 * exponent and 8 of precision. Weights are rounded to it when they are packed, inputs x and states
 * h each time they are read; sums, gates and the cell state are float32. A sum over k is taken in
 * pieces of 32 numbers. Of each piece
 *
 *     even = x[0] w[0] + x[2] w[2] + ... + x[30] w[30]         sum = sum + (even + odd)
 *     odd  = x[1] w[1] + x[3] w[3] + ... + x[31] w[31]
 *
 * are chains of fused multiply-adds, in this order, from 0 on. sum starts from the bias, or from
 * what the input's products have left. x and h are pieces of their own, and the last one of each
 * may be shorter. This is the order of the instruction TDPBF16PS of Intel's AMX, so that a kernel
 * made of it would give the same bits.
 *
 * Products of two such numbers are exact in float32, unless they overflow, and a rounding of the
 * product changes nothing: sets without fused multiply-add have the same sums.
 *
 * TDPBF16PS takes subnormal numbers for 0. None occur here: numbers below 2^-56 become 0 when they
 * are rounded, and biases below 2^-103 when they are packed. So every product and every sum is a
 * whole multiple of 2^-126.
 *
 * A sum never is -0: a chain starts from 0, and neither a product of -0 nor a difference of equal
 * numbers makes a sum of 0 negative. So products of 0 and 0 may be left out or added at the end of
 * a chain. An infinity times a weight of 0 is NaN, as in float32.
 */
#ifndef FL_BFLOAT16_H
#define FL_BFLOAT16_H

#include <stdint.h>
#include <string.h>

enum { FL_PIECE = 32 }; /* numbers of a piece */

/* Biases below it in magnitude are 0. */
#define FL_TINY_BIAS 0x1p-103f

/* Vectors of the compiler: of L words where a set's kernels are compiled, else of 4. */
#if defined(FL_LANES)
enum { FL_WORDS = FL_LANES };
#else
enum { FL_WORDS = 4 };
#endif
typedef uint32_t fl_words __attribute__((vector_size(FL_WORDS * 4)));
typedef int32_t fl_signed_words __attribute__((vector_size(FL_WORDS * 4)));

/* y = x, n floats, each rounded to the nearest that bfloat16 holds, ties to even, and a zero behind
   them if n is odd. From half a step beyond the largest, 3.3962e38, on a number becomes infinity,
   below 2^-56 0. A NaN stays a NaN. */
static inline void fl_round_row(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += FL_WORDS) {
        const size_t here = n - i < FL_WORDS ? n - i : FL_WORDS;
        fl_words u = {0};
        memcpy(&u, x + i, here * sizeof(float));
        fl_words rounded = (u + 0x7fffu + (u >> 16 & 1u)) & 0xffff0000u;
        rounded &= (fl_words)((fl_signed_words)(rounded & 0x7fffffffu) >= 0x23800000);
        const fl_words nan = (fl_words)((fl_signed_words)(u & 0x7fffffffu) > 0x7f800000);
        rounded = (rounded & ~nan) | ((u | 0x400000u) & 0xffff0000u & nan);
        memcpy(y + i, &rounded, (here + here % 2) * sizeof(float));
    }
}

#endif
