/* SPDX-License-Identifier: MIT */
#include "ops/softmax.h"

#include <math.h>

#include "base/alloc.h"
#include "kernels/contract.h"
#include "kernels/parallel.h"
#include "ops/functions.h"
#include "ops/loops.h"
#include "ops/sums.h"

/* Numbers whose exponentials are computed together; and columns that are worked on together if the
   axis is not the last. */
enum { SPAN = 256, WIDTH = 64 };

typedef struct softmax {
    fl_operator op;
    const fl_kernels *kernels;
    int logarithm;
    int64_t axis;
} softmax;

typedef struct job {
    const softmax *softmax;
    fl_split split;
    size_t spans; /* of WIDTH columns */
    const float *x;
    float *y;
} job;

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    fl_split split;
    if (ins != 1 || outs != 1 || in->type != FL_F32 ||
        fl_split_at(&in->shape, ((const softmax *)op)->axis, &split) != FL_OK)
        return FL_BAD_SHAPE;
    out->type = FL_F32;
    out->shape = in->shape;
    return FL_OK;
}

static void exponentials(const softmax *s, float *y, const float *x, size_t n)
{
    const fl_activation f = {.function = FL_EXPONENTIAL};
    float slope[SPAN]; /* not wanted */
    s->kernels->activate(&f, y, slope, x, n);
}

/* ln of one sum. */
static float logarithm(float sum)
{
    fl_log(&sum, &sum, 1);
    return sum;
}

static float maximum(const float *x, size_t n)
{
    float parts[FL_PARTS], most = -INFINITY;
    for (size_t r = 0; r < FL_PARTS; r++)
        parts[r] = -INFINITY;
    for (; n >= FL_PARTS; n -= FL_PARTS, x += FL_PARTS)
        for (size_t r = 0; r < FL_PARTS; r++)
            parts[r] = x[r] > parts[r] ? x[r] : parts[r];
    for (size_t r = 0; r < n; r++)
        parts[r] = x[r] > parts[r] ? x[r] : parts[r];
    for (size_t r = 0; r < FL_PARTS; r++)
        most = parts[r] > most ? parts[r] : most;
    return most;
}

/* Along the last axis. A NaN among x is no maximum, but makes the sum NaN. */
static int run_rows(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    const softmax *s = job->softmax;
    const size_t n = job->split.n;
    (void)slot;
    for (size_t row = from; row < to; row++) {
        const float *x = job->x + row * n, m = maximum(x, n);
        float *y = job->y + row * n, parts[FL_PARTS] = {0};
        for (size_t j = 0; j < n; j += SPAN) {
            const size_t span = n - j < SPAN ? n - j : SPAN;
            float t[SPAN];
            float *e = s->logarithm ? t : y + j;
            for (size_t i = 0; i < span; i++)
                t[i] = x[j + i] - m;
            exponentials(s, e, t, span);
            fl_sum_part(parts, e, span, j);
        }
        const float sum = fl_sum_parts(parts, 1), log = s->logarithm ? logarithm(sum) : 0.0f;
        FL_EACH(n)
        y[i] = s->logarithm ? (x[i] - m) - log : y[i] / sum;
    }
    return FL_OK;
}

/* Along another axis, for columns of the axes after it. */
static int run_columns(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    const softmax *s = job->softmax;
    const size_t n = job->split.n, inner = job->split.inner;
    (void)slot;
    for (size_t item = from; item < to; item++) {
        const size_t column = item % job->spans * WIDTH;
        const size_t offset = item / job->spans * n * inner + column;
        const size_t width = inner - column < WIDTH ? inner - column : WIDTH;
        const float *x = job->x + offset;
        float *y = job->y + offset, m[WIDTH], parts[FL_PARTS * WIDTH] = {0};
        for (size_t i = 0; i < width; i++)
            m[i] = -INFINITY;
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < width; i++)
                m[i] = x[j * inner + i] > m[i] ? x[j * inner + i] : m[i];
        for (size_t j = 0; j < n; j++) {
            float t[WIDTH], *part = parts + j % FL_PARTS * width;
            float *e = s->logarithm ? t : y + j * inner;
            for (size_t i = 0; i < width; i++)
                t[i] = x[j * inner + i] - m[i];
            exponentials(s, e, t, width);
            for (size_t i = 0; i < width; i++)
                part[i] += e[i];
        }
        for (size_t i = 0; i < width; i++)
            parts[i] = fl_sum_parts(parts + i, width);
        if (s->logarithm)
            fl_log(parts, parts, width);
        for (size_t j = 0; j < n; j++) {
            const float *from_x = x + j * inner;
            float *to_y = y + j * inner;
            FL_EACH(width)
            to_y[i] = s->logarithm ? (from_x[i] - m[i]) - parts[i] : to_y[i] / parts[i];
        }
    }
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const softmax *s = (const softmax *)op;
    job job = {.softmax = s, .x = in->at, .y = out->at};
    (void)ins, (void)outs, (void)arena;
    fl_split_at(&in->shape, s->axis, &job.split);
    if (fl_count(in) == 0)
        return FL_OK;
    const int rows = job.split.inner == 1;
    const size_t inner = job.split.inner, width = inner < WIDTH ? inner : WIDTH;
    job.spans = fl_ceil_div(inner, WIDTH);
    return fl_in_rounds(s->kernels, caller, job.split.outer * job.spans,
                        20.0 + 2.0 * (double)width * (double)job.split.n,
                        rows ? run_rows : run_columns, &job);
}

static void free_softmax(fl_operator *op) { fl_free(op); }

static int make(const fl_operator_type *type, int logarithm, const fl_attributes *attributes,
                fl_operator **op)
{
    if (attributes->int_count != 1)
        return FL_BAD_SHAPE;
    softmax *s = fl_alloc(sizeof *s);
    if (!s)
        return FL_NO_MEMORY;
    *s = (softmax){.op = {type},
                   .kernels = attributes->kernels,
                   .logarithm = logarithm,
                   .axis = attributes->ints[0]};
    *op = &s->op;
    return FL_OK;
}

int fl_make_softmax(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "softmax", .shape = shape, .in_place = 1, .run = run, .free = free_softmax};
    return make(&type, 0, attributes, op);
}

int fl_make_log_softmax(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "log_softmax", .shape = shape, .in_place = 1, .run = run, .free = free_softmax};
    return make(&type, 1, attributes, op);
}
