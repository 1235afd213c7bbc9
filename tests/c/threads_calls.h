/* SPDX-License-Identifier: MIT */
/* Calls of the team from several threads, and the hooks by which the system is made slow or refuses
   a thread: what the tests of threads_driver.c share. */
#ifndef FL_THREADS_CALLS_H
#define FL_THREADS_CALLS_H

#include <errno.h>
#include <sched.h>

#include "threads_job.h"

enum { CALLERS = 6, HANG = 120 }; /* s, after which what waits fails */

static void count(void *arg, size_t worker)
{
    if (worker)
        atomic_fetch_add((atomic_size_t *)arg, 1);
}

/* A call that every worker takes part in: each of them calls `each`, unless that is NULL, and waits
   for the others. */
typedef struct roll_call {
    size_t workers;
    atomic_size_t seen;
    void (*each)(void);
} roll_call;

static void answer(void *arg, size_t worker)
{
    roll_call *m = arg;
    const double end = seconds(CLOCK_MONOTONIC) + HANG;
    if (worker) {
        if (m->each)
            m->each();
        atomic_fetch_add(&m->seen, 1);
    }
    while (atomic_load(&m->seen) < m->workers && seconds(CLOCK_MONOTONIC) < end)
        rest(1e-3);
}

static void call_all(size_t workers, void (*each)(void))
{
    roll_call m = {.workers = workers, .each = each};
    fl_team_run(1 + workers, answer, &m);
    CHECK(atomic_load(&m.seen) == workers);
}

/* Puts this thread on one CPU and all 15 workers on the others. Returns whether there are others.
 */
#if defined(__linux__)
static cpu_set_t others;

static void move(void) { CHECK(sched_setaffinity(0, sizeof others, &others) == 0); }

static int separate_caller(void)
{
    int here = 0;
    cpu_set_t one;
    CHECK(sched_getaffinity(0, sizeof others, &others) == 0);
    while (!CPU_ISSET(here, &others))
        here++;
    CPU_ZERO(&one);
    CPU_SET(here, &one);
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others) == 0)
        return 0;
    call_all(THREADS - 1, move);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    return 1;
}
#else
static int separate_caller(void) { return 0; }
#endif

typedef struct share {
    size_t calls, helped;
    uint64_t seed;
    atomic_int *stop; /* or NULL: end after `calls` */
} share;

static void *caller(void *arg)
{
    share *s = arg;
    uint64_t state = s->seed;
    job j = {.open = 0};
    for (size_t n = 0; s->stop ? !atomic_load(s->stop) : n < s->calls; n++) {
        const uint32_t drawn = draw(&state) % 64;
        j.part_time = drawn < 8 ? 2e-6 : 0;
        j.nap = drawn == 0 ? 1e-6 * (double)(draw(&state) % 200)
                           : 0; /* so long that the caller sleeps */
        s->helped += run_job(&j, 1 + draw(&state) % THREADS, draw(&state) % PARTS, &state);
        if (drawn == 63)
            rest(200e-6); /* long enough for workers to fall asleep */
        else if (drawn > 56)
            spin(1e-6 * (double)(draw(&state) % 80)); /* about as long as they spin */
    }
    return NULL;
}

/* begin_callers starts threads that make `calls` calls in all, or calls until *stop is set;
   end_callers waits for them and returns how often a worker took part. */
static pthread_t threads[CALLERS];
static share shares[CALLERS];

static void begin_callers(size_t callers, size_t calls, atomic_int *stop)
{
    for (size_t i = 0; i < callers; i++) {
        shares[i] = (share){calls / callers + (i < calls % callers), 0, i, stop};
        CHECK(pthread_create(&threads[i], NULL, caller, &shares[i]) == 0);
    }
}

static size_t end_callers(size_t callers)
{
    size_t helped = 0;
    for (size_t i = 0; i < callers; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        helped += shares[i].helped;
    }
    return helped;
}

/* For a csrc/base/threads.c compiled with -Dpthread_cond_wait=late_wait: every fourth thread that
   goes to sleep lingers between changing the state and sleeping, where a signal could be lost. */
int late_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    static atomic_uint calls;
    if (atomic_fetch_add(&calls, 1) % 4 == 0)
        spin(100e-6);
    return pthread_cond_wait(c, m);
}

/* For a csrc/base/threads.c compiled with -Dpthread_create=may_create: of so many threads the first
   one is not made; 0: all are made. */
static atomic_uint refuse_one_of;

int may_create(pthread_t *t, const pthread_attr_t *a, void *(*run)(void *), void *arg)
{
    static atomic_uint calls;
    const unsigned each = atomic_load(&refuse_one_of);
    if (each && atomic_fetch_add(&calls, 1) % each == 0)
        return EAGAIN;
    return pthread_create(t, a, run, arg);
}

#endif
