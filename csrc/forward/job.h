/* SPDX-License-Identifier: MIT */
/*
 * What all threads of one forward call share.
 *
 *     block 0:  track 0:  [ chunk 0 | chunk 1 | chunk 2 ]      a tile is one chunk of steps of one
 *               track 1:  [ chunk 0 | chunk 1 | chunk 2 ]      track, for one block of rows
 *     block 1:  track 0:  [ chunk 0 | chunk 1 ]
 *               ...
 *
 * The rows of a call are sorted longest first and cut into blocks, and time is cut into chunks. The
 * tiles of one track follow one another.
 *
 * Steps are counted in the order in which they are processed, s = 0, 1, ... Step s of a row is its
 * time t = s in a forward track and t = length - 1 - s in a reverse one: a row's reverse pass
 * starts at the row's last time.
 *
 * This folder runs one call of a recurrent network. It knows no instruction set and no gradients.
 */
#ifndef FL_JOB_H
#define FL_JOB_H

#include "base/context.h"
#include "forward/plan.h"
#include "tape/tape.h"

/* Memory of one thread. */
typedef struct fl_scratch {
    fl_slot slot;
    const float **a;    /* [chunk_rows]: a gemm's row pointers */
    const float **h_in; /* [rows_max]: where h is before a step */
    float **h_out;      /* [rows_max]: where h after it is to be written */
    float *z;           /* [panels][chunk_rows][G]: the input product of a chunk */
    float *full_h;      /* [rows_max][hidden_pad]: h before a projection, r * h of a cell that
                           resets h, or the scratch of a cell with needs_scratch */
    float *proj;        /* [rows_max][proj_pad]: h after a projection, if there is one */
    float *flushed;     /* [chunk_rows][I]: copies of the rows of x that held tiny values */
    /* With weights of FL_INT8 or FL_BFLOAT16: a chunk's inputs and a step's states, encoded
       (encode.h). Scales and sums are of FL_INT8 alone. */
    void *x_codes, *h_codes;
    float *x_scales, *h_scales; /* [chunk_rows], [rows_max] */
    int32_t *x_sums, *h_sums;   /* the same */
} fl_scratch;

/* Memory for one block while it is worked on. */
typedef struct fl_block_memory {
    size_t *length; /* [rows_max]: lengths of the block's rows, longest first */
    float *c;       /* [tracks][rows_max][hidden_pad], for cells with c */
    float *h;       /* [tracks][rows_max][K]: the state after the last chunk */
    /* The outputs of layers that the layers above read. With one direction only between[0] is used,
       [L][ring][chunk_steps][rows_max][K]: a ring of chunks for each layer. With two directions a
       layer needs the whole output of the one below, so there are two buffers [T][rows_max][2 K]
       for the layers to use in turn; see uses_between in blocks.c. NULL: not used. */
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

/* How many of a block's rows have a step s. `rows`: as many as have the step before, or more. */
static inline size_t fl_running_rows(const fl_block *block, size_t rows, size_t s)
{
    while (rows && block->memory.length[rows - 1] <= s)
        rows--;
    return rows;
}

#endif
