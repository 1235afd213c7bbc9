/* SPDX-License-Identifier: MIT */
/*
 * Who says what to whom. The state of each helper, and which side changes it:
 *
 *     helper:  AWAY --helper--> WAITING --leader--> ASKED --helper--> READY --leader--> WORKING
 *                               WAITING <---------- helper, when it leaves the span -------+
 *
 * Between spans the state h and c of all layers is in the block's memory, which only the leader
 * touches. To begin a span the leader asks the helpers that wait, gives those that answer a share,
 * and copies the state into the span.
 *
 * A span has two copies of h and of c. Step number i reads copy i % 2; each thread writes the units
 * of its share to the other copy. A step is one stage or two (split_share.h), and a thread counts
 * each as done in its share. After each stage every thread waits for the counts of all others. So
 * nobody is more than one stage ahead, and nobody writes to what another thread still reads.
 *
 * A helper that the system has taken off its CPU must not hold up the call. The leader waits a
 * little longer than its own share took, and then abandons the helper's share, by a
 * compare-and-exchange of the count that fails if the helper has counted the stage after all. A
 * helper counts by a compare-and-exchange too; on an abandoned share that fails, and the helper
 * leaves the span. So when a share is abandoned, the copy that the step reads is whole, and nobody
 * will write to it. The leader copies the state from there to the block's memory and goes on alone.
 * A span is used again when every helper has left it; there is one span for each helper, so a late
 * helper never leaves the leader without one. Helpers touch the weights, the spans and their
 * scratch, never the caller's arrays, so they may still be at work when the call has returned.
 *
 * The bits are those of one thread, since a unit's sums do not depend on the thread that makes
 * them.
 */
#include "forward/split_units.h"

#include <string.h>

#include "forward/blocks.h"
#include "forward/split_share.h"
#include "forward/split_wait.h"
#include "forward/tile.h"
#include "kernels/run.h"

/*
 * A step of at least LONG_FLOP operations a row is long beside the 50 us or so in which a helper
 * wakes up at the start of a call, or from a nap. Then the leader waits up to a quarter of the step
 * for it, and what it runs alone is short. STEP_RATE is a guess, on the slow side, of how many
 * operations a second such a step does, whose weights lie in no near cache.
 */
static const double STEP_RATE = 20e9;

/*
 * How many rows, steps times the block's rows, the leader runs alone before it asks for helpers
 * again. Of long steps it is LONG_ALONE_ROWS at first and twice as many each time: with 24 from the
 * beginning 20 steps at H = 1024 ran on one thread altogether. With 8 rows at H = 256 calls took a
 * quarter longer while another process had the second core, since the input product reads all of W
 * each time.
 */
enum { ALONE_ROWS = 24, LONG_ALONE_ROWS = 2 };

/* Sets how long the leader waits and how much it runs alone. */
static void set_patience(fl_split *split)
{
    const fl_net *net = split->job->net;
    const double flop = 2.0 * (double)(net->cell->gates * net->config.hidden) *
                        (double)(net->config.input + net->width); /* of one row */
    const int is_long = flop >= LONG_FLOP;
    const double part = is_long ? flop / STEP_RATE / 4 : 0; /* of a step, in seconds */
    split->arrive = ARRIVE_SECONDS + (part < 100e-6 ? part : 100e-6);
    split->answer = ANSWER_SECONDS + (part < 100e-6 ? part : 100e-6);
    split->alone_first = split->alone = is_long ? LONG_ALONE_ROWS : ALONE_ROWS;
}

/* Sets what lies behind a state's rows to 0. The rows themselves are written before they are read,
   and are often in no near cache when a call begins. */
static void clear_padding(float *state, const fl_job *job)
{
    const size_t hidden = job->net->config.hidden, pad = job->plan.hidden_pad;
    for (size_t r = 0; r < job->plan.rows_max && hidden < pad; r++)
        memset(state + r * pad + hidden, 0, (pad - hidden) * sizeof *state);
}

void fl_split_carve(fl_carver *carver, fl_split *split, fl_job *job)
{
    const fl_net *net = job->net;
    const fl_plan *plan = &job->plan;
    const size_t place = fl_mul(plan->rows_max, plan->hidden_pad), fs = sizeof(float);
    const int upper = net->config.layers > 1 && net->width > net->config.input;
    const size_t wide = upper ? net->width : net->config.input;
    if (carver->base) {
        memset(split, 0, sizeof *split);
        split->job = job;
        set_patience(split);
        atomic_init(&split->cpu, fl_cpu());
        for (size_t i = 0; i < plan->threads; i++)
            atomic_init(&split->helper[i].state, AWAY);
    }
    const fl_block_memory memory = fl_block_memory_carve(carver, job);
    if (carver->base)
        split->memory = memory;
    for (size_t i = 0; i + 1 < plan->threads; i++) {
        float *state[4];
        for (int n = 0; n < 4; n++) {
            state[n] = fl_carve(carver, place, fs);
            if (carver->base)
                clear_padding(state[n], job);
        }
        float *x = fl_carve(carver, fl_mul(plan->chunk_rows, wide), fs);
        if (!carver->base)
            continue;
        fl_span *span = &split->span[i];
        for (int n = 0; n < 4; n++)
            *(n < 2 ? &span->h[n] : &span->c[n - 2]) = state[n];
        span->x = x;
    }
}

