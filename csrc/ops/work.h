/* SPDX-License-Identifier: MIT */
/*
 * Work that falls into independent items, such as the elements of an output, or its rows, done by
 * several threads in pieces.
 *
 * It is done in rounds of about a millisecond, and the caller's poll is asked between two rounds,
 * when no thread is at work. So whatever the poll does, even if it forks this process, no item is
 * half done, and an item may overwrite its own inputs.
 */
#ifndef FL_WORK_H
#define FL_WORK_H

#include "ops/operator.h"

typedef struct fl_work {
    const fl_kernels *kernels;
    size_t items;
    double cost; /* about how many ns one item takes */
    /* Does items from .. to - 1; `slot` is different for threads that work at the same time, and
       below fl_work_threads. FL_OK, or FL_BAD_VALUE, which ends the work. */
    int (*run)(void *arg, size_t slot, size_t from, size_t to);
    void *arg;
} fl_work;

/* How many of `threads` threads are worth their start: at least 1. */
size_t fl_work_threads(size_t items, double cost, size_t threads);

/* FL_OK, FL_INTERRUPTED, or what `run` answered. */
int fl_work_run(const fl_work *work, const fl_caller *caller);

#endif
