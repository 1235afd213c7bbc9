/* SPDX-License-Identifier: MIT */
/*
 * The lone stream: one direction, few rows. In one layer there is one tile at a time, so its units
 * are split; so are a stack's, a layer after the other, where the weights are too large for a
 * wavefront's caches. Each thread makes the input product of its own panels for a span of steps,
 * then takes the span's steps with the others, and has its share of the weights in its own core's
 * cache.
 *
 * Between spans the state is the caller's alone (block->c, block->h). For a span the caller calls
 * whoever waits, seats those who answer at a table, and lays the state on it. The table has two
 * slots for the whole h and c: step k reads slot k % 2, and each thread writes its units of the
 * other one, then counts k + 1 on its seat. One wait per step, for the others' counts; nobody
 * can be more than one step ahead, so nobody writes to a slot that another still reads.
 *
 *     chair:  AWAY --worker--> WAITING --caller--> CALLED --worker--> READY --caller--> SEATED
 *                              WAITING <----------------worker, having left the table----+
 *
 * A partner that the system has taken off its CPU costs its help, not the call. The caller waits a
 * little longer than its own share took, then marks the partner's seat, by an exchange that fails
 * if the partner has counted the step after all. A partner counts by an exchange too, which fails
 * on a marked seat: it then leaves the table. So at the mark the slot that step k reads is whole,
 * and nobody will write to it; the caller takes the state home from there and goes on alone, in
 * memory of its own. The table is laid again when everyone has left it, and there are enough tables
 * for those who have not. Partners touch the weights, tables and their own desks, never the
 * caller's arrays, so they may even be left behind at the end of the call.
 *
 * The bits are those of one thread: a unit's sums do not depend on who takes them.
 */
#include <string.h>

#include "alloc.h"
#include "lone.h"

/* Rows (steps x block rows) that the caller takes alone before it looks for partners again. (8 cost
   25 % at H = 256 while the other core was taken: the input product reads all of W each time.) */
enum { ALONE_ROWS = 24 };

size_t fl_lone_parts(const fl_net *net, const fl_call *call, size_t threads)
{
    /* a part has as much to do as PART_UNITS units of an LSTM */
    size_t parts = net->config.hidden * net->cell->gates / 4 / PART_UNITS;
    const double weights = 8.0 * (double)(net->cell->gates * net->config.hidden * net->width);
    if (net->config.proj || net->cell->reset || call->tape || call->steps < MIN_STEPS ||
        (net->config.layers > 1 && weights <= WAVE_BYTES))
        return 1;
    parts = parts < MAX_PARTS ? parts : MAX_PARTS;
    parts = parts < threads ? parts : threads;
#if !defined(FL_LONE_HOOK) /* threads that share a CPU cannot help each other */
    if (parts > 1) {
        const size_t cpus = fl_cpus();
        parts = parts < cpus ? parts : cpus;
    }
#endif
    return parts ? parts : 1;
}

static size_t lines(size_t bytes) { return fl_sum2(bytes, 63) / 64 * 64; }

/* Bytes of a table's x, and of a slot's h or c. */
static size_t x_bytes(const fl_job *j)
{
    const fl_net *net = j->net;
    size_t wide = net->config.input;
    if (net->config.layers > 1 && net->width > wide)
        wide = net->width;
    return lines(fl_mul(fl_mul(j->chunk_rows, wide), sizeof(float)));
}

static size_t slot_bytes(const fl_job *j)
{
    return lines(fl_mul(fl_mul(j->rows_max, j->hidden_pad), sizeof(float)));
}

size_t fl_lone_bytes(const fl_job *j)
{
    const size_t one = fl_sum2(x_bytes(j), fl_mul(4, slot_bytes(j)));
    return fl_sum2(lines(sizeof(fl_lone)), fl_mul(j->threads - 1, one));
}

void fl_lone_init(fl_job *j, void *memory)
{
    fl_lone *lone = memory;
    char *next = (char *)memory + lines(sizeof(fl_lone));
    memset(lone, 0, sizeof *lone);
    atomic_init(&lone->cpu, fl_cpu());
    for (size_t w = 0; w < j->threads; w++)
        atomic_init(&lone->chair[w].state, AWAY);
    for (size_t i = 0; i + 1 < j->threads; i++) {
        table *t = &lone->table[i];
        float **const slot[] = {&t->h[0], &t->h[1], &t->c[0], &t->c[1]};
        for (int k = 0; k < 4; k++, next += slot_bytes(j))
            *slot[k] = memset(next, 0, slot_bytes(j));
        t->x = (float *)next;
        next += x_bytes(j);
    }
    j->lone = lone;
}

/* The first panel of a seat: even numbers, as kernels take one row's panels by twos at least,
   unless they are few and wide. */
