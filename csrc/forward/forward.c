/* SPDX-License-Identifier: MIT */
/*
 * One forward call:
 *
 *     plan -> workspace -> rows in order -> threads run the grid of tiles, or split units -> end
 */
#include "forward/forward.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "base/threads.h"
#include "forward/encode.h"
#include "forward/grid.h"
#include "forward/row_order.h"
#include "forward/split_units.h"
#include "forward/split_wait.h"
#include "kernels/run.h"

/* A workspace of at most so many bytes is on the stack. That is enough for one step of a few
   hundred units, of whose time malloc would take a tenth. */
enum { SMALL_BYTES = 16384 };

/* A call. Its workspace follows in the same allocation. */
typedef struct forward {
    fl_job job;
    fl_grid *grid;       /* NULL if units are split among the threads */
    fl_split *split;     /* NULL if the work is a grid of tiles */
    atomic_size_t users; /* threads that may still use the workspace and the network */
} forward;

/* Carves the workspace, which begins with the `forward` itself and takes its net, call and plan
   from `sizes`. Where the carver has no base, the workspace is only counted; if it has none at the
   end, what is returned is of no use. */
static forward *carve_workspace(fl_carver *carver, const fl_job *sizes)
{
    const fl_net *net = sizes->net;
    const fl_config *config = &net->config;
    const fl_plan *plan = &sizes->plan;
    const size_t batch = sizes->call->batch, fs = sizeof(float);
    const int needs_full_h = config->proj || net->cell->reset || net->cell->needs_scratch;
    const size_t z = fl_mul(fl_mul(net->panels, plan->chunk_rows), net->group);
    forward *w = fl_carve(carver, 1, sizeof *w);
    fl_job counted = *sizes, *job = w ? &w->job : &counted;
    fl_grid grid;
    if (w)
        *job = *sizes;
    job->order = sizes->call->lengths ? fl_carve(carver, batch, sizeof(size_t)) : NULL;
    job->block = fl_carve(carver, plan->blocks, sizeof(fl_block));
    job->scratch = fl_carve(carver, plan->threads, sizeof(fl_scratch));
    for (size_t i = 0; i < plan->threads; i++) {
        fl_scratch scratch = {
            .slot = {.polls = i == 0},
            .a = fl_carve(carver, plan->chunk_rows, sizeof(float *)),
            .h_in = fl_carve(carver, plan->rows_max, sizeof(float *)),
            .h_out = fl_carve(carver, plan->rows_max, sizeof(float *)),
            .z = fl_carve(carver, z, fs),
            .full_h =
                fl_carve(carver, needs_full_h ? fl_mul(plan->rows_max, plan->hidden_pad) : 0, fs),
            .proj = fl_carve(carver, config->proj ? fl_mul(plan->rows_max, plan->proj_pad) : 0, fs),
            .flushed = fl_carve(carver, fl_mul(plan->chunk_rows, config->input), fs)};
        fl_encode_carve(carver, sizes, &scratch);
        if (job->scratch)
            job->scratch[i] = scratch;
    }
    if (plan->parts > 1) {
        fl_split *split = fl_carve(carver, 1, sizeof *split);
        fl_split_carve(carver, split, job);
        if (w)
            w->split = split, w->grid = NULL;
    } else {
        fl_grid *in_use = fl_carve(carver, 1, sizeof grid);
        fl_grid_carve(carver, in_use ? in_use : &grid, job);
        if (w)
            w->grid = in_use, w->split = NULL;
    }
    return w;
}

size_t fl_forward_workspace(const fl_net *net, const fl_call *call)
{
    const fl_job sizes = {.net = net, .call = call, .plan = fl_plan_call(net, call)};
    fl_carver carver = {0};
    carve_workspace(&carver, &sizes);
    return carver.used;
}

/* Tells that so many threads no longer use the workspace and the network. With the last of them
   both are let go: the workspace is freed, and this call's hold on the network ends. */
