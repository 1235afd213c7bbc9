/* SPDX-License-Identifier: MIT */
#include "kernels/parallel.h"

#include <stdatomic.h>

#include "base/threads.h"
#include "kernels/run.h"

typedef struct all {
    fl_context context;
    size_t count, block;
    fl_block_fn *work;
    void *job;
    atomic_size_t next; /* the first item that no worker has taken */
    atomic_int result;  /* FL_OK, or what a block returned */
} all;

static void work(void *arg, size_t worker)
{
    all *a = arg;
    fl_slot slot = {.polls = worker == 0};
    fl_enter(&a->context);
    while (fl_stopped(&a->context) == FL_OK &&
           atomic_load_explicit(&a->result, memory_order_relaxed) == FL_OK) {
        const size_t first = atomic_fetch_add_explicit(&a->next, a->block, memory_order_relaxed);
        if (first >= a->count)
            break;
        const size_t left = a->count - first, n = left < a->block ? left : a->block;
        const int e = a->work(a->job, &a->context, &slot, worker, first, n);
        if (e != FL_OK)
            atomic_store_explicit(&a->result, e, memory_order_relaxed);
    }
    fl_leave(&a->context);
}

int fl_parallel(const fl_kernels *kernels, const fl_caller *caller, size_t threads, size_t count,
                size_t block, fl_block_fn *fn, void *job)
{
    all a = {.count = count, .block = block, .work = fn, .job = job};
    do { /* again, in a child that the poll has forked */
        fl_run_init(&a.context, kernels, caller->poll, caller->poll_arg);
        atomic_init(&a.next, 0);
        atomic_init(&a.result, FL_OK);
        if (threads > 1)
            fl_team_run(threads, work, &a);
        else
            work(&a, 0);
    } while (fl_stopped(&a.context) == FL_FORKED);
    const int stopped = fl_stopped(&a.context);
    return stopped != FL_OK ? stopped : atomic_load_explicit(&a.result, memory_order_relaxed);
}

size_t fl_useful_threads(size_t threads, size_t blocks, double flop)
{
    const double worth = flop / FL_THREAD_FLOP;
    if (threads > blocks)
        threads = blocks;
    if (worth < (double)threads)
        threads = (size_t)worth;
    return threads ? threads : 1;
}

/* ns: one block that a worker takes, and one round of a worker. */
#define ROUND_BLOCK 20e3
#define ROUND 1e6

typedef struct round {
    fl_items_fn *work;
    void *job;
    size_t from; /* its first item */
} round;

static int round_block(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                       size_t count)
{
    const round *r = arg;
    (void)context, (void)slot;
    return r->work(r->job, worker, r->from + first, r->from + first + count);
}

/* How many of `items` items, each of `cost` ns, take `ns`: at least 1. */
static size_t items_in(double ns, double cost, size_t items)
{
    const double n = ns / cost;
    return n >= (double)items ? items : n < 1.0 ? 1 : (size_t)n;
}

size_t fl_rounds_threads(size_t items, double cost, size_t threads)
{
    return fl_useful_threads(threads, items, fl_move_flop(1) * cost * (double)items);
}

int fl_in_rounds(const fl_kernels *kernels, const fl_caller *caller, size_t items, double cost,
                 fl_items_fn *fn, void *job)
{
    const size_t threads = fl_rounds_threads(items, cost, caller->threads);
    const size_t each = fl_mul(items_in(ROUND, cost, items), threads);
    const size_t block = threads > 1 ? items_in(ROUND_BLOCK, cost, items) : each;
    const fl_caller quiet = {.threads = threads};
    round r = {.work = fn, .job = job};
    for (size_t left = items; left > 0; r.from = items - left) {
        const size_t n = left < each ? left : each;
        const int e = fl_parallel(kernels, &quiet, threads, n, block, round_block, &r);
        if (e != FL_OK)
            return e;
        left -= n;
        if (left && caller->poll && caller->poll(caller->poll_arg))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

int fl_find_tiny(const fl_kernels *kernels, const fl_caller *caller, const float *x, size_t n,
                 int *tiny)
{
    enum { AT_ONCE = 1 << 20 };
    *tiny = 0;
    while (n && !*tiny) {
        const size_t now = n < AT_ONCE ? n : AT_ONCE;
        *tiny = kernels->has_tiny(x, now);
        x += now;
        n -= now;
        if (n && caller->poll && caller->poll(caller->poll_arg))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}
