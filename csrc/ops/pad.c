/* SPDX-License-Identifier: MIT */
#include "ops/pad.h"

#include <string.h>

#include "ops/numbers.h"

enum { CONSTANT, REFLECT, EDGE, WRAP };

/* The pads before each axis of x, and the shape that y has; FL_BAD_SHAPE. */
static int read_pads(const fl_operator *op, const fl_array *in, size_t ins, int64_t *before,
                     fl_shape *shape)
{
    const int64_t mode = ((const fl_numbers *)op)->ints[0];
    const size_t axes = in->shape.axes;
    if (!fl_is_vector(in, ins, 1) || ins > 4 || mode < CONSTANT || mode > WRAP ||
        (fl_given(in, ins, 2) && (in[2].type != in->type || fl_count(&in[2]) != 1)) ||
        (fl_given(in, ins, 3) && !fl_is_vector(in, ins, 3)))
        return FL_BAD_SHAPE;
    const int64_t *pads = in[1].at, *named = fl_given(in, ins, 3) ? in[3].at : NULL;
    const size_t count = named ? in[3].shape.size[0] : axes;
    if (count > axes || in[1].shape.size[0] != 2 * count)
        return FL_BAD_SHAPE;
    unsigned seen = 0;
    *shape = in->shape;
    memset(before, 0, FL_MAX_AXES * sizeof *before);
    for (size_t j = 0; j < count; j++) {
        const size_t axis = fl_axis_of(named ? named[j] : (int64_t)j, axes);
        const int64_t begin = pads[j], end = pads[count + j], most = INT64_MAX / 8;
        if (axis == SIZE_MAX || (seen >> axis & 1) || begin > most || begin < -most || end > most ||
            end < -most)
            return FL_BAD_SHAPE;
        seen |= 1u << axis;
        const int64_t n = (int64_t)in->shape.size[axis], size = n + begin + end;
        /* Of an axis without elements nothing can be repeated. A mirror shows each element once. */
        if (size < 0 || n > most || (mode != CONSTANT && n == 0 && size > 0) ||
            (mode == REFLECT && (begin >= n || end >= n) && (begin > 0 || end > 0)))
            return FL_BAD_SHAPE;
        before[axis] = begin;
        shape->size[axis] = (size_t)size;
    }
    return FL_OK;
}

static int pad_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                     size_t outs)
{
    int64_t before[FL_MAX_AXES];
    fl_shape shape;
    if (ins < 2 || outs != 1 || in->type == FL_TYPES ||
        read_pads(op, in, ins, before, &shape) != FL_OK)
        return FL_BAD_SHAPE;
    return fl_shape_made(out, in->type, shape);
}

/* Which element of n stands at position i, which may lie before or behind them; SIZE_MAX: the value
   of padding. */
static size_t source_of(int64_t i, int64_t n, int64_t mode)
{
    if (i >= 0 && i < n)
        return (size_t)i;
    if (mode == EDGE)
        return i < 0 ? 0 : (size_t)(n - 1);
    if (mode == REFLECT)
        return (size_t)(i < 0 ? -i : 2 * (n - 1) - i);
    if (mode == WRAP)
        return (size_t)((i % n + n) % n);
    return SIZE_MAX;
}

static void fill(char *to, const char *value, size_t count, size_t bytes)
{
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * bytes, value, bytes);
}

/* What a run of one operator knows. */
typedef struct padding {
    const fl_array *x, *y;
    size_t bytes;
    int64_t mode;
    const int64_t *before;
    const char *value;
    size_t x_run[FL_MAX_AXES], y_run[FL_MAX_AXES]; /* bytes between neighbours of an axis */
} padding;

/* y from axis `axis` on, of the part of x at `from`. */
static void pad_axis(const padding *p, size_t axis, char *to, const char *from)
{
    const size_t axes = p->x->shape.axes;
    if (axis == axes) {
        memcpy(to, from, p->bytes);
        return;
    }
    const int64_t n = (int64_t)p->x->shape.size[axis], size = (int64_t)p->y->shape.size[axis];
    const size_t run = p->y_run[axis];
    for (int64_t i = 0; i < size; i++, to += run) {
        const size_t source = source_of(i - p->before[axis], n, p->mode);
        if (source == SIZE_MAX) {
            fill(to, p->value, run / p->bytes, p->bytes);
        } else if (axis + 1 == axes && source + 1 < (size_t)n) {
            /* from here to the last element x and y are the same */
            int64_t same = n - (int64_t)source;
            if (i - p->before[axis] != (int64_t)source)
                same = 1;
            if (same > size - i)
                same = size - i;
            memcpy(to, from + source * p->bytes, (size_t)same * p->bytes);
            i += same - 1;
            to += (size_t)(same - 1) * run;
        } else {
            pad_axis(p, axis + 1, to, from + source * p->x_run[axis]);
        }
    }
}

static int pad_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                   size_t outs, void *arena, const fl_caller *caller)
{
    int64_t before[FL_MAX_AXES];
    fl_shape shape;
    const int64_t zero = 0; /* of every type: its first bytes are zeros as well */
    (void)outs, (void)arena, (void)caller;
    if (fl_count(out) == 0)
        return FL_OK;
    read_pads(op, in, ins, before, &shape);
    padding p = {.x = in,
                 .y = out,
                 .bytes = fl_type_bytes(in->type),
                 .mode = ((const fl_numbers *)op)->ints[0],
                 .before = before,
                 .value = fl_given(in, ins, 2) ? in[2].at : (const char *)&zero};
    if (fl_count(in) == 0) {
        fill(out->at, p.value, fl_count(out), p.bytes);
        return FL_OK;
    }
    for (size_t i = 0; i < in->shape.axes; i++) {
        p.x_run[i] = fl_shape_span(&in->shape, i + 1, in->shape.axes) * p.bytes;
        p.y_run[i] = fl_shape_span(&out->shape, i + 1, out->shape.axes) * p.bytes;
    }
    pad_axis(&p, 0, out->at, in->at);
    return FL_OK;
}

FL_NUMBERS_MAKER(pad, 1)
