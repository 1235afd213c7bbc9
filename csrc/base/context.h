/* SPDX-License-Identifier: MIT */
/*
 * The context of one call into the core: which kernels it runs on, and how all of its threads learn
 * that it should stop. It knows nothing of networks.
 *
 * Only the thread that made the call calls the caller's poll, about every millisecond of work. When
 * the poll asks to stop, this thread writes the reason into `stopped`, which the other threads read
 * at the same intervals.
 */
#ifndef FL_CONTEXT_H
#define FL_CONTEXT_H

#include <stdatomic.h>
#include <stddef.h>

#include "fastlstm.h"

typedef struct fl_context {
    const fl_kernels *kernels;
    void (*enter)(void), (*leave)(void); /* around all work of a thread, but not around the poll;
                                            NULL: there is nothing to do */
    int (*poll)(void *); /* the caller's; nonzero ends the call; NULL: nothing ends it */
    void *poll_arg;
    size_t forks;       /* fl_team_forks() of base/threads.h when the call began */
    atomic_int stopped; /* FL_OK, or the reason why every thread should leave */
} fl_context;

/*
 * The reason for stopping in a child process that the poll itself has forked, as a signal handler
 * of Python's may. The other threads do not exist in the child, and the work they had taken is half
 * done, so fl_forward and the other entry points run the whole call again there.
 */
enum { FL_FORKED = -100 };

/* One thread of a call. */
typedef struct fl_slot {
    double flop; /* floating-point operations since it last looked whether to stop */
    int polls;   /* 1: this is the thread that made the call, which alone calls the poll; else 0 */
} fl_slot;

/* Sets enter and leave to NULL; fl_run_init of kernels/run.h sets them to those of `kernels`. */
void fl_context_init(fl_context *context, const fl_kernels *kernels, int (*poll)(void *),
                     void *poll_arg);

/* Called after `flop` operations of work: nonzero if the thread should leave the call. It polls and
   reads `stopped` only once FL_POLL_FLOP operations have gathered in the slot, and answers 0
   otherwise. */
int fl_should_stop(fl_context *context, fl_slot *slot, double flop);

/* FL_OK, or why the call stops: FL_INTERRUPTED or FL_FORKED. */
static inline int fl_stopped(const fl_context *context)
{
    return atomic_load_explicit(&context->stopped, memory_order_relaxed);
}

/* Operations after which a thread looks again whether to stop: about 1 ms with AVX-512, 20 ms on
   the slowest target. Tests define fewer. */
#if !defined(FL_POLL_FLOP)
#define FL_POLL_FLOP 1e8
#endif

/* How many operations moving n floats counts as: more than one each, because a float may come from
   memory, or be the first that is touched on its page. */
static inline double fl_move_flop(size_t n) { return 64.0 * (double)n; }

#endif
