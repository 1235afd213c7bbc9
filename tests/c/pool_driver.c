/* SPDX-License-Identifier: MIT */
/*
 * What a pool of streams (fastlstm/pool) asks of the core, without Python: callers that each take
 * some streams that nobody else has, copy their states together, run one step of them as a batch on
 * two threads, and copy the new states back, all on one network and one array of states. Then every
 * stream is run alone over the same frames, and must end in the same bits. Prints what it did, and
 * exits with 0 if all was right.
 *
 *     pool_driver STEPS SEED     so many steps of 4 callers, after a tenth of them to get warm;
 *                                since then, no block of memory may be left
 *
 * Linked with --wrap for fl_alloc, fl_alloc_lasting and fl_free.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fastlstm.h"
#include "check.h"

enum { CALLERS = 4, STREAMS = 24, INPUT = 7, HIDDEN = 35, LAYERS = 2, GATES = 4 };

/* ---- blocks of the core's memory that are in use ---- */

static atomic_long blocks;
void *__real_fl_alloc(size_t bytes), *__real_fl_alloc_lasting(size_t bytes);
void __real_fl_free(void *p);

static void *counted(void *p)
{
    atomic_fetch_add(&blocks, p != NULL);
    return p;
}

void *__wrap_fl_alloc(size_t bytes) { return counted(__real_fl_alloc(bytes)); }

void *__wrap_fl_alloc_lasting(size_t bytes) { return counted(__real_fl_alloc_lasting(bytes)); }

void __wrap_fl_free(void *p)
{
    atomic_fetch_sub(&blocks, p != NULL);
    __real_fl_free(p);
}

/* Called by the core where it splits units among threads; a driver defines it. */
int fl_split_hook(const char *place);
double fl_split_patience = 1;

int fl_split_hook(const char *place)
{
    (void)place;
    return 0;
}

/* ---- the pool ---- */

typedef struct stream {
    int busy;
    uint64_t frames; /* that it was given */
} stream;

static fl_net *net;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static stream streams[STREAMS];                                      /* under the lock */
static float h[LAYERS][STREAMS][HIDDEN], c[LAYERS][STREAMS][HIDDEN]; /* of whoever has the stream */

static void fill(float *p, size_t n, float scale, uint64_t *state)
{
    for (size_t i = 0; i < n; i++)
        p[i] = ((float)(draw(state) >> 15) - 65536.0f) * (scale / 65536.0f);
}

/* Frame `number` of a stream: always the same. */
static void frame(float *x, size_t which, uint64_t number)
{
    uint64_t state = number * STREAMS + which;
    fill(x, INPUT, 1, &state);
}

static void step(size_t n, const float *x, const float *h0, const float *c0, float *hn, float *cn,
                 size_t threads)
{
    const fl_call call = {.steps = 1,
                          .batch = n,
                          .x = x,
                          .x_t = (ptrdiff_t)(n * INPUT),
                          .x_b = INPUT,
                          .h0 = h0,
                          .c0 = c0,
                          .hn = hn,
                          .cn = cn,
                          .threads = threads};
    CHECK(fl_forward(net, &call) == FL_OK);
}

/* Takes up to `most` free streams; how many. */
static size_t take(size_t *taken, size_t most, uint64_t *state)
{
    size_t n = 0;
    pthread_mutex_lock(&lock);
    for (size_t tries = 0; n < most && tries < 2 * STREAMS; tries++) {
        const size_t which = draw(state) % STREAMS;
        if (!streams[which].busy) {
            streams[which].busy = 1;
            taken[n++] = which;
        }
    }
    pthread_mutex_unlock(&lock);
    return n;
}

typedef struct share {
    size_t steps;
    uint64_t state;
} share;

static void *caller(void *arg)
{
    share *s = arg;
    float x[STREAMS * INPUT], from[2][LAYERS * STREAMS * HIDDEN], to[2][LAYERS * STREAMS * HIDDEN];
    for (size_t i = 0; i < s->steps; i++) {
        size_t taken[STREAMS], n = take(taken, between(&s->state, 1, STREAMS / 2), &s->state);
        if (!n)
            continue;
        for (size_t j = 0; j < n; j++) {
            frame(x + j * INPUT, taken[j], streams[taken[j]].frames++);
            for (size_t l = 0; l < LAYERS; l++) {
                memcpy(from[0] + (l * n + j) * HIDDEN, h[l][taken[j]], sizeof h[0][0]);
                memcpy(from[1] + (l * n + j) * HIDDEN, c[l][taken[j]], sizeof c[0][0]);
            }
        }
        step(n, x, from[0], from[1], to[0], to[1], 2);
        pthread_mutex_lock(&lock);
        for (size_t j = 0; j < n; j++) {
            for (size_t l = 0; l < LAYERS; l++) {
                memcpy(h[l][taken[j]], to[0] + (l * n + j) * HIDDEN, sizeof h[0][0]);
                memcpy(c[l][taken[j]], to[1] + (l * n + j) * HIDDEN, sizeof c[0][0]);
            }
            streams[taken[j]].busy = 0;
        }
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void run(size_t steps, uint64_t seed)
{
    pthread_t threads[CALLERS];
    share shares[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        shares[i] = (share){steps / CALLERS, seed + i};
        CHECK(!pthread_create(&threads[i], NULL, caller, &shares[i]));
    }
    for (size_t i = 0; i < CALLERS; i++)
        CHECK(!pthread_join(threads[i], NULL));
}

static void make_net(uint64_t *state)
{
    const fl_config config = {
        .cell = FL_LSTM, .input = INPUT, .hidden = HIDDEN, .layers = LAYERS, .dirs = 1};
    int best = 0;
    while (!fl_isa_runnable(best))
        best++;
    net = fl_net_new(&config, fl_isa_kernels(best));
    CHECK(net);
    static float w[GATES * HIDDEN * HIDDEN], r[GATES * HIDDEN * HIDDEN], b[GATES * HIDDEN];
    for (size_t l = 0; l < LAYERS; l++) {
        fill(w, sizeof w / sizeof *w, 0.3f, state);
        fill(r, sizeof r / sizeof *r, 0.3f, state);
        fill(b, sizeof b / sizeof *b, 0.3f, state);
        fl_net_set(net, l, 0, w, r, b, b, NULL);
    }
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    const size_t steps = (size_t)atoll(argv[1]);
    uint64_t state = (uint64_t)atoll(argv[2]), frames = 0;
    make_net(&state);
    run(steps / 10, state);
    const long before = atomic_load(&blocks);
    run(steps, state + 100);
    CHECK(atomic_load(&blocks) == before);
    for (size_t which = 0; which < STREAMS; which++) {
        float x[INPUT], own[2][2][LAYERS][HIDDEN] = {0};
        for (uint64_t i = 0; i < streams[which].frames; i++) {
            frame(x, which, i);
            step(1, x, own[i % 2][0][0], own[i % 2][1][0], own[(i + 1) % 2][0][0],
                 own[(i + 1) % 2][1][0], 1);
        }
        const uint64_t last = streams[which].frames % 2;
        for (size_t l = 0; l < LAYERS; l++) {
            CHECK(!memcmp(h[l][which], own[last][0][l], sizeof h[0][0]));
            CHECK(!memcmp(c[l][which], own[last][1][l], sizeof c[0][0]));
        }
        frames += streams[which].frames;
    }
    fl_net_free(net);
    CHECK(frames > steps);
    printf("%zu steps, %llu frames, %ld blocks\n", steps, (unsigned long long)frames, before);
    return 0;
}
