/* SPDX-License-Identifier: MIT */
/*
 * The arithmetic of FL_BFLOAT16. A bfloat16 number is the upper half of a float32: 8 bits of
 * exponent and 8 of precision. A number x, of a matrix of weights or of a row that is multiplied by
 * a matrix, is made into 1, 2 or 3 parts which are such numbers:
 *
 *     part[0] = round(x)     part[1] = round(x - part[0])     part[2] = x - part[0] - part[1]
 *
 * so one part is x with 8 bits of precision, two have 16, and three are x itself, but for what is
 * below the bound that follows. Weights are made into parts when they are packed, inputs x and
 * states h each time they are read; sums, gates and the cell state are float32.
 *
 * A sum over k is taken in pieces of 32 numbers. For one product of parts, a of the row's and b of
 * the column's,
 *
 *     even = a[0] b[0] + a[2] b[2] + ... + a[30] b[30]         sum = sum + (even + odd)
 *     odd  = a[1] b[1] + a[3] b[3] + ... + a[31] b[31]
 *
 * are chains of fused multiply-adds, in this order, from 0 on. sum starts from the bias, or from
 * what the input's products have left. Of P parts a piece has P (P + 1) / 2 products, whose parts'
 * numbers add up to less than P, with the smallest part of the weights first, and for each of them
 * the smallest part of the row:
 *
 *     for b = P - 1 down to 0:  for a = P - 1 - b down to 0:  the product of parts a and b
 *
 *     P = 1:  00     P = 2:  01 10 00     P = 3:  02 11 01 20 10 00      (row's, weights')
 *
 * All products of a piece come before those of the next one. x and h are pieces of their own, and
 * the last one of each may be shorter. This is the order of the instruction TDPBF16PS of Intel's
 * AMX, so that a kernel made of it gives the same bits.
 *
 * Products of two such numbers are exact in float32, unless they overflow, and a rounding of the
 * product changes nothing: sets without fused multiply-add have the same sums.
 *
 * TDPBF16PS takes subnormal numbers for 0. None occur here: parts below a bound become 0 when they
 * are made, the bound being 2^-56 for weights, inputs and states; biases below 2^-103 do when they
 * are packed. So every product and every sum is a whole multiple of 2^-126. Other pairs of bounds
 * whose exponents add up to -112 serve as well.
 *
 * A sum never is -0: a chain starts from 0, and neither a product of -0 nor a difference of equal
 * numbers makes a sum of 0 negative. So products of 0 and 0 may be left out or added at the end of
 * a chain.
 *
 * With one part a number that is too large for bfloat16, from 3.3962e38 on, becomes infinite, and
 * an infinity times a weight of 0 is NaN, as in float32. With two or three the parts of a finite
 * number are finite: the first of such a large number is the largest of bfloat16, and the others
 * are the rest. An infinity has no parts whose products would be its own: with weights whose parts
 * have both signs they would be infinity - infinity. So with more than one part an infinity counts
 * as NaN. The first part of a NaN is NaN, its others are 0.
 */
#ifndef FL_BFLOAT16_H
#define FL_BFLOAT16_H

#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

enum { FL_PIECE = 32 }; /* numbers of a piece */

/* Biases, and other numbers that sums start from, are 0 below it in magnitude. */
#define FL_TINY_BIAS 0x1p-103f

/* Vectors of the compiler: of L words where a set's kernels are compiled, else of 4. */
#if defined(FL_LANES)
enum { FL_WORDS = FL_LANES };
#else
enum { FL_WORDS = 4 };
#endif
typedef uint32_t fl_words __attribute__((vector_size(FL_WORDS * 4)));
typedef int32_t fl_signed_words __attribute__((vector_size(FL_WORDS * 4)));
typedef float fl_word_floats __attribute__((vector_size(FL_WORDS * 4)));

/* The bound below which parts of weights, inputs and states are 0. */
#define FL_TINY_PART 0x1p-56f

/* These bounds in backward: for gradients, and for the weights, inputs and states that they are
   multiplied by. */
#define FL_TINY_GRADIENT_PART 0x1p-72f
#define FL_TINY_FACTOR_PART 0x1p-40f

