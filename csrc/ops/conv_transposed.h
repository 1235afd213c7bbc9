/* SPDX-License-Identifier: MIT */
/* The transposed convolution over one or two axes with channels last, x (N, S, C) or (N, S1, S2,
   C), as an operator. Below, ".." stands for a number for each axis. */
#ifndef FL_CONV_TRANSPOSED_H
#define FL_CONV_TRANSPOSED_H

#include "ops/registry.h"

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
 * Weights: W (C, M / groups, k..), b (M) or NULL. ints: as conv.h has them, and then output
 * padding.. and the outputs' sizes.. (0: not given); floats: alpha and beta of the activation, or
 * none. Inputs: as conv.h has them.
 */
int fl_make_conv_transposed(const fl_attributes *attributes, fl_operator **op);

#endif
