/* SPDX-License-Identifier: MIT */
/*
 * Calls whose units are split among threads (csrc/forward/split_units.c), with helpers that are
 * late on purpose: the core is built with FL_SPLIT_HOOK, and the hook sleeps now and then. Prints
 * what happened, and exits with 0 if every bit was right.
 *
 *     split_driver bits N SEED [CALLERS]    N calls of drawn shapes on 2 .. 16 threads, with sleeps
 *                                           at every place of the protocol; CALLERS at a time
 *     split_driver calm N SEED              the same without sleeps
 *     split_driver brief N SEED [CALLERS]   as bits, but of few steps: mostly helpers that arrive,
 *                                           join, leave and are left behind
 *     split_driver stop N SEED              N calls without end, which the caller's poll ends,
 *                                          which is not asked again; prints how late they ended
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drawn_nets.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What happened, over all calls: spans that were done to the end, helpers left behind, whole spans
   after a helper was left behind in the same call, helpers that joined a span, and sleeps. */
static atomic_size_t spans, left_behind, rejoins, joined, sleeps;
static atomic_size_t threads_seen; /* so that each thread draws other numbers */
static int sleepy, brief;
double fl_split_patience = 1;
static _Thread_local int was_left;
static _Thread_local uint64_t hook_state;

int fl_split_hook(const char *place)
{
    if (!strcmp(place, "span done")) {
        atomic_fetch_add(&spans, 1);
        atomic_fetch_add(&rejoins, (size_t)was_left);
        was_left = 0;
    } else if (!strcmp(place, "left behind")) {
        atomic_fetch_add(&left_behind, 1);
        was_left = 1;
    } else if (!strcmp(place, "joined")) {
        atomic_fetch_add(&joined, 1);
    }
    if (!sleepy)
        return 0;
    if (!hook_state)
        hook_state = 1 + atomic_fetch_add(&threads_seen, 1);
    const uint32_t drawn = draw(&hook_state) % 512;
    const int leads = !strncmp(place, "caller", 6); /* is waited for, so it sleeps less often */
    if (!strcmp(place, "in the way"))
        return drawn < 4;
    if (drawn >= (leads ? 2u : 8u))
        return 0;
    atomic_fetch_add(&sleeps, 1);
    struct timespec t = {0, 1000 * (long)between(&hook_state, 10, drawn ? 200 : 3000)};
    nanosleep(&t, NULL);
    return 0;
}

/* Makes one call with one thread and then `times` times with several: y, h and c must have the same
   bits. */
static void compare(uint64_t *state, int times)
{
    static const int cells[] = {FL_LSTM, FL_LSTM, FL_GRU_BEFORE, FL_GRU}; /* FL_GRU_BEFORE's steps
                                                                             are of two stages */
    fl_config f = {.cell = cells[draw(state) % 4],
                   .input = between(state, 1, brief ? 6 : 24),
                   .hidden = between(state, 17, brief ? 40 : 90),
                   .layers = draw(state) % 2 ? 1 : between(state, 2, 3),
                   .dirs = 1};
    fl_net *net = make_net(state, &f);
    fl_call c = {.batch = draw(state) % 2 ? 1 : between(state, 1, brief ? 2 : 7)};
    const double enough = 3e6 / (8.0 * (double)(f.hidden * (f.input + f.hidden) * c.batch));
    c.steps = (size_t)enough * between(state, 1, 8) + between(state, 1, 150);
    if (brief)
        c.steps = between(state, 8, 20);
    const size_t row = c.batch * f.hidden, out = c.steps * row, last = f.layers * row;
    float *x = floats(state, c.steps * c.batch * f.input, 2), *h0 = floats(state, last, 1);
    float *c0 = floats(state, last, 1), *y[2], *hn[2], *cn[2];
    int64_t *lengths = fl_alloc(c.batch * sizeof *lengths);
    CHECK(lengths);
    for (size_t b = 0; b < c.batch; b++)
        lengths[b] = (int64_t)(b ? between(state, 0, c.steps) : c.steps - draw(state) % 2);
    for (int i = 0; i < 2; i++) {
        y[i] = floats(state, out, 1);
        hn[i] = floats(state, last, 1);
        cn[i] = floats(state, last, 1);
    }
    const int wants_y = draw(state) % 4 != 0;
    c.x = x, c.x_t = (ptrdiff_t)(c.batch * f.input), c.x_b = (ptrdiff_t)f.input;
    c.y_t = (ptrdiff_t)row, c.y_b = (ptrdiff_t)f.hidden;
    if (draw(state) % 2)
        c.h0 = h0, c.c0 = c0;
    if (draw(state) % 3 == 0)
        c.lengths = lengths;
    for (int i = 0; i <= times; i++) {
        const int again = i > 0;
        c.threads = again ? draw(state) % 2 ? 2 : between(state, 3, 16) : 1;
        c.y = wants_y ? y[again] : NULL, c.hn = hn[again], c.cn = cn[again];
        was_left = 0;
        if (again)
            memset(y[again], -1, out * sizeof(float));
        /* A call's struct is overwritten after the call: a helper left behind may not read it. */
        static _Thread_local fl_call calls[64];
        fl_call *once = &calls[i % 64];
        *once = c;
        CHECK(fl_forward(net, once) == FL_OK);
        memset(once, -1, sizeof c);
        if (again) {
            CHECK(!wants_y || !memcmp(y[0], y[1], out * sizeof(float)));
            CHECK(!memcmp(hn[0], hn[1], last * sizeof(float)));
            CHECK(f.cell != FL_LSTM || !memcmp(cn[0], cn[1], last * sizeof(float)));
        }
    }
    for (int i = 0; i < 2; i++)
        fl_free(y[i]), fl_free(hn[i]), fl_free(cn[i]);
    fl_free(x), fl_free(h0), fl_free(c0), fl_free(lengths);
    fl_net_free(net); /* helpers that are left behind hold the network until they are done */
}

