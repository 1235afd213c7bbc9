/* SPDX-License-Identifier: MIT */
/* Normalizations. With sums in the order of sums.h over n numbers of x:
 *
 *     mean = sum(x) / n      variance = sum((x - mean)^2) / n      r = 1 / sqrt(variance + eps)
 *     y = (x - mean) r * scale + bias
 *
 * Inputs: x, float32; scale; bias, which is optional. Output 0: y, of x's shape; it may be x.
 * floats: eps. An axis counts from the end if it is negative. */
#ifndef FL_NORM_H
#define FL_NORM_H

#include "ops/registry.h"

/* Over axis ints[0] and all after it; scale and bias have the sizes of these. Optional outputs 1
   and 2: mean and r, with size 1 in place of these axes. */
int fl_make_layer_norm(const fl_attributes *attributes, fl_operator **op);
/* The same without a mean: r = 1 / sqrt(sum(x^2) / n + eps), y = x r * scale + bias. One output. */
int fl_make_rms_norm(const fl_attributes *attributes, fl_operator **op);
/* x (N, C, ..), scale and bias (C): over C / ints[0] channels and all axes after them, C being a
   multiple of the number of groups ints[0], and scaled by channel. 0 stands for as many groups as
   channels: an instance norm. One output. */
int fl_make_group_norm(const fl_attributes *attributes, fl_operator **op);

#endif
