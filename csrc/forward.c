/* SPDX-License-Identifier: MIT */
/*
 * The network, forward: how a call is cut up, its workspace, its beginning and its end. Knows no
 * instruction set. schedule.c and lone.c take the tiles, tile.c works on one.
 */
#include <string.h>

#include "alloc.h"
#include "forward.h"
#include "tape.h"
#include "team.h"

/* Rows of a block, and rows (steps x block rows) of a chunk. 24 rows fill every register tile and
   make the input product compute-bound; more only spread the panels' traffic thinner. The bound on
   block rows keeps z (rows x 4H floats) near the size of a core's cache whatever B is. */
enum { BLOCK_ROWS = 64, CHUNK_ROWS = 48 };

/* Shared out, a stack has at least so many chunks, if they have as many rows as fill a register
   tile: a layer starts when the one below has done its first chunk. */
enum { WAVE_CHUNKS = 16, WAVE_ROWS = 6 };

/* Rows that a block must have before one is made for another thread. */
enum { SPLIT_ROWS = 4 };

/* Less work than this, in flop, is not worth waking anyone for: about 30 us of AVX-512. */
#if defined(FL_LONE_HOOK)
static const double TEAM_FLOP = 0;
#else
static const double TEAM_FLOP = 3e6;
#endif

/* Chunks between two layers of a one-directional stack when several threads may work on it. (3: a
   thread that runs out of room changes layers, and its caches, more often: 4 layers at H = 256
   gained 1.66 from a second thread, not 1.82.) */
enum { RING = 6 };

/* How long a thread looks for a ready tile before it naps between looks: this, and the time of a
   tile at so many flop a second, but not for ever. */
static const double IDLE_SECONDS = 50e-6, IDLE_RATE = 20e9, IDLE_MOST = 2e-3;

/* Workspace that a call keeps on its stack: enough for one step of a few hundred units, for which
   malloc would be a tenth of the time. */
enum { SMALL_BYTES = 16384 };

static size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

/* The next `count` items of `size` bytes at *at, advanced by whole cache lines; counts only when
   base is NULL. */
static void *carve(char *base, size_t *at, size_t count, size_t size)
{
    void *p = base ? base + *at : NULL;
    *at = fl_sum2(*at, fl_sum2(fl_mul(count, size), 63));
    if (*at != SIZE_MAX)
        *at = *at / 64 * 64;
    return p;
}

/* Does a layer write its output to between[which]? In a bidirectional stack the top one writes to
   y and the one below it to a buffer, in turn; y takes the even turns where it is wanted. */
static int uses_between(const fl_job *j, int which)
{
    const size_t layers = j->net->config.layers;
    if (j->call->tape)
        return 0; /* the tape has them all */
    if (j->net->config.dirs == 1)
        return which == 0;
    return which ? layers >= 2 : !j->call->y;
}

/* How many threads can help: as many as there are lanes that can run side by side, and one if the
   work is small. Decides the blocks too: at least one for each thread where rows allow it. */
