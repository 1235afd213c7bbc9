/* SPDX-License-Identifier: MIT */
/* The team: worker threads that all calls of the process share. Any thread may call these
   functions. */
#ifndef FL_TEAM_H
#define FL_TEAM_H

#include <stddef.h>

/*
 * Runs work(arg, 0) on the calling thread and work(arg, i), with a different i in 1 .. threads - 1
 * each, on up to threads - 1 workers that are idle or can be made; 0 threads count as 1. It returns
 * when every worker that has started has returned; what they wrote is visible to the caller then. A
 * worker that was asked but has not started when work(arg, 0) returns is called off and not waited
 * for. So `work` must do everything whichever of the workers take part, 0 alone included: for
 * example by taking the parts of its work from a shared counter.
 *
 * A call never waits for the workers of another call. It gets those that are idle now, and new ones
 * while the team has fewer than threads - 1 workers or, with the caller, fewer than there are CPUs.
 * A team has at most 1023 workers. Where a thread cannot be made, for want of memory for instance,
 * there are fewer workers, at worst none. `work` may call fl_team_run itself. Workers run in the
 * default floating-point environment, not in the caller's.
 *
 * The child of a fork has no workers, and makes a new team when it first needs one. If work(arg, 0)
 * itself forks, fl_team_run returns in the child without the other workers' results; work(arg, i)
 * with i > 0 must not fork.
 */
void fl_team_run(size_t threads, void (*work)(void *arg, size_t worker), void *arg);

/*
 * The same, but it waits only a few microseconds after work(arg, 0) has returned. Workers that are
 * still at work then go on, and each of them calls release(arg) once its work(arg, i) has returned;
 * until then arg must stay valid. Returns how many they are; 0 in a child that work(arg, 0) has
 * forked. It is for calls that would rather lose a worker that the system has taken off its CPU
 * than wait for it.
 */
size_t fl_team_lend(size_t threads, void (*work)(void *arg, size_t worker), void *arg,
                    void (*release)(void *arg));

/* How many forks lie between the process that first used the team and this one; always 0 on
   Windows. If the number has changed in the middle of a call, this process is a child in which the
   call's workers do not exist, and what they were working on is half done. */
size_t fl_team_forks(void);

/* CPUs that the calling thread may use now: on Linux those of its affinity mask, elsewhere all. A
   container's quota of time does not count. */
size_t fl_cpus(void);

/* The CPU that the calling thread is on; -1 where the system does not say. */
int fl_cpu(void);

/* Workers alive, idle ones included. */
size_t fl_team_size(void);

#endif
