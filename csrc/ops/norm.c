/* SPDX-License-Identifier: MIT */
#include "ops/norm.h"

#include <math.h>

#include "base/alloc.h"
#include "kernels/parallel.h"
#include "ops/loops.h"
#include "ops/sums.h"

typedef struct norm {
    fl_operator op;
    const fl_kernels *kernels;
    int64_t number; /* ints[0]: axis, or number of groups */
    float eps;
} norm;

enum { MOST_INS = 3, MOST_OUTS = 3 };

typedef struct job {
    const norm *norm;
    int no_mean;
    size_t n;                       /* numbers of a row that is normalized */
    size_t groups, channels, inner; /* of groups: a row is `channels` times `inner` numbers */
    const float *x, *scale, *bias;  /* bias: or NULL */
    float *y, *mean, *r;            /* mean and r: or NULL */
} job;

static int given(const fl_array *array) { return array->type != FL_TYPES; }

/* What all three take: FL_OK or FL_BAD_SHAPE. Output 0 gets its shape. */
static int begin_shape(const fl_array *in, size_t ins, fl_array *out, size_t outs, size_t most)
{
    if (ins < 2 || ins > MOST_INS || outs < 1 || outs > most || in->type != FL_F32)
        return FL_BAD_SHAPE;
    out->type = FL_F32;
    out->shape = in->shape;
    return FL_OK;
}

/* Have scale and bias these axes? */
static int affine_fits(const fl_array *in, size_t ins, size_t axes, const size_t *size)
{
    return fl_array_is(&in[1], FL_F32, axes, size) &&
           (ins < 3 || !given(&in[2]) || fl_array_is(&in[2], FL_F32, axes, size));
}

static int row_shape(const norm *norm, const fl_array *in, size_t ins, fl_array *out, size_t outs,
                     size_t most)
{
    fl_split split;
    if (begin_shape(in, ins, out, outs, most) != FL_OK ||
        fl_split_at(&in->shape, norm->number, &split) != FL_OK)
        return FL_BAD_SHAPE;
    const size_t axes = in->shape.axes;
    const size_t first = (size_t)(norm->number < 0 ? norm->number + (int64_t)axes : norm->number);
    if (!affine_fits(in, ins, axes - first, in->shape.size + first))
        return FL_BAD_SHAPE;
    for (size_t i = 1; i < outs; i++) {
        out[i] = (fl_array){.type = FL_F32, .shape = in->shape, .at = out[i].at};
        for (size_t a = first; a < axes; a++)
            out[i].shape.size[a] = 1;
        if (fl_array_bytes(&out[i]) == SIZE_MAX)
            return FL_BAD_SHAPE;
    }
    return FL_OK;
}

static int layer_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                       size_t outs)
{
    return row_shape((const norm *)op, in, ins, out, outs, MOST_OUTS);
}

static int rms_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                     size_t outs)
{
    return row_shape((const norm *)op, in, ins, out, outs, 1);
}

static int group_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                       size_t outs)
{
    const size_t groups = (size_t)((const norm *)op)->number;
    if (begin_shape(in, ins, out, outs, 1) != FL_OK || in->shape.axes < 2)
        return FL_BAD_SHAPE;
    const size_t *channels = &in->shape.size[1];
    return !affine_fits(in, ins, 1, channels) || (groups && *channels % groups) ? FL_BAD_SHAPE
                                                                                : FL_OK;
}

/* mean and r of a row; without a mean it is 0. */
static float statistics(const job *job, const float *x, float *mean)
{
    const float n = (float)job->n;
    *mean = job->no_mean ? 0.0f : fl_sum(x, job->n) / n;
    return 1.0f / sqrtf(fl_sum_squares(x, job->n, *mean) / n + job->norm->eps);
}

/* Each number of a row has a scale and a bias of its own. */
static int run_rows(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    const float *scale = job->scale, *bias = job->bias;
    (void)slot;
    for (size_t row = from; row < to; row++) {
        const float *x = job->x + row * job->n;
        float *y = job->y + row * job->n, mean, r = statistics(job, x, &mean);
        if (job->mean)
            job->mean[row] = mean;
        if (job->r)
            job->r[row] = r;
        if (bias)
            FL_EACH(job->n)
        y[i] = (x[i] - mean) * r * scale[i] + bias[i];
        else FL_EACH(job->n) y[i] = (x[i] - mean) * r * scale[i];
    }
    return FL_OK;
}

