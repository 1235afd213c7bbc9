/* SPDX-License-Identifier: MIT */
/*
 * Work that consists of independent items, such as the rows of an operator's output or the panels
 * of a matrix, divided among the team of threads. There is one way to divide them: each worker
 * takes a block of items when it is free. fl_in_rounds is the same in pieces of about a
 * millisecond, for work that does not look itself whether to stop, or that overwrites its inputs.
 */
#ifndef FL_PARALLEL_H
#define FL_PARALLEL_H

#include "base/context.h"
#include "kernels/contract.h"

/* Who calls, for operators and for packing: how many threads may work, and how they learn
   whether to stop. */
typedef struct fl_caller {
    size_t threads;      /* at most so many; 0 and 1: the calling thread alone */
    int (*poll)(void *); /* as in fl_call: called about every millisecond of work; NULL: never */
    void *poll_arg;
} fl_caller;

/* Items first .. first + count - 1 of a job, by worker number `worker`. FL_OK, or another result,
   which ends the run. It calls fl_should_stop itself, directly or in fl_run_gemm. It need not call
   fl_enter and fl_leave. */
typedef int fl_block_fn(void *job, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                        size_t count);

/*
 * Calls work for all of `count` items, in blocks of `block` and one smaller block at the end, on up
 * to `threads` workers; each takes the next block when it is free. caller->threads is not read.
 * FL_OK, what work returned, or FL_INTERRUPTED. In a child that the caller's poll has forked all
 * items are done again.
 */
int fl_parallel(const fl_kernels *kernels, const fl_caller *caller, size_t threads, size_t count,
                size_t block, fl_block_fn *work, void *job);

/* How many threads of at most `threads` are worth having for `blocks` blocks that take `flop`
   floating-point operations together: at least 1, and one for each FL_THREAD_FLOP operations. */
size_t fl_useful_threads(size_t threads, size_t blocks, double flop);

/* About 20 us of gemm with AVX-512, or 30 us of moving floats, 1 ns each, as fl_move_flop counts
   them; to wake a worker takes 5 us. A build for tests may define fewer, so that small work is
   shared out too. */
#ifndef FL_THREAD_FLOP
#define FL_THREAD_FLOP 2e6
#endif

/* Items from .. to - 1 of a job. `worker` is below fl_rounds_threads, and different for workers
   that run at the same time. FL_OK, or FL_BAD_VALUE, which ends the run. */
typedef int fl_items_fn(void *job, size_t worker, size_t from, size_t to);

/*
 * Calls work for all of `items` items, each of which takes about `cost` ns, in rounds of about a
 * millisecond, on up to caller->threads threads. The caller's poll is asked between two rounds,
 * when no worker is at work. So whatever the poll does, even if it forks this process, no item is
 * half done or done twice, and an item may overwrite its own inputs. FL_OK, what work returned, or
 * FL_INTERRUPTED.
 */
int fl_in_rounds(const fl_kernels *kernels, const fl_caller *caller, size_t items, double cost,
                 fl_items_fn *work, void *job);
/* How many workers fl_in_rounds has at most, of `threads` threads: for memory of each worker. */
size_t fl_rounds_threads(size_t items, double cost, size_t threads);

/* Is one of n floats strictly between 0 and FL_TINY in magnitude? Writes 1 or 0 to *tiny. It runs
   on the calling thread alone. FL_OK or FL_INTERRUPTED. */
int fl_find_tiny(const fl_kernels *kernels, const fl_caller *caller, const float *x, size_t n,
                 int *tiny);

#endif
