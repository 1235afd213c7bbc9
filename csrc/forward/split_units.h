/* SPDX-License-Identifier: MIT */
/*
 * Calls of one block of few rows in one direction, whose units are split among the threads.
 *
 * One layer of such a call has one tile at a time, so its units are split. A stack's are too, one
 * layer after the other, where the weights are too large for a wavefront's caches (plan.c decides).
 * Each thread makes the input product of its own panels for a span of steps, then takes the span's
 * steps together with the others, and has its share of the weights in its own core's cache.
 *
 * The caller's thread leads; the others are helpers. A helper may still be at work when the call is
 * over: it then touches the job, its own scratch, its span and the weights, and nothing else.
 */
#ifndef FL_SPLIT_UNITS_H
#define FL_SPLIT_UNITS_H

#include <stdatomic.h>

#include "base/size.h"
#include "forward/job.h"

/* The slot of a helper. */
typedef struct fl_helper {
    _Alignas(64) atomic_int state;
    atomic_int cpu;     /* the CPU that the helper was last seen on */
    size_t span, share; /* which it works on; the leader writes them before WORKING */
} fl_helper;

/* A thread's share of a span. Its count is 2 * (steps done), plus ABANDONED once the others have
   gone on without it. */
typedef struct fl_share {
    _Alignas(64) atomic_size_t count;
} fl_share;

/* Steps of one layer that are taken together. The same rows run in all of them. */
typedef struct fl_span {
    size_t layer;
    size_t s0, steps, rows, shares;
    int descending;               /* of the first step, as in contract.h */
    float *x;                     /* [steps][rows][in], tiny values set to 0 */
    float *h[2], *c[2];           /* [rows_max][hidden_pad] */
    fl_share share[FL_MAX_PARTS]; /* share 0 is the leader's */
} fl_span;

typedef struct fl_split {
    fl_job *job;
    const fl_block *block;
    fl_block_memory memory;
    atomic_int over;                /* nonzero: the helpers should leave */
    _Alignas(64) atomic_int cpu;    /* the leader's */
    fl_helper helper[FL_MAX_PARTS]; /* of workers 1 ..; 0 is not used */
    fl_span span[FL_MAX_PARTS - 1]; /* at worst each helper is left behind in one of its own */
} fl_split;

/* Carves the memory of spans and of the block; without a base it is only counted. */
void fl_split_carve(fl_carver *carver, fl_split *split, fl_job *job);

/* One thread's part of the call, for fl_team_lend; `split` is an fl_split. The caller is worker 0.
 */
void fl_split_work(void *split, size_t worker);

#endif
