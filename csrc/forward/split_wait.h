/* SPDX-License-Identifier: MIT */
/* How the threads of a split call wait for one another: states, counts and times. split_units.c
   says how the threads work together. */
#ifndef FL_SPLIT_WAIT_H
#define FL_SPLIT_WAIT_H

#include "base/clock.h"
#include "base/threads.h"
#include "forward/split_units.h"

#if defined(FL_SPLIT_HOOK) /* tests: the hook is called at each HOOK and may sleep; waits are      \
                              longer */
int fl_split_hook(const char *place);
extern double fl_split_patience;
#define HOOK(place) (void)fl_split_hook(place)
#else
#define HOOK(place) ((void)0)
#endif

/* How long the leader waits: for helpers to arrive at the start of the call and for helpers to
   answer when they are asked, of both at least so long (split_units.c), and for a helper's step
   beyond the time that the leader's share took. */
#if defined(FL_SPLIT_HOOK) /* so that helpers join on a loaded machine too */
#define ARRIVE_SECONDS (5e-3 * fl_split_patience)
#define ANSWER_SECONDS (1e-3 * fl_split_patience)
#define LATE_SECONDS (300e-6 * fl_split_patience)
#define LONG_FLOP 3e4 /* the tests' small layers have steps of both kinds (split_units.c) */
#else
#define ARRIVE_SECONDS 5e-6
#define ANSWER_SECONDS 3e-6
#define LATE_SECONDS 20e-6
#define LONG_FLOP 3e6
#endif

/* How long a helper spins before it naps between looks: the leader may need its CPU. */
#define SPIN_SECONDS 100e-6

/*
 * The state of a helper, and who sets it:
 *
 *     AWAY      it has not arrived yet; at first
 *     WAITING   it has no work; set by the helper
 *     ASKED     it is asked whether it can work now; set by the leader after WAITING
 *     READY     it can; set by the helper after ASKED
 *     WORKING   it has a span and a share; set by the leader after READY
 */
enum { AWAY, WAITING, ASKED, READY, WORKING };

/* What is added to a share's count when the others go on without it. */
enum { ABANDONED = 1 };

/* A thread's waiting: since when, and how often it has looked. */
typedef struct wait {
    double since;
    unsigned looks;
} wait;

/* Passes a few cycles. Every 32nd time it returns the seconds waited so far, otherwise 0. */
static inline double pass(wait *w)
{
    fl_pause();
    if (++w->looks % 32)
        return 0;
    const double now = fl_clock();
    if (w->since == 0)
        w->since = now;
    return now - w->since;
}

/*
 * Is the helper that calls this, number `worker`, on the leader's CPU? There it must not spin,
 * because that keeps the leader from running. Also stores the helper's CPU. Before helpers looked
 * at this, calls took twice as long as with one thread when a process of higher priority had one of
 * two cores.
 */
static inline int in_the_way(fl_split *split, size_t worker)
{
    const int cpu = fl_cpu();
    atomic_store_explicit(&split->helper[worker].cpu, cpu, memory_order_relaxed);
#if defined(FL_SPLIT_HOOK)
    return fl_split_hook("in the way");
#endif
    return cpu >= 0 && cpu == atomic_load_explicit(&split->cpu, memory_order_relaxed);
}

static inline int state_of(fl_helper *h)
{
    return atomic_load_explicit(&h->state, memory_order_acquire);
}

/* Changes a helper's state if it is `from`. Did it? */
static inline int change(fl_helper *h, int from, int to)
{
    return atomic_compare_exchange_strong_explicit(&h->state, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* The count of a share, as in fl_share. */
static inline size_t count_of(fl_span *span, size_t share)
{
    return atomic_load_explicit(&span->share[share].count, memory_order_acquire);
}

#endif
