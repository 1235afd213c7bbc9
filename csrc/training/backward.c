/* SPDX-License-Identifier: MIT */
/*
 * One backward call: its workspace, the list of all work, and who takes what.
 *
 * The list, in which each item stands after everything that it waits for:
 *
 *     the top layer through time; then for each layer below it: that layer through time, and the
 *     gradients of the weights of the one above; the gradients of the lowest layer's weights; with
 * two directions, the sum of their parts of dx
 *
 * Threads take items in this order and wait, where needed, for ones that others have taken, so
 * nobody waits for work that nobody does. The gradients of one layer's weights fill the time while
 * the next layer goes through time.
 */
#include "training/backward.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/size.h"
#include "base/threads.h"
#include "forward/plan.h"
#include "kernels/run.h"
#include "training/backward_job.h"
#include "training/through_time.h"
#include "training/weight_gradients.h"

/* A nap counts as so many operations towards the next look whether to stop; a thread naps between
   looks after so many seconds without work. */
static const double NAP_FLOP = 5e6, IDLE_SECONDS = 50e-6;

/* Rows of the tape whose products are summed in one chain, which is then added to the sum of the
   rows before them: rounding errors grow with the length of either chain. 64 rows leave the biases
   of an RNN 1.5 times less error than 512 do and cost at most 2 % of a backward call. */
enum { SPAN_LEAST = 64, SPAN_MOST = 256 };

enum { THROUGH_TIME, WEIGHTS, SUM, END };
typedef struct fl_item {
    int what;
    size_t layer, dir, index; /* index: of the block or the part */
} fl_item;

static void divide(fl_backward_job *job)
{
    const fl_net *net = job->net;
    const fl_config *f = &net->config;
    const size_t batch = job->tape->batch;
    const double flop = 4.0 * (double)net->cell->gates * (double)f->hidden *
                        (double)(f->input + net->width) * (double)job->tape->total *
                        (double)net->tracks;
    job->threads = flop < FL_THREADS_FLOP || !job->call->threads ? 1 : job->call->threads;
    job->blocks = fl_plan_blocks(batch, job->threads);
    job->rows_max = fl_ceil_div(batch, job->blocks);
    job->chunk_rows = fl_plan_chunk_steps(job->rows_max) * job->rows_max;
    /* Two parts for each thread end nearly together even when one thread starts late. */
    job->parts = job->threads > 1 ? 2 * job->threads : 1;
    if (job->parts > net->panels)
        job->parts = net->panels;
    job->part_panels = fl_ceil_div(net->panels, job->parts);
    job->parts = fl_ceil_div(net->panels, job->part_panels);
    size_t most = (job->blocks > job->parts ? job->blocks : job->parts) * f->dirs;
    if (job->threads > most)
        job->threads = most;
    job->span = SPAN_LEAST;
    while (job->span < SPAN_MOST && job->span * job->span < job->tape->total)
        job->span *= 2;
}

