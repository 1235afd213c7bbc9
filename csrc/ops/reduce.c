/* SPDX-License-Identifier: MIT */
#include "ops/reduce.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/parallel.h"
#include "ops/functions.h"
#include "ops/loops.h"
#include "ops/sums.h"

/* Results that are made at the same time where the last axis is not reduced, and elements whose
   exponentials are. */
enum { WIDTH = 64 };

/* ---- partial results ---- */

/* One reduction of one type, over partial results whose memory is [FL_PARTS][width]. */
typedef struct fold {
    double neutral; /* what a partial result begins as; infinities are the type's own bounds */
    void (*row)(void *parts, const void *x, size_t n, size_t j); /* width 1; j as in sums.h */
    void (*columns)(void *part, const void *x, size_t width);    /* x[0 .. width - 1] to a part */
    void (*finish)(void *y, const void *parts, size_t width);
} fold;

#define FOLD(name, T, value, combine)                                                              \
    FL_FOLD(name, T, value, combine)                                                               \
    static void name##_columns(void *to, const void *from, size_t width)                           \
    {                                                                                              \
        T *part = to;                                                                              \
        const T *x = from;                                                                         \
        FL_EACH(width)                                                                             \
        part[i] = name##_one(part[i], x[i]);                                                       \
    }                                                                                              \
    static void name##_finish(void *to, const void *from, size_t width)                            \
    {                                                                                              \
        const T *parts = from;                                                                     \
        for (size_t i = 0; i < width; i++)                                                         \
            ((T *)to)[i] = name##_tree(parts + i, width);                                          \
    }
#define FOLDS(name) name##_row, name##_columns, name##_finish
#define U(x) ((uint64_t)(x))

FOLD(sum_f, float, x, p + q)
FOLD(size_f, float, fabsf(x), p + q)
FOLD(square_f, float, x *x, p + q)
FOLD(product_f, float, x, p *q)
FOLD(max_f, float, x, p > q || p != p ? p : q)
FOLD(min_f, float, x, p < q || p != p ? p : q)
FOLD(sum_i, int64_t, x, U(p) + U(q))
FOLD(size_i, int64_t, x < 0 ? -U(x) : U(x), U(p) + U(q))
FOLD(square_i, int64_t, U(x) * U(x), U(p) + U(q))
FOLD(product_i, int64_t, x, U(p) * U(q))
FOLD(max_i, int64_t, x, p > q ? p : q)
FOLD(min_i, int64_t, x, p < q ? p : q)
FOLD(max_b, uint8_t, x, p | q)
FOLD(min_b, uint8_t, x, p &q)

static const fold folds[FL_REDUCTIONS][FL_TYPES] = {
    [FL_REDUCE_SUM] = {{0, FOLDS(sum_f)}, {0, FOLDS(sum_i)}},
    [FL_REDUCE_MEAN] = {{0, FOLDS(sum_f)}, {0, FOLDS(sum_i)}},
    [FL_REDUCE_L1] = {{0, FOLDS(size_f)}, {0, FOLDS(size_i)}},
    [FL_REDUCE_L2] = {{0, FOLDS(square_f)}},
    [FL_REDUCE_SUM_SQUARE] = {{0, FOLDS(square_f)}, {0, FOLDS(square_i)}},
    [FL_REDUCE_LOG_SUM] = {{0, FOLDS(sum_f)}},
    [FL_REDUCE_LOG_SUM_EXP] = {{0, FOLDS(sum_f)}},
    [FL_REDUCE_PROD] = {{1, FOLDS(product_f)}, {1, FOLDS(product_i)}},
    [FL_REDUCE_MAX] = {{-INFINITY, FOLDS(max_f)}, {-INFINITY, FOLDS(max_i)}, {0, FOLDS(max_b)}},
    [FL_REDUCE_MIN] = {{INFINITY, FOLDS(min_f)}, {INFINITY, FOLDS(min_i)}, {1, FOLDS(min_b)}},
};

/* n partial results that nothing has been passed to. */
static void begin(void *parts, double neutral, int type, size_t n)
{
    const int64_t whole = neutral > 1 ? INT64_MAX : neutral < 0 ? INT64_MIN : (int64_t)neutral;
    for (size_t i = 0; i < n; i++)
        if (type == FL_F32)
            ((float *)parts)[i] = (float)neutral;
        else if (type == FL_I64)
            ((int64_t *)parts)[i] = whole;
        else
            ((uint8_t *)parts)[i] = (uint8_t)neutral;
}

/* ---- the operator ---- */

