/* SPDX-License-Identifier: MIT */
/* Operators that pick elements by indices, mark indices, or make arrays of given numbers. Indices
   are int64 and count from the end if negative; one that is out of range is FL_BAD_VALUE. Inputs
   named in quotes are int64 and must be known when a layout is made. */
#ifndef FL_GATHER_H
#define FL_GATHER_H

#include "ops/registry.h"

/* Inputs: x of any type, indices of any shape. y has indices' axes in place of axis ints[0] of x:
   y[a.., i.., b..] = x[a.., indices[i..], b..]. An embedding is a gather of rows. */
int fl_make_gather(const fl_attributes *attributes, fl_operator **op);

/* Inputs: x; indices with as many axes, and along all but axis ints[0] at most as large. y has the
   shape of indices, and y[i..] = x[i..] with indices[i..] in place of i along axis ints[0]. */
int fl_make_gather_elements(const fl_attributes *attributes, fl_operator **op);

/* Inputs: indices; "depth", one number; and an array of two, of any type: off and on. y has one
   axis more than indices, at ints[0], along which it is `on` where its number is the index, and
   `off` elsewhere, also for indices out of range. */
int fl_make_one_hot(const fl_attributes *attributes, fl_operator **op);

/* Input: "shape", an int64 vector. y has this shape and the type ints[0] (FL_F32, FL_I64, FL_BOOL);
   its elements are all floats[0] (0 without floats), or for the other types ints[1]. */
int fl_make_fill(const fl_attributes *attributes, fl_operator **op);

/* Inputs "start", "limit", "step", one number each: y = start, start + step .. before limit. The
   step may be negative but not 0. */
int fl_make_range(const fl_attributes *attributes, fl_operator **op);

#endif
