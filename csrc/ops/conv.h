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
 * for the channels c of m's group. Input: x (N, S.., C). Output: y (N, O.., M); window.h says how
 * many O. Weights, as PyTorch's: W (M, C / groups, k..), rounded to the format when packed, and b
 * (M), whose `at` may be NULL for zeros.
 *
 * ints: the format of W (FL_FLOAT32 or FL_FLOAT16), axes (1 or 2), C, M, groups, auto_pad
 * (window.h), the activation's number (epilogue.h), and then k.., stride.., dilation.., begin..,
 * end... floats: alpha and beta of the activation, or none.
 */
int fl_make_conv(const fl_attributes *attributes, fl_operator **op);

/*
 * y[n][o][m] = f(b[m] + sum over t, i, c of x[n][i][c] W[c][m][t])
 *
 * for all t and i with i * stride + t * dilation = o + begin, in the order of ascending i and for
 * one i of c, and for the channels c of m's group. Along an axis there are O = (S - 1) stride + (k
 * - 1) dilation + 1 + output padding - begin - end outputs. If the output's size is given, or
 * auto_pad makes it S * stride, then begin + end is what this equation then asks for, at least 0;
 * of an odd sum the larger half is the end's with SAME_UPPER, else the beginning's. Outputs that no
 * input reaches are f(b).
 *
 * Weights: W (C, M / groups, k..), b (M) or NULL. ints: as above, and then output padding.. and the
 * outputs' sizes.. (0: not given); floats as above.
 */
int fl_make_conv_transposed(const fl_attributes *attributes, fl_operator **op);

#endif
