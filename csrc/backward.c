/* SPDX-License-Identifier: MIT */
/*
 * One backward call: workspace, the list of all work, and who takes what.
 *
 * The list, each item after everything it waits for:
 *
 *     lanes of the top layer; then for each layer below it: its lanes, products of the one above;
 *     products of the lowest layer; with two directions, the sum of their parts of dx
 *
 * Threads take items in this order and wait, where needed, for ones that others have taken, so
 * nobody waits for work that nobody does. Products of one layer fill the time while the next
 * layer's lanes run.
 */
#include "backward.h"

#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "team.h"

/* As in the forward call. */
enum { BLOCK_ROWS = 64, CHUNK_ROWS = 48, SPLIT_ROWS = 4 };
static const double TEAM_FLOP = 3e6, IDLE_FLOP = 5e6, IDLE_SECONDS = 50e-6;

/* Rows of the tape that a product sums in one chain, whose sum is then added to that of the rows
   before them: rounding errors grow with the length of either chain. 64 rows leave the biases of an
   RNN 1.5 times less error than 512 do and cost at most 2 % of a backward call. */
enum { SPAN_LEAST = 64, SPAN_MOST = 256 };

enum { LANE, PRODUCT, SUM, END };
typedef struct fl_item {
    int kind;
    size_t layer, dir, index; /* of the block or the part */
} fl_item;

static size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

static void *carve(char *base, size_t *at, size_t count, size_t size)
{
    void *p = base ? base + *at : NULL;
    *at = fl_sum2(*at, fl_sum2(fl_mul(count, size), 63));
    if (*at != SIZE_MAX)
        *at = *at / 64 * 64;
    return p;
}

static void share_out(fl_back_job *b)
{
    const fl_net *net = b->j.net;
    const fl_config *f = &net->config;
    const size_t batch = b->tape->batch;
    const double flop = 4.0 * (double)net->cell->gates * (double)f->hidden *
                        (double)(f->input + net->width) * (double)b->tape->total *
                        (double)(f->layers * f->dirs);
    b->threads = flop < TEAM_FLOP || !b->call->threads ? 1 : b->call->threads;
    b->blocks = ceil_div(batch, BLOCK_ROWS);
    if (b->threads > 1) {
        size_t most = batch / SPLIT_ROWS ? batch / SPLIT_ROWS : 1;
        size_t want = ceil_div(b->blocks, b->threads) * b->threads;
        b->blocks = want < most ? want : b->blocks > most ? b->blocks : most;
    }
    b->rows_max = ceil_div(batch, b->blocks);
    b->chunk_rows = ceil_div(CHUNK_ROWS, b->rows_max) * b->rows_max;
    /* two parts for each thread: they end nearly together even when one starts late */
    b->parts = b->threads > 1 ? 2 * b->threads : 1;
    if (b->parts > net->panels)
        b->parts = net->panels;
    b->part_panels = ceil_div(net->panels, b->parts);
    b->parts = ceil_div(net->panels, b->part_panels);
    size_t most = (b->blocks > b->parts ? b->blocks : b->parts) * f->dirs;
    if (b->threads > most)
        b->threads = most;
}

