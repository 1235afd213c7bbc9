/* SPDX-License-Identifier: MIT */
#include "ops/numbers.h"

#include <string.h>

#include "base/alloc.h"

int fl_numbers_make(const fl_operator_type *type, size_t least, const fl_attributes *attributes,
                    fl_operator **op)
{
    if (attributes->int_count < least || attributes->int_count > FL_MAX_AXES)
        return FL_BAD_SHAPE;
    fl_numbers *y = fl_alloc(sizeof *y);
    if (!y)
        return FL_NO_MEMORY;
    *y = (fl_numbers){.op = {type},
                      .count = attributes->int_count,
                      .real = attributes->float_count ? attributes->floats[0] : 0};
    if (y->count)
        memcpy(y->ints, attributes->ints, y->count * sizeof *y->ints);
    *op = &y->op;
    return FL_OK;
}

void fl_numbers_free(fl_operator *op) { fl_free(op); }

size_t fl_axis_of(int64_t axis, size_t axes)
{
    axis = axis < 0 ? axis + (int64_t)axes : axis;
    return axis < 0 || axis >= (int64_t)axes ? SIZE_MAX : (size_t)axis;
}

int fl_given(const fl_array *in, size_t ins, size_t i) { return ins > i && in[i].type != FL_TYPES; }

int fl_is_vector(const fl_array *in, size_t ins, size_t i)
{
    return ins > i && in[i].type == FL_I64 && in[i].shape.axes == 1 && in[i].at;
}

int fl_shape_made(fl_array *y, int type, fl_shape shape)
{
    y->type = type;
    y->shape = shape;
    return fl_array_bytes(y) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}
