/* SPDX-License-Identifier: MIT */
#include "ops/reshape.h"

#include "ops/numbers.h"

static int reshape_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                         size_t outs)
{
    const int allow_zero = ((const fl_numbers *)op)->ints[0] != 0;
    if (ins != 2 || outs != 1 || in[0].type == FL_TYPES || in[1].type != FL_I64 || !in[1].at ||
        in[1].shape.axes != 1 || in[1].shape.size[0] > FL_MAX_AXES)
        return FL_BAD_SHAPE;
    const int64_t *sizes = in[1].at;
    const size_t axes = in[1].shape.size[0];
    size_t known = 1, left = axes; /* the axis that takes what is left; `axes`: none */
    fl_shape y = {.axes = axes};
    for (size_t i = 0; i < axes; i++) {
        if (sizes[i] < -1 || (sizes[i] == 0 && !allow_zero && i >= in[0].shape.axes) ||
            (sizes[i] == -1 && left != axes))
            return FL_BAD_SHAPE;
        if (sizes[i] == -1) {
            left = i;
            continue;
        }
        y.size[i] = sizes[i] == 0 && !allow_zero ? in[0].shape.size[i] : (size_t)sizes[i];
        known = fl_mul(known, y.size[i]);
    }
    const size_t all = fl_count(&in[0]);
    if (left != axes) {
        if (known == 0 || all % known != 0)
            return FL_BAD_SHAPE;
        y.size[left] = all / known;
    } else if (known != all)
        return FL_BAD_SHAPE;
    out->type = in[0].type;
    out->shape = y;
    return FL_OK;
}

/* The axes that the operator names, as a set of bits, of an array with `axes` of them; -1 if one is
   out of range or named twice. */
static int64_t axes_named(const fl_numbers *y, size_t axes)
{
    int64_t set = 0;
    for (size_t i = 0; i < y->count; i++) {
        const int64_t axis = y->ints[i] < 0 ? y->ints[i] + (int64_t)axes : y->ints[i];
        if (axis < 0 || axis >= (int64_t)axes || (set >> axis & 1))
            return -1;
        set |= (int64_t)1 << axis;
    }
    return set;
}

static int unsqueeze_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                           size_t outs)
{
    const fl_numbers *y = (const fl_numbers *)op;
    if (ins != 1 || outs != 1 || in->type == FL_TYPES || in->shape.axes + y->count > FL_MAX_AXES)
        return FL_BAD_SHAPE;
    const size_t axes = in->shape.axes + y->count;
    const int64_t new = axes_named(y, axes);
    if (new < 0)
        return FL_BAD_SHAPE;
    out->type = in->type;
    out->shape.axes = axes;
    for (size_t i = 0, from = 0; i < axes; i++)
        out->shape.size[i] = new >> i & 1 ? 1 : in->shape.size[from++];
    return FL_OK;
}

static int squeeze_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                         size_t outs)
{
    const fl_numbers *y = (const fl_numbers *)op;
    if (ins != 1 || outs != 1 || in->type == FL_TYPES)
        return FL_BAD_SHAPE;
    const int64_t named = axes_named(y, in->shape.axes);
    if (named < 0)
        return FL_BAD_SHAPE;
    out->type = in->type;
    size_t axes = 0;
    for (size_t i = 0; i < in->shape.axes; i++) {
        const int one = in->shape.size[i] == 1;
        if ((named >> i & 1) && !one)
            return FL_BAD_SHAPE;
        if (y->count ? named >> i & 1 : one)
            continue;
        out->shape.size[axes++] = in->shape.size[i];
    }
    out->shape.axes = axes;
    return FL_OK;
}

static int flatten_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                         size_t outs)
{
    const int64_t first = ((const fl_numbers *)op)->ints[0];
    if (ins != 1 || outs != 1 || in->type == FL_TYPES)
        return FL_BAD_SHAPE;
    const int64_t axes = (int64_t)in->shape.axes, cut = first < 0 ? first + axes : first;
    if (cut < 0 || cut > axes)
        return FL_BAD_SHAPE;
    out->type = in->type;
    out->shape = (fl_shape){.axes = 2,
                            .size = {fl_shape_span(&in->shape, 0, (size_t)cut),
                                     fl_shape_span(&in->shape, (size_t)cut, (size_t)axes)}};
    return FL_OK;
}

/* The first and the last axis whose sizes the operator `shape` tells: the last one is not told. */
static void range_of(const fl_numbers *y, size_t axes, size_t *first, size_t *last)
{
    int64_t ends[2] = {y->ints[0], y->ints[1]};
    for (int i = 0; i < 2; i++) {
        if (ends[i] < 0)
            ends[i] += (int64_t)axes;
        if (ends[i] < 0)
            ends[i] = 0;
        if (ends[i] > (int64_t)axes)
            ends[i] = (int64_t)axes;
    }
    *first = (size_t)ends[0];
    *last = ends[1] < ends[0] ? *first : (size_t)ends[1];
}

static int shape_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                       size_t outs)
{
    size_t first, last;
    if (ins != 1 || outs != 1 || in->type == FL_TYPES)
        return FL_BAD_SHAPE;
    range_of((const fl_numbers *)op, in->shape.axes, &first, &last);
    out->type = FL_I64;
    out->shape = (fl_shape){.axes = 1, .size = {last - first}};
    return FL_OK;
}

static int shape_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                     size_t outs, void *arena, const fl_caller *caller)
{
    size_t first, last;
    (void)ins, (void)outs, (void)arena, (void)caller;
    range_of((const fl_numbers *)op, in->shape.axes, &first, &last);
    for (size_t i = first; i < last; i++)
        ((int64_t *)out->at)[i - first] = (int64_t)in->shape.size[i];
    return FL_OK;
}

static int size_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                      size_t outs)
{
    (void)op;
    if (ins != 1 || outs != 1 || in->type == FL_TYPES)
        return FL_BAD_SHAPE;
    out->type = FL_I64;
    out->shape.axes = 0;
    return FL_OK;
}

static int size_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                    size_t outs, void *arena, const fl_caller *caller)
{
    (void)op, (void)ins, (void)outs, (void)arena, (void)caller;
    *(int64_t *)out->at = (int64_t)fl_count(in);
    return FL_OK;
}

int fl_make_reshape(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "reshape", .shape = reshape_shape, .is_view = 1, .free = fl_numbers_free};
    return fl_numbers_make(&type, 1, attributes, op);
}

int fl_make_unsqueeze(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "unsqueeze", .shape = unsqueeze_shape, .is_view = 1, .free = fl_numbers_free};
    return fl_numbers_make(&type, 0, attributes, op);
}

int fl_make_squeeze(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "squeeze", .shape = squeeze_shape, .is_view = 1, .free = fl_numbers_free};
    return fl_numbers_make(&type, 0, attributes, op);
}

int fl_make_flatten(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "flatten", .shape = flatten_shape, .is_view = 1, .free = fl_numbers_free};
    return fl_numbers_make(&type, 1, attributes, op);
}

int fl_make_shape(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "shape",
                                          .shape = shape_shape,
                                          .of_shapes = 1,
                                          .run = shape_run,
                                          .free = fl_numbers_free};
    return fl_numbers_make(&type, 2, attributes, op);
}

int fl_make_size(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "size",
                                          .shape = size_shape,
                                          .of_shapes = 1,
                                          .run = size_run,
                                          .free = fl_numbers_free};
    return fl_numbers_make(&type, 0, attributes, op);
}
