/* SPDX-License-Identifier: MIT */
#include "ops/pool.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/contract.h"
#include "kernels/parallel.h"
#include "ops/window.h"

enum { AXES, AUTO_PAD, CEIL, NUMBER, WINDOW }; /* places in ints */
enum { MAX, AVERAGE, LP };
enum { BLOCK = 64, BLOCK_NUMBERS = 4096 }; /* positions; and so many numbers of y at least */
enum { FEW = 4 };                          /* channels */

typedef struct pool {
    fl_operator op;
    const fl_kernels *kernels;
    fl_window window;
    int kind, number;
} pool;

typedef struct job {
    const pool *layer;
    fl_windows w;
    const float *x;
    float *y;
} job;

static void free_pool(fl_operator *op) { fl_free(op); }

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    const pool *layer = (const pool *)op;
    fl_windows w;
    if (ins != 1 || outs != 1 || fl_windows_of(&layer->window, in, &w) != FL_OK)
        return FL_BAD_SHAPE;
    return fl_windows_out(&layer->window, &w, w.channels, out);
}

/* ---- one tap, for n channels ---- */

static void take_max(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = ((x[i] > y[i]) | (x[i] != x[i])) ? x[i] : y[i];
}

static void add(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void add_power(float *restrict y, const float *restrict x, size_t n, int p)
{
    for (size_t i = 0; i < n; i++)
        y[i] += p == 2 ? x[i] * x[i] : fabsf(x[i]);
}

/* The taps first .. end - 1 of a window that begins at `at` and whose positions are below `limit`
   and not below `least`. */
static void taps_within(ptrdiff_t at, size_t size, size_t dilation, ptrdiff_t least,
                        ptrdiff_t limit, size_t *first, size_t *end)
{
    const ptrdiff_t step = (ptrdiff_t)dilation;
    const size_t before = at < least ? (size_t)((least - at + step - 1) / step) : 0;
    const size_t below = at < limit ? (size_t)((limit - at + step - 1) / step) : 0;
    *end = below < size ? below : size;
    *first = before < *end ? before : *end;
}

/* How many positions average_pool divides by along one axis. */
static size_t counted(const pool *layer, const fl_windows *w, int axis, ptrdiff_t at, size_t first,
                      size_t end)
{
    if (!layer->number)
        return end - first;
    const ptrdiff_t limit = (ptrdiff_t)(w->in[axis] + w->end[axis]);
    taps_within(at, layer->window.size[axis], layer->window.dilation[axis],
                -(ptrdiff_t)w->begin[axis], limit, &first, &end);
    return end - first;
}

static void position(const job *job, size_t n, size_t o1, size_t o2, float *y)
{
    const pool *layer = job->layer;
    const fl_window *window = &layer->window;
    const fl_windows *w = &job->w;
    const size_t channels = w->channels, o[] = {o1, o2};
    ptrdiff_t at[2];
    size_t first[2], end[2];
    for (int axis = 0; axis < 2; axis++) {
        at[axis] = (ptrdiff_t)(o[axis] * window->stride[axis]) - (ptrdiff_t)w->begin[axis];
        taps_within(at[axis], window->size[axis], window->dilation[axis], 0, (ptrdiff_t)w->in[axis],
                    &first[axis], &end[axis]);
    }
    for (size_t i = 0; i < channels; i++)
        y[i] = layer->kind == MAX ? -INFINITY : 0.0f;
    for (size_t t1 = first[0]; t1 < end[0]; t1++)
        for (size_t t2 = first[1]; t2 < end[1]; t2++) {
            const size_t i1 = (size_t)(at[0] + (ptrdiff_t)(t1 * window->dilation[0]));
            const size_t i2 = (size_t)(at[1] + (ptrdiff_t)(t2 * window->dilation[1]));
            const float *x = job->x + ((n * w->in[0] + i1) * w->in[1] + i2) * channels;
            if (layer->kind == MAX)
                take_max(y, x, channels);
            else if (layer->kind == AVERAGE)
                add(y, x, channels);
            else
                add_power(y, x, channels, layer->number);
        }
    if (layer->kind == AVERAGE) {
        const size_t count = counted(layer, w, 0, at[0], first[0], end[0]) *
                             counted(layer, w, 1, at[1], first[1], end[1]);
        const float by = (float)(count ? count : 1);
        for (size_t i = 0; i < channels; i++)
            y[i] /= by;
    } else if (layer->kind == LP && layer->number == 2)
        for (size_t i = 0; i < channels; i++)
            y[i] = sqrtf(y[i]);
}

/* One tap of a maximum for n positions of few channels, whose windows are `step` floats apart. */
static inline void take_few(float *restrict y, const float *restrict x, size_t n, size_t step,
                            const size_t channels)
{
    for (size_t o = 0; o < n; o++)
        take_max(y + o * channels, x + o * step, channels);
}

/* Maxima of positions first .. end - 1 of a row, whose windows are inside of x along the second
   axis. A position of two channels took 19 ns alone. */
static void few_channels(const job *job, size_t n, size_t o1, size_t first, size_t end, float *y)
{
    const fl_window *window = &job->layer->window;
    const fl_windows *w = &job->w;
    const size_t channels = w->channels, count = end - first, step = window->stride[1] * channels;
    const ptrdiff_t at1 = (ptrdiff_t)(o1 * window->stride[0]) - (ptrdiff_t)w->begin[0];
    const size_t at2 = first * window->stride[1] - w->begin[1];
    size_t tap, last;
    taps_within(at1, window->size[0], window->dilation[0], 0, (ptrdiff_t)w->in[0], &tap, &last);
    for (size_t i = 0; i < count * channels; i++)
        y[i] = -INFINITY;
    for (; tap < last; tap++)
        for (size_t t2 = 0; t2 < window->size[1]; t2++) {
            const size_t i1 = (size_t)(at1 + (ptrdiff_t)(tap * window->dilation[0]));
            const size_t i2 = at2 + t2 * window->dilation[1];
            const float *x = job->x + ((n * w->in[0] + i1) * w->in[1] + i2) * channels;
            if (channels == 1)
                take_few(y, x, count, step, 1);
            else if (channels == 2)
                take_few(y, x, count, step, 2);
            else
                take_few(y, x, count, step, channels);
        }
}

/* The positions of a row between which windows are inside of x along the second axis. */
static void inside(const job *job, size_t *first, size_t *end)
{
    const fl_window *window = &job->layer->window;
    const fl_windows *w = &job->w;
    const size_t reach = fl_window_extent(window, 1) - 1;
    *first = fl_ceil_div(w->begin[1], window->stride[1]);
    *end = w->in[1] + w->begin[1] > reach
               ? (w->in[1] + w->begin[1] - reach - 1) / window->stride[1] + 1
               : 0;
}

/* Positions o2 .. end - 1 of a row. */
static void row(const job *job, size_t n, size_t o1, size_t o2, size_t end, float *y)
{
    const size_t channels = job->w.channels;
    size_t from = end, to = end;
    if (job->layer->kind == MAX && channels <= FEW) {
        inside(job, &from, &to);
        from = from < o2 ? o2 : from;
        to = to < end ? to : end;
    }
    for (; o2 < end; o2++, y += channels) {
        if (o2 == from && from < to) {
            few_channels(job, n, o1, from, to, y);
            y += (to - from) * channels;
            o2 = to;
            if (o2 == end)
                return;
        }
        position(job, n, o1, o2, y);
    }
}

static double flop_of(const pool *layer, const fl_windows *w, size_t positions)
{
    return 16.0 * (double)positions * (double)layer->window.size[0] *
           (double)layer->window.size[1] * (double)(w->channels + 8);
}

static int run_block(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t item,
                     size_t count)
{
    const job *job = arg;
    const fl_windows *w = &job->w;
    /* Of large windows fewer positions, so that the next look whether to stop is never far off. */
    const double few = FL_POLL_FLOP / flop_of(job->layer, w, 1);
    const size_t most = few < BLOCK ? (size_t)few + 1 : BLOCK;
    (void)worker;
    for (size_t i = item, end = item + count, here; i < end; i += here) {
        const size_t o = i / w->out[1], o2 = i % w->out[1];
        here = w->out[1] - o2 < end - i ? w->out[1] - o2 : end - i;
        here = here < most ? here : most;
        row(job, o / w->out[0], o % w->out[0], o2, o2 + here, job->y + i * w->channels);
        if (fl_should_stop(context, slot, flop_of(job->layer, w, here)))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    job job = {.layer = (const pool *)op, .x = in->at, .y = out->at};
    (void)ins, (void)outs, (void)arena;
    if (fl_count(out) == 0)
        return FL_OK;
    fl_windows_of(&job.layer->window, in, &job.w);
    const size_t positions = fl_windows_count(&job.w);
    const size_t few = BLOCK_NUMBERS / (job.w.channels ? job.w.channels : 1);
    const size_t block = few > BLOCK ? few : BLOCK;
    const size_t threads = fl_useful_threads(caller->threads, fl_ceil_div(positions, block),
                                             flop_of(job.layer, &job.w, positions));
    return fl_parallel(job.layer->kernels, caller, threads, positions, block, run_block, &job);
}

static int make(const fl_operator_type *type, int kind, const fl_attributes *a, fl_operator **op)
{
    pool layer = {.op = {type}, .kernels = a->kernels, .kind = kind};
    if (a->int_count < WINDOW || a->ints[AXES] < 1 || a->ints[AXES] > 2 ||
        a->int_count != (size_t)(WINDOW + a->ints[AXES] * FL_WINDOW_INTS) ||
        a->ints[NUMBER] < (kind == LP) || a->ints[NUMBER] > kind ||
        fl_window_read(a->ints + WINDOW, a->ints[AXES], a->ints[AUTO_PAD], &layer.window) != FL_OK)
        return FL_BAD_SHAPE;
    layer.number = (int)a->ints[NUMBER];
    layer.window.ceil = a->ints[CEIL] != 0;
    pool *made = fl_alloc(sizeof *made);
    if (!made)
        return FL_NO_MEMORY;
    *made = layer;
    *op = &made->op;
    return FL_OK;
}

int fl_make_max_pool(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "max_pool", .shape = shape, .run = run, .free = free_pool};
    return make(&type, MAX, attributes, op);
}

int fl_make_average_pool(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "average_pool", .shape = shape, .run = run, .free = free_pool};
    return make(&type, AVERAGE, attributes, op);
}

int fl_make_lp_pool(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "lp_pool", .shape = shape, .run = run, .free = free_pool};
    return make(&type, LP, attributes, op);
}