static void share_out(fl_job *j)
{
    const fl_config *f = &j->net->config;
    const size_t batch = j->call->batch;
    const double flop = 2.0 * (double)j->net->cell->gates * (double)f->hidden *
                        (double)(f->input + j->net->width) * (double)batch *
                        (double)j->call->steps * (double)(f->layers * f->dirs);
    j->threads = flop < TEAM_FLOP || !j->call->threads ? 1 : j->call->threads;
    j->parts = 1;
    j->blocks = ceil_div(batch, BLOCK_ROWS);
    if (j->threads > 1) {
        size_t most = batch / SPLIT_ROWS ? batch / SPLIT_ROWS : 1;
        size_t want = ceil_div(j->blocks, j->threads) * j->threads;
        j->blocks = want < most ? want : j->blocks > most ? j->blocks : most;
        size_t lanes = j->blocks * f->dirs * (f->dirs == 1 ? f->layers : 1);
        if (j->blocks == 1 && f->dirs == 1)
            j->parts = fl_lone_parts(j->net, j->call, j->threads);
        if (j->parts > 1)
            j->threads = j->parts;
        else if (j->threads > lanes)
            j->threads = lanes;
    }
    j->rows_max = ceil_div(batch, j->blocks);
    j->rooms = j->threads < j->blocks ? j->threads : j->blocks;
    j->ring = j->threads > 1 && j->parts == 1 ? RING : 1;
    j->chunk_steps = ceil_div(CHUNK_ROWS, j->rows_max);
    if (j->ring > 1 && f->layers > 1 && f->dirs == 1) {
        const size_t least = ceil_div(WAVE_ROWS, j->rows_max);
        const size_t even = j->call->steps / WAVE_CHUNKS;
        const size_t want = even > least ? even : least;
        j->chunk_steps = want < j->chunk_steps ? want : j->chunk_steps;
    }
    if (j->chunk_steps > j->call->steps)
        j->chunk_steps = j->call->steps;
    j->chunk_rows = j->chunk_steps * j->rows_max;
    const double step_flop = flop / (double)(f->layers * f->dirs * batch * j->call->steps);
    j->patience = step_flop * (double)j->chunk_rows / IDLE_RATE;
    j->patience = (j->patience < IDLE_MOST ? j->patience : IDLE_MOST) + IDLE_SECONDS;
    j->hidden_pad = j->net->unit_panels * j->net->units;
    j->proj_pad = j->net->proj_panels * j->net->plain;
}

/* Carves the workspace from `base`, where the job itself is, or only measures it if base is NULL.
 */
static size_t lay_out(fl_job *j, char *base)
{
    const fl_net *net = j->net;
    const fl_call *call = j->call;
    const fl_config *f = &net->config;
    const size_t fs = sizeof(float), lanes = f->layers * f->dirs;
    size_t at = 0;
    carve(base, &at, 1, sizeof *j);
    j->order = carve(base, &at, call->lengths ? call->batch : 0, sizeof(size_t));
    if (!call->lengths)
        j->order = NULL;
    j->block = carve(base, &at, j->blocks, sizeof(fl_block));
    j->room = carve(base, &at, j->rooms, sizeof(fl_room));
    j->desk = carve(base, &at, j->threads, sizeof(fl_desk));
    fl_lane *lane = carve(base, &at, fl_mul(j->blocks, lanes), sizeof(fl_lane));
    if (base) {
        memset(lane, 0, j->blocks * lanes * sizeof *lane);
        memset(j->block, 0, j->blocks * sizeof *j->block);
        for (size_t i = 0; i < j->blocks; i++)
            j->block[i].lane = lane + i * lanes;
    }

    size_t between = fl_mul(j->rows_max, fl_mul(f->dirs, net->width));
    between = f->dirs == 1 ? fl_mul(between, fl_mul(j->chunk_steps, fl_mul(f->layers, j->ring)))
                           : fl_mul(between, call->steps);
    for (size_t i = 0; i < j->rooms; i++) {
        fl_room r = {
            .guest = FL_VACANT,
            .length = carve(base, &at, j->rows_max, sizeof(size_t)),
            .c =
                carve(base, &at,
                      fl_mul(fl_mul(net->cell->has_c ? lanes : 0, j->rows_max), j->hidden_pad), fs),
            .h = carve(base, &at, fl_mul(fl_mul(lanes, j->rows_max), net->width), fs)};
        for (int w = 0; w < 2; w++)
            r.between[w] = carve(base, &at, uses_between(j, w) ? between : 0, fs);
        if (base)
            memcpy(&j->room[i], &r, sizeof r);
    }
    for (size_t i = 0; i < j->threads; i++) {
        fl_desk d = {
            .a = carve(base, &at, j->chunk_rows, sizeof(float *)),
            .h_in = carve(base, &at, j->rows_max, sizeof(float *)),
            .h_out = carve(base, &at, j->rows_max, sizeof(float *)),
            .z = carve(base, &at, fl_mul(fl_mul(net->panels, j->chunk_rows), net->group), fs),
            .full_h = carve(base, &at,
                            f->proj || net->cell->reset || net->cell->aside
                                ? fl_mul(j->rows_max, j->hidden_pad)
                                : 0,
                            fs),
            .proj = carve(base, &at, f->proj ? fl_mul(j->rows_max, j->proj_pad) : 0, fs),
            .flushed = carve(base, &at, fl_mul(j->chunk_rows, f->input), fs),
            .polls = i == 0};
        if (base)
            j->desk[i] = d;
    }
    void *lone = carve(base, &at, 1, j->parts > 1 ? fl_lone_bytes(j) : 0);
    j->lone = NULL;
    if (base && j->parts > 1)
        fl_lone_init(j, lone);
    return at;
}

