/* SPDX-License-Identifier: MIT */
#include "ops/copy.h"

#include <string.h>

#include "ops/numbers.h"
#include "ops/strided.h"

/* ---- transpose ---- */

static int transpose_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                           size_t outs)
{
    const fl_numbers *y = (const fl_numbers *)op;
    unsigned seen = 0;
    if (ins != 1 || outs != 1 || in->type == FL_TYPES || y->count != in->shape.axes)
        return FL_BAD_SHAPE;
    fl_shape shape = {.axes = y->count};
    for (size_t i = 0; i < y->count; i++) {
        const size_t axis = fl_axis_of(y->ints[i], y->count);
        if (axis == SIZE_MAX || (seen >> axis & 1))
            return FL_BAD_SHAPE;
        seen |= 1u << axis;
        shape.size[i] = in->shape.size[axis];
    }
    return fl_shape_made(out, in->type, shape);
}

static int transpose_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                         size_t outs, void *arena, const fl_caller *caller)
{
    const fl_numbers *y = (const fl_numbers *)op;
    (void)ins, (void)outs, (void)arena, (void)caller;
    fl_strided c = {.axes = y->count, .bytes = fl_type_bytes(in->type)};
    ptrdiff_t step[FL_MAX_AXES];
    fl_contiguous_steps(&in->shape, c.bytes, step);
    fl_contiguous_steps(&out->shape, c.bytes, c.to_step);
    for (size_t i = 0; i < y->count; i++) {
        c.size[i] = out->shape.size[i];
        c.from_step[i] = step[fl_axis_of(y->ints[i], y->count)];
    }
    fl_copy_strided(&c, out->at, in->at);
    return FL_OK;
}

/* ---- slice ---- */

/* The first element and the step along each axis. */
typedef struct slice {
    int64_t start[FL_MAX_AXES], step[FL_MAX_AXES];
} slice;

static int64_t clamped(int64_t at, int64_t low, int64_t high)
{
    return at < low ? low : at > high ? high : at;
}

/* Reads starts, ends, axes and steps: the slice, and the shape that it has. */
static int read_slice(const fl_array *in, size_t ins, slice *s, fl_shape *shape)
{
    *shape = in->shape;
    for (size_t i = 0; i < shape->axes; i++) {
        s->start[i] = 0;
        s->step[i] = 1;
    }
    if (!fl_is_vector(in, ins, 1) || !fl_is_vector(in, ins, 2) || ins > 5)
        return FL_BAD_SHAPE;
    const size_t count = in[1].shape.size[0];
    for (size_t j = 2; j < ins; j++)
        if (fl_given(in, ins, j) && (!fl_is_vector(in, ins, j) || in[j].shape.size[0] != count))
            return FL_BAD_SHAPE;
    const int64_t *starts = in[1].at, *ends = in[2].at,
                  *axes = fl_given(in, ins, 3) ? in[3].at : NULL,
                  *steps = fl_given(in, ins, 4) ? in[4].at : NULL;
    unsigned seen = 0;
    for (size_t j = 0; j < count; j++) {
        const size_t axis = fl_axis_of(axes ? axes[j] : (int64_t)j, shape->axes);
        const int64_t step = steps ? steps[j] : 1;
        if (axis == SIZE_MAX || (seen >> axis & 1) || step == 0 || step == INT64_MIN)
            return FL_BAD_SHAPE;
        seen |= 1u << axis;
        const int64_t n = (int64_t)in->shape.size[axis];
        const int64_t high = step > 0 ? n : n - 1, first = high < 0 ? -1 : 0;
        const int64_t start = clamped(starts[j] < 0 ? starts[j] + n : starts[j], first, high);
        const int64_t end = clamped(ends[j] < 0 ? ends[j] + n : ends[j], step > 0 ? 0 : -1, high);
        const int64_t reach = step > 0 ? end - start : start - end, by = step > 0 ? step : -step;
        s->start[axis] = start;
        s->step[axis] = step;
        shape->size[axis] = reach > 0 ? (size_t)((reach - 1) / by + 1) : 0;
    }
    return FL_OK;
}

static int slice_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                       size_t outs)
{
    slice s;
    fl_shape shape;
    (void)op;
    if (ins < 3 || outs != 1 || in->type == FL_TYPES || read_slice(in, ins, &s, &shape) != FL_OK)
        return FL_BAD_SHAPE;
    return fl_shape_made(out, in->type, shape);
}

