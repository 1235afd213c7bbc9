/* SPDX-License-Identifier: MIT */
/*
 * The grid of tiles (block x track x chunk of time), and who takes which.
 *
 *     time ->             chunk 0   chunk 1   chunk 2   chunk 3
 *     layer 2             ready                                    # done
 *     layer 1             #         ready
 *     layer 0             #         #         ready                a wavefront of one block
 *
 * A tile is ready when the one before it in its track is done and what it reads of the layer below
 * is there: in a one-directional stack the same chunk of that layer, in a bidirectional one all of
 * it. In a one-directional stack the layer above must also have read the chunk of outputs that the
 * tile overwrites (the ring of fl_block_memory.between). A thread that is free takes a ready tile,
 * of the uppermost layer first. This one rule lets threads work on several blocks, on both
 * directions and on several layers at the same time. In a one-directional stack one thread alone
 * takes a chunk through all layers before the next chunk, and memory does not grow with T.
 */
#ifndef FL_GRID_H
#define FL_GRID_H

#include <stdatomic.h>

#include "base/size.h"
#include "forward/job.h"

/* The progress of one track of a block. `done` tiles are done. The thread that has set `busy` to 1
   is at work on the next one. */
typedef struct fl_progress {
    atomic_int busy;
    atomic_size_t done;
} fl_progress;

/* Memory for one open block. */
typedef struct fl_grid_memory {
    /* The number of the block that uses the memory; FL_UNUSED; or FL_CHANGING while a thread begins
       a block in it. */
    atomic_size_t block;
    fl_block_memory memory;
} fl_grid_memory;
#define FL_UNUSED SIZE_MAX
#define FL_CHANGING (SIZE_MAX - 1)

typedef struct fl_grid {
    fl_job *job;
    fl_progress *progress;  /* [blocks][tracks] */
    atomic_int *closed;     /* [blocks]: 1 once a thread has taken on the end of the block */
    fl_grid_memory *memory; /* [open_blocks] */
    atomic_size_t next_block, blocks_left;
} fl_grid;

/* Carves the grid's memory and fills in the grid. If the carver has no base, memory is only
 * counted. */
void fl_grid_carve(fl_carver *carver, fl_grid *grid, fl_job *job);

/* One thread's part of the call, for fl_team_run; `grid` is an fl_grid. The caller is worker 0. */
void fl_grid_work(void *grid, size_t worker);

#endif
