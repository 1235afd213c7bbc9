/* SPDX-License-Identifier: MIT */
/* Sums, products, maxima and minima over axes. */
#ifndef FL_REDUCE_H
#define FL_REDUCE_H

#include "ops/registry.h"

enum {
    FL_REDUCE_SUM,
    FL_REDUCE_MEAN,
    FL_REDUCE_L1,          /* the sum of |x| */
    FL_REDUCE_L2,          /* the square root of the sum of x^2 */
    FL_REDUCE_SUM_SQUARE,  /* the sum of x^2 */
    FL_REDUCE_LOG_SUM,     /* ln of the sum of x */
    FL_REDUCE_LOG_SUM_EXP, /* m + ln of the sum of exp(x - m), m being the maximum */
    FL_REDUCE_PROD,
    FL_REDUCE_MAX,
    FL_REDUCE_MIN,
    FL_REDUCTIONS
};

/*
 * y = the reduction of x over some axes, in the order of sums.h. Input: x, float32, int64 for all
 * but L2 and those with a logarithm, or bool for max and min. Output: y, of x's type. Sums and
 * products of int64 wrap around, and their mean is truncated. Of no element, a maximum is the least
 * number of its type, a minimum the greatest, and a mean NaN, or FL_BAD_SHAPE for int64. A maximum
 * or minimum is NaN if an element is.
 *
 * ints: which of the reductions above; keepdims, 1 if the axes stay with size 1, or 0; the axes,
 * which count from the end if negative: with none every element is reduced alone.
 */
int fl_make_reduce(const fl_attributes *attributes, fl_operator **op);

#endif
