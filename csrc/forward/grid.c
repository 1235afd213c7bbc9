/* SPDX-License-Identifier: MIT */
#include "forward/grid.h"

#include <string.h>

#include "base/clock.h"
#include "forward/blocks.h"
#include "forward/tile.h"
#include "kernels/run.h"

/* A nap counts as so many operations towards the next time that the thread looks whether to stop.
 */
static const double NAP_FLOP = 5e6;

void fl_grid_carve(fl_carver *carver, fl_grid *grid, fl_job *job)
{
    const fl_plan *plan = &job->plan;
    const size_t tracks = fl_mul(plan->blocks, job->net->tracks);
    grid->job = job;
    grid->progress = fl_carve(carver, tracks, sizeof *grid->progress);
    grid->closed = fl_carve(carver, plan->blocks, sizeof *grid->closed);
    grid->memory = fl_carve(carver, plan->open_blocks, sizeof *grid->memory);
    for (size_t i = 0; i < plan->open_blocks; i++) {
        const fl_block_memory memory = fl_block_memory_carve(carver, job);
        if (!carver->base)
            continue;
        atomic_init(&grid->memory[i].block, FL_UNUSED);
        grid->memory[i].memory = memory;
    }
    if (!carver->base)
        return;
    memset(grid->progress, 0, tracks * sizeof *grid->progress);
    memset(grid->closed, 0, plan->blocks * sizeof *grid->closed);
    atomic_init(&grid->next_block, 0);
    atomic_init(&grid->blocks_left, plan->blocks);
}

static fl_progress *progress_of(const fl_grid *grid, size_t number, size_t layer, size_t dir)
{
    const fl_net *net = grid->job->net;
    return &grid->progress[number * net->tracks + layer * net->config.dirs + dir];
}

static size_t done(const fl_grid *grid, size_t number, size_t layer, size_t dir)
{
    return atomic_load_explicit(&progress_of(grid, number, layer, dir)->done, memory_order_acquire);
}

/* May a chunk of a layer run? The layer below must have made its input, and the layer above must
   have read what is in the place of its output. */
static int ready(const fl_grid *grid, size_t number, size_t layer, size_t chunk)
{
    const fl_config *config = &grid->job->net->config;
    const size_t chunks = grid->job->block[number].chunks;
    if (config->dirs == 2)
        return layer == 0 || (done(grid, number, layer - 1, 0) == chunks &&
                              done(grid, number, layer - 1, 1) == chunks);
    return (layer == 0 || done(grid, number, layer - 1, 0) > chunk) &&
           (layer == config->layers - 1 ||
            done(grid, number, layer + 1, 0) + grid->job->plan.ring > chunk);
}