static size_t first_panel(const fl_job *j, const table *t, size_t i)
{
    const size_t panels = j->net->panels;
    const size_t by = j->net->units == j->net->plain ? 1 : 2;
    return i == t->seats ? panels : (panels * i / t->seats + by - 1) / by * by;
}

/* The input product of a seat's panels, for all steps of the span. */
static int product(fl_job *j, fl_desk *desk, const table *t, size_t i)
{
    const fl_net *net = j->net;
    const fl_layer *y = &net->layer[t->layer];
    const size_t p0 = first_panel(j, t, i), group = net->group, n = t->steps * t->rows;
    for (size_t m = 0; m < n; m++)
        desk->a[m] = t->x + m * y->in;
    fl_gemm g = {.rows = n,
                 .vectors = net->cell->vectors,
                 .down = t->down,
                 .panels = first_panel(j, t, i + 1) - p0,
                 .k = y->in,
                 .a = desk->a,
                 .a_step = 1,
                 .panel = y->w + p0 * y->in * group,
                 .init = y->bias + p0 * group,
                 .c = desk->z + p0 * n * group,
                 .c_panel = n * group,
                 .c_row = group};
    return fl_run_gemm(j, desk, g);
}

/* Step k of a seat's panels, from slot k % 2 to the other one. */
static int step(fl_job *j, fl_desk *desk, const table *t, size_t i, size_t k)
{
    const fl_net *net = j->net;
    const fl_layer *y = &net->layer[t->layer];
    const size_t from = k % 2, to = 1 - from, pad = j->hidden_pad, units = net->units;
    const size_t p0 = first_panel(j, t, i), p1 = first_panel(j, t, i + 1);
    for (size_t r = 0; r < t->rows; r++) {
        const size_t u = r * pad + p0 * units;
        desk->h_in[r] = t->h[from] + r * pad;
        desk->h_out[r] = t->h[to] + r * pad;
        if (net->cell->has_c)
            memcpy(t->c[to] + u, t->c[from] + u, (p1 - p0) * units * sizeof(float));
    }
    HOOK(i ? "in step" : "caller in step");
    fl_step s = {.rows = t->rows,
                 .p0 = p0,
                 .p1 = p1,
                 .down = (int)(k & 1) ^ t->down,
                 .k = net->width,
                 .hidden = net->config.hidden,
                 .panel = y->r,
                 .z = desk->z + k * t->rows * net->group,
                 .z_panel = t->steps * t->rows * net->group,
                 .b_hn = y->b_hn,
                 .h = desk->h_in,
                 .hout = desk->h_out,
                 .c = t->c[to],
                 .c_row = pad,
                 .variant = &net->config.variant,
                 .act = net->config.variant.act[0],
                 .peep = y->peep};
    return fl_run_step(j, desk, &s);
}

/* Asks for the others' parts of h at once: their lines are in other cores' caches. */
static void fetch(const fl_job *j, const table *t, size_t i, size_t k)
{
    const size_t pad = j->hidden_pad, units = j->net->units;
    const size_t own = first_panel(j, t, i) * units, end = first_panel(j, t, i + 1) * units;
    for (size_t r = 0; r < t->rows; r++) {
        const float *h = t->h[(k + 1) % 2] + r * pad;
        for (size_t u = 0; u < pad; u = u + 16 == own || (u < own && own < u + 16) ? end : u + 16)
            FL_PREFETCH(h + u);
    }
}

static void attend(fl_job *j, size_t worker)
{
    fl_desk *desk = &j->desk[worker];
    table *t = &j->lone->table[j->lone->chair[worker].table];
    const size_t i = j->lone->chair[worker].seat;
    if (count_of(t, i) & LEFT || product(j, desk, t, i) != FL_OK)
        return;
    for (size_t k = 0; k < t->steps; k++) {
        if (step(j, desk, t, i, k) != FL_OK)
            return;
        HOOK("counting");
        if (!atomic_compare_exchange_strong_explicit(&t->seat[i].count, &(size_t){2 * k}, 2 * k + 2,
                                                     memory_order_release, memory_order_relaxed))
            return;
        HOOK("counted");
        if (k + 1 == t->steps)
            return;
        wait w = {0, 0};
        for (size_t q = 0; q < t->seats; q++)
            while (count_of(t, q) / 2 <= k) {
                const double waited = pass(&w);
                if (w.looks % 32)
                    continue;
                if (count_of(t, i) & LEFT)
                    return;
                if (waited > SPIN_SECONDS || in_the_way(j, worker))
                    fl_nap();
            }
        fetch(j, t, i, k);
    }
}

