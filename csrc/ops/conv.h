/* SPDX-License-Identifier: MIT */
/*
 * Convolutions over one or two axes with channels last, x (N, S, C) or (N, S1, S2, C), as
 * operators. convolve.h has the order of their sums. Below, ".." stands for a number for each axis.
 */
#ifndef FL_CONV_H
#define FL_CONV_H

#include "ops/registry.h"

/*
 * y[n][o][m] = f(b[m] + sum over t, c of x[n][o * stride - begin + t * dilation][c] W[m][c][t])
 *
 * for the channels c of m's group. Inputs: x (N, S.., C), and W and b where they are computed as
 * the model runs: each run then packs them, and what pack packed is not used. Output: y (N, O..,
 * M); window.h says how many O. Weights, as PyTorch's: W (M, C / groups, k..), rounded to the
 * format when packed, and b (M), whose `at` may be NULL for zeros.
 *
 * ints: the format of W (FL_FLOAT32, FL_FLOAT16 or FL_BFLOAT16), axes (1 or 2), C, M, groups,
 * auto_pad (window.h), the activation's number (epilogue.h), and then k.., stride.., dilation..,
 * begin.., end.., and of FL_BFLOAT16 the bits of a number's parts: 16, 32 or 48. floats: alpha and
 * beta of the activation, or none.
 */
int fl_make_conv(const fl_attributes *attributes, fl_operator **op);

#endif
