/* SPDX-License-Identifier: MIT */
#include "ops/scatter.h"

#include <string.h>

#include "ops/numbers.h"

/* An index as a number in 0 .. n - 1; SIZE_MAX if it is out of range. */
static size_t index_of(int64_t i, size_t n)
{
    i = i < 0 ? i + (int64_t)n : i;
    return i < 0 || i >= (int64_t)n ? SIZE_MAX : (size_t)i;
}

static float combined(float p, float u, int64_t how)
{
    switch (how) {
    case FL_SCATTER_ADD:
        return p + u;
    case FL_SCATTER_MUL:
        return p * u;
    case FL_SCATTER_MAX:
        return p > u || p != p ? p : u;
    default:
        return p < u || p != p ? p : u;
    }
}

static int64_t combined_int(int64_t p, int64_t u, int64_t how)
{
    switch (how) {
    case FL_SCATTER_ADD:
        return (int64_t)((uint64_t)p + (uint64_t)u);
    case FL_SCATTER_MUL:
        return (int64_t)((uint64_t)p * (uint64_t)u);
    case FL_SCATTER_MAX:
        return p > u ? p : u;
    default:
        return p < u ? p : u;
    }
}

/* n elements of y, from element `to` on, for n updates from element `from` on. */
static void put(const fl_array *y, size_t to, const fl_array *updates, size_t from, size_t n,
                int64_t how)
{
    if (how == FL_SCATTER_PUT) {
        const size_t bytes = fl_type_bytes(y->type);
        memcpy((char *)y->at + to * bytes, (const char *)updates->at + from * bytes, n * bytes);
    } else if (y->type == FL_F32) {
        float *p = (float *)y->at + to;
        const float *u = (const float *)updates->at + from;
        for (size_t i = 0; i < n; i++)
            p[i] = combined(p[i], u[i], how);
    } else {
        int64_t *p = (int64_t *)y->at + to;
        const int64_t *u = (const int64_t *)updates->at + from;
        for (size_t i = 0; i < n; i++)
            p[i] = combined_int(p[i], u[i], how);
    }
}

/* Three inputs: x, indices, updates of x's type, and a way that fits this type? */
static int fit(const fl_array *in, size_t ins, size_t outs, int64_t how)
{
    return ins == 3 && outs == 1 && in[0].type != FL_TYPES && in[1].type == FL_I64 &&
           in[2].type == in[0].type && how >= 0 && how < FL_SCATTERS &&
           (how == FL_SCATTER_PUT || in[0].type != FL_BOOL);
}

/* ---- scatter_elements ---- */

static int scatter_elements_shape(const fl_operator *op, const fl_array *in, size_t ins,
                                  fl_array *out, size_t outs)
{
    const fl_numbers *y = (const fl_numbers *)op;
    if (!fit(in, ins, outs, y->ints[1]) || in[1].shape.axes != in[0].shape.axes ||
        !fl_shapes_equal(&in[1].shape, &in[2].shape))
        return FL_BAD_SHAPE;
    const size_t axis = fl_axis_of(y->ints[0], in->shape.axes);
    if (axis == SIZE_MAX)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < in->shape.axes; i++)
        if (i != axis && in[1].shape.size[i] > in[0].shape.size[i])
            return FL_BAD_SHAPE;
    return fl_shape_made(out, in->type, in->shape);
}

static int scatter_elements_run(const fl_operator *op, const fl_array *in, size_t ins,
                                const fl_array *out, size_t outs, void *arena,
                                const fl_caller *caller)
{
    const fl_numbers *y = (const fl_numbers *)op;
    (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t axes = in->shape.axes, axis = fl_axis_of(y->ints[0], axes);
    const size_t count = fl_count(&in[1]);
    const int64_t *indices = in[1].at;
    size_t at[FL_MAX_AXES] = {0};
    if (fl_count(in))
        memcpy(out->at, in->at, fl_array_bytes(in));
    for (size_t e = 0; e < count; e++) {
        size_t to = 0;
        for (size_t i = 0; i < axes; i++) {
            const size_t n = in->shape.size[i];
            const size_t here = i == axis ? index_of(indices[e], n) : at[i];
            if (here == SIZE_MAX)
                return FL_BAD_VALUE;
            to = to * n + here;
        }
        put(out, to, &in[2], e, 1, y->ints[1]);
        for (size_t i = axes; i-- > 0 && ++at[i] == in[1].shape.size[i];)
            at[i] = 0;
    }
    return FL_OK;
}

/* ---- rows by indices of several axes ---- */

/* The number of the row that n indices name, of rows along n axes of x from axis `first` on;
   SIZE_MAX if one is out of range. */
static size_t row_of(const int64_t *index, const fl_array *x, size_t first, size_t n)
{
    size_t row = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t size = x->shape.size[first + i], here = index_of(index[i], size);
        if (here == SIZE_MAX)
            return SIZE_MAX;
        row = row * size + here;
    }
    return row;
}

/* How many axes the indices name, the size of their last axis; 0 if it is none that x has from axis
   `first` on. */
static size_t named(const fl_array *indices, const fl_array *x, size_t first)
{
    const size_t axes = indices->shape.axes, n = axes ? indices->shape.size[axes - 1] : 0;
    return first <= x->shape.axes && n <= x->shape.axes - first ? n : 0;
}