/* Carves the workspace from `base`, or only measures it if base is NULL. */
static size_t lay_out(fl_back_job *b, char *base)
{
    const fl_net *net = b->j.net;
    const fl_tape *k = b->tape;
    const fl_config *f = &net->config;
    const size_t fs = sizeof(float), upper = f->dirs * net->width;
    const size_t in_max = f->layers > 1 && upper > f->input ? upper : f->input;
    const size_t rows = fl_sum2(fl_sum2(in_max, net->width), 2), kk = net->panels * net->group;
    const size_t full = fl_plain_pad(net, f->hidden);
    const int apart = fl_apart(net);
    size_t at = 0;
    share_out(b);
    b->span = SPAN_LEAST;
    while (b->span < SPAN_MOST && b->span * b->span < k->total)
        b->span *= 2;
    b->bench = carve(base, &at, b->threads, sizeof(fl_bench));
    b->lanes_done = carve(base, &at, fl_mul(f->layers, b->blocks), sizeof(atomic_size_t));
    b->parts_done = carve(base, &at, f->layers, sizeof(atomic_size_t));
    for (size_t parity = 0; parity < 2 && parity < f->layers; parity++)
        for (size_t d = 0; d < f->dirs; d++) {
            /* layer 0 has parity 0; what it owes goes to dx itself, unless two directions meet */
            const int even = parity == 0;
            size_t down = f->layers > (even ? 2 : 1) ? upper : 0;
            if (even && b->call->dx && f->dirs == 2 && f->input > down)
                down = f->input;
            fl_delta x = {
                .dz = carve(base, &at, fl_mul(kk, k->total), fs),
                .dzh = carve(base, &at, apart ? fl_mul(kk, k->total) : 0, fs),
                .h = carve(base, &at, f->proj ? fl_mul(full, k->total) : 0, fs),
                .dh = carve(base, &at, f->proj ? fl_mul(net->width, k->total) : 0, fs),
                .down = carve(base, &at, fl_mul(fl_mul(k->steps, k->batch), down), fs),
                .down_row = down,
            };
            if (!apart)
                x.dzh = x.dz;
            b->delta[parity][d] = x;
        }
    const size_t sums = fl_mul(fl_mul(b->part_panels, rows), net->group);
    for (size_t i = 0; i < b->threads; i++) {
        size_t pointers = rows > b->chunk_rows ? rows : b->chunk_rows;
        fl_bench x = {
            .desk = {.polls = i == 0},
            .a = carve(base, &at, pointers, sizeof(float *)),
            .dz_rows = carve(base, &at, fl_mul(2 * b->chunk_rows, kk), fs),
            .dzh_rows = carve(base, &at, apart ? fl_mul(2 * b->chunk_rows, kk) : 0, fs),
            .dh = carve(base, &at, fl_mul(b->rows_max, fl_plain_pad(net, net->width)), fs),
            .dh_full =
                carve(base, &at, f->proj || net->cell->reset ? fl_mul(b->rows_max, full) : 0, fs),
            .dc = carve(base, &at, fl_mul(b->rows_max, k->hidden_pad), fs),
            .dx = carve(base, &at, fl_mul(b->chunk_rows, fl_plain_pad(net, in_max)), fs),
            .strips = carve(base, &at, fl_product_strips(net, in_max, b->span), fs),
            .from = {carve(base, &at, b->span, sizeof(float *)),
                     carve(base, &at, b->span, sizeof(float *))},
            .h = {carve(base, &at, b->rows_max, sizeof(float *)),
                  carve(base, &at, b->rows_max, sizeof(float *))},
            .sums = carve(base, &at, sums, fs),
        };
        if (!apart)
            x.dzh_rows = x.dz_rows;
        if (base)
            b->bench[i] = x;
    }
    return at;
}

/* Item `at` of the list. */
static fl_item item_of(const fl_back_job *b, size_t at)
{
    const fl_config *f = &b->j.net->config;
    const size_t lanes = b->blocks * f->dirs, parts = b->parts * f->dirs;
    for (size_t l = f->layers; l-- > 0;) {
        if (at < lanes)
            return (fl_item){LANE, l, at / b->blocks, at % b->blocks};
        at -= lanes;
        if (l + 1 == f->layers)
            continue;
        if (at < parts)
            return (fl_item){PRODUCT, l + 1, at / b->parts, at % b->parts};
        at -= parts;
    }
    if (at < parts)
        return (fl_item){PRODUCT, 0, at / b->parts, at % b->parts};
    at -= parts;
    if (b->call->dx && at < b->blocks)
        return (fl_item){SUM, 0, 0, at};
    return (fl_item){END, 0, 0, 0};
}

static size_t lanes_done(fl_back_job *b, size_t layer, size_t block)
{
    return atomic_load_explicit(&b->lanes_done[layer * b->blocks + block], memory_order_acquire);
}

static int ready(fl_back_job *b, const fl_item *x)
{
    const fl_config *f = &b->j.net->config;
    if (x->kind == SUM)
        return lanes_done(b, 0, x->index) == f->dirs;
    if (x->kind == PRODUCT) {
        for (size_t i = 0; i < b->blocks; i++)
            if (lanes_done(b, x->layer, i) < f->dirs)
                return 0;
        return 1;
    }
    if (x->layer + 1 < f->layers && lanes_done(b, x->layer + 1, x->index) < f->dirs)
        return 0;
    return x->layer + 2 >= f->layers || /* whose dz are where this layer's will be */
           atomic_load_explicit(&b->parts_done[x->layer + 2], memory_order_acquire) ==
               b->parts * f->dirs;
}

