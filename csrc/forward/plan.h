/* SPDX-License-Identifier: MIT */
/*
 * How the work of a forward call is divided: into how many blocks of rows and chunks of time, and
 * among how many threads. A plan follows from the network's sizes, format and kernels, from what
 * fl_plan_call reads of the call, and from how many CPUs this process may use. Making it allocates
 * nothing and runs no kernel.
 */
#ifndef FL_PLAN_H
#define FL_PLAN_H

#include "network/network.h"

typedef struct fl_plan {
    size_t threads;              /* the most that work on the call, its caller included */
    size_t blocks;               /* into how many blocks the rows are cut */
    size_t rows_max;             /* rows of the largest block */
    size_t chunk_steps;          /* steps of a chunk of time */
    size_t chunk_rows;           /* chunk_steps * rows_max */
    size_t open_blocks;          /* blocks that are worked on at the same time */
    size_t ring;                 /* chunks kept between two layers of a one-directional stack */
    size_t parts;                /* into which each layer's units are split among threads
                                    (split_units.h); 1: they are not split */
    size_t hidden_pad, proj_pad; /* H and P in whole panels */
    double patience;             /* seconds a thread looks for a ready tile before it naps */
} fl_plan;

/* The most parts of split units. */
enum { FL_MAX_PARTS = 4 };

/* The plan of a call. Of the call are read batch, steps, threads, and whether `tape` and `run` are
   NULL. */
fl_plan fl_plan_call(const fl_net *net, const fl_call *call);

/* A call of fewer than FL_THREADS_FLOP floating-point operations runs on one thread, and so does
   one of fewer than FL_RUN_FLOP that has an fl_call.run. 3e6 operations take about 30 us of
   AVX-512, which is what waking a thread costs. The threads of an fl_call.run spin for longer than
   the team's before they sleep: they begin 3 us after they were asked. */
#if defined(FL_SPLIT_HOOK) /* tests of threads use small work */
#define FL_THREADS_FLOP 0.0
#define FL_RUN_FLOP 0.0
#else
#define FL_THREADS_FLOP 3e6
#define FL_RUN_FLOP 0.25e6
#endif

/* Into how many blocks `batch` rows are cut for so many threads: at least one for each thread,
   where there are enough rows. Forward and backward calls use the same blocks. */
size_t fl_plan_blocks(size_t batch, size_t threads);

/* How many steps a chunk has if blocks have up to rows_max rows. */
size_t fl_plan_chunk_steps(size_t rows_max);

/* The first row of a block. Blocks differ by at most one row. */
static inline size_t fl_block_first(size_t block, size_t blocks, size_t batch)
{
    return block * batch / blocks;
}

#endif