typedef struct reduce {
    fl_operator op;
    const fl_kernels *kernels;
    int kind, keepdims;
    size_t count;
    int64_t axes[FL_MAX_AXES];
} reduce;

/* Neighbouring axes of x that are both reduced or both kept are one; the last one is the first. */
typedef struct job {
    const reduce *reduce;
    const fold *fold;
    int type;
    size_t bytes; /* of an element */
    size_t kept, kept_size[FL_MAX_AXES], kept_stride[FL_MAX_AXES];
    size_t reduced, size[FL_MAX_AXES], stride[FL_MAX_AXES];
    size_t columns;  /* of the last axis, if it is kept; else 1 */
    size_t spans;    /* of at most WIDTH columns */
    size_t elements; /* of x for one of y */
    const char *x;
    char *y;
} job;

/* Which axes are reduced, as bits; -1 if one is out of range or named twice. */
static int64_t axes_named(const reduce *r, size_t axes)
{
    int64_t set = 0;
    for (size_t i = 0; i < r->count; i++) {
        const int64_t axis = r->axes[i] < 0 ? r->axes[i] + (int64_t)axes : r->axes[i];
        if (axis < 0 || axis >= (int64_t)axes || (set >> axis & 1))
            return -1;
        set |= (int64_t)1 << axis;
    }
    return set;
}

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    const reduce *r = (const reduce *)op;
    if (ins != 1 || outs != 1 || in->type == FL_TYPES || !folds[r->kind][in->type].row)
        return FL_BAD_SHAPE;
    const int64_t set = axes_named(r, in->shape.axes);
    if (set < 0)
        return FL_BAD_SHAPE;
    fl_shape y = {0};
    size_t elements = 1;
    for (size_t a = 0; a < in->shape.axes; a++) {
        const int gone = set >> a & 1;
        if (gone)
            elements = fl_mul(elements, in->shape.size[a]);
        if (!gone || r->keepdims)
            y.size[y.axes++] = gone ? 1 : in->shape.size[a];
    }
    if (elements == 0 && r->kind == FL_REDUCE_MEAN && in->type == FL_I64)
        return FL_BAD_SHAPE;
    out->type = in->type;
    out->shape = y;
    return fl_array_bytes(out) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}

static void find_axes(job *job, const fl_array *x)
{
    const int64_t set = axes_named(job->reduce, x->shape.axes);
    size_t stride = 1;
    int last = -1; /* whether the axis before was reduced */
    for (size_t a = x->shape.axes; a-- > 0;) {
        const size_t n = x->shape.size[a];
        const int gone = set >> a & 1;
        size_t *count = gone ? &job->reduced : &job->kept;
        size_t *size = gone ? job->size : job->kept_size;
        if (n == 1)
            continue;
        if (gone == last)
            size[*count - 1] *= n;
        else {
            (gone ? job->stride : job->kept_stride)[*count] = stride;
            size[(*count)++] = n;
        }
        last = gone;
        stride *= n;
    }
    job->elements = 1;
    for (size_t a = 0; a < job->reduced; a++)
        job->elements *= job->size[a];
    job->columns = job->kept && job->kept_stride[0] == 1 ? job->kept_size[0] : 1;
    job->spans = fl_ceil_div(job->columns, WIDTH);
}

/* t = exp(x - m), where a maximum m that is not finite counts as 0. */
static void exponentials(float *t, const float *x, const float *m, size_t step, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float most = m[i * step];
        t[i] = x[i] - (fabsf(most) <= 0x1.fffffep127f ? most : 0.0f);
    }
    fl_exp(t, t, n);
}

/* Passes all elements at x that are reduced, for `width` columns, to parts. With `m`, the maxima of
   the columns, it passes their exponentials. */
static void pass(const job *job, const fold *fold, const char *x, size_t width, void *parts,
                 const float *m)
{
    /* Rows of elements side by side, if the last axis is reduced; else single ones. */
    const size_t rows_from = job->reduced && job->stride[0] == 1;
    const size_t row = rows_from ? job->size[0] : 1;
    size_t index[FL_MAX_AXES] = {0}, offset = 0;
    float t[WIDTH];
    for (size_t j = 0; j < job->elements; j += row) {
        const char *at = x + offset * job->bytes;
        if (!rows_from) {
            if (m)
                exponentials(t, (const float *)at, m, 1, width);
            fold->columns((char *)parts + j % FL_PARTS * width * job->bytes,
                          m ? (const char *)t : at, width);
        } else if (!m)
            fold->row(parts, at, row, j);
        for (size_t i = 0; rows_from && m && i < row; i += WIDTH) {
            const size_t n = row - i < WIDTH ? row - i : WIDTH;
            exponentials(t, (const float *)at + i, m, 0, n);
            fold->row(parts, t, n, j + i);
        }
        for (size_t a = rows_from; a < job->reduced; a++) {
            offset += job->stride[a];
            if (++index[a] < job->size[a])
                break;
            offset -= index[a] * job->stride[a];
            index[a] = 0;
        }
    }
}

