/* SPDX-License-Identifier: MIT */
/* The lone stream's furniture: chairs, tables and ways to wait at them. lone.c says how they are
   used, and is the only one to. */
#ifndef FL_LONE_H
#define FL_LONE_H

#include "clock.h"
#include "forward.h"
#include "team.h"

#if defined(FL_LONE_HOOK) /* for tests: calls that may sleep, small work, parts, any number */
int fl_lone_hook(const char *place);
extern double fl_lone_patience;
#define HOOK(place) (void)fl_lone_hook(place)
enum { PART_UNITS = 8 };
static const double WAVE_BYTES = 0;
#else
#define HOOK(place) ((void)0)
enum { PART_UNITS = 96 };

/* Weights of a layer up to which a stack is left to the grid of tiles, where each core has its own
   layer in its cache. (What a second thread gives two layers, 2 MiB of L2, as a wavefront of tiles
   and split: H = 256: 1.94 and 1.79, 320: 1.47 and 1.91, 384: 1.37 and 2.72, 512: 1.55 and 2.24.)
 */
static const double WAVE_BYTES = 2.5e6;
#endif

enum { MAX_PARTS = 4, MIN_STEPS = 8 };

/* How long the caller waits: for partners to arrive at the call's start, for an answer to its
   calling, and for a partner's step beyond the time its own share took. */
#if defined(FL_LONE_HOOK) /* so that partners are seated on a loaded machine too */
#define ARRIVE_SECONDS (5e-3 * fl_lone_patience)
#define ANSWER_SECONDS (1e-3 * fl_lone_patience)
#define LATE_SECONDS (300e-6 * fl_lone_patience)
#else
static const double ARRIVE_SECONDS = 5e-6, ANSWER_SECONDS = 3e-6, LATE_SECONDS = 20e-6;
#endif

/* How long a partner spins before it naps between looks: the caller may need its CPU. */
static const double SPIN_SECONDS = 100e-6;

enum { AWAY, WAITING, CALLED, READY, SEATED };

typedef struct chair {
    _Alignas(64) atomic_int state;
    atomic_int cpu;     /* that its worker was last seen on */
    size_t table, seat; /* the caller writes them before SEATED */
} chair;

/* A seat's count is 2 * (steps done) + LEFT; LEFT: the others have gone on without it. */
typedef struct seat {
    _Alignas(64) atomic_size_t count;
} seat;
enum { LEFT = 1 };

typedef struct table {
    size_t layer;
    size_t s0, steps, rows, seats; /* a span: its rows are the same in all its steps */
    int down;                      /* which way to take the panels at first, as in kernels.h */
    float *x;                      /* [steps][rows][I], tiny values flushed */
    float *h[2], *c[2];            /* [rows_max][hidden_pad] */
    seat seat[MAX_PARTS];          /* seat 0 is the caller's */
} table;

typedef struct fl_lone {
    const fl_block *block;
    _Alignas(64) atomic_int cpu; /* the caller's */
    chair chair[MAX_PARTS];      /* of worker 1 ..; 0 is not used */
    table table[MAX_PARTS - 1];  /* at worst each partner is left behind at one */
} fl_lone;

/* One look of a thread that waits. */
typedef struct wait {
    double since;
    unsigned looks;
} wait;

/* Seconds waited, on every 32nd look; 0 in between. */
static double pass(wait *w)
{
    fl_pause();
    if (++w->looks % 32)
        return 0;
    const double now = fl_clock();
    if (w->since == 0)
        w->since = now;
    return now - w->since;
}

/*
 * Two threads on one CPU only hold each other up: a partner that spins there keeps the caller from
 * working. (With a core taken by a process of higher priority, calls took twice as long as with
 * one thread before partners looked where they were.)
 */
static int in_the_way(fl_job *j, size_t worker)
{
    const int cpu = fl_cpu();
    atomic_store_explicit(&j->lone->chair[worker].cpu, cpu, memory_order_relaxed);
#if defined(FL_LONE_HOOK)
    return fl_lone_hook("in the way");
#endif
    return cpu >= 0 && cpu == atomic_load_explicit(&j->lone->cpu, memory_order_relaxed);
}

static int state_of(chair *c) { return atomic_load_explicit(&c->state, memory_order_acquire); }

static int change(chair *c, int from, int to)
{
    return atomic_compare_exchange_strong_explicit(&c->state, &from, to, memory_order_acq_rel,
                                                   memory_order_acquire);
}

static size_t count_of(table *t, size_t i)
{
    return atomic_load_explicit(&t->seat[i].count, memory_order_acquire);
}

#endif