/* dx past the lengths to 0, and, with two directions, the sum of their parts. Step by step: row by
   row, the first of them alone would touch every page of dx, up to 0.15 s without a poll. */
static void sum(fl_back_job *b, fl_bench *bench, size_t first, size_t rows)
{
    const fl_tape *k = b->tape;
    const fl_config *f = &b->j.net->config;
    const fl_delta *delta = b->delta[0];
    for (size_t t = 0; t < k->steps; t++)
        for (size_t r = first; r < first + rows; r++) {
            float *dx =
                b->call->dx + (ptrdiff_t)t * b->call->dx_t + (ptrdiff_t)k->order[r] * b->call->dx_b;
            const size_t at = (t * k->batch + r) * delta[0].down_row;
            if (t >= k->length[r])
                memset(dx, 0, f->input * sizeof(float));
            else if (f->dirs == 2)
                for (size_t i = 0; i < f->input; i++)
                    dx[i] = delta[0].down[at + i] + delta[1].down[at + i];
            if (fl_stop(&b->j, &bench->desk, fl_moved(3 * f->input)))
                return;
        }
}

static int stopped(fl_back_job *b)
{
    return atomic_load_explicit(&b->j.stopped, memory_order_relaxed) != FL_OK;
}

static void work(void *arg, size_t worker)
{
    fl_back_job *b = arg;
    fl_bench *bench = &b->bench[worker];
    const fl_net *net = b->j.net;
    for (;;) {
        fl_item x = item_of(b, atomic_fetch_add_explicit(&b->next, 1, memory_order_relaxed));
        if (x.kind == END)
            return;
        double since = 0;
        while (!ready(b, &x)) {
            if (stopped(b))
                return;
            fl_pause();
            const double now = fl_clock();
            since = since == 0 ? now : since;
            if (now - since < IDLE_SECONDS)
                continue;
            fl_nap();
            fl_stop(&b->j, &bench->desk, IDLE_FLOP);
        }
        const size_t first = x.index * b->tape->batch / b->blocks;
        const size_t rows = (x.index + 1) * b->tape->batch / b->blocks - first;
        if (x.kind == LANE) {
            if (fl_unwind(b, bench, x.layer, x.dir, first, rows) != FL_OK)
                return;
            atomic_fetch_add_explicit(&b->lanes_done[x.layer * b->blocks + x.index], 1,
                                      memory_order_release);
        } else if (x.kind == PRODUCT) {
            const size_t p0 = x.index * b->part_panels, p1 = p0 + b->part_panels;
            if (fl_product(b, bench, x.layer, x.dir, p0, p1 < net->panels ? p1 : net->panels) !=
                FL_OK)
                return;
            atomic_fetch_add_explicit(&b->parts_done[x.layer], 1, memory_order_release);
        } else {
            sum(b, bench, first, rows);
        }
    }
}

int fl_backward(const fl_net *net, const fl_turned *turned, const fl_back_call *call)
{
    fl_back_job b = {.turned = turned, .call = call, .tape = call->tape};
    b.asks.poll = call->poll;
    b.asks.poll_arg = call->poll_arg;
    b.j.net = net;
    b.j.call = &b.asks;
    char *workspace = fl_alloc_lasting(lay_out(&b, NULL));
    if (!workspace)
        return FL_NO_MEMORY;
    lay_out(&b, workspace);
    const fl_config *f = &net->config;
    for (size_t i = 0; i < f->layers * b.blocks; i++)
        atomic_init(&b.lanes_done[i], 0);
    for (size_t i = 0; i < f->layers; i++)
        atomic_init(&b.parts_done[i], 0);
    atomic_init(&b.next, 0);
    atomic_init(&b.j.stopped, FL_OK);
    b.j.forks = fl_team_forks();
    fl_team_run(b.threads, work, &b);
    int e = atomic_load_explicit(&b.j.stopped, memory_order_relaxed);
    fl_free(workspace);
    return e == FL_FORKED ? fl_backward(net, turned, call) : e;
}