static int slice_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                     size_t outs, void *arena, const fl_caller *caller)
{
    (void)op, (void)outs, (void)arena, (void)caller;
    slice s;
    fl_strided c = {.axes = in->shape.axes, .bytes = fl_type_bytes(in->type)};
    fl_shape shape;
    if (fl_count(out) == 0)
        return FL_OK;
    read_slice(in, ins, &s, &shape);
    ptrdiff_t step[FL_MAX_AXES], first = 0;
    fl_contiguous_steps(&in->shape, c.bytes, step);
    fl_contiguous_steps(&shape, c.bytes, c.to_step);
    for (size_t i = 0; i < c.axes; i++) {
        c.size[i] = shape.size[i];
        /* A step longer than the axis is never taken, and might overflow. */
        c.from_step[i] = shape.size[i] > 1 ? (ptrdiff_t)s.step[i] * step[i] : 0;
        first += (ptrdiff_t)s.start[i] * step[i];
    }
    fl_copy_strided(&c, out->at, (const char *)in->at + first);
    return FL_OK;
}

/* ---- concat and split: runs of memory, one after the other ---- */

static int concat_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                        size_t outs)
{
    if (ins < 1 || outs != 1 || in->type == FL_TYPES)
        return FL_BAD_SHAPE;
    const size_t axis = fl_axis_of(((const fl_numbers *)op)->ints[0], in->shape.axes);
    if (axis == SIZE_MAX)
        return FL_BAD_SHAPE;
    fl_shape shape = in->shape;
    for (size_t j = 1; j < ins; j++) {
        if (in[j].type != in->type || in[j].shape.axes != shape.axes)
            return FL_BAD_SHAPE;
        for (size_t i = 0; i < shape.axes; i++)
            if (i != axis && in[j].shape.size[i] != shape.size[i])
                return FL_BAD_SHAPE;
        shape.size[axis] = fl_add(shape.size[axis], in[j].shape.size[axis]);
    }
    return fl_shape_made(out, in->type, shape);
}

static int concat_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                      size_t outs, void *arena, const fl_caller *caller)
{
    (void)outs, (void)arena, (void)caller;
    const size_t axes = out->shape.axes, axis = fl_axis_of(((const fl_numbers *)op)->ints[0], axes);
    const size_t outer = fl_shape_span(&out->shape, 0, axis);
    const size_t bytes = fl_type_bytes(in->type);
    const size_t row = fl_shape_span(&out->shape, axis, axes) * bytes;
    char *to = out->at;
    if (fl_count(out) == 0)
        return FL_OK; /* whose other sizes are of any magnitude: `to` would overflow */
    for (size_t j = 0; j < ins; j++) {
        const size_t run = fl_shape_span(&in[j].shape, axis, axes) * bytes;
        for (size_t i = 0; i < outer && run; i++)
            memcpy(to + i * row, (const char *)in[j].at + i * run, run);
        to += run;
    }
    return FL_OK;
}

static int split_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                       size_t outs)
{
    if (ins < 1 || ins > 2 || outs < 1 || in->type == FL_TYPES)
        return FL_BAD_SHAPE;
    const size_t axis = fl_axis_of(((const fl_numbers *)op)->ints[0], in->shape.axes);
    if (axis == SIZE_MAX ||
        (fl_given(in, ins, 1) && (!fl_is_vector(in, ins, 1) || in[1].shape.size[0] != outs)))
        return FL_BAD_SHAPE;
    const int64_t *sizes = fl_given(in, ins, 1) ? in[1].at : NULL;
    const size_t n = in->shape.size[axis], each = fl_ceil_div(n, outs);
    size_t left = n;
    for (size_t j = 0; j < outs; j++) {
        if (sizes && (sizes[j] < 0 || (uint64_t)sizes[j] > left))
            return FL_BAD_SHAPE;
        const size_t size = sizes ? (size_t)sizes[j] : each < left ? each : left;
        fl_shape shape = in->shape;
        shape.size[axis] = size;
        left -= size;
        if (fl_shape_made(&out[j], in->type, shape) != FL_OK)
            return FL_BAD_SHAPE;
    }
    return left ? FL_BAD_SHAPE : FL_OK;
}

static int split_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                     size_t outs, void *arena, const fl_caller *caller)
{
    (void)ins, (void)arena, (void)caller;
    const size_t axes = in->shape.axes, axis = fl_axis_of(((const fl_numbers *)op)->ints[0], axes);
    const size_t outer = fl_shape_span(&in->shape, 0, axis), n = in->shape.size[axis];
    const size_t one = fl_shape_span(&in->shape, axis + 1, axes) * fl_type_bytes(in->type);
    const char *from = in->at;
    if (fl_count(in) == 0)
        return FL_OK; /* as in concat_run */
    for (size_t j = 0; j < outs; j++) {
        const size_t run = out[j].shape.size[axis] * one;
        for (size_t i = 0; i < outer && run && out[j].at; i++)
            memcpy((char *)out[j].at + i * run, from + i * n * one, run);
        from += run;
    }
    return FL_OK;
}