void fl_lone_follow(fl_job *j, size_t worker)
{
    chair *c = &j->lone->chair[worker];
    wait w = {0, 0};
    HOOK("arriving");
    while (in_the_way(j, worker)) {
        if (!atomic_load_explicit(&j->blocks_left, memory_order_acquire))
            return;
        fl_doze();
    }
    atomic_store_explicit(&c->state, WAITING, memory_order_release);
    while (atomic_load_explicit(&j->blocks_left, memory_order_acquire)) {
        const int state = state_of(c);
        if (state != SEATED && (state == CALLED || w.looks % 32 == 0) && in_the_way(j, worker)) {
            fl_doze();
        } else if (state == CALLED) {
            atomic_store_explicit(&c->state, READY, memory_order_release);
            w = (wait){0, 0};
        } else if (state == SEATED) {
            HOOK("seated");
            attend(j, worker);
            atomic_store_explicit(&c->state, WAITING, memory_order_release);
            w = (wait){0, 0};
        } else if (pass(&w) > SPIN_SECONDS) {
            fl_nap();
        }
    }
}

/* Waits until nobody's chair is in the given state, or too long. */
static void wait_for(fl_job *j, int state, double seconds)
{
    wait w = {0, 0};
    for (size_t i = 1; i < j->threads; i++)
        while (state_of(&j->lone->chair[i]) == state)
            if (pass(&w) > seconds)
                return;
}

/* A table that nobody sits at. */
static table *free_table(fl_job *j)
{
    fl_lone *lone = j->lone;
    for (size_t t = 0, i; t + 1 < j->threads; t++) {
        for (i = 1; i < j->threads; i++)
            if (state_of(&lone->chair[i]) == SEATED && lone->chair[i].table == t)
                break;
        if (i == j->threads)
            return &lone->table[t];
    }
    return NULL;
}

static void copy_rows(float *y, size_t y_row, const float *x, size_t x_row, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(y + r * y_row, x + r * x_row, n * sizeof(float));
}

/* A copy of one row of x, as fl_tile would see it. */
static void take_in(const fl_job *j, float *copy, const float *x, size_t n)
{
    if (j->net->kernels->any_tiny(x, n))
        j->net->kernels->flush(copy, x, n);
    else
        memcpy(copy, x, n * sizeof(float));
}

/* A layer's state in the block. */
static float *home_h(const fl_job *j, size_t layer)
{
    return j->lone->block->h + layer * j->rows_max * j->net->width;
}

static float *home_c(const fl_job *j, size_t layer)
{
    return j->lone->block->c + layer * j->rows_max * j->hidden_pad;
}

/* Calls those who wait and seats those who have answered, for steps s0 .. s0 + steps - 1: the
   table; NULL if nobody has. Who answers later is seated the next time. */
static table *lay_table(fl_job *j, size_t layer, const fl_seq *in, size_t s0, size_t steps,
                        size_t rows)
{
    fl_lone *lone = j->lone;
    const size_t wide = j->net->layer[layer].in;
    const int back = j->net->config.reverse && !in->by_step;
    table *t = free_table(j);
#if defined(FL_LONE_HOOK)
    const int cpu = -1;
#else
    const int cpu = fl_cpu();
#endif
    int called = 0, ready[MAX_PARTS] = {0};
    size_t seats = 1;
    atomic_store_explicit(&lone->cpu, cpu, memory_order_relaxed);
    for (size_t i = 1; t && i < j->threads; i++)
        called |= change(&lone->chair[i], WAITING, CALLED);
    if (called)
        wait_for(j, CALLED, ANSWER_SECONDS);
    for (size_t i = 1; t && i < j->threads; i++) {
        ready[i] =
            state_of(&lone->chair[i]) == READY &&
            (cpu < 0 || cpu != atomic_load_explicit(&lone->chair[i].cpu, memory_order_relaxed));
        seats += (size_t)ready[i];
    }
    if (seats == 1)
        return NULL;
    t->layer = layer;
    t->s0 = s0;
    t->steps = steps;
    t->rows = rows;
    t->seats = seats;
    t->down = (int)(s0 / j->chunk_steps & 1) ^ j->call->turn;
    copy_rows(t->h[0], j->hidden_pad, home_h(j, layer), j->net->width, rows, j->net->width);
    if (j->net->cell->has_c)
        copy_rows(t->c[0], j->hidden_pad, home_c(j, layer), j->hidden_pad, rows, j->hidden_pad);
    for (size_t k = 0; k < steps; k++)
        for (size_t r = 0; r < rows; r++)
            take_in(j, t->x + (k * rows + r) * wide,
                    fl_seq_at(in, fl_seq_time(lone->block, back, r, s0 + k), r), wide);
    for (size_t i = 0; i < seats; i++)
        atomic_store_explicit(&t->seat[i].count, 0, memory_order_relaxed);
    for (size_t i = 1, at = 1; i < j->threads; i++)
        if (ready[i]) {
            lone->chair[i].table = (size_t)(t - lone->table);
            lone->chair[i].seat = at++;
            atomic_store_explicit(&lone->chair[i].state, SEATED, memory_order_release);
        }
    return t;
}