/* Carves the workspace; without a base it is only counted. */
static void carve_workspace(fl_carver *carver, fl_backward_job *job)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const fl_config *f = &net->config;
    const size_t fs = sizeof(float), upper = f->dirs * net->width;
    const size_t in_max = f->layers > 1 && upper > f->input ? upper : f->input;
    const size_t rows = fl_add(fl_add(in_max, net->width), 2), kk = net->panels * net->group;
    const size_t full = fl_plain_pad(net, f->hidden), N = tape->total;
    const int has_dzh = fl_has_dzh(net);
    job->scratch = fl_carve(carver, job->threads, sizeof(fl_backward_scratch));
    job->tracks_done = fl_carve(carver, fl_mul(f->layers, job->blocks), sizeof(atomic_size_t));
    job->parts_done = fl_carve(carver, f->layers, sizeof(atomic_size_t));
    for (size_t parity = 0; parity < 2 && parity < f->layers; parity++)
        for (size_t d = 0; d < f->dirs; d++) {
            /* Layer 0 is even. Its dx goes to the caller at once, unless two directions meet there.
             */
            const int even = parity == 0;
            size_t dx = f->layers > (even ? 2 : 1) ? upper : 0;
            if (even && job->call->dx && f->dirs == 2 && f->input > dx)
                dx = f->input;
            fl_delta delta = {
                .dz = fl_carve(carver, fl_mul(kk, N), fs),
                .dzh = fl_carve(carver, has_dzh ? fl_mul(kk, N) : 0, fs),
                .h = fl_carve(carver, f->proj ? fl_mul(full, N) : 0, fs),
                .dh = fl_carve(carver, f->proj ? fl_mul(net->width, N) : 0, fs),
                .dx = fl_carve(carver, fl_mul(fl_mul(tape->steps, tape->batch), dx), fs),
                .dx_row = dx,
            };
            if (!has_dzh)
                delta.dzh = delta.dz;
            job->delta[parity][d] = delta;
        }
    const size_t sums = fl_mul(fl_mul(job->part_panels, rows), net->group);
    const size_t pointers = rows > job->chunk_rows ? rows : job->chunk_rows;
    const size_t rows_dh = fl_mul(job->rows_max, fl_plain_pad(net, net->width));
    const size_t rows_full = f->proj || net->cell->reset ? fl_mul(job->rows_max, full) : 0;
    for (size_t i = 0; i < job->threads; i++) {
        fl_backward_scratch scratch = {
            .slot = {.polls = i == 0},
            .a = fl_carve(carver, pointers, sizeof(float *)),
            .dz_rows = fl_carve(carver, fl_mul(2 * job->chunk_rows, kk), fs),
            .dzh_rows = fl_carve(carver, has_dzh ? fl_mul(2 * job->chunk_rows, kk) : 0, fs),
            .dh = fl_carve(carver, rows_dh, fs),
            .dh_full = fl_carve(carver, rows_full, fs),
            .dc = fl_carve(carver, fl_mul(job->rows_max, tape->hidden_pad), fs),
            .dx = fl_carve(carver, fl_mul(job->chunk_rows, fl_plain_pad(net, in_max)), fs),
            .strips = fl_carve(carver, fl_weight_gradients_strips(net, in_max, job->span), fs),
            .from = {fl_carve(carver, job->span, sizeof(float *)),
                     fl_carve(carver, job->span, sizeof(float *))},
            .h = {fl_carve(carver, job->rows_max, sizeof(float *)),
                  fl_carve(carver, job->rows_max, sizeof(float *))},
            .sums = fl_carve(carver, sums, fs),
        };
        if (!has_dzh)
            scratch.dzh_rows = scratch.dz_rows;
        if (carver->base)
            job->scratch[i] = scratch;
    }
}

/* Item `at` of the list. */
static fl_item item_of(const fl_backward_job *job, size_t at)
{
    const fl_config *f = &job->net->config;
    const size_t tracks = job->blocks * f->dirs, parts = job->parts * f->dirs;
    for (size_t l = f->layers; l-- > 0;) {
        if (at < tracks)
            return (fl_item){THROUGH_TIME, l, at / job->blocks, at % job->blocks};
        at -= tracks;
        if (l + 1 == f->layers)
            continue;
        if (at < parts)
            return (fl_item){WEIGHTS, l + 1, at / job->parts, at % job->parts};
        at -= parts;
    }
    if (at < parts)
        return (fl_item){WEIGHTS, 0, at / job->parts, at % job->parts};
    at -= parts;
    if (job->call->dx && at < job->blocks)
        return (fl_item){SUM, 0, 0, at};
    return (fl_item){END, 0, 0, 0};
}

static size_t tracks_done(fl_backward_job *job, size_t layer, size_t block)
{
    return atomic_load_explicit(&job->tracks_done[layer * job->blocks + block],
                                memory_order_acquire);
}

static int ready(fl_backward_job *job, const fl_item *x)
{
    const fl_config *f = &job->net->config;
    if (x->what == SUM)
        return tracks_done(job, 0, x->index) == f->dirs;
    if (x->what == WEIGHTS) {
        for (size_t i = 0; i < job->blocks; i++)
            if (tracks_done(job, x->layer, i) < f->dirs)
                return 0;
        return 1;
    }
    if (x->layer + 1 < f->layers && tracks_done(job, x->layer + 1, x->index) < f->dirs)
        return 0;
    return x->layer + 2 >= f->layers || /* whose dz are where this layer's will be */
           atomic_load_explicit(&job->parts_done[x->layer + 2], memory_order_acquire) ==
               job->parts * f->dirs;
}

