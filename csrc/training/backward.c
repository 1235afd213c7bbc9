/* SPDX-License-Identifier: MIT */
/*
 * One backward call: its workspace, the list of all work, and who takes what.
 *
 * With layers 0 .. L - 1 the list is
 *
 *     layer L - 1 through time
 *     layer L - 2 through time, weights of layer L - 1
 *     ...
 *     layer 0 through time, weights of layer 1
 *     weights of layer 0
 *     dx: zeros past the rows' lengths and, with two directions, the sum of their parts
 *
 * where each line is one item for each direction and each block of rows or part of panels. Every
 * item stands after all items that it waits for. Threads take items in this order and wait, where
 * needed, for ones that others have taken, so nobody waits for work that nobody does. The weights
 * of one layer occupy the threads that the layer below, through time, cannot.
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
#include "training/gradient_product.h"
#include "training/through_time.h"
#include "training/weight_gradients.h"

/* A nap counts as so many operations towards the next look whether to stop; a thread naps between
   looks after so many seconds without work. */
static const double NAP_FLOP = 5e6, IDLE_SECONDS = 50e-6;

/* Rows of a span: their products are summed in one chain, which is then added to the sum of the
   spans before it. Rounding errors grow with the length of either chain, so a span has about the
   square root of the rows. Spans of 64 rows leave the biases of an RNN 1.5 times less error than
   spans of 512 and cost at most 2 % of a backward call. */
enum { SPAN_LEAST = 64, SPAN_MOST = 256 };

/* Rows of a chunk of steps whose products are of bfloat16 parts. They take so little time that
   reading the weights, which are as many bytes as in float32, has to serve more rows. */
enum { PART_CHUNK_ROWS = 96 };

enum { THROUGH_TIME, WEIGHTS, INPUT, END };
typedef struct fl_item {
    int what;
    size_t layer, dir, index; /* index: the block of rows or the part of panels */
} fl_item;

/* Decides how many threads, blocks, parts and rows of a span the call has. */
static void divide(fl_backward_job *job)
{
    const fl_net *net = job->net;
    const fl_config *config = &net->config;
    const size_t batch = job->tape->batch;
    const double flop = 4.0 * (double)net->cell->gates * (double)config->hidden *
                        (double)(config->input + net->width) * (double)job->tape->total *
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
    size_t most = (job->blocks > job->parts ? job->blocks : job->parts) * config->dirs;
    if (job->threads > most)
        job->threads = most;
    job->span = SPAN_LEAST;
    while (job->span < SPAN_MOST && job->span * job->span < job->tape->total)
        job->span *= 2;
    if (fl_by_parts(net)) {
        job->chunk_rows = fl_ceil_div(PART_CHUNK_ROWS, job->rows_max) * job->rows_max;
        job->span = fl_weight_gradients_span(net);
    }
}

