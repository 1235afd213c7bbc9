/* SPDX-License-Identifier: MIT */
#include "ops/gather.h"

#include <string.h>

#include "ops/numbers.h"

/* An index as a number in 0 .. n - 1; SIZE_MAX if it is out of range. */
static size_t index_of(int64_t i, size_t n)
{
    i = i < 0 ? i + (int64_t)n : i;
    return i < 0 || i >= (int64_t)n ? SIZE_MAX : (size_t)i;
}

/* ---- gather ---- */

static int gather_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                        size_t outs)
{
    if (ins != 2 || outs != 1 || in[0].type == FL_TYPES || in[1].type != FL_I64)
        return FL_BAD_SHAPE;
    const size_t axis = fl_axis_of(((const fl_numbers *)op)->ints[0], in->shape.axes);
    if (axis == SIZE_MAX || in[0].shape.axes - 1 + in[1].shape.axes > FL_MAX_AXES)
        return FL_BAD_SHAPE;
    fl_shape shape = {.axes = 0};
    for (size_t i = 0; i < axis; i++)
        shape.size[shape.axes++] = in[0].shape.size[i];
    for (size_t i = 0; i < in[1].shape.axes; i++)
        shape.size[shape.axes++] = in[1].shape.size[i];
    for (size_t i = axis + 1; i < in[0].shape.axes; i++)
        shape.size[shape.axes++] = in[0].shape.size[i];
    return fl_shape_made(out, in->type, shape);
}

static int gather_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                      size_t outs, void *arena, const fl_caller *caller)
{
    (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t axes = in->shape.axes, axis = fl_axis_of(((const fl_numbers *)op)->ints[0], axes);
    const size_t n = in->shape.size[axis], outer = fl_shape_span(&in->shape, 0, axis);
    const size_t run = fl_shape_span(&in->shape, axis + 1, axes) * fl_type_bytes(in->type);
    const size_t picked = fl_count(&in[1]);
    const int64_t *indices = in[1].at;
    char *to = out->at;
    for (size_t i = 0; i < picked; i++)
        if (index_of(indices[i], n) == SIZE_MAX)
            return FL_BAD_VALUE;
    for (size_t a = 0; a < outer && run; a++) {
        const char *from = (const char *)in->at + a * n * run;
        for (size_t i = 0; i < picked; i++, to += run)
            memcpy(to, from + index_of(indices[i], n) * run, run);
    }
    return FL_OK;
}

/* ---- gather_elements ---- */

static int gather_elements_shape(const fl_operator *op, const fl_array *in, size_t ins,
                                 fl_array *out, size_t outs)
{
    if (ins != 2 || outs != 1 || in[0].type == FL_TYPES || in[1].type != FL_I64 ||
        in[0].shape.axes != in[1].shape.axes)
        return FL_BAD_SHAPE;
    const size_t axis = fl_axis_of(((const fl_numbers *)op)->ints[0], in->shape.axes);
    if (axis == SIZE_MAX)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < in->shape.axes; i++)
        if (i != axis && in[1].shape.size[i] > in[0].shape.size[i])
            return FL_BAD_SHAPE;
    return fl_shape_made(out, in->type, in[1].shape);
}

static int gather_elements_run(const fl_operator *op, const fl_array *in, size_t ins,
                               const fl_array *out, size_t outs, void *arena,
                               const fl_caller *caller)
{
    (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t axes = in->shape.axes, axis = fl_axis_of(((const fl_numbers *)op)->ints[0], axes);
    const size_t bytes = fl_type_bytes(in->type), count = fl_count(out);
    const int64_t *indices = in[1].at;
    size_t at[FL_MAX_AXES] = {0};
    for (size_t e = 0; e < count; e++) {
        size_t from = 0;
        for (size_t i = 0; i < axes; i++) {
            const size_t n = in->shape.size[i];
            const size_t here = i == axis ? index_of(indices[e], n) : at[i];
            if (here == SIZE_MAX)
                return FL_BAD_VALUE;
            from = from * n + here;
        }
        memcpy((char *)out->at + e * bytes, (const char *)in->at + from * bytes, bytes);
        for (size_t i = axes; i-- > 0 && ++at[i] == out->shape.size[i];)
            at[i] = 0;
    }
    return FL_OK;
}

/* ---- one_hot ---- */

static int one_hot_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                         size_t outs)
{
    const size_t two = 2;
    if (ins != 3 || outs != 1 || in[0].type != FL_I64 || in[1].type != FL_I64 || !in[1].at ||
        fl_count(&in[1]) != 1 || in[2].type == FL_TYPES ||
        !fl_array_is(&in[2], in[2].type, 1, &two))
        return FL_BAD_SHAPE;
    const size_t axis = fl_axis_of(((const fl_numbers *)op)->ints[0], in->shape.axes + 1);
    const int64_t depth = *(const int64_t *)in[1].at;
    if (axis == SIZE_MAX || depth < 0 || in->shape.axes == FL_MAX_AXES)
        return FL_BAD_SHAPE;
    fl_shape shape = {.axes = in->shape.axes + 1};
    for (size_t i = 0, from = 0; i < shape.axes; i++)
        shape.size[i] = i == axis ? (size_t)depth : in->shape.size[from++];
    return fl_shape_made(out, in[2].type, shape);
}

