/* SPDX-License-Identifier: MIT */
/*
 * Pools over one or two axes with channels last, x (N, S.., C) -> y (N, O.., C); window.h says how
 * many O and which positions of x a window has. Padding is left out of it.
 *
 *     max_pool      y = the largest of the window; NaN if one is NaN, and -infinity if none is in x
 *     average_pool  y = (x[0] + x[1] + ..) / count, in the order of the positions
 *     lp_pool       y = (|x[0]|^p + |x[1]|^p + ..)^(1 / p), for p = 1 and 2
 *
 * ints: axes (1 or 2), auto_pad (window.h), ceil_mode, a number of the operator, and then k..,
 * stride.., dilation.., begin.., end... The number is 0 for max_pool and p for lp_pool; for
 * average_pool it says which of the window's positions `count` includes: those in x (0), or also
 * those in the padding, but not those that ceil_mode adds behind it (1).
 */
#ifndef FL_POOL_H
#define FL_POOL_H

#include "ops/registry.h"

int fl_make_max_pool(const fl_attributes *attributes, fl_operator **op);
int fl_make_average_pool(const fl_attributes *attributes, fl_operator **op);
int fl_make_lp_pool(const fl_attributes *attributes, fl_operator **op);

#endif
