/* SPDX-License-Identifier: MIT */
/*
 * Calls of one block of few rows in one direction, whose units are split among the threads:
 *
 *     leader     product of share 0 | step 0 | step 1 | step 2 | ...      a span of steps
 *     helper     product of share 1 | step 0 | step 1 | step 2 | ...
 *                                        each thread waits for the others after every step
 *
 * Such a call has only one tile at a time in each layer, so tiles cannot be shared out. Each thread
 * takes some of the panels, and so of the units, and has their weights in its core's cache. A
 * stack's layers are run one after the other in this way if their weights are too large for a
 * wavefront (plan.c decides).
 *
 * The thread that made the call leads; the others are helpers. A helper may still be at work when
 * the call is over. It then touches the job, its scratch, its span and the weights, and nothing
 * else.
 */
#ifndef FL_SPLIT_UNITS_H
#define FL_SPLIT_UNITS_H

#include <stdatomic.h>

#include "base/size.h"
#include "forward/job.h"

/* What the leader and one helper tell each other. */
typedef struct fl_helper {
    _Alignas(64) atomic_int state; /* AWAY and so on, in split_wait.h */
    atomic_int cpu;                /* the CPU that the helper was last seen on */
    size_t span, share; /* the numbers of the span and the share that it works on; the leader writes
                           them before it sets the state to WORKING */
} fl_helper;

/* The progress of one thread in a span: 2 * (stages done), plus ABANDONED (split_wait.h) once the
   others have gone on without it. split_share.h says what a stage is. */
typedef struct fl_share {
    _Alignas(64) atomic_size_t count;
} fl_share;

/* Steps s0 .. s0 + steps - 1 of one layer, whose input product is made at once, by `shares`
   threads. The same rows run in all of them. */
typedef struct fl_span {
    size_t layer;
    size_t s0, steps, rows, shares;
    int descending;               /* of the first step, as in contract.h */
    float *x;                     /* [steps][rows][in]: a copy of the layer's input, with values
                                     below FL_TINY set to 0 */
    float *h[2], *c[2];           /* [rows_max][hidden_pad]: step number i of the span reads h and c
                                     at i % 2 and writes the others */
    fl_share share[FL_MAX_PARTS]; /* share 0 is the leader's */
} fl_span;

typedef struct fl_split {
    fl_job *job;
    const fl_block *block;
    fl_block_memory memory;
    double arrive, answer;          /* seconds that the leader waits for helpers (split_wait.h) */
    size_t alone_first, alone;      /* rows that the leader runs alone when no helper answers: at
                                       first, and the next time */
    atomic_int over;                /* 1: the call is over, and helpers leave */
    _Alignas(64) atomic_int cpu;    /* the CPU that the leader was last seen on; -1: not known */
    fl_helper helper[FL_MAX_PARTS]; /* worker i has helper[i]; 0, the leader's number, is unused */
    fl_span span[FL_MAX_PARTS - 1]; /* as many as helpers: each of these may still be at work in a
                                       span that has been abandoned when the next one begins */
} fl_split;

/* Carves the memory of spans and of the block and fills in the split. If the carver has no base,
   memory is only counted. */
void fl_split_carve(fl_carver *carver, fl_split *split, fl_job *job);

/* One thread's part of the call, for fl_team_lend; `split` is an fl_split. The caller is worker 0.
 */
void fl_split_work(void *split, size_t worker);

#endif
