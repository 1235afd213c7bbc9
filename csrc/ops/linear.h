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
 * ints: the format of W (FL_FLOAT32 or FL_FLOAT16), I and O, both at least 1, and the activation's
 * number (epilogue.h), or none. floats: alpha and beta of the activation, or none.
 */
int fl_make_linear(const fl_attributes *attributes, fl_operator **op);

#endif
