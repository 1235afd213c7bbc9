/* SPDX-License-Identifier: MIT */
/* Operators along one axis that compare elements, or sum or multiply them in order: argmax, argmin,
   topk, cumsum and cumprod. The axis counts from the end if it is negative. NaN counts as greater
   than all numbers for argmax and topk, and as less than all for argmin, as in NumPy. */
#ifndef FL_ORDER_H
#define FL_ORDER_H

#include "ops/registry.h"

/* Where the greatest or the least element is along an axis: int64. Input: x, float32 or int64,
   whose axis is not empty if anything else is. ints: axis; keepdims; 1 for the last of several
   equal ones, 0 for the first. */
int fl_make_argmax(const fl_attributes *attributes, fl_operator **op);
int fl_make_argmin(const fl_attributes *attributes, fl_operator **op);

/* The k greatest, or least, elements along an axis, in order; of equal ones the first come first.
   Inputs: x, float32 or int64; k, int64 of one element, whose value `shape` reads: 0 .. the axis'
   size. Outputs: the elements, and where they are, int64. ints: axis; 1 for the greatest, 0 for the
   least. */
int fl_make_topk(const fl_attributes *attributes, fl_operator **op);

/* y[j] = x[0] + .. + x[j] along an axis, one chain in this order. Input: x, float32 or int64, which
   wraps around. Output: y, of the same shape; it may be x. ints: axis; 1 to
   leave out x[j] itself, beginning with 0; 1 to go from the end to the beginning. */
int fl_make_cumsum(const fl_attributes *attributes, fl_operator **op);
/* The same with products, which begin with 1. */
int fl_make_cumprod(const fl_attributes *attributes, fl_operator **op);

#endif