static int one_hot_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                       size_t outs, void *arena, const fl_caller *caller)
{
    (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t axes = out->shape.axes, axis = fl_axis_of(((const fl_numbers *)op)->ints[0], axes);
    const size_t depth = out->shape.size[axis], bytes = fl_type_bytes(out->type);
    const size_t outer = fl_shape_span(&out->shape, 0, axis);
    const size_t inner = fl_shape_span(&out->shape, axis + 1, axes);
    const int64_t *indices = in[0].at;
    const char *off = in[2].at, *on = off + bytes;
    char *to = out->at;
    for (size_t a = 0; a < outer; a++)
        for (size_t d = 0; d < depth; d++)
            for (size_t b = 0; b < inner; b++, to += bytes) {
                const size_t i = index_of(indices[a * inner + b], depth);
                memcpy(to, i == d ? on : off, bytes);
            }
    return FL_OK;
}

/* ---- fill ---- */

static int fill_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                      size_t outs)
{
    const int64_t type = ((const fl_numbers *)op)->ints[0];
    if (ins != 1 || outs != 1 || !fl_is_vector(in, ins, 0) || in->shape.size[0] > FL_MAX_AXES ||
        type < 0 || type >= FL_TYPES)
        return FL_BAD_SHAPE;
    fl_shape shape = {.axes = in->shape.size[0]};
    for (size_t i = 0; i < shape.axes; i++) {
        const int64_t n = ((const int64_t *)in->at)[i];
        if (n < 0)
            return FL_BAD_SHAPE;
        shape.size[i] = (size_t)n;
    }
    return fl_shape_made(out, (int)type, shape);
}

static int fill_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                    size_t outs, void *arena, const fl_caller *caller)
{
    const fl_numbers *y = (const fl_numbers *)op;
    (void)in, (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t count = fl_count(out);
    for (size_t i = 0; i < count && out->type == FL_BOOL; i++)
        ((unsigned char *)out->at)[i] = y->ints[1] != 0;
    for (size_t i = 0; i < count && out->type == FL_F32; i++)
        ((float *)out->at)[i] = y->real;
    for (size_t i = 0; i < count && out->type == FL_I64; i++)
        ((int64_t *)out->at)[i] = y->ints[1];
    return FL_OK;
}

/* ---- range ---- */

static int range_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                       size_t outs)
{
    int64_t ends[3];
    (void)op;
    if (ins != 3 || outs != 1)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < 3; i++) {
        if (in[i].type != FL_I64 || !in[i].at || fl_count(&in[i]) != 1)
            return FL_BAD_SHAPE;
        ends[i] = *(const int64_t *)in[i].at;
        if (ends[i] > INT64_MAX / 4 || ends[i] < -INT64_MAX / 4)
            return FL_BAD_SHAPE;
    }
    const int64_t reach = ends[2] < 0 ? ends[0] - ends[1] : ends[1] - ends[0];
    const int64_t step = ends[2] < 0 ? -ends[2] : ends[2];
    if (step == 0)
        return FL_BAD_SHAPE;
    const fl_shape shape = {.axes = 1, .size = {reach > 0 ? (size_t)((reach - 1) / step + 1) : 0}};
    return fl_shape_made(out, FL_I64, shape);
}

static int range_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                     size_t outs, void *arena, const fl_caller *caller)
{
    (void)op, (void)ins, (void)outs, (void)arena, (void)caller;
    const int64_t start = *(const int64_t *)in[0].at, step = *(const int64_t *)in[2].at;
    for (size_t i = 0; i < out->shape.size[0]; i++)
        ((int64_t *)out->at)[i] = start + (int64_t)i * step;
    return FL_OK;
}

FL_NUMBERS_MAKER(gather, 1)
FL_NUMBERS_MAKER(gather_elements, 1)
FL_NUMBERS_MAKER(one_hot, 1)
FL_NUMBERS_MAKER(fill, 2)
FL_NUMBERS_MAKER(range, 0)
