/* SPDX-License-Identifier: MIT */
/* The team: worker threads that all calls of the process share. Any thread may call it. */
#ifndef FL_TEAM_H
#define FL_TEAM_H

#include <stddef.h>

/*
 * Runs work(arg, 0) on the caller and work(arg, i), 1 <= i < threads, on up to threads - 1 workers
 * that are idle or can be made. It returns when every worker that has started has returned; what
 * they wrote is visible to the caller then. A worker that was asked but has not started when
 * work(arg, 0) returns is taken back and not waited for. So `work` must be correct for any set of
 * workers that includes 0: its parts are drawn from a shared counter.
 *
 * A call never waits for the workers of another call. It gets those that are idle now, and new ones
 * while the team is smaller than threads - 1 or than the CPUs at hand. Where a thread cannot be
 * made, for want of memory for instance, there are fewer workers, at worst none. `work` may call
 * fl_team_run itself. Workers run in the default floating-point environment, not in the caller's.
 *
 * A fork leaves the team behind; the child makes a new one when it first needs it. If work(arg, 0)
 * itself forks, its call returns in the child without the other workers' results; work(arg, i > 0)
 * must not fork.
 */
void fl_team_run(size_t threads, void (*work)(void *arg, size_t worker), void *arg);

/*
 * The same, but workers that are still at work a few microseconds after work(arg, 0) has returned
 * go on without being waited for; each of them calls release(arg) once its work(arg, i) has
 * returned. Returns how many those are. It is for calls that would rather lose a worker that the
 * system has taken off its CPU than wait for it.
 */
size_t fl_team_lend(size_t threads, void (*work)(void *arg, size_t worker), void *arg,
                    void (*release)(void *arg));

/* How many forks lie between the process that first used the team and this one. If the number has
   changed in the middle of a call, the call's workers do not exist in this process, and what they
   were working on is half done. */
size_t fl_team_forks(void);

/* CPUs that this process may use now. */
size_t fl_cpus(void);

/* The CPU that the calling thread is on; -1 where the system does not say. */
int fl_cpu(void);

/* Workers alive, idle ones included. */
size_t fl_team_size(void);

#endif