/* Takes the next part of x: returns it, as the bits of floats, and leaves the rest in x. A part is
   rounded to the nearest, ties to even, and is 0 below `bound`. `whole`: 1 if the number has
   several parts, so that the rest matters; 0 if it has one. */
FL_INLINE fl_words fl_take_part(fl_words *x, int whole, float bound)
{
    const fl_words u = *x, magnitude = u & 0x7fffffffu;
    const int32_t largest = 0x7f7f0000, infinity = 0x7f800000; /* of bfloat16 */
    uint32_t least;
    memcpy(&least, &bound, sizeof least);
    fl_words part = (u + 0x7fffu + (u >> 16 & 1u)) & 0xffff0000u;
    if (whole) { /* a number that would be rounded to infinity */
        const fl_words large = (fl_words)((fl_signed_words)magnitude >= largest);
        part = (part & ~large) | (((u & 0x80000000u) | (uint32_t)largest) & large);
    }
    part &= (fl_words)((fl_signed_words)(part & 0x7fffffffu) >= (int32_t)least);
    const fl_words nan = (fl_words)((fl_signed_words)magnitude >= infinity + !whole);
    part = (part & ~nan) | ((u | 0x400000u) & 0xffff0000u & nan);
    *x = (fl_words)((fl_word_floats)u - (fl_word_floats)part) & ~nan;
    return part;
}

/* The parts of n floats x: part i of x[j] to y[i * stride + j], and a zero behind each part's
   numbers if n is odd. */
static inline void fl_split_row(float *y, size_t stride, const float *x, size_t n, int parts,
                                float bound)
{
    size_t i = 0;
    for (; i + FL_WORDS <= n; i += FL_WORDS) {
        fl_words rest;
        memcpy(&rest, x + i, sizeof rest);
        for (int part = 0; part < parts; part++) {
            const fl_words taken = fl_take_part(&rest, parts > 1, bound);
            memcpy(y + (size_t)part * stride + i, &taken, sizeof taken);
        }
    }
    if (i < n) {
        fl_words rest = {0};
        memcpy(&rest, x + i, (n - i) * sizeof(float));
        for (int part = 0; part < parts; part++) {
            const fl_words taken = fl_take_part(&rest, parts > 1, bound);
            memcpy(y + (size_t)part * stride + i, &taken, (n - i + n % 2) * sizeof(float));
        }
    }
}

/* Makes tiles (panels.h) of FL_PIECE rows of `lanes` floats, which lie x_line floats apart from x
   on: that of part i at y + i * part. A place holds the numbers of two rows, the first in the lower
   half. `lanes` is a multiple of FL_WORDS. */
static inline void fl_split_tile(uint32_t *y, size_t part, const float *x, size_t x_line,
                                 size_t lanes, int parts, float bound)
{
    for (size_t line = 0; line < FL_PIECE / 2; line++, x += 2 * x_line, y += lanes)
        for (size_t lane = 0; lane < lanes; lane += FL_WORDS) {
            fl_words even, odd;
            memcpy(&even, x + lane, sizeof even);
            memcpy(&odd, x + x_line + lane, sizeof odd);
            for (int i = 0; i < parts; i++) {
                const fl_words low = fl_take_part(&even, parts > 1, bound) >> 16;
                const fl_words pair = low | fl_take_part(&odd, parts > 1, bound);
                memcpy(y + (size_t)i * part + lane, &pair, sizeof pair);
            }
        }
}

/* Sets those of n floats to 0 that are below `bound` in magnitude, as numbers that sums start from
   have to be. n is a multiple of FL_WORDS. */
static inline void fl_no_tiny_floats(float *x, size_t n, float bound)
{
    uint32_t least;
    memcpy(&least, &bound, sizeof least);
    for (size_t i = 0; i < n; i += FL_WORDS) {
        fl_words u;
        memcpy(&u, x + i, sizeof u);
        u &= (fl_words)((fl_signed_words)(u & 0x7fffffffu) >= (int32_t)least);
        memcpy(x + i, &u, sizeof u);
    }
}

#endif
