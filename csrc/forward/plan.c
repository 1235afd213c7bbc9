/* SPDX-License-Identifier: MIT */
#include "forward/plan.h"

#include "base/size.h"
#include "base/threads.h"

/* The most rows of a block, and rows (steps times the block's rows) of a chunk. 24 rows fill every
   register tile and make the input product bound by arithmetic; more only spread the reading of the
   panels thinner. The bound on a block's rows keeps z (rows x 4H floats) near the size of a core's
   cache, however large B is. */
enum { BLOCK_ROWS = 64, CHUNK_ROWS = 48 };

/* Rows that a block must have before one is made for another thread. */
enum { SPLIT_ROWS = 4 };

/* With several threads a stack has at least WAVE_CHUNKS chunks, as long as they have the WAVE_ROWS
   rows that fill a register tile: a layer starts when the one below has done its first chunk. */
enum { WAVE_CHUNKS = 16, WAVE_ROWS = 6 };

/* Chunks between two layers when several threads may work on a stack. With 3, a thread that finds
   no room changes layers, and the contents of its caches, more often: 4 layers at H = 256
   gained 1.66 times from a second thread, not 1.82. */
enum { RING = 6 };

/* A thread looks for a ready tile for IDLE_SECONDS and the time of a tile at IDLE_RATE operations a
   second, of which at most IDLE_MOST seconds, before it naps between looks. */
static const double IDLE_SECONDS = 50e-6, IDLE_RATE = 20e9, IDLE_MOST = 2e-3;

/*
 * When units are split (split_units.c): into at most FL_MAX_PARTS parts, each with at least the
 * work of PART_UNITS units of an LSTM, in calls of at least MIN_STEPS steps. A stack whose layers
 * have no more than WAVE_BYTES of recurrent weights is left to the grid of tiles, where each core
 * has its own layer in its cache. What a second thread gives two layers with 2 MiB of L2, as a
 * wavefront of tiles and split by units: H = 256: 1.94 and 1.79, 320: 1.47 and 1.91, 384: 1.37
 * and 2.72, 512: 1.55 and 2.24.
 */
enum { MIN_STEPS = 8 };
#if defined(FL_SPLIT_HOOK)
enum { PART_UNITS = 8 };
static const double WAVE_BYTES = 0;
#else
enum { PART_UNITS = 96 };
static const double WAVE_BYTES = 2.5e6;
#endif

size_t fl_plan_blocks(size_t batch, size_t threads)
{
    const size_t blocks = fl_ceil_div(batch, BLOCK_ROWS);
    if (threads <= 1)
        return blocks;
    const size_t most = batch / SPLIT_ROWS ? batch / SPLIT_ROWS : 1;
    const size_t want = fl_ceil_div(blocks, threads) * threads;
    return want < most ? want : blocks > most ? blocks : most;
}

size_t fl_plan_chunk_steps(size_t rows_max) { return fl_ceil_div(CHUNK_ROWS, rows_max); }

/* Into how many parts to split the units of each layer of a call of one block and one direction. */
static size_t split_parts(const fl_net *net, const fl_call *call, size_t threads)
{
    const fl_config *config = &net->config;
    size_t parts = config->hidden * net->cell->gates / 4 / PART_UNITS;
    const double weights = 8.0 * (double)(net->cell->gates * config->hidden * net->width);
    if (config->proj || net->cell->reset || call->tape || call->steps < MIN_STEPS ||
        (config->layers > 1 && weights <= WAVE_BYTES))
        return 1;
    parts = parts < FL_MAX_PARTS ? parts : FL_MAX_PARTS;
    parts = parts < threads ? parts : threads;
#if !defined(FL_SPLIT_HOOK) /* threads that share a CPU cannot help each other */
    if (parts > 1) {
        const size_t cpus = fl_cpus();
        parts = parts < cpus ? parts : cpus;
    }
#endif
    return parts ? parts : 1;
}

fl_plan fl_plan_call(const fl_net *net, const fl_call *call)
{
    const fl_config *config = &net->config;
    const double steps = (double)call->steps * (double)call->batch * (double)net->tracks;
    const double step_flop = 2.0 * (double)net->cell->gates * (double)config->hidden *
                             (double)(config->input + net->width); /* of one row of one track */
    const int small = step_flop * steps < FL_THREADS_FLOP;
    fl_plan plan = {.threads = small || !call->threads ? 1 : call->threads, .parts = 1, .ring = 1};
    plan.blocks = fl_plan_blocks(call->batch, plan.threads);
    if (plan.threads > 1) {
        /* As many threads can help as there are tracks that can run side by side. */
        const size_t tracks = plan.blocks * (config->dirs == 1 ? config->layers : config->dirs);
        if (plan.blocks == 1 && config->dirs == 1)
            plan.parts = split_parts(net, call, plan.threads);
        if (plan.parts > 1)
            plan.threads = plan.parts;
        else if (plan.threads > tracks)
            plan.threads = tracks;
    }
    plan.rows_max = fl_ceil_div(call->batch, plan.blocks);
    plan.open_blocks = plan.threads < plan.blocks ? plan.threads : plan.blocks;
    plan.chunk_steps = fl_plan_chunk_steps(plan.rows_max);
    if (plan.threads > 1 && plan.parts == 1) {
        plan.ring = RING;
        if (config->layers > 1 && config->dirs == 1) {
            const size_t least = fl_ceil_div(WAVE_ROWS, plan.rows_max);
            const size_t even = call->steps / WAVE_CHUNKS;
            const size_t want = even > least ? even : least;
            plan.chunk_steps = want < plan.chunk_steps ? want : plan.chunk_steps;
        }
    }
    if (plan.chunk_steps > call->steps)
        plan.chunk_steps = call->steps;
    plan.chunk_rows = plan.chunk_steps * plan.rows_max;
    plan.patience = step_flop * (double)plan.chunk_rows / IDLE_RATE;
    plan.patience = (plan.patience < IDLE_MOST ? plan.patience : IDLE_MOST) + IDLE_SECONDS;
    plan.hidden_pad = net->unit_panels * net->panel_units;
    plan.proj_pad = net->proj_panels * net->plain_group;
    return plan;
}
