/* SPDX-License-Identifier: MIT */
/* Operators that change or tell a shape and move no element. ONNX has them under these names. */
#ifndef FL_RESHAPE_H
#define FL_RESHAPE_H

#include "ops/registry.h"

/* Input 0: x, of any type. Input 1: the new sizes, int64 of one axis; 0 stands for x's own size of
   that axis, unless ints[0] (allowzero) is 1, and -1, once, for what is left. A view. */
int fl_make_reshape(const fl_attributes *attributes, fl_operator **op);

/* unsqueeze: the output has x's axes, and beside them axes of size 1, which are axes ints[..] of
   the output. squeeze: axes ints[..] of x, whose size must be 1, are left out; without ints all
   axes of size 1. Axes count from the end if negative. Views. */
int fl_make_unsqueeze(const fl_attributes *attributes, fl_operator **op);
int fl_make_squeeze(const fl_attributes *attributes, fl_operator **op);

/* The first ints[0] axes become one, and the others too: the output has two. A negative ints[0]
   counts from the end. A view. */
int fl_make_flatten(const fl_attributes *attributes, fl_operator **op);

/* The output is int64 of one axis: sizes ints[0] .. ints[1] - 1 of the input (shape), both cut to
   0 .. axes after a negative one was counted from the end; or a scalar, the number of elements
   (size). They read nothing but the input's shape. */
int fl_make_shape(const fl_attributes *attributes, fl_operator **op);
int fl_make_size(const fl_attributes *attributes, fl_operator **op);

#endif
