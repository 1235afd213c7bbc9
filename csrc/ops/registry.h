/* SPDX-License-Identifier: MIT */
/*
 * Operators by name. Each is made from numbers whose meaning its own header lists: `ints`, such as
 * sizes, strides and axes, and `floats`, such as the slope of a leaky ReLU.
 */
#ifndef FL_REGISTRY_H
#define FL_REGISTRY_H

#include "ops/operator.h"

typedef struct fl_attributes {
    const fl_kernels *kernels;
    const int64_t *ints;
    size_t int_count;
    const float *floats;
    size_t float_count;
} fl_attributes;

/* Makes the operator `name` and puts it at *op. The numbers are copied. FL_OK; FL_BAD_SHAPE if
   there is no such operator or the numbers do not fit it; FL_NO_MEMORY. *op is NULL unless FL_OK.
   Recurrent layers have makers of their own (recurrent.h). */
int fl_operator_new(const char *name, const fl_attributes *attributes, fl_operator **op);

#endif