static void finish(const job *job, void *result, size_t width, const float *m)
{
    float *y = result;
    switch (job->reduce->kind) {
    case FL_REDUCE_MEAN:
        for (size_t i = 0; i < width; i++)
            if (job->type == FL_F32)
                y[i] /= (float)job->elements;
            else
                ((int64_t *)result)[i] /= (int64_t)job->elements;
        break;
    case FL_REDUCE_L2:
        for (size_t i = 0; i < width; i++)
            y[i] = sqrtf(y[i]);
        break;
    case FL_REDUCE_LOG_SUM:
    case FL_REDUCE_LOG_SUM_EXP:
        fl_log(y, y, width);
        for (size_t i = 0; job->reduce->kind == FL_REDUCE_LOG_SUM_EXP && i < width; i++)
            y[i] += fabsf(m[i]) <= 0x1.fffffep127f ? m[i] : 0.0f;
        break;
    }
}

/* Spans of columns from .. to - 1, counted over all rows of y. */
static int run_spans(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    int64_t parts[FL_PARTS * WIDTH]; /* or floats, or bools */
    float maxima[WIDTH];
    (void)slot;
    for (size_t item = from; item < to; item++) {
        const size_t row = item / job->spans, column = item % job->spans * WIDTH;
        const size_t width = job->columns - column < WIDTH ? job->columns - column : WIDTH;
        size_t offset = column, rest = row;
        for (size_t a = job->columns > 1; a < job->kept; a++) {
            offset += rest % job->kept_size[a] * job->kept_stride[a];
            rest /= job->kept_size[a];
        }
        const char *x = job->x + offset * job->bytes;
        const float *m = NULL;
        if (job->reduce->kind == FL_REDUCE_LOG_SUM_EXP) {
            const fold *max = &folds[FL_REDUCE_MAX][FL_F32];
            begin(parts, max->neutral, FL_F32, FL_PARTS * width);
            pass(job, max, x, width, parts, NULL);
            max->finish(maxima, parts, width);
            m = maxima;
        }
        begin(parts, job->fold->neutral, job->type, FL_PARTS * width);
        pass(job, job->fold, x, width, parts, m);
        char *y = job->y + (row * job->columns + column) * job->bytes;
        job->fold->finish(y, parts, width);
        finish(job, y, width, m);
    }
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const reduce *r = (const reduce *)op;
    const size_t results = fl_count(out);
    job job = {.reduce = r,
               .fold = &folds[r->kind][in->type],
               .type = in->type,
               .bytes = fl_type_bytes(in->type),
               .x = in->at,
               .y = out->at};
    (void)ins, (void)outs, (void)arena;
    if (results == 0)
        return FL_OK;
    find_axes(&job, in);
    const size_t width = job.columns < WIDTH ? job.columns : WIDTH;
    const double each = r->kind == FL_REDUCE_LOG_SUM_EXP ? 4.0 : 0.4;
    return fl_in_rounds(r->kernels, caller, results / job.columns * job.spans,
                        20.0 + each * (double)width * (double)job.elements, run_spans, &job);
}

static void free_reduce(fl_operator *op) { fl_free(op); }

int fl_make_reduce(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "reduce", .shape = shape, .run = run, .free = free_reduce};
    const int64_t *ints = attributes->ints;
    if (attributes->int_count < 2 || attributes->int_count > 2 + FL_MAX_AXES || ints[0] < 0 ||
        ints[0] >= FL_REDUCTIONS || ints[1] < 0 || ints[1] > 1)
        return FL_BAD_SHAPE;
    reduce *r = fl_alloc(sizeof *r);
    if (!r)
        return FL_NO_MEMORY;
    *r = (reduce){.op = {&type},
                  .kernels = attributes->kernels,
                  .kind = (int)ints[0],
                  .keepdims = (int)ints[1],
                  .count = attributes->int_count - 2};
    memcpy(r->axes, ints + 2, r->count * sizeof *ints);
    *op = &r->op;
    return FL_OK;
}