static int scatter_nd_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                            size_t outs)
{
    if (!fit(in, ins, outs, ((const fl_numbers *)op)->ints[0]))
        return FL_BAD_SHAPE;
    const size_t n = named(&in[1], in, 0);
    const fl_shape *x = &in[0].shape, *i = &in[1].shape, *u = &in[2].shape;
    if (n == 0 || u->axes != i->axes - 1 + x->axes - n)
        return FL_BAD_SHAPE;
    for (size_t a = 0; a < u->axes; a++)
        if (u->size[a] != (a < i->axes - 1 ? i->size[a] : x->size[a - (i->axes - 1) + n]))
            return FL_BAD_SHAPE;
    return fl_shape_made(out, in->type, *x);
}

static int scatter_nd_run(const fl_operator *op, const fl_array *in, size_t ins,
                          const fl_array *out, size_t outs, void *arena, const fl_caller *caller)
{
    (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t n = named(&in[1], in, 0), run = fl_shape_span(&in->shape, n, in->shape.axes);
    const size_t rows = fl_shape_span(&in[1].shape, 0, in[1].shape.axes - 1);
    const int64_t *indices = in[1].at;
    if (fl_count(in))
        memcpy(out->at, in->at, fl_array_bytes(in));
    for (size_t i = 0; i < rows; i++) {
        const size_t row = row_of(indices + i * n, in, 0, n);
        if (row == SIZE_MAX)
            return FL_BAD_VALUE;
        if (run)
            put(out, row * run, &in[2], i * run, run, ((const fl_numbers *)op)->ints[0]);
    }
    return FL_OK;
}

static int gather_nd_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                           size_t outs)
{
    const int64_t batch = ((const fl_numbers *)op)->ints[0];
    if (ins != 2 || outs != 1 || in[0].type == FL_TYPES || in[1].type != FL_I64 || batch < 0 ||
        (uint64_t)batch >= in[1].shape.axes)
        return FL_BAD_SHAPE;
    const size_t first = (size_t)batch, n = named(&in[1], in, first);
    if (n == 0 || in[1].shape.axes - 1 + in->shape.axes - first - n > FL_MAX_AXES)
        return FL_BAD_SHAPE;
    fl_shape shape = {.axes = 0};
    for (size_t i = 0; i < in[1].shape.axes - 1; i++) {
        if (i < first && in[1].shape.size[i] != in->shape.size[i])
            return FL_BAD_SHAPE;
        shape.size[shape.axes++] = in[1].shape.size[i];
    }
    for (size_t i = first + n; i < in->shape.axes; i++)
        shape.size[shape.axes++] = in->shape.size[i];
    return fl_shape_made(out, in->type, shape);
}

static int gather_nd_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                         size_t outs, void *arena, const fl_caller *caller)
{
    (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t first = (size_t)((const fl_numbers *)op)->ints[0], n = named(&in[1], in, first);
    const size_t run =
        fl_shape_span(&in->shape, first + n, in->shape.axes) * fl_type_bytes(in->type);
    const size_t whole = fl_shape_span(&in->shape, first, first + n); /* rows of a batch element */
    const size_t batch = fl_shape_span(&in->shape, 0, first);
    const size_t rows = fl_shape_span(&in[1].shape, first, in[1].shape.axes - 1);
    const int64_t *index = in[1].at;
    char *to = out->at;
    for (size_t b = 0; b < batch; b++)
        for (size_t i = 0; i < rows; i++, index += n, to += run) {
            const size_t row = row_of(index, in, first, n);
            if (row == SIZE_MAX)
                return FL_BAD_VALUE;
            if (run)
                memcpy(to, (const char *)in->at + (b * whole + row) * run, run);
        }
    return FL_OK;
}

/* ---- trilu ---- */

static int trilu_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                       size_t outs)
{
    (void)op;
    if (ins != 1 || outs != 1 || in->type == FL_TYPES || in->shape.axes < 2)
        return FL_BAD_SHAPE;
    return fl_shape_made(out, in->type, in->shape);
}

static int trilu_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                     size_t outs, void *arena, const fl_caller *caller)
{
    (void)ins, (void)outs, (void)arena, (void)caller;
    const size_t axes = in->shape.axes, bytes = fl_type_bytes(in->type);
    const size_t rows = in->shape.size[axes - 2], columns = in->shape.size[axes - 1];
    const size_t count = columns ? fl_count(in) / columns : 0;
    const int64_t *ints = ((const fl_numbers *)op)->ints, n = (int64_t)columns;
    for (size_t r = 0; r < count; r++) {
        /* Columns before `cut` are below the diagonal, or on it if the lower triangle is due. */
        const int64_t i = (int64_t)(r % rows), lower = !ints[1];
        int64_t cut = ints[0] > n ? n : ints[0] < -i - 1 ? -i - 1 : ints[0];
        cut += i + lower;
        cut = cut < 0 ? 0 : cut > n ? n : cut;
        const size_t before = (size_t)cut * bytes, all = columns * bytes;
        char *to = (char *)out->at + r * all;
        const char *from = (const char *)in->at + r * all;
        if (lower) {
            memcpy(to, from, before);
            memset(to + before, 0, all - before);
        } else {
            memset(to, 0, before);
            memcpy(to + before, from + before, all - before);
        }
    }
    return FL_OK;
}

FL_NUMBERS_MAKER(scatter_elements, 2)
FL_NUMBERS_MAKER(scatter_nd, 1)
FL_NUMBERS_MAKER(gather_nd, 1)
FL_NUMBERS_MAKER(trilu, 2)
