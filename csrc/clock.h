/* SPDX-License-Identifier: MIT */
/* Monotonic seconds. */
#ifndef FL_CLOCK_H
#define FL_CLOCK_H

#if defined(_WIN32)
#include <windows.h>
static inline double fl_clock(void)
{
    LARGE_INTEGER ticks, rate;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&rate);
    return (double)ticks.QuadPart / (double)rate.QuadPart;
}
#else
#include <time.h>
static inline double fl_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif

#endif
