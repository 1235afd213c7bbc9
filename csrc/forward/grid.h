/* SPDX-License-Identifier: MIT */
/*
 * The grid of tiles (block x track x chunk of time), and who takes which.
 *
 * A tile is ready when the one before it in time is done and what it reads from the layer below is
 * there: in a one-directional stack the same chunk of that layer, in a bidirectional one all of it.
 * Whoever is free takes the next ready tile, of the uppermost layer first. This one rule gives
 * parallelism over the batch, both directions side by side and a wavefront across layers; and for
 * one thread a walk that takes a chunk through all layers before the next one, so that memory does
 * not grow with T.
 */
#ifndef FL_GRID_H
#define FL_GRID_H

#include <stdatomic.h>

#include "base/size.h"
#include "forward/job.h"

/* The progress of one track of a block. Whoever has set `busy` owns its next tile, number `done`.
 */
typedef struct fl_progress {
    atomic_int busy;
    atomic_size_t done;
} fl_progress;

/* Memory for one open block. */
typedef struct fl_grid_memory {
    /* The number of the block that has it, FL_UNUSED, or FL_CHANGING while a thread gives it to a
       block or takes it back. */
    atomic_size_t block;
    fl_block_memory memory;
} fl_grid_memory;
#define FL_UNUSED SIZE_MAX
#define FL_CHANGING (SIZE_MAX - 1)

typedef struct fl_grid {
    fl_job *job;
    fl_progress *progress;  /* [blocks][tracks] */
    atomic_int *closed;     /* [blocks]: somebody has seen to what is due at its end */
    fl_grid_memory *memory; /* [open_blocks] */
    atomic_size_t next_block, blocks_left;
} fl_grid;

/* Carves the grid's memory; without a base it is only counted. */
void fl_grid_carve(fl_carver *carver, fl_grid *grid, fl_job *job);

/* One thread's part of the call, for fl_team_run; `grid` is an fl_grid. The caller is worker 0. */
void fl_grid_work(void *grid, size_t worker);

#endif
