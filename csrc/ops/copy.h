/* SPDX-License-Identifier: MIT */
/*
 * Operators that copy elements to other places and compute nothing. Arrays are of any one type;
 * inputs named in quotes are int64 vectors whose values decide shapes, so that they must be known
 * when a layout is made. Axes count from the end if negative.
 */
#ifndef FL_COPY_H
#define FL_COPY_H

#include "ops/registry.h"

/* y = x with its axes in the order ints[..]: axis i of y is axis ints[i] of x. */
int fl_make_transpose(const fl_attributes *attributes, fl_operator **op);

/* Inputs: x, "starts", "ends", then, each optional, "axes" (all, in order) and "steps" (1). Along
   axes[i], y has x's elements from starts[i] to before ends[i], each steps[i] after the one before.
   Starts and ends count from the end if negative and are then cut to the axis; a start that is
   still negative becomes 0, also if the step is negative. */
int fl_make_slice(const fl_attributes *attributes, fl_operator **op);

/* y = the inputs, one after the other along axis ints[0]. */
int fl_make_concat(const fl_attributes *attributes, fl_operator **op);

/* Inputs: x, and optionally "sizes". The outputs are parts of x along axis ints[0], of these sizes.
   Without them each has ceil(n / outputs) of the axis' n, as long as so many are left: the last
   ones may have fewer, or none. */
int fl_make_split(const fl_attributes *attributes, fl_operator **op);

/* Inputs: x, "shape". y = x broadcast with an array of that shape. */
int fl_make_expand(const fl_attributes *attributes, fl_operator **op);

/* Inputs: x, "repeats": y = x repeated so many times along each of its axes. */
int fl_make_tile(const fl_attributes *attributes, fl_operator **op);

#endif
