/* SPDX-License-Identifier: MIT */
/*
 * What all threads of one forward call share.
 *
 * The rows of a call are sorted longest first and cut into blocks; time is cut into chunks. One
 * chunk of one track of one block is a tile (tile.h), and the tiles of one track follow one another
 * in time.
 *
 * Steps are counted in processing order, s = 0, 1, ... The time a row is at is t = s in a forward
 * track and t = length - 1 - s in a reverse one, so that a row's reverse pass starts at its own
 * end.
 */
#ifndef FL_JOB_H
#define FL_JOB_H

#include "base/context.h"
#include "forward/plan.h"
#include "tape/tape.h"

/* Memory of one thread. */
typedef struct fl_scratch {
    fl_slot slot;
    const float **a;    /* [chunk_rows] row pointers for gemm */
    const float **h_in; /* [rows_max] */
    float **h_out;      /* [rows_max] */
    float *z;           /* [panels][chunk_rows][G]: the input product of a chunk */
    float *full_h;      /* [rows_max][hidden_pad]: h before a projection, or r * h of a reset */
    float *proj;        /* [rows_max][proj_pad], with a projection */
    float *flushed;     /* [chunk_rows][I]: copies of the rows of x that held tiny values */
} fl_scratch;

/* Memory of one block that is worked on. */
typedef struct fl_block_memory {
    size_t *length; /* [rows_max] of the block's rows, descending */
    float *c;       /* [tracks][rows_max][hidden_pad], for cells with c */
    float *h;       /* [tracks][rows_max][K]: the state after the last chunk */
    /* What a layer hands to the one above. One direction: [L][ring][chunk_steps][rows_max][K], a
       ring of chunks above each layer. Two: buffers [T][rows_max][2 K], in turn, between[0] for the
       topmost layer if its output is not wanted by the caller. NULL: not used. */
    float *between[2];
} fl_block_memory;

/* A block of rows. It has memory while it is worked on. */
typedef struct fl_block {
    size_t first, rows; /* rows first .. first + rows - 1 in the sorted order */
    size_t chunks;
    fl_block_memory memory;
} fl_block;

typedef struct fl_job {
    fl_context context;
    const fl_net *net;
    const fl_call *call;
    fl_plan plan;
    size_t *order;       /* [B] rows, longest first; NULL: the batch's order */
    fl_block *block;     /* [blocks] */
    fl_scratch *scratch; /* [threads] */
} fl_job;

/* How many of the first `rows` rows of a block still run at step s. */
static inline size_t fl_running_rows(const fl_block *block, size_t rows, size_t s)
{
    while (rows && block->memory.length[rows - 1] <= s)
        rows--;
    return rows;
}

#endif