size_t fl_forward_workspace(const fl_net *net, const fl_call *call)
{
    fl_job j = {.net = net, .call = call};
    share_out(&j);
    return lay_out(&j, NULL);
}

fl_seq fl_outer(const fl_job *j, const fl_block *block, const float *base, ptrdiff_t t, ptrdiff_t b)
{
    ptrdiff_t shift = j->order ? 0 : (ptrdiff_t)block->first * b;
    return (fl_seq){base ? (float *)(uintptr_t)base + shift : NULL, t, b,
                    j->order ? j->order + block->first : NULL,      0, 0};
}

fl_seq fl_output(const fl_job *j, const fl_block *block, size_t layer, size_t k)
{
    const fl_call *call = j->call;
    if (call->tape)
        return fl_tape_seq(j, block, layer, 0);
    const size_t row = j->net->config.dirs * j->net->width,
                 above = j->net->config.layers - 1 - layer;
    fl_seq q = {block->between[0], (ptrdiff_t)(j->rows_max * row), (ptrdiff_t)row, NULL, 0, 0};
    if (call->y && (j->net->config.dirs == 1 ? above == 0 : above % 2 == 0))
        return fl_outer(j, block, call->y, call->y_t, call->y_b);
    if (j->net->config.dirs == 1) {
        q.base += (layer * j->ring + k % j->ring) * j->chunk_steps * j->rows_max * row;
        q.start = k * j->chunk_steps;
        q.by_step = 1;
    } else {
        q.base = block->between[above % 2];
    }
    return q;
}

/* The index of row r of a block in the caller's batch. */
static size_t batch_row(const fl_job *j, const fl_block *block, size_t r)
{
    return j->order ? j->order[block->first + r] : block->first + r;
}

void fl_start_block(fl_job *j, fl_desk *desk, size_t number, const fl_room *room)
{
    const fl_net *net = j->net;
    const fl_call *call = j->call;
    const size_t hidden = net->config.hidden, lanes = net->config.layers * net->config.dirs;
    fl_block *block = &j->block[number];
    block->first = number * call->batch / j->blocks;
    block->rows = (number + 1) * call->batch / j->blocks - block->first;
    block->length = room->length;
    block->c = room->c;
    block->h = room->h;
    block->between[0] = room->between[0];
    block->between[1] = room->between[1];
    for (size_t r = 0; r < block->rows; r++)
        block->length[r] =
            call->lengths ? (size_t)call->lengths[batch_row(j, block, r)] : call->steps;
    block->chunks = ceil_div(block->length[0], j->chunk_steps);
    for (size_t i = 0; i < lanes; i++)
        for (size_t r = 0; r < block->rows; r++) {
            size_t b = i * call->batch + batch_row(j, block, r);
            float *c = net->cell->has_c ? block->c + (i * j->rows_max + r) * j->hidden_pad : NULL;
            float *h = block->h + (i * j->rows_max + r) * net->width;
            if (c)
                memset(c, 0, j->hidden_pad * sizeof(float));
            memset(h, 0, net->width * sizeof(float));
            if (c && call->c0)
                net->kernels->flush(c, call->c0 + b * hidden, hidden);
            if (call->h0)
                net->kernels->flush(h, call->h0 + b * net->width, net->width);
        }
    if (call->tape)
        fl_tape_start(j, desk, block);
}