typedef struct share {
    size_t calls;
    uint64_t state;
} share;

static void *caller(void *arg)
{
    share *s = arg;
    const int times = brief ? 50 : 5;
    for (size_t i = 0; i < s->calls; i += (size_t)times)
        compare(&s->state, times);
    return NULL;
}

static void test_bits(size_t n, uint64_t seed, size_t callers)
{
    pthread_t thread[16];
    share s[16];
    CHECK(callers >= 1 && callers <= 16);
    for (size_t i = 0; i < callers; i++) {
        s[i] = (share){n / callers, 1000 * seed + i};
        CHECK(pthread_create(&thread[i], NULL, caller, &s[i]) == 0);
    }
    for (size_t i = 0; i < callers; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
}

/* A poll that says to stop when it is asked for the last time. */
typedef struct patience {
    size_t asked, last;
    double said;
} patience;

static int ended(void *arg)
{
    patience *p = arg;
    if (++p->asked < p->last)
        return 0;
    p->said = seconds();
    return 1;
}

static void test_stop(size_t n, uint64_t seed)
{
    uint64_t state = seed;
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        fl_config f = {.input = 16,
                       .hidden = between(&state, 100, 300),
                       .layers = between(&state, 1, 2),
                       .dirs = 1};
        fl_net *net = make_net(&state, &f);
        float *x = floats(&state, f.input, 1);
        patience p = {.last = between(&state, 1, 20)};
        fl_call c = {.steps = (size_t)1 << 40,
                     .batch = 1,
                     .x = x,
                     .threads = between(&state, 2, 16),
                     .poll = ended,
                     .poll_arg = &p};
        CHECK(fl_forward(net, &c) == FL_INTERRUPTED);
        CHECK(p.asked == p.last);
        const double late = seconds() - p.said;
        worst = late > worst ? late : worst;
        fl_free(x);
        fl_net_free(net);
    }
    printf("at most %.1f ms from the poll's answer to the return\n", 1e3 * worst);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 3 ? argv[1] : "";
    const size_t n = argc > 3 ? strtoul(argv[2], NULL, 10) : 0;
    const uint64_t seed = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    sleepy = strcmp(mode, "calm") != 0;
    brief = !strcmp(mode, "brief");
    fl_split_patience = brief ? 0.03 : 1; /* among a million calls, few may wait long */
    if (!strcmp(mode, "bits") || !strcmp(mode, "calm") || brief)
        test_bits(n, seed, argc > 4 ? strtoul(argv[4], NULL, 10) : 1);
    else if (!strcmp(mode, "stop"))
        test_stop(n, seed);
    else
        return 2;
    printf("%zu calls, joined %zu, spans %zu, left behind %zu, rejoined %zu, sleeps %zu\n", n,
           atomic_load(&joined), atomic_load(&spans), atomic_load(&left_behind),
           atomic_load(&rejoins), atomic_load(&sleeps));
    return 0;
}
