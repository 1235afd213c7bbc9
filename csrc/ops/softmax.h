/* SPDX-License-Identifier: MIT */
#ifndef FL_SOFTMAX_H
#define FL_SOFTMAX_H

#include "ops/registry.h"

/*
 * With m the maximum along one axis, e = exp(x - m) and s the sum of e in the order of sums.h:
 *
 *     softmax       y = e / s
 *     log_softmax   y = (x - m) - ln(s)
 *
 * exp is that of the activation `exponential` (fastlstm.h). Input: x, float32. Output: y, of the
 * same shape; it may be x. A NaN makes all numbers along the axis NaN.
 *
 * ints: the axis, which counts from the end if it is negative.
 */
int fl_make_softmax(const fl_attributes *attributes, fl_operator **op);
int fl_make_log_softmax(const fl_attributes *attributes, fl_operator **op);

#endif
