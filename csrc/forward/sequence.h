/* SPDX-License-Identifier: MIT */
/* Where the rows that a layer reads or writes are, for one block of rows: in the caller's arrays,
   on the tape, or in memory between two layers. */
#ifndef FL_SEQUENCE_H
#define FL_SEQUENCE_H

#include "forward/job.h"

/*
 *     row r at t:   base + (t - start) * t_step + (order ? order[r] : r) * r_step
 *
 * t is the time, or with by_step the number of the step in processing order, as it is in memory
 * between two layers of one direction.
 */
typedef struct fl_sequence {
    float *base;
    ptrdiff_t t_step, r_step;
    const size_t *order;
    size_t start;
    int by_step;
} fl_sequence;

static inline float *fl_sequence_row(const fl_sequence *q, size_t t, size_t r)
{
    size_t row = q->order ? q->order[r] : r;
    return q->base + (ptrdiff_t)(t - q->start) * q->t_step + (ptrdiff_t)row * q->r_step;
}

/* The t of step s of row r. reverse: the track goes from the rows' ends to their beginnings, and
   the sequence goes by time, not by step. */
static inline size_t fl_sequence_time(const fl_block *block, int reverse, size_t r, size_t s)
{
    return reverse ? block->memory.length[r] - 1 - s : s;
}

#endif