/* Carves the workspace; without a base it is only counted. */
static void carve_workspace(fl_carver *carver, fl_backward_job *job)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const fl_config *config = &net->config;
    const size_t fs = sizeof(float), upper = config->dirs * net->width;
    const size_t in_max = config->layers > 1 && upper > config->input ? upper : config->input;
    const size_t rows = fl_add(fl_add(in_max, net->width), 2),
                 padded_gates = net->panels * net->group, gate_columns = fl_gate_columns(net);
    const size_t full = fl_plain_pad(net, config->hidden), N = tape->total;
    const int has_dzh = fl_has_dzh(net);
    job->scratch = fl_carve(carver, job->threads, sizeof(fl_backward_scratch));
    job->tracks_done = fl_carve(carver, fl_mul(config->layers, job->blocks), sizeof(atomic_size_t));
    job->parts_done = fl_carve(carver, config->layers, sizeof(atomic_size_t));
    for (size_t parity = 0; parity < 2 && parity < config->layers; parity++)
        for (size_t d = 0; d < config->dirs; d++) {
            /* Layer 0 has an even number. With one direction its dx goes to the caller directly. */
            const int even = parity == 0;
            size_t dx = config->layers > (even ? 2 : 1) ? upper : 0;
            if (even && job->call->dx && config->dirs == 2 && config->input > dx)
                dx = config->input;
            fl_delta delta = {
                .dz = fl_carve(carver, fl_mul(padded_gates, N), fs),
                .dzh = fl_carve(carver, has_dzh ? fl_mul(padded_gates, N) : 0, fs),
                .h = fl_carve(carver, config->proj ? fl_mul(full, N) : 0, fs),
                .dh = fl_carve(carver, config->proj ? fl_mul(net->width, N) : 0, fs),
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
    const size_t rows_full = config->proj || net->cell->reset ? fl_mul(job->rows_max, full) : 0;
    for (size_t i = 0; i < job->threads; i++) {
        fl_backward_scratch scratch = {
            .slot = {.polls = i == 0},
            .a = fl_carve(carver, pointers, sizeof(float *)),
            .dz_rows = fl_carve(carver, fl_mul(2 * job->chunk_rows, gate_columns), fs),
            .dzh_rows =
                fl_carve(carver, has_dzh ? fl_mul(2 * job->chunk_rows, gate_columns) : 0, fs),
            .step_rows = fl_carve(
                carver, fl_by_parts(net) ? fl_mul(2 * job->rows_max, padded_gates) : 0, fs),
            .codes = fl_carve(carver, fl_gradient_codes(job, in_max), 1),
            .lines = fl_carve(carver, fl_weight_gradients_lines(job), 1),
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
            .before = fl_carve(carver, fl_by_parts(net) ? sums : 0, fs),
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
    const fl_config *config = &job->net->config;
    const size_t tracks = job->blocks * config->dirs, parts = job->parts * config->dirs;
    for (size_t l = config->layers; l-- > 0;) {
        if (at < tracks)
            return (fl_item){THROUGH_TIME, l, at / job->blocks, at % job->blocks};
        at -= tracks;
        if (l + 1 == config->layers)
            continue;
        if (at < parts)
            return (fl_item){WEIGHTS, l + 1, at / job->parts, at % job->parts};
        at -= parts;
    }
    if (at < parts)
        return (fl_item){WEIGHTS, 0, at / job->parts, at % job->parts};
    at -= parts;
    if (job->call->dx && at < job->blocks)
        return (fl_item){INPUT, 0, 0, at};
    return (fl_item){END, 0, 0, 0};
}

/* How many directions of a layer are through time, for one block. */
static size_t tracks_done(fl_backward_job *job, size_t layer, size_t block)
{
    return atomic_load_explicit(&job->tracks_done[layer * job->blocks + block],
                                memory_order_acquire);
}

/* Is all that an item waits for done? */
static int ready(fl_backward_job *job, const fl_item *item)
{
    const fl_config *config = &job->net->config;
    if (item->what == INPUT)
        return tracks_done(job, 0, item->index) == config->dirs;
    if (item->what == WEIGHTS) {
        for (size_t i = 0; i < job->blocks; i++)
            if (tracks_done(job, item->layer, i) < config->dirs)
                return 0;
        return 1;
    }
    if (item->layer + 1 < config->layers &&
        tracks_done(job, item->layer + 1, item->index) < config->dirs)
        return 0;
    /* The layer two above has its dz where this layer's will be. */
    return item->layer + 2 >= config->layers ||
           atomic_load_explicit(&job->parts_done[item->layer + 2], memory_order_acquire) ==
               job->parts * config->dirs;
}

/* Sets the caller's dx past the rows' lengths to 0 and, with two directions, makes the rest of it
   the sum of their parts. It goes step by step: row by row, the first row alone would touch every
   page of dx, which took up to 0.15 s without a poll. */
static void finish_input(fl_backward_job *job, fl_backward_scratch *scratch, size_t first,
                         size_t rows)
{
    const fl_tape *tape = job->tape;
    const fl_config *config = &job->net->config;
    const fl_delta *delta = job->delta[0];
    for (size_t t = 0; t < tape->steps; t++)
        for (size_t r = first; r < first + rows; r++) {
            float *dx = job->call->dx + (ptrdiff_t)t * job->call->dx_t +
                        (ptrdiff_t)tape->order[r] * job->call->dx_b;
            const size_t at = (t * tape->batch + r) * delta[0].dx_row;
            if (t >= tape->length[r])
                memset(dx, 0, config->input * sizeof(float));
            else if (config->dirs == 2)
                for (size_t i = 0; i < config->input; i++)
                    dx[i] = delta[0].dx[at + i] + delta[1].dx[at + i];
            if (fl_should_stop(&job->context, &scratch->slot, fl_move_flop(3 * config->input)))
                return;
        }
}

static void work(fl_backward_job *job, size_t worker)
{
    fl_backward_scratch *scratch = &job->scratch[worker];
    const fl_net *net = job->net;
    for (;;) {
        fl_item item =
            item_of(job, atomic_fetch_add_explicit(&job->next_item, 1, memory_order_relaxed));
        if (item.what == END)
            return;
        double since = 0;
        while (!ready(job, &item)) {
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
        const size_t first = item.index * job->tape->batch / job->blocks;
        const size_t rows = (item.index + 1) * job->tape->batch / job->blocks - first;
        if (item.what == THROUGH_TIME) {
            if (fl_through_time(job, scratch, item.layer, item.dir, first, rows) != FL_OK)
                return;
            atomic_fetch_add_explicit(&job->tracks_done[item.layer * job->blocks + item.index], 1,
                                      memory_order_release);
        } else if (item.what == WEIGHTS) {
            const size_t p0 = item.index * job->part_panels, p1 = p0 + job->part_panels;
            if (fl_weight_gradients(job, scratch, item.layer, item.dir, p0,
                                    p1 < net->panels ? p1 : net->panels) != FL_OK)
                return;
            atomic_fetch_add_explicit(&job->parts_done[item.layer], 1, memory_order_release);
        } else {
            finish_input(job, scratch, first, rows);
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

int fl_backward(const fl_net *net, const fl_backward_weights *weights, const fl_backward_call *call)
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
    fl_run_init(&job.context, net->kernels, call->poll, call->poll_arg);
    fl_team_run(job.threads, enter_and_work, &job);
    const int e = fl_stopped(&job.context);
    fl_free(carver.base);
    return e == FL_FORKED ? fl_backward(net, weights, call) : e;
}
