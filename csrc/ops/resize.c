/* SPDX-License-Identifier: MIT */
#include "ops/resize.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/parallel.h"

enum { FIRST, COUNT, LINEAR, RULE, ROUNDING, SIZES }; /* places in ints */
enum { HALF_PIXEL, ASYMMETRIC, ALIGN_CORNERS, PYTORCH_HALF_PIXEL, RULES };
enum { PREFER_FLOOR, PREFER_CEIL, DOWN, UP, ROUNDINGS };

typedef struct resize {
    fl_operator op;
    const fl_kernels *kernels;
    size_t first, count;
    int linear, rule, rounding;
    size_t size[2]; /* with one axis it is number 1, as below */
    float scale[2];
} resize;

/* x as [before][in[0]][in[1]][inner]. */
typedef struct job {
    const resize *layer;
    size_t in[2], out[2], inner, bytes; /* bytes of the inner elements */
    float scale[2];
    const char *x;
    char *y;
} job;

/* Where a position of the output lies along one axis. */
typedef struct place {
    size_t below, above;
    float above_weight;
} place;

static void free_resize(fl_operator *op) { fl_free(op); }

/* The size and the scale of resized axis i, number `axis` of x. */
static int along(const resize *layer, const fl_array *in, size_t ins, size_t i, size_t *out,
                 float *scale)
{
    const size_t slot = 2 - layer->count + i, axis = layer->first + i, n = in->shape.size[axis];
    if (ins > 1 && in[1].type != FL_TYPES) {
        const int64_t size = ((const int64_t *)in[1].at)[axis];
        if (size < 0)
            return FL_BAD_SHAPE;
        *out = (size_t)size;
    } else if (layer->size[slot])
        *out = layer->size[slot];
    else {
        const double scaled = floor((double)n * (double)layer->scale[slot]);
        if (!(scaled < 0x1p62))
            return FL_BAD_SHAPE;
        *out = (size_t)scaled;
    }
    *scale = layer->scale[slot] > 0 ? layer->scale[slot] : (float)*out / (float)n;
    return n == 0 && *out != 0 ? FL_BAD_SHAPE : FL_OK;
}

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    const resize *layer = (const resize *)op;
    const size_t axes = ins ? in->shape.axes : 0, end = layer->first + layer->count;
    float scale;
    if (ins < 1 || ins > 2 || outs != 1 || in->type == FL_TYPES || axes < end ||
        (layer->linear && in->type != FL_F32))
        return FL_BAD_SHAPE;
    out->type = in->type;
    out->shape = in->shape;
    if (ins > 1 && in[1].type != FL_TYPES) {
        if (!fl_array_is(&in[1], FL_I64, 1, &axes) || !in[1].at)
            return FL_BAD_SHAPE;
        for (size_t i = 0; i < axes; i++)
            if ((i < layer->first || i >= end) &&
                ((const int64_t *)in[1].at)[i] != (int64_t)in->shape.size[i])
                return FL_BAD_SHAPE;
    } else
        for (size_t i = 2 - layer->count; i < 2; i++)
            if (!layer->size[i] && !(layer->scale[i] > 0))
                return FL_BAD_SHAPE;
    for (size_t i = 0; i < layer->count; i++)
        if (along(layer, in, ins, i, &out->shape.size[layer->first + i], &scale) != FL_OK)
            return FL_BAD_SHAPE;
    return fl_array_bytes(out) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}

static float position(const job *job, int axis, size_t o)
{
    const size_t in = job->in[axis], out = job->out[axis];
    const int rule = job->layer->rule;
    if (out == 1 && (rule == ALIGN_CORNERS || rule == PYTORCH_HALF_PIXEL))
        return 0;
    if (rule == ALIGN_CORNERS)
        return (float)o * (float)(in - 1) / (float)(out - 1);
    if (rule == ASYMMETRIC)
        return (float)o / job->scale[axis];
    return ((float)o + 0.5f) / job->scale[axis] - 0.5f;
}

static place place_of(const job *job, int axis, size_t o)
{
    const size_t last = job->in[axis] - 1;
    float p = position(job, axis, o);
    if (!job->layer->linear) {
        const int rounding = job->layer->rounding;
        p = rounding == DOWN           ? floorf(p)
            : rounding == UP           ? ceilf(p)
            : rounding == PREFER_FLOOR ? ceilf(p - 0.5f)
                                       : floorf(p + 0.5f);
    }
    p = p > 0 ? p : 0;
    const size_t below = p < (float)last ? (size_t)p : last;
    return (place){.below = below,
                   .above = below < last ? below + 1 : last,
                   .above_weight = below < last ? p - (float)below : 0};
}

