/* SPDX-License-Identifier: MIT */
/* The product of two arrays that are both computed as the model runs, as in attention. */
#ifndef FL_MATMUL_H
#define FL_MATMUL_H

#include "ops/registry.h"

/*
 * y[..][i][j] = alpha (a[..][i][0] b[..][0][j] + .. + a[..][i][K - 1] b[..][K - 1][j]) + beta
 * c[i][j]
 *
 * Inputs: a (.., M, K) and b (.., K, N), both float or both int64, and c, which may be missing: a
 * float array that NumPy would broadcast to (M, N), the same for all matrices, and then a and b
 * have two axes or more. Axes before the last two are broadcast as in NumPy. An a of one axis is a
 * row and a b of one axis a column, which y does not have. Output: y (.., M, N).
 *
 * ints: 1 if a is (.., K, M) instead, and 1 if b is (.., N, K), of two axes or more; 0 otherwise.
 * floats: alpha and beta, or none for 1 and 1.
 *
 * A sum of floats starts at 0 and is one chain of fused multiply-adds in the order of the formula,
 * from numbers of a and b that count as 0 below FL_TINY in magnitude; it is 0 below it itself, and
 * so is y. int64 wraps around, and alpha and beta must not be given for it.
 */
int fl_make_matmul(const fl_attributes *attributes, fl_operator **op);

#endif