/* Rows are the groups of all samples, and each channel has a scale and a bias. */
static int run_groups(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    (void)slot;
    for (size_t row = from; row < to; row++) {
        const size_t first = row % job->groups * job->channels;
        const float *x = job->x + row * job->n;
        float *y = job->y + row * job->n, mean;
        const float r = statistics(job, x, &mean);
        for (size_t c = 0; c < job->channels; c++, x += job->inner, y += job->inner) {
            const float scale = job->scale[first + c];
            const float bias = job->bias ? job->bias[first + c] : 0.0f;
            FL_EACH(job->inner)
            y[i] = (x[i] - mean) * r * scale + bias;
        }
    }
    return FL_OK;
}

static job begin(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                 size_t outs)
{
    return (job){.norm = (const norm *)op,
                 .x = in[0].at,
                 .scale = in[1].at,
                 .bias = ins > 2 ? in[2].at : NULL,
                 .y = out[0].at,
                 .mean = outs > 1 ? out[1].at : NULL,
                 .r = outs > 2 ? out[2].at : NULL};
}

static int run_job(job *job, size_t rows, int (*rows_run)(void *, size_t, size_t, size_t),
                   const fl_caller *caller)
{
    return fl_in_rounds(job->norm->kernels, caller, rows, 20.0 + 1.5 * (double)job->n, rows_run,
                        job);
}

/* A row may have no number, if mean and r are wanted: they are NaN. */
static int layer_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                     size_t outs, void *arena, const fl_caller *caller)
{
    job job = begin(op, in, ins, out, outs);
    fl_split split;
    (void)arena;
    fl_split_at(&in->shape, job.norm->number, &split);
    job.n = fl_mul(split.n, split.inner);
    if (job.n == 0 && !job.mean && !job.r)
        return FL_OK;
    return run_job(&job, split.outer, run_rows, caller);
}

static int rms_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                   size_t outs, void *arena, const fl_caller *caller)
{
    job job = begin(op, in, ins, out, outs);
    fl_split split;
    (void)arena;
    fl_split_at(&in->shape, job.norm->number, &split);
    job.n = fl_mul(split.n, split.inner);
    job.no_mean = 1;
    if (job.n == 0)
        return FL_OK;
    return run_job(&job, split.outer, run_rows, caller);
}

static int group_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                     size_t outs, void *arena, const fl_caller *caller)
{
    job job = begin(op, in, ins, out, outs);
    const size_t channels = in->shape.size[1];
    (void)arena;
    if (fl_count(in) == 0)
        return FL_OK;
    job.groups = job.norm->number ? (size_t)job.norm->number : channels;
    job.channels = channels / job.groups;
    job.inner = fl_shape_span(&in->shape, 2, in->shape.axes);
    job.n = job.channels * job.inner;
    return run_job(&job, in->shape.size[0] * job.groups, run_groups, caller);
}

static void free_norm(fl_operator *op) { fl_free(op); }

static int make(const fl_operator_type *type, const fl_attributes *attributes, fl_operator **op)
{
    if (attributes->int_count != 1 || attributes->float_count != 1)
        return FL_BAD_SHAPE;
    norm *made = fl_alloc(sizeof *made);
    if (!made)
        return FL_NO_MEMORY;
    *made = (norm){.op = {type},
                   .kernels = attributes->kernels,
                   .number = attributes->ints[0],
                   .eps = attributes->floats[0]};
    *op = &made->op;
    return FL_OK;
}

int fl_make_layer_norm(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "layer_norm",
                                          .shape = layer_shape,
                                          .in_place = 1,
                                          .run = layer_run,
                                          .free = free_norm};
    return make(&type, attributes, op);
}

int fl_make_rms_norm(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "rms_norm", .shape = rms_shape, .in_place = 1, .run = rms_run, .free = free_norm};
    return make(&type, attributes, op);
}

int fl_make_group_norm(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "group_norm",
                                          .shape = group_shape,
                                          .in_place = 1,
                                          .run = group_run,
                                          .free = free_norm};
    if (attributes->int_count == 1 && attributes->ints[0] < 0)
        return FL_BAD_SHAPE;
    return make(&type, attributes, op);
}
