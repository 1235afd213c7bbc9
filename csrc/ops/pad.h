/* SPDX-License-Identifier: MIT */
/* Padding. */
#ifndef FL_PAD_H
#define FL_PAD_H

#include "ops/registry.h"

/*
 * Inputs: x of any type, "pads", and, each optional, the value of padding (one element of x's type;
 * 0) and "axes" (all, in order). pads and axes are int64 vectors that are known when a layout is
 * made. pads: for each of the axes how many elements are added before, and then for each how many
 * behind; negative ones take elements away. ints[0] says what is added:
 *
 *     0  constant: the value
 *     1  reflect:  x mirrored at its first and last element, which are not repeated; FL_BAD_SHAPE
 *                  for as many as the axis has, or more
 *     2  edge:     the first or last element
 *     3  wrap:     x once more
 */
int fl_make_pad(const fl_attributes *attributes, fl_operator **op);

#endif