/* ---- a helper ---- */

/* Runs a helper's share of its span, to the last step or until the share is abandoned. */
static void help_with_span(fl_split *split, size_t worker)
{
    fl_job *job = split->job;
    fl_scratch *scratch = &job->scratch[worker];
    fl_span *span = &split->span[split->helper[worker].span];
    const size_t share = split->helper[worker].share;
    if (count_of(span, share) & ABANDONED || fl_share_product(job, scratch, span, share) != FL_OK)
        return;
    const size_t stages = span->steps * fl_share_stages(job->net);
    for (size_t stage = 0; stage < stages; stage++) {
        if (fl_share_stage(job, scratch, span, share, stage) != FL_OK)
            return;
        HOOK("counting");
        if (!atomic_compare_exchange_strong_explicit(&span->share[share].count,
                                                     &(size_t){2 * stage}, 2 * stage + 2,
                                                     memory_order_release, memory_order_relaxed))
            return;
        HOOK("counted");
        if (stage + 1 == stages)
            return;
        wait w = {0, 0};
        for (size_t q = 0; q < span->shares; q++)
            while (count_of(span, q) / 2 <= stage) {
                const double waited = pass(&w);
                if (w.looks % 32)
                    continue;
                if (count_of(span, share) & ABANDONED)
                    return;
                if (waited > SPIN_SECONDS || in_the_way(split, worker))
                    fl_nap();
            }
        fl_share_fetch(job, span, share, stage);
    }
}

static int over(fl_split *split)
{
    return atomic_load_explicit(&split->over, memory_order_acquire);
}

/* A helper's whole call: it helps with a span whenever it is asked, until the call is over. */
static void help_when_asked(fl_split *split, size_t worker)
{
    fl_helper *h = &split->helper[worker];
    wait w = {0, 0};
    HOOK("arriving");
    while (in_the_way(split, worker)) {
        if (over(split))
            return;
        fl_doze();
    }
    atomic_store_explicit(&h->state, WAITING, memory_order_release);
    while (!over(split)) {
        const int state = state_of(h);
        if (state != WORKING && (state == ASKED || w.looks % 32 == 0) &&
            in_the_way(split, worker)) {
            fl_doze();
        } else if (state == ASKED) {
            atomic_store_explicit(&h->state, READY, memory_order_release);
            w = (wait){0, 0};
        } else if (state == WORKING) {
            HOOK("joined");
            help_with_span(split, worker);
            atomic_store_explicit(&h->state, WAITING, memory_order_release);
            w = (wait){0, 0};
        } else if (pass(&w) > SPIN_SECONDS) {
            fl_nap();
        }
    }
}

/* ---- the leader ---- */

/* Waits until no helper is in the given state, or for so many seconds. */
static void wait_for(fl_split *split, int state, double seconds)
{
    wait w = {0, 0};
    for (size_t i = 1; i < split->job->plan.threads; i++)
        while (state_of(&split->helper[i]) == state)
            if (pass(&w) > seconds)
                return;
}

/* A span that no helper works on; NULL if there is none. */
static fl_span *free_span(fl_split *split)
{
    const size_t threads = split->job->plan.threads;
    for (size_t s = 0, i; s + 1 < threads; s++) {
        for (i = 1; i < threads; i++)
            if (state_of(&split->helper[i]) == WORKING && split->helper[i].span == s)
                break;
        if (i == threads)
            return &split->span[s];
    }
    return NULL;
}

static void copy_rows(float *to, size_t to_row, const float *from, size_t from_row, size_t rows,
                      size_t n)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(to + r * to_row, from + r * from_row, n * sizeof(float));
}

/* Copies one row of a layer's input, with values below FL_TINY set to 0 as fl_tile_run does. */
static void copy_input(const fl_job *job, float *copy, const float *x, size_t n)
{
    if (job->net->kernels->has_tiny(x, n))
        job->net->kernels->flush(copy, x, n);
    else
        memcpy(copy, x, n * sizeof(float));
}

/* Where a layer's h and c are between spans. */
static float *layer_h(const fl_split *split, size_t layer)
{
    return split->memory.h + layer * split->job->plan.rows_max * split->job->net->width;
}