/* dx past the lengths to 0, and, with two directions, the sum of their parts. Step by step: row by
   row, the first of them alone would touch every page of dx, up to 0.15 s without a poll. */
static void sum(fl_backward_job *job, fl_backward_scratch *scratch, size_t first, size_t rows)
{
    const fl_tape *tape = job->tape;
    const fl_config *f = &job->net->config;
    const fl_delta *delta = job->delta[0];
    for (size_t t = 0; t < tape->steps; t++)
        for (size_t r = first; r < first + rows; r++) {
            float *dx = job->call->dx + (ptrdiff_t)t * job->call->dx_t +
                        (ptrdiff_t)tape->order[r] * job->call->dx_b;
            const size_t at = (t * tape->batch + r) * delta[0].dx_row;
            if (t >= tape->length[r])
                memset(dx, 0, f->input * sizeof(float));
            else if (f->dirs == 2)
                for (size_t i = 0; i < f->input; i++)
                    dx[i] = delta[0].dx[at + i] + delta[1].dx[at + i];
            if (fl_should_stop(&job->context, &scratch->slot, fl_move_flop(3 * f->input)))
                return;
        }
}

static void work(fl_backward_job *job, size_t worker)
{
    fl_backward_scratch *scratch = &job->scratch[worker];
    const fl_net *net = job->net;
    for (;;) {
        fl_item x =
            item_of(job, atomic_fetch_add_explicit(&job->next_item, 1, memory_order_relaxed));
        if (x.what == END)
            return;
        double since = 0;
        while (!ready(job, &x)) {
            if (fl_stopped(&job->context))
                return;
            fl_pause();
            const double now = fl_clock();
            since = since == 0 ? now : since;
            if (now - since < IDLE_SECONDS)
                continue;
            fl_nap();
            fl_should_stop(&job->context, &scratch->slot, NAP_FLOP);
        }
        const size_t first = x.index * job->tape->batch / job->blocks;
        const size_t rows = (x.index + 1) * job->tape->batch / job->blocks - first;
        if (x.what == THROUGH_TIME) {
            if (fl_through_time(job, scratch, x.layer, x.dir, first, rows) != FL_OK)
                return;
            atomic_fetch_add_explicit(&job->tracks_done[x.layer * job->blocks + x.index], 1,
                                      memory_order_release);
        } else if (x.what == WEIGHTS) {
            const size_t p0 = x.index * job->part_panels, p1 = p0 + job->part_panels;
            if (fl_weight_gradients(job, scratch, x.layer, x.dir, p0,
                                    p1 < net->panels ? p1 : net->panels) != FL_OK)
                return;
            atomic_fetch_add_explicit(&job->parts_done[x.layer], 1, memory_order_release);
        } else {
            sum(job, scratch, first, rows);
        }
    }
}

static void enter_and_work(void *job, size_t worker)
{
    const fl_context *context = &((fl_backward_job *)job)->context;
    fl_enter(context);
    work(job, worker);
    fl_leave(context);
}

int fl_backward(const fl_net *net, const fl_backward_weights *weights, const fl_back_call *call)
{
    fl_backward_job job = {.net = net, .weights = weights, .call = call, .tape = call->tape};
    divide(&job);
    fl_carver carver = {0};
    carve_workspace(&carver, &job);
    carver = (fl_carver){.base = fl_alloc_lasting(carver.used)};
    if (!carver.base)
        return FL_NO_MEMORY;
    carve_workspace(&carver, &job);
    const size_t layers = net->config.layers;
    for (size_t i = 0; i < layers * job.blocks; i++)
        atomic_init(&job.tracks_done[i], 0);
    for (size_t i = 0; i < layers; i++)
        atomic_init(&job.parts_done[i], 0);
    atomic_init(&job.next_item, 0);
    fl_context_init(&job.context, net->kernels, call->poll, call->poll_arg);
    fl_team_run(job.threads, enter_and_work, &job);
    const int e = fl_stopped(&job.context);
    fl_free(carver.base);
    return e == FL_FORKED ? fl_backward(net, weights, call) : e;
}
