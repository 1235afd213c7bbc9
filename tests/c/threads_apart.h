/* SPDX-License-Identifier: MIT */
/* threads_driver apart: which CPUs a worker may use while it is woken and while it works. */
#ifndef THREADS_APART_H
#define THREADS_APART_H

#include <sched.h>

#include "threads_calls.h"

#if defined(__linux__)
static cpu_set_t all_cpus;                      /* that the process may use here */
static _Atomic(int) kept_off, came_back, where; /* how often; the one CPU that was left out */

/* For a csrc/base/threads.c compiled with -Dpthread_setaffinity_np=set_cpus. A caller leaves one
   CPU out, its own, and the worker takes it in again. */
int set_cpus(pthread_t thread, size_t size, const cpu_set_t *cpus)
{
    if (CPU_COUNT(&all_cpus)) {
        cpu_set_t left_out;
        CPU_XOR(&left_out, &all_cpus, cpus);
        if (pthread_equal(thread, pthread_self())) {
            CHECK(CPU_COUNT(&left_out) == 0);
            atomic_fetch_add(&came_back, 1);
        } else {
            CHECK(CPU_COUNT(&left_out) == 1);
            for (int i = 0; i < CPU_SETSIZE; i++)
                if (CPU_ISSET(i, &left_out))
                    atomic_store(&where, i);
            atomic_fetch_add(&kept_off, 1);
        }
    }
    return pthread_setaffinity_np(thread, size, cpus);
}

/* Both wait for each other, so that the worker takes part, and it may use all CPUs again. */
static void meet(void *arg, size_t worker)
{
    const double end = seconds(CLOCK_MONOTONIC) + HANG;
    cpu_set_t now;
    CHECK(pthread_getaffinity_np(pthread_self(), sizeof now, &now) == 0);
    CHECK(worker == 0 || CPU_EQUAL(&now, &all_cpus));
    atomic_fetch_add((atomic_size_t *)arg, 1);
    while (atomic_load((atomic_size_t *)arg) < 2)
        CHECK(seconds(CLOCK_MONOTONIC) < end);
}

static void test_apart(size_t n)
{
    cpu_set_t found, one;
    int used[2], cpus = 0;
    CHECK(sched_getaffinity(0, sizeof found, &found) == 0);
    CPU_ZERO(&all_cpus);
    for (int i = 0; i < CPU_SETSIZE && cpus < 2; i++)
        if (CPU_ISSET(i, &found)) {
            CPU_SET(i, &all_cpus);
            used[cpus++] = i;
        }
    CHECK(sched_setaffinity(0, sizeof all_cpus, &all_cpus) == 0);
    for (size_t i = 0; i < n && cpus == 2; i++) {
        atomic_size_t met = 0;
        fl_team_run(2, meet, &met); /* the worker is there, and can use both CPUs */
        CPU_ZERO(&one);
        CPU_SET(used[i % 2], &one);
        CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
        const double end = seconds(CLOCK_MONOTONIC) + HANG;
        const int before = atomic_load(&kept_off);
        do { /* until the worker was asleep when it was asked */
            CHECK(seconds(CLOCK_MONOTONIC) < end);
            rest(1e-3);
            atomic_store(&met, 0);
            fl_team_run(2, meet, &met);
        } while (atomic_load(&kept_off) == before);
        CHECK(atomic_load(&where) == used[i % 2]);
        CHECK(sched_setaffinity(0, sizeof all_cpus, &all_cpus) == 0);
    }
    CHECK(atomic_load(&kept_off) == atomic_load(&came_back));
    printf("%d times kept off its caller's CPU\n", atomic_load(&kept_off));
}
#else
static void test_apart(size_t n) { (void)n; }
#endif

#endif