void fl_end_block(fl_job *j, fl_desk *desk, const fl_block *block)
{
    const fl_net *net = j->net;
    const fl_call *call = j->call;
    const size_t hidden = net->config.hidden, lanes = net->config.layers * net->config.dirs;
    for (size_t i = 0; i < lanes; i++)
        for (size_t r = 0; r < block->rows; r++) {
            size_t b = i * call->batch + batch_row(j, block, r);
            if (call->cn && net->cell->has_c)
                memcpy(call->cn + b * hidden, block->c + (i * j->rows_max + r) * j->hidden_pad,
                       hidden * sizeof(float));
            if (call->hn)
                memcpy(call->hn + b * net->width, block->h + (i * j->rows_max + r) * net->width,
                       net->width * sizeof(float));
        }
    if (!call->y || !j->order)
        return;
    fl_seq y = fl_outer(j, block, call->y, call->y_t, call->y_b);
    const size_t row = net->config.dirs * net->width;
    for (size_t r = 0; r < block->rows; r++)
        for (size_t t = block->length[r]; t < call->steps; t++) {
            memset(fl_seq_at(&y, t, r), 0, row * sizeof(float));
            if (fl_stop(j, desk, fl_moved(row)))
                return;
        }
}

/* The same for a lone stream. */
static void work_lone(void *arg, size_t worker)
{
    fl_job *j = arg;
    if (worker) {
        fl_lone_follow(j, worker);
        return;
    }
    fl_block *block = &j->block[0];
    fl_start_block(j, &j->desk[0], 0, &j->room[0]);
    fl_lone_lead(j, block);
    if (!fl_finished(j))
        fl_end_block(j, &j->desk[0], block);
    atomic_store_explicit(&j->blocks_left, 0, memory_order_release);
}

/* One thread less needs the job. */
static void let_go(fl_job *j, size_t holders)
{
    if (atomic_fetch_sub_explicit(&j->holders, holders, memory_order_acq_rel) == holders) {
        fl_net_free((fl_net *)(uintptr_t)j->net);
        fl_free(j);
    }
}

static void let_go_last(void *job) { let_go(job, 1); }

int fl_forward(const fl_net *net, const fl_call *call)
{
    fl_job sizes = {.net = net, .call = call};
    _Alignas(FL_ALIGN) char small[SMALL_BYTES];
    share_out(&sizes);
    const size_t bytes = lay_out(&sizes, NULL);
    const int outlives = sizes.parts > 1; /* partners may still use the job after the call */
    fl_job *j = (fl_job *)(bytes <= sizeof small && !outlives ? small : fl_alloc(bytes));
    if (!j)
        return FL_NO_MEMORY;
    memcpy(j, &sizes, sizeof sizes);
    lay_out(j, (char *)j);
    if (j->order)
        fl_sort_rows(j);
    if (call->tape)
        fl_tape_begin(call->tape, call, j->order);
    atomic_init(&j->next_block, 0);
    atomic_init(&j->blocks_left, j->blocks);
    atomic_init(&j->stopped, FL_OK);
    j->forks = fl_team_forks();
    size_t left = 0; /* threads that go on after the call */
    if (outlives) {
        atomic_init(&j->holders, j->threads);
        fl_net_hold(net);
        left = fl_team_lend(j->threads, work_lone, j, let_go_last);
    } else {
        fl_team_run(j->threads, fl_work, j);
    }
    const int e = atomic_load_explicit(&j->stopped, memory_order_relaxed);
    if (outlives)
        let_go(j, j->threads - left);
    else if ((char *)j != small)
        fl_free(j);
    return e == FL_FORKED ? fl_forward(net, call) : e;
}