static void let_go(forward *w, size_t threads)
{
    if (atomic_fetch_sub_explicit(&w->users, threads, memory_order_acq_rel) == threads) {
        fl_net_free((fl_net *)(uintptr_t)w->job.net);
        fl_free(w);
    }
}

/* For a helper that was still at work when its call ended, once it has returned. */
static void helper_done(void *split) { let_go((forward *)(void *)((fl_split *)split)->job, 1); }

/* A call that begins, and its workspace once it is there. */
typedef struct beginning {
    const fl_job *sizes;
    char *small; /* SMALL_BYTES that are used if they are enough; NULL: there are none */
    forward *w;
    atomic_int state; /* BEGINS until `w` has been made, or cannot be */
} beginning;

enum { BEGINS, BEGUN, NO_WORKSPACE };

static void begin(beginning *b)
{
    const fl_net *net = b->sizes->net;
    const fl_call *call = b->sizes->call;
    HOOK("beginning");
    /* In one go if it is small: to count it first would be a twentieth of the shortest calls. */
    fl_carver carver = {.base = b->small, .most = SMALL_BYTES};
    forward *w = carve_workspace(&carver, b->sizes);
    if (!carver.base) {
        carver = (fl_carver){.base = fl_alloc(carver.used)};
        if (!carver.base) {
            atomic_store_explicit(&b->state, NO_WORKSPACE, memory_order_release);
            return;
        }
        w = carve_workspace(&carver, b->sizes);
    }
    b->w = w;
    fl_run_init(&w->job.context, net->kernels, call->poll, call->poll_arg);
    if (w->job.order)
        fl_sort_rows(w->job.order, call->lengths, call->batch);
    if (call->tape)
        fl_tape_begin(call->tape, call, w->job.order);
    if (w->split) {
        atomic_init(&w->users, w->job.plan.threads);
        fl_net_hold(net);
    }
    atomic_store_explicit(&b->state, BEGUN, memory_order_release);
}

/* What the threads of fl_call.run call. Worker 0 begins the call, while the others are on their
   way: in a step of a few hundred units a tenth of the time. Once one of them has come, worker 0
   runs, so the wait is for it alone. */
static void begin_and_work(void *arg, size_t worker)
{
    beginning *b = arg;
    if (!worker)
        begin(b);
    wait w = {0, 0};
    while (atomic_load_explicit(&b->state, memory_order_acquire) == BEGINS)
        if (pass(&w) > SPIN_SECONDS)
            fl_nap(); /* worker 0 may need this CPU */
    if (atomic_load_explicit(&b->state, memory_order_relaxed) == NO_WORKSPACE)
        return;
    if (b->w->split)
        fl_split_work(b->w->split, worker);
    else
        fl_grid_work(b->w->grid, worker);
}

int fl_forward(const fl_net *net, const fl_call *call)
{
    _Alignas(FL_ALIGN) char small[SMALL_BYTES];
    const fl_job sizes = {.net = net, .call = call, .plan = fl_plan_call(net, call)};
    const int outlives = sizes.plan.parts > 1; /* helpers may use the workspace after the call */
    beginning b = {.sizes = &sizes, .small = outlives ? NULL : small};
    size_t left = 0; /* helpers that go on after the call */
    atomic_init(&b.state, BEGINS);
    if (call->run && sizes.plan.threads > 1)
        call->run(call->run_arg, sizes.plan.threads, begin_and_work, &b);
    else
        begin(&b);
    forward *w = b.w;
    if (!w)
        return FL_NO_MEMORY;
    if (!call->run || sizes.plan.threads == 1) {
        if (outlives)
            left = fl_team_lend(sizes.plan.threads, fl_split_work, w->split, helper_done);
        else
            fl_team_run(sizes.plan.threads, fl_grid_work, w->grid);
    }
    const int e = fl_stopped(&w->job.context);
    if (outlives)
        let_go(w, sizes.plan.threads - left);
    else if ((char *)w != small)
        fl_free(w);
    return e == FL_FORKED ? fl_forward(net, call) : e;
}