/* ---- expand and tile: elements that are read more than once ---- */

static int expand_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                        size_t outs)
{
    (void)op;
    if (ins != 2 || outs != 1 || in->type == FL_TYPES || !fl_is_vector(in, ins, 1) ||
        in[1].shape.size[0] > FL_MAX_AXES)
        return FL_BAD_SHAPE;
    const int64_t *target = in[1].at;
    const size_t mine = in->shape.axes, other = in[1].shape.size[0];
    fl_shape shape = {.axes = mine > other ? mine : other};
    for (size_t i = 0; i < shape.axes; i++) { /* from the last axis on */
        const size_t have = i < mine ? in->shape.size[mine - 1 - i] : 1;
        const int64_t want = i < other ? target[other - 1 - i] : 1;
        if (want < 0 || (have != 1 && want != 1 && (uint64_t)want != have))
            return FL_BAD_SHAPE;
        shape.size[shape.axes - 1 - i] = have == 1 ? (size_t)want : have;
    }
    return fl_shape_made(out, in->type, shape);
}

static int expand_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                      size_t outs, void *arena, const fl_caller *caller)
{
    (void)op, (void)ins, (void)outs, (void)arena, (void)caller;
    fl_strided c = {.axes = out->shape.axes, .bytes = fl_type_bytes(in->type)};
    const size_t more = out->shape.axes - in->shape.axes;
    ptrdiff_t step[FL_MAX_AXES];
    fl_contiguous_steps(&in->shape, c.bytes, step);
    fl_contiguous_steps(&out->shape, c.bytes, c.to_step);
    for (size_t i = 0; i < c.axes; i++) {
        c.size[i] = out->shape.size[i];
        c.from_step[i] = i < more || in->shape.size[i - more] == 1 ? 0 : step[i - more];
    }
    fl_copy_strided(&c, out->at, in->at);
    return FL_OK;
}

static int tile_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                      size_t outs)
{
    (void)op;
    if (ins != 2 || outs != 1 || in->type == FL_TYPES || !fl_is_vector(in, ins, 1) ||
        in[1].shape.size[0] != in->shape.axes)
        return FL_BAD_SHAPE;
    fl_shape shape = in->shape;
    for (size_t i = 0; i < shape.axes; i++) {
        const int64_t times = ((const int64_t *)in[1].at)[i];
        if (times < 0)
            return FL_BAD_SHAPE;
        shape.size[i] = fl_mul(shape.size[i], (size_t)times);
    }
    return fl_shape_made(out, in->type, shape);
}

/* Each axis of x becomes two: which repeat, and which element. They do not fit into one copy if x
   has more than half of FL_MAX_AXES, so the repeats along the axes are made one axis after the
   other: first x into the first tile of y, then that tile into those along the last axis, and so
   on. */
static int tile_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                    size_t outs, void *arena, const fl_caller *caller)
{
    (void)op, (void)ins, (void)outs, (void)arena, (void)caller;
    if (fl_count(out) == 0)
        return FL_OK;
    fl_strided c = {.axes = in->shape.axes, .bytes = fl_type_bytes(in->type)};
    fl_contiguous_steps(&in->shape, c.bytes, c.from_step);
    fl_contiguous_steps(&out->shape, c.bytes, c.to_step);
    memcpy(c.size, in->shape.size, sizeof c.size);
    fl_copy_strided(&c, out->at, in->at);
    memcpy(c.from_step, c.to_step, sizeof c.from_step);
    for (size_t i = c.axes; i-- > 0;) {
        const size_t times = out->shape.size[i] / in->shape.size[i];
        const ptrdiff_t by = (ptrdiff_t)in->shape.size[i] * c.to_step[i];
        for (size_t k = 1; k < times; k++)
            fl_copy_strided(&c, (char *)out->at + (ptrdiff_t)k * by, out->at);
        c.size[i] = out->shape.size[i];
    }
    return FL_OK;
}

FL_NUMBERS_MAKER(transpose, 0)
FL_NUMBERS_MAKER(slice, 0)
FL_NUMBERS_MAKER(concat, 1)
FL_NUMBERS_MAKER(split, 1)
FL_NUMBERS_MAKER(expand, 0)
FL_NUMBERS_MAKER(tile, 0)
