/* SPDX-License-Identifier: MIT */
/* A call of the team that checks what the team promises. */
#ifndef FL_THREADS_JOB_H
#define FL_THREADS_JOB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/threads.h"
#include "check.h"

enum { THREADS = 16, PARTS = 96 };

static double seconds(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void spin(double time)
{
    for (double end = seconds(CLOCK_MONOTONIC) + time; seconds(CLOCK_MONOTONIC) < end;)
        ;
}

static void rest(double time)
{
    struct timespec t = {(time_t)time, (long)(1e9 * (time - (double)(time_t)time))};
    nanosleep(&t, NULL);
}

/* One call. Only the counters are atomic: ThreadSanitizer then finds every missing order between
   the caller's writes, the workers' reads and writes, and the caller's reads. */
typedef struct job {
    int open; /* 1 while the call runs */
    size_t threads, parts;
    double part_time,
        nap; /* seconds that a part takes, and that a worker spins after its last one */
    pthread_t caller;
    uint32_t in[PARTS], out[PARTS]; /* out is a function of in and of the part's number */
    unsigned char done[PARTS], worked[THREADS];
    atomic_size_t next, entered, left;
} job;

static void work(void *arg, size_t worker)
{
    job *j = arg;
    atomic_fetch_add_explicit(&j->entered, 1, memory_order_relaxed);
    CHECK(j->open == 1);
    CHECK(worker < j->threads);
    CHECK((worker == 0) == (pthread_equal(pthread_self(), j->caller) != 0));
    j->worked[worker]++;
    for (size_t i; (i = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed)) < j->parts;) {
        if (j->part_time > 0)
            spin(j->part_time);
        j->out[i] = j->in[i] * 2654435761u + (uint32_t)i;
        j->done[i]++;
    }
    if (worker && j->nap > 0)
        spin(j->nap);
    CHECK(j->open == 1);
    atomic_fetch_add_explicit(&j->left, 1, memory_order_relaxed);
}

/* Makes one call and checks that every part was done once. Returns how many workers took part
   besides the caller. */
static size_t run_job(job *j, size_t threads, size_t parts, uint64_t *state)
{
    j->threads = threads;
    j->parts = parts;
    j->caller = pthread_self();
    memset(j->done, 0, sizeof j->done);
    memset(j->worked, 0, sizeof j->worked);
    for (size_t i = 0; i < parts; i++) {
        j->in[i] = draw(state);
        j->out[i] = 0;
    }
    atomic_store_explicit(&j->next, 0, memory_order_relaxed);
    const size_t before = atomic_load_explicit(&j->entered, memory_order_relaxed);
    CHECK(before == atomic_load_explicit(&j->left, memory_order_relaxed));
    j->open = 1;
    fl_team_run(threads, work, j);
    j->open = 0;
    const size_t entered = atomic_load_explicit(&j->entered, memory_order_relaxed) - before;
    CHECK(entered == atomic_load_explicit(&j->left, memory_order_relaxed) - before);
    size_t workers = 0;
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(j->worked[i] <= (i < threads));
        workers += j->worked[i];
    }
    CHECK(j->worked[0] == 1 && workers == entered);
    for (size_t i = 0; i < parts; i++)
        CHECK(j->done[i] == 1 && j->out[i] == j->in[i] * 2654435761u + (uint32_t)i);
    return workers - 1;
}

#endif