static float *layer_c(const fl_split *split, size_t layer)
{
    return split->memory.c + layer * split->job->plan.rows_max * split->job->plan.hidden_pad;
}

/* Asks the helpers that wait, and gives those that answer in time a share each: ready[i] becomes 1.
   Returns the number of shares, the leader's included. */
static size_t gather_helpers(fl_split *split, int ready[FL_MAX_PARTS])
{
    const size_t threads = split->job->plan.threads;
#if defined(FL_SPLIT_HOOK)
    const int cpu = -1;
#else
    const int cpu = fl_cpu();
#endif
    int asked = 0;
    size_t shares = 1;
    atomic_store_explicit(&split->cpu, cpu, memory_order_relaxed);
    for (size_t i = 1; i < threads; i++)
        asked |= change(&split->helper[i], WAITING, ASKED);
    if (asked)
        wait_for(split, ASKED, split->answer);
    for (size_t i = 1; i < threads; i++) {
        fl_helper *h = &split->helper[i];
        ready[i] = state_of(h) == READY &&
                   (cpu < 0 || cpu != atomic_load_explicit(&h->cpu, memory_order_relaxed));
        shares += (size_t)ready[i];
    }
    return shares;
}

/* Begins a span for steps s0 .. s0 + steps - 1 of a layer, with those helpers that answer; NULL if
   none does. A helper that answers later gets a share of the next span. */
static fl_span *begin_span(fl_split *split, size_t layer, const fl_sequence *in, size_t s0,
                           size_t steps, size_t rows)
{
    fl_job *job = split->job;
    const fl_net *net = job->net;
    const size_t wide = net->track[layer].in, pad = job->plan.hidden_pad;
    const int reverse = net->config.reverse && !in->by_step;
    fl_span *span = free_span(split);
    int ready[FL_MAX_PARTS] = {0};
    const size_t shares = span ? gather_helpers(split, ready) : 1;
    if (shares == 1)
        return NULL;
    span->layer = layer;
    span->s0 = s0;
    span->steps = steps;
    span->rows = rows;
    span->shares = shares;
    span->descending = (int)(s0 / job->plan.chunk_steps & 1) ^ job->call->descending;
    copy_rows(span->h[0], pad, layer_h(split, layer), net->width, rows, net->width);
    if (net->cell->has_c)
        copy_rows(span->c[0], pad, layer_c(split, layer), pad, rows, pad);
    for (size_t step = 0; step < steps; step++)
        for (size_t r = 0; r < rows; r++) {
            const size_t t = fl_sequence_time(split->block, reverse, r, s0 + step);
            copy_input(job, span->x + (step * rows + r) * wide, fl_sequence_row(in, t, r), wide);
        }
    for (size_t i = 0; i < shares; i++)
        atomic_store_explicit(&span->share[i].count, 0, memory_order_relaxed);
    for (size_t i = 1, share = 1; i < job->plan.threads; i++)
        if (ready[i]) {
            split->helper[i].span = (size_t)(span - split->span);
            split->helper[i].share = share++;
            atomic_store_explicit(&split->helper[i].state, WORKING, memory_order_release);
        }
    return span;
}

/* Abandons all shares but the leader's: nobody counts in this span any more. */
static void abandon(fl_span *span)
{
    for (size_t i = 1; i < span->shares; i++)
        atomic_fetch_or_explicit(&span->share[i].count, ABANDONED, memory_order_acq_rel);
}

/* Waits until all helpers have done a stage. If one has not in time, all shares are abandoned, the
   span stays as it was before the step, and 0 is returned. */
static int all_done(fl_span *span, size_t stage, double patience)
{
    wait w = {0, 0};
    for (size_t i = 1; i < span->shares; i++)
        while (count_of(span, i) / 2 <= stage)
            if (pass(&w) > patience &&
                atomic_compare_exchange_strong_explicit(&span->share[i].count, &(size_t){2 * stage},
                                                        2 * stage + ABANDONED, memory_order_acq_rel,
                                                        memory_order_acquire)) {
                abandon(span);
                HOOK("left behind");
                return 0;
            }
    return 1;
}