/* Nobody counts at this table any more. */
static void leave(table *t)
{
    for (size_t i = 1; i < t->seats; i++)
        atomic_fetch_or_explicit(&t->seat[i].count, LEFT, memory_order_acq_rel);
}

/* Have all done step k? If not in time, the table is left as it was before the step. */
static int all_done(table *t, size_t k, double patience)
{
    wait w = {0, 0};
    for (size_t i = 1; i < t->seats; i++)
        while (count_of(t, i) / 2 <= k)
            if (pass(&w) > patience && atomic_compare_exchange_strong_explicit(
                                           &t->seat[i].count, &(size_t){2 * k}, 2 * k + LEFT,
                                           memory_order_acq_rel, memory_order_acquire)) {
                leave(t);
                HOOK("left behind");
                return 0;
            }
    return 1;
}

/* The caller's part of a span: how many of its steps were done. */
static size_t lead(fl_job *j, table *t, const fl_seq *out)
{
    fl_desk *desk = &j->desk[0];
    const size_t hidden = j->net->config.hidden;
    const int back = j->net->config.reverse && !out->by_step;
    double began = fl_clock(), own = 0; /* seconds: my share of a step */
    size_t k = 0;
    int e = product(j, desk, t, 0);
    for (; k < t->steps && e == FL_OK; k++) {
        const double start = k < 2 ? fl_clock() : 0;
        e = step(j, desk, t, 0, k);
        if (e != FL_OK)
            break;
        atomic_store_explicit(&t->seat[0].count, 2 * k + 2, memory_order_release);
        HOOK("caller counted");
        if (k < 2)
            own = fl_clock() - (k ? start : began);
        if (!all_done(t, k, LATE_SECONDS + own))
            break;
        fetch(j, t, 0, k);
        for (size_t r = 0; r < t->rows; r++)
            memcpy(fl_seq_at(out, fl_seq_time(j->lone->block, back, r, t->s0 + k), r),
                   t->h[(k + 1) % 2] + r * j->hidden_pad, hidden * sizeof(float));
    }
    if (e != FL_OK)
        leave(t);
    if (k == t->steps)
        HOOK("span done");
    copy_rows(home_h(j, t->layer), hidden, t->h[k % 2], j->hidden_pad, t->rows, hidden);
    if (j->net->cell->has_c)
        copy_rows(home_c(j, t->layer), j->hidden_pad, t->c[k % 2], j->hidden_pad, t->rows,
                  j->hidden_pad);
    return k;
}

static int stopped(fl_job *j) { return atomic_load_explicit(&j->stopped, memory_order_relaxed); }

/* Steps s .. end - 1 of a layer, whose rows are the same in all of them. */
static void take_span(fl_job *j, size_t layer, const fl_seq *in, const fl_seq *out, size_t s,
                      size_t end, size_t rows)
{
    while (s < end && !stopped(j)) {
        table *t = lay_table(j, layer, in, s, end - s, rows);
        s += t ? lead(j, t, out) : 0;
        if (s == end) {
            wait_for(j, SEATED, ANSWER_SECONDS);
            return;
        }
        size_t alone = (ALONE_ROWS + rows - 1) / rows;
        alone = alone < j->chunk_steps ? alone : j->chunk_steps;
        alone = alone < end - s ? alone : end - s;
        fl_tile(j, &j->desk[0], j->lone->block, layer, 0, in, out, s, s + alone);
        s += alone;
    }
}

/* Where a layer's outputs of the span from step s on go. */
static fl_seq outputs(const fl_job *j, size_t layer, size_t s)
{
    fl_seq q = fl_output(j, j->lone->block, layer, 0);
    if (!j->call->y || layer + 1 < j->net->config.layers)
        q.start = s;
    return q;
}

void fl_lone_lead(fl_job *j, const fl_block *block)
{
    const size_t last = block->length[0];
    j->lone->block = block;
    wait_for(j, AWAY, ARRIVE_SECONDS);
    for (size_t s = 0, steps; s < last && !stopped(j); s += steps) {
        const size_t rows = fl_active(block, block->rows, s);
        const size_t same = block->length[rows - 1] - s; /* steps with as many rows */
        const size_t spans = (same + j->chunk_steps - 1) / j->chunk_steps;
        fl_seq in = fl_outer(j, block, j->call->x, j->call->x_t, j->call->x_b);
        steps = (same + spans - 1) / spans;
        for (size_t l = 0; l < j->net->config.layers; l++) {
            const fl_seq out = outputs(j, l, s);
            take_span(j, l, &in, &out, s, s + steps, rows);
            in = out;
        }
    }
}