/* y = (1 - w) (row 0 at the column) + w (row 1 at the column), with each between two columns. */
static void between(float *restrict y, const float *row0, const float *row1, float w, place column,
                    size_t n)
{
    const float *a = row0 + column.below * n, *b = row0 + column.above * n;
    const float *c = row1 + column.below * n, *d = row1 + column.above * n;
    const float v = column.above_weight;
    for (size_t i = 0; i < n; i++) {
        const float upper = (1 - v) * a[i] + v * b[i], lower = (1 - v) * c[i] + v * d[i];
        y[i] = (1 - w) * upper + w * lower;
    }
}

static int rows(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                size_t count)
{
    const job *job = arg;
    const size_t row_bytes = job->in[1] * job->bytes;
    (void)worker;
    for (size_t r = first; r < first + count; r++) {
        const place row = place_of(job, 0, r % job->out[0]);
        const char *image = job->x + r / job->out[0] * job->in[0] * row_bytes;
        const char *below = image + row.below * row_bytes, *above = image + row.above * row_bytes;
        for (size_t o = 0; o < job->out[1]; o++) {
            const place column = place_of(job, 1, o);
            char *y = job->y + (r * job->out[1] + o) * job->bytes;
            if (job->layer->linear)
                between((float *)(void *)y, (const float *)(const void *)below,
                        (const float *)(const void *)above, row.above_weight, column, job->inner);
            else
                memcpy(y, below + column.below * job->bytes, job->bytes);
        }
        if (fl_should_stop(context, slot, 16.0 * (double)job->out[1] * (double)(job->inner + 4)))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const resize *layer = (const resize *)op;
    const fl_shape *shape = &in->shape;
    const size_t end = layer->first + layer->count;
    job job = {.layer = layer, .x = in->at, .y = out->at, .in = {1, 1}, .out = {1, 1}};
    (void)outs, (void)arena;
    if (fl_count(out) == 0)
        return FL_OK;
    job.scale[0] = 1;
    for (size_t i = 0; i < layer->count; i++) {
        const size_t slot = 2 - layer->count + i;
        job.in[slot] = shape->size[layer->first + i];
        along(layer, in, ins, i, &job.out[slot], &job.scale[slot]);
    }
    job.inner = fl_shape_span(shape, end, shape->axes);
    job.bytes = job.inner * fl_type_bytes(in->type);
    const size_t all = fl_shape_span(shape, 0, layer->first) * job.out[0];
    const double flop = 16.0 * (double)all * (double)job.out[1] * (double)(job.inner + 4);
    const size_t threads = fl_useful_threads(caller->threads, all, flop);
    return fl_parallel(layer->kernels, caller, threads, all, 1, rows, &job);
}

int fl_make_resize(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "resize", .shape = shape, .run = run, .free = free_resize};
    const int64_t *ints = attributes->ints;
    if (attributes->int_count < SIZES || ints[COUNT] < 1 || ints[COUNT] > 2 ||
        attributes->int_count != (size_t)(SIZES + ints[COUNT]) ||
        attributes->float_count != (size_t)ints[COUNT] || ints[FIRST] < 0 ||
        ints[FIRST] > FL_MAX_AXES - ints[COUNT] || ints[RULE] < 0 || ints[RULE] >= RULES ||
        ints[ROUNDING] < 0 || ints[ROUNDING] >= ROUNDINGS)
        return FL_BAD_SHAPE;
    resize layer = {.op = {&type},
                    .kernels = attributes->kernels,
                    .first = (size_t)ints[FIRST],
                    .count = (size_t)ints[COUNT],
                    .linear = ints[LINEAR] != 0,
                    .rule = (int)ints[RULE],
                    .rounding = (int)ints[ROUNDING]};
    for (size_t i = 0; i < layer.count; i++) {
        const float scale = attributes->floats[i];
        if (ints[SIZES + i] < 0 || !(scale >= 0 && scale < INFINITY))
            return FL_BAD_SHAPE;
        layer.size[2 - layer.count + i] = (size_t)ints[SIZES + i];
        layer.scale[2 - layer.count + i] = scale;
    }
    resize *made = fl_alloc(sizeof *made);
    if (!made)
        return FL_NO_MEMORY;
    *made = layer;
    *op = &made->op;
    return FL_OK;
}