/* Runs tiles of one track for as long as they are ready; returns how many. */
static size_t work_on_track(fl_grid *grid, fl_scratch *scratch, size_t number, size_t layer,
                            size_t dir)
{
    fl_job *job = grid->job;
    const fl_block *block = &job->block[number];
    const size_t chunk_steps = job->plan.chunk_steps;
    fl_progress *track = progress_of(grid, number, layer, dir);
    size_t ran = 0;
    int idle = 0;
    /* A look before the exchange leaves the cache line with the thread that works on the track. */
    if (atomic_load_explicit(&track->busy, memory_order_relaxed) ||
        !atomic_compare_exchange_strong_explicit(&track->busy, &idle, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return 0;
    size_t chunk = atomic_load_explicit(&track->done, memory_order_relaxed);
    for (; chunk < block->chunks && ready(grid, number, layer, chunk); ran++) {
        const size_t s0 = chunk * chunk_steps, left = block->memory.length[0] - s0;
        const size_t s1 = left < chunk_steps ? s0 + left : s0 + chunk_steps;
        const fl_sequence in = fl_layer_input(job, block, layer, chunk);
        const fl_sequence out = fl_layer_output(job, block, layer, chunk);
        if (fl_tile_run(job, scratch, block, layer, dir, &in, &out, s0, s1) != FL_OK)
            break; /* the context says why */
        atomic_store_explicit(&track->done, ++chunk, memory_order_release);
    }
    atomic_store_explicit(&track->busy, 0, memory_order_release);
    return ran;
}

/* Have all tracks of a block done all their chunks? */
static int complete(const fl_grid *grid, size_t number)
{
    const fl_net *net = grid->job->net;
    for (size_t i = 0; i < net->tracks; i++)
        if (done(grid, number, i / net->config.dirs, i % net->config.dirs) <
            grid->job->block[number].chunks)
            return 0;
    return 1;
}

/* Begins the next block if the memory is unused, runs the tiles that are ready of the block that
   uses it, and ends the block if it is complete. Returns how many such things were done. */
static size_t work_on_block(fl_grid *grid, fl_scratch *scratch, fl_grid_memory *memory)
{
    fl_job *job = grid->job;
    const fl_config *config = &job->net->config;
    size_t ran = 0, number = FL_UNUSED;
    if (atomic_compare_exchange_strong_explicit(&memory->block, &number, FL_CHANGING,
                                                memory_order_acquire, memory_order_acquire)) {
        number = atomic_fetch_add_explicit(&grid->next_block, 1, memory_order_relaxed);
        if (number >= job->plan.blocks)
            return 0; /* it stays FL_CHANGING, since no block is left that needs it */
        fl_block_start(job, &scratch->slot, number, &memory->memory);
        atomic_store_explicit(&memory->block, number, memory_order_release);
        ran++;
    } else if (number == FL_CHANGING) {
        return 0;
    }
    for (size_t layer = config->layers; layer-- > 0;)
        for (size_t dir = 0; dir < config->dirs; dir++)
            ran += work_on_track(grid, scratch, number, layer, dir);
    if (complete(grid, number) &&
        !atomic_exchange_explicit(&grid->closed[number], 1, memory_order_relaxed)) {
        fl_block_end(job, &scratch->slot, &job->block[number]);
        atomic_store_explicit(&memory->block, FL_UNUSED, memory_order_release);
        atomic_fetch_sub_explicit(&grid->blocks_left, 1, memory_order_release);
        ran++;
    }
    return ran;
}

/* Is every block done, or the call stopped? */
static int finished(fl_grid *grid)
{
    return atomic_load_explicit(&grid->blocks_left, memory_order_acquire) == 0 ||
           fl_stopped(&grid->job->context) != FL_OK;
}

/* May a thread that finds no work now find some later? Only if more than one track is not done, or
   a block has not begun. */
static int tracks_left(const fl_grid *grid)
{
    const fl_job *job = grid->job;
    const size_t dirs = job->net->config.dirs;
    size_t left = 0, open = 0;
    for (size_t i = 0; i < job->plan.open_blocks; i++) {
        const size_t number = atomic_load_explicit(&grid->memory[i].block, memory_order_acquire);
        if (number == FL_UNUSED || number == FL_CHANGING)
            continue;
        open++;
        for (size_t t = 0; t < job->net->tracks; t++)
            left += done(grid, number, t / dirs, t % dirs) < job->block[number].chunks;
    }
    return left > 1 || atomic_load_explicit(&grid->blocks_left, memory_order_acquire) > open;
}

/* The caller of the call stays until all is done. Workers leave when no work for them can come. */
static void work(fl_grid *grid, size_t worker)
{
    fl_job *job = grid->job;
    const fl_plan *plan = &job->plan;
    fl_scratch *scratch = &job->scratch[worker];
    double idle_since = 0;
    while (!finished(grid)) {
        size_t ran = 0;
        for (size_t i = 0; i < plan->open_blocks; i++)
            ran += work_on_block(grid, scratch, &grid->memory[(worker + i) % plan->open_blocks]);
        if (ran) {
            idle_since = 0;
            continue;
        }
        fl_pause();
        const double now = fl_clock();
        if (idle_since == 0)
            idle_since = now;
        if (worker && !tracks_left(grid))
            return;
        if (now - idle_since < plan->patience)
            continue;
        fl_nap(); /* the thread that holds the tile we need may be waiting for this very CPU */
        fl_should_stop(&job->context, &scratch->slot, NAP_FLOP);
    }
}

void fl_grid_work(void *grid, size_t worker)
{
    const fl_context *context = &((fl_grid *)grid)->job->context;
    fl_enter(context);
    work(grid, worker);
    fl_leave(context);
}
