/* SPDX-License-Identifier: MIT */
#include "ops/work.h"

#include <stdatomic.h>

#include "base/threads.h"
#include "kernels/contract.h"

/* ns: what a thread should have to do, of one piece that it takes, and of one round of a thread. */
#define LEAST_SHARE 30e3
#define PIECE 20e3
#define ROUND 1e6

typedef struct job {
    const fl_work *work;
    size_t to, piece;
    atomic_size_t next; /* the first item that no thread has taken */
    atomic_int status;
} job;

size_t fl_work_threads(size_t items, double cost, size_t threads)
{
    const double shares = (double)items * cost / LEAST_SHARE;
    if (threads < 2 || shares < 2.0)
        return 1;
    return shares < (double)threads ? (size_t)shares : threads;
}

/* How many items take `ns`. */
static size_t items_in(const fl_work *work, double ns)
{
    const double n = ns / work->cost;
    return n >= (double)work->items ? work->items : n < 1.0 ? 1 : (size_t)n;
}

static int run_here(const fl_work *work, size_t slot, size_t from, size_t to)
{
    if (work->kernels->enter)
        work->kernels->enter();
    const int e = work->run(work->arg, slot, from, to);
    if (work->kernels->leave)
        work->kernels->leave();
    return e;
}

static void take_pieces(void *arg, size_t slot)
{
    job *job = arg;
    for (;;) {
        const size_t from = atomic_fetch_add_explicit(&job->next, job->piece, memory_order_relaxed);
        if (from >= job->to)
            return;
        const size_t to = job->to - from < job->piece ? job->to : from + job->piece;
        const int e = run_here(job->work, slot, from, to);
        if (e != FL_OK)
            atomic_store_explicit(&job->status, e, memory_order_relaxed);
    }
}

int fl_work_run(const fl_work *work, const fl_caller *caller)
{
    const size_t threads = fl_work_threads(work->items, work->cost, caller->threads);
    const size_t round = fl_mul(items_in(work, ROUND), threads);
    int e = FL_OK;
    for (size_t from = 0; from < work->items && e == FL_OK; from += round) {
        const size_t to = work->items - from < round ? work->items : from + round;
        if (from && caller->poll && caller->poll(caller->poll_arg))
            return FL_INTERRUPTED;
        if (threads == 1) {
            e = run_here(work, 0, from, to);
        } else {
            job job = {.work = work, .to = to, .piece = items_in(work, PIECE)};
            atomic_init(&job.next, from);
            atomic_init(&job.status, FL_OK);
            fl_team_run(threads, take_pieces, &job);
            e = atomic_load_explicit(&job.status, memory_order_relaxed);
        }
        if (to == work->items)
            break;
    }
    return e;
}
