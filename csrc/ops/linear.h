/* SPDX-License-Identifier: MIT */
/* The linear layer as an operator. */
#ifndef FL_LINEAR_H
#define FL_LINEAR_H

#include "ops/operator.h"

/*
 * y[..][o] = b[o] + x[..][0] W[o][0] + x[..][1] W[o][1] + .. + x[..][I - 1] W[o][I - 1]
 *
 * each element one chain of fused multiply-adds in this order, from numbers of x that count as 0
 * below FL_TINY in magnitude.
 *
 * Input: x (.., I) of one axis or more, any of which may be 0. Output: y (.., O). Weights: W (O,
 * I), rounded to `format` (FL_FLOAT32 or FL_FLOAT16) when packed, and b (O), whose `at` may be NULL
 * for zeros. NULL when memory is short, for in or out of 0, or without kernels of the format.
 */
fl_operator *fl_linear_new(const fl_kernels *kernels, int format, size_t in, size_t out);

#endif
