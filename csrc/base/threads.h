/* SPDX-License-Identifier: MIT */
/* The team: worker threads shared by every call of the process. Any thread may call. */
#ifndef FL_TEAM_H
#define FL_TEAM_H

#include <stddef.h>

/*
 * Runs work(arg, 0) on the caller and work(arg, i), 1 <= i < threads, on up to threads - 1 workers
 * that are free or can be made, and returns when every one that has started has returned. What they
 * wrote is visible to the caller then. A worker that was asked but has not started when the
 * caller's own work(arg, 0) returns is taken back, never waited for: `work` must be correct for any
 * set of workers that includes 0, so its parts are drawn from a shared counter.
 *
 * A call never waits for another one's workers: it gets those that are idle now, and new ones while
 * the team is smaller than threads - 1 or than the CPUs at hand. No thread can be made, no memory:
 * fewer workers, at worst none. `work` may call fl_team_run itself. Workers run in the default
 * floating-point environment, not in the caller's.
 *
 * A fork leaves the team behind; the child makes a new one when it first needs it. If work(arg, 0)
 * itself forks, its call returns in the child without the other workers' results; work(arg, i > 0)
 * must not fork.
 */
void fl_team_run(size_t threads, void (*work)(void *arg, size_t worker), void *arg);

/*
 * The same, but workers still at work a few microseconds after work(arg, 0) has returned are left
 * to it: each calls release(arg) once its own work(arg, i) has returned. Returns how many those
 * are. For calls that would rather lose a worker that is not on a CPU than wait for it.
 */
size_t fl_team_lend(size_t threads, void (*work)(void *arg, size_t worker), void *arg,
                    void (*release)(void *arg));

/* Forks between the process that first used the team and this one: if it has changed in the middle
   of a call, the call's workers are gone, with whatever they had in hand. */
size_t fl_team_forks(void);

/* CPUs that this process may use now. */
size_t fl_cpus(void);

/* The CPU that the calling thread is on; -1 where the system does not say. */
int fl_cpu(void);

/* Workers alive, idle ones included. */
size_t fl_team_size(void);

#endif