/* The leader's share of a span, and the output of the steps. Returns how many steps were done. */
static size_t lead_span(fl_split *split, fl_span *span, const fl_sequence *out)
{
    fl_job *job = split->job;
    const fl_net *net = job->net;
    fl_scratch *scratch = &job->scratch[0];
    const size_t hidden = net->config.hidden, pad = job->plan.hidden_pad;
    const int reverse = net->config.reverse && !out->by_step;
    const size_t each = fl_share_stages(net), stages = each * span->steps;
    double began = fl_clock(), share_seconds = 0; /* that the leader's share of a stage takes */
    size_t stage = 0;
    int e = fl_share_product(job, scratch, span, 0);
    for (; stage < stages && e == FL_OK; stage++) {
        const double start = stage <= each ? fl_clock() : 0;
        e = fl_share_stage(job, scratch, span, 0, stage);
        if (e != FL_OK)
            break;
        atomic_store_explicit(&span->share[0].count, 2 * stage + 2, memory_order_release);
        HOOK("caller counted");
        if (stage <= each)
            share_seconds = fl_clock() - (stage ? start : began);
        if (!all_done(span, stage, LATE_SECONDS + share_seconds))
            break;
        fl_share_fetch(job, span, 0, stage);
        const size_t done = (stage + 1) / each;
        for (size_t r = 0; r < span->rows && (stage + 1) % each == 0; r++) {
            const size_t t = fl_sequence_time(split->block, reverse, r, span->s0 + done - 1);
            memcpy(fl_sequence_row(out, t, r), span->h[done % 2] + r * pad, hidden * sizeof(float));
        }
    }
    const size_t step = stage / each;
    if (e != FL_OK)
        abandon(span);
    if (step == span->steps)
        HOOK("span done");
    copy_rows(layer_h(split, span->layer), hidden, span->h[step % 2], pad, span->rows, hidden);
    if (net->cell->has_c)
        copy_rows(layer_c(split, span->layer), pad, span->c[step % 2], pad, span->rows, pad);
    return step;
}

/* Runs steps s .. end - 1 of a layer, all of which have the same rows: by spans with those helpers
   that answer, and alone while none does. */
static void lead_steps(fl_split *split, size_t layer, const fl_sequence *in, const fl_sequence *out,
                       size_t s, size_t end, size_t rows)
{
    fl_job *job = split->job;
    while (s < end && fl_stopped(&job->context) == FL_OK) {
        fl_span *span = begin_span(split, layer, in, s, end - s, rows);
        s += span ? lead_span(split, span, out) : 0;
        if (s == end) {
            split->alone = split->alone_first;
            wait_for(split, WORKING, ANSWER_SECONDS);
            return;
        }
        size_t alone = fl_ceil_div(split->alone, rows);
        alone = alone < job->plan.chunk_steps ? alone : job->plan.chunk_steps;
        split->alone = 2 * split->alone < ALONE_ROWS ? 2 * split->alone : ALONE_ROWS;
        alone = alone < end - s ? alone : end - s;
        fl_tile_run(job, &job->scratch[0], split->block, layer, 0, in, out, s, s + alone);
        s += alone;
    }
}

/* Where a layer's output goes, from step s on. */
static fl_sequence output_from(const fl_split *split, size_t layer, size_t s)
{
    const fl_job *job = split->job;
    fl_sequence q = fl_layer_output(job, split->block, layer, 0);
    if (!job->call->y || layer + 1 < job->net->config.layers)
        q.start = s;
    return q;
}

/* Runs all steps of the block: part by part of time, and in each part layer after layer. */
static void lead(fl_split *split)
{
    fl_job *job = split->job;
    const fl_call *call = job->call;
    const fl_block *block = split->block;
    const size_t last = block->memory.length[0], chunk_steps = job->plan.chunk_steps;
    wait_for(split, AWAY, split->arrive);
    for (size_t s = 0, steps; s < last && fl_stopped(&job->context) == FL_OK; s += steps) {
        const size_t rows = fl_running_rows(block, block->rows, s);
        const size_t same = block->memory.length[rows - 1] - s; /* steps with as many rows */
        const size_t spans = (same + chunk_steps - 1) / chunk_steps;
        fl_sequence in = fl_caller_rows(job, block, call->x, call->x_t, call->x_b);
        steps = (same + spans - 1) / spans;
        for (size_t layer = 0; layer < job->net->config.layers; layer++) {
            const fl_sequence out = output_from(split, layer, s);
            lead_steps(split, layer, &in, &out, s, s + steps, rows);
            in = out;
        }
    }
}

static void run_call(fl_split *split)
{
    fl_job *job = split->job;
    fl_slot *slot = &job->scratch[0].slot;
    split->block = &job->block[0];
    fl_block_start(job, slot, 0, &split->memory);
    lead(split);
    if (fl_stopped(&job->context) == FL_OK)
        fl_block_end(job, slot, split->block);
    atomic_store_explicit(&split->over, 1, memory_order_release);
}

void fl_split_work(void *split, size_t worker)
{
    const fl_context *context = &((fl_split *)split)->job->context;
    fl_enter(context);
    if (worker)
        help_when_asked(split, worker);
    else
        run_call(split);
    fl_leave(context);
}
