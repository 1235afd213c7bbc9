/* SPDX-License-Identifier: MIT */
/* The linear layer as an operator. */
#ifndef FL_LINEAR_H
#define FL_LINEAR_H

#include "ops/registry.h"

/*
 * y[..][o] = f(b[o] + x[..][0] W[o][0] + x[..][1] W[o][1] + .. + x[..][I - 1] W[o][I - 1])
 *
 * each sum one chain of fused multiply-adds in this order, from numbers of x that count as 0
 * below FL_TINY in magnitude.
 *
 * Input: x (.., I) of one axis or more, any of which may be 0. Output: y (.., O). Weights: W (O,
 * I), rounded to the format when packed, and b (O), whose `at` may be NULL for zeros.
 *
 * With a window of `taps` steps, of which one begins every `stride` steps, x is (.., T, I / taps)
 * and y (.., (T - taps) / stride + 1, O), or no step if T is less than taps: each row of the
 * formula is then `taps` consecutive rows of x. This is a convolution over one axis.
 *
 * Of FL_INT8 W are FL_CODES in -127 .. 127, and a third weight is their scales (O), finite and not
 * negative. Each row of x becomes codes of `bits` bits (kernels/codes.h), and
 *
 *     y[..][o] = f(fma(sum of products of codes, scale[o] * the row's scale, b[o]))
 *
 * where I must be below 2^17. Of FL_BFLOAT16 W and the rows of x are split into bits / 16 parts,
 * and the sums have the order of kernels/bfloat16.h.
 *
 * ints: the format of W, I and O, both at least 1, and then, as many as are not the default, the
 * activation's number (epilogue.h; -1: none), taps and stride (1 and 1), and bits (16; of FL_INT8
 * 16 or 8, of FL_BFLOAT16 16, 32 or 48). floats: alpha and beta of the activation, or none.
 */
int fl_make_linear(const fl_attributes *attributes, fl_operator **op);

#endif
