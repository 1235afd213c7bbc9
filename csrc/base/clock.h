/* SPDX-License-Identifier: MIT */
/*
 * Time, and ways to wait.
 *
 *     fl_clock()   seconds of a clock that never goes back
 *     fl_pause()   passes a few cycles, in a loop that waits for another thread
 *     fl_nap()     gives the CPU away for about 50 us; on Windows, which has no sleep that
 *                  short, to threads that are ready to run, and returns at once if there are none
 *     fl_doze()    gives the CPU away for about 1 ms; on Windows until its next timer tick
 *                  after that
 */
#ifndef FL_CLOCK_H
#define FL_CLOCK_H

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOUSER /* it has a type INPUT, which is a constant of ours */
#include <windows.h>
#undef far /* macros for 16-bit systems, which are names of ours too */
#undef near
#define fl_pause() YieldProcessor()
static inline void fl_nap(void) { Sleep(0); }
static inline void fl_doze(void) { Sleep(1); }
static inline double fl_clock(void)
{
    LARGE_INTEGER ticks, rate;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&rate);
    return (double)ticks.QuadPart / (double)rate.QuadPart;
}
#else
#include <time.h>
static inline void fl_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
static inline void fl_nap(void)
{
    struct timespec t = {0, 50000};
    nanosleep(&t, NULL);
}
static inline void fl_doze(void)
{
    struct timespec t = {0, 1000000};
    nanosleep(&t, NULL);
}
static inline double fl_clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif

#endif
