/* SPDX-License-Identifier: MIT */
/*
 * The operators of csrc/ops against sums written out as loops, to the same bits: on every
 * instruction set, in both formats, for 1 .. THREADS threads, at sizes around the boundaries of
 * panels and blocks. Every array and every arena ends before a page that may not be touched, or
 * begins after one.
 *
 *     operators_driver N SEED THREADS    N drawn linear layers and N drawn stacks of RNNs on every
 *                                        instruction set; then wrong shapes, short memory and calls
 *                                        that are interrupted. Prints how many runs were compared
 */
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "kernels/contract.h"
#include "ops/linear.h"
#include "ops/recurrent.h"
#include "check.h"
#include "halves.h"

/* ---- memory beside a page that may not be touched ---- */

static struct {
    char *base;
    size_t bytes;
} held[64];
static size_t holding;

static void *get(uint64_t *state, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = fl_ceil_div(bytes + !bytes, page) * page;
    char *base = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED && holding < 64);
    CHECK(mprotect(base + page, inner, PROT_READ | PROT_WRITE) == 0);
    held[holding].base = base;
    held[holding++].bytes = inner + 2 * page;
    char *at = base + page + (draw(state) % 2 ? inner - bytes : 0);
    memset(at, 0xff, bytes); /* NaN, if it is read before it is written */
    return at;
}

static void give_back(void)
{
    for (; holding; holding--)
        CHECK(munmap(held[holding - 1].base, held[holding - 1].bytes) == 0);
}

/* An array of numbers in -scale .. scale; one in eight is so small that it counts as 0 if `tiny`.
 */
static fl_array drawn(uint64_t *state, fl_shape shape, float scale, int tiny)
{
    const size_t n = fl_shape_count(&shape, shape.axes);
    float *at = get(state, n * sizeof *at);
    for (size_t i = 0; i < n; i++) {
        at[i] = ((float)(draw(state) >> 15) - 65536.0f) * (scale / 65536.0f);
        if (tiny && draw(state) % 8 == 0)
            at[i] *= 0x1p-80f;
    }
    return (fl_array){shape, at};
}

static fl_array empty(uint64_t *state, fl_shape shape)
{
    return (fl_array){shape, get(state, fl_shape_count(&shape, shape.axes) * sizeof(float))};
}

static int same(const fl_array *a, const fl_array *b)
{
    return !memcmp(a->at, b->at, fl_shape_count(&a->shape, a->shape.axes) * sizeof(float));
}

/* ---- sums written out ---- */

static int fused; /* the instruction set adds a product in one rounding */

static float flush(float x) { return fabsf(x) < FL_TINY ? 0.0f : x; }

static float chain(float sum, const float *x, const float *w, size_t n, int format)
{
    for (size_t k = 0; k < n; k++) {
        const float factor = format == FL_FLOAT16 ? half_rounded(w[k]) : w[k];
        sum = fused ? fmaf(flush(x[k]), factor, sum) : flush(x[k]) * factor + sum;
    }
    return sum;
}

/* ---- linear ---- */

/* A number on one side or the other of a multiple of `unit`, on it, or any up to `most`. */
static size_t near(uint64_t *state, size_t unit, size_t multiples, size_t most)
{
    const size_t n = unit * between(state, 1, multiples) - 1 + draw(state) % 3;
    return draw(state) % 3 && n ? n : between(state, 1, most);
}

static void runs_linear(const fl_kernels *kernels, uint64_t *state, size_t threads, size_t *count)
{
    const size_t group = FL_NV * kernels->lanes;
    const size_t in = near(state, 16, 5, 100), out = near(state, group, 9, 200);
    const size_t rows = near(state, 24, 5, 130);
    const int format = (int)(draw(state) % FL_FORMATS), axes = (int)between(state, 1, 3);
    fl_shape x_shape = {.axes = 2, .size = {rows, in}}, y_shape;
    if (axes == 1)
        x_shape = (fl_shape){.axes = 1, .size = {in}};
    if (axes == 3)
        x_shape = (fl_shape){.axes = 3, .size = {2, rows, in}};
    const fl_array x = drawn(state, x_shape, draw(state) % 8 ? 2.0f : 0x1p-70f, 1);
    fl_array w[] = {drawn(state, (fl_shape){.axes = 2, .size = {out, in}}, 0.5f, 0),
                    drawn(state, (fl_shape){.axes = 1, .size = {out}}, 0.5f, 0)};
    if (draw(state) % 4 == 0)
        w[1].at = NULL;

    fl_operator *op = fl_linear_new(kernels, format, in, out);
    CHECK(op && !strcmp(op->type->name, "linear"));
    CHECK(op->type->pack(op, w, 2) == FL_OK);
    CHECK(op->type->shape(op, &x.shape, 1, &y_shape, 1) == FL_OK);
    CHECK(y_shape.axes == x_shape.axes && y_shape.size[y_shape.axes - 1] == out);
    const fl_array want = empty(state, y_shape);
    const size_t all = fl_shape_count(&x_shape, x_shape.axes - 1);
    CHECK(fl_shape_count(&y_shape, y_shape.axes) == all * out);
    for (size_t r = 0; r < all; r++)
        for (size_t o = 0; o < out; o++)
            want.at[r * out + o] = flush(
                chain(w[1].at ? w[1].at[o] : 0.0f, x.at + r * in, w[0].at + o * in, in, format));
    for (size_t n = 0; n <= threads; n++) {
        const fl_caller caller = {.threads = n};
        const fl_array y = empty(state, y_shape);
        void *arena = get(state, op->type->bytes(op, &x.shape, 1, n));
        CHECK(op->type->run(op, &x, 1, &y, 1, arena, &caller) == FL_OK);
        CHECK(same(&y, &want));
        ++*count;
    }
    const fl_shape wide = {.axes = 2, .size = {1u << 20, in}};
    CHECK(op->type->bytes(op, &wide, 1, 3) ==
          op->type->bytes(op, &(fl_shape){.axes = 2, .size = {72, in}}, 1, 3));
    op->type->free(op);
    give_back();
}

/* ---- recurrent ---- */

/* One layer of h' = max(0, b_ih + b_hh + W x + R h), from h in `h`, which ends as the last one. */
static void rnn(const fl_array *w, const float *x, float *y, float *h, size_t steps, size_t batch,
                size_t in, size_t hidden, int format)
{
    for (size_t t = 0; t < steps; t++)
        for (size_t b = 0; b < batch; b++) {
            float *to = y + (t * batch + b) * hidden;
            const float *from = t ? to - batch * hidden : h + b * hidden;
            for (size_t u = 0; u < hidden; u++) {
                float sum = w[2].at[u] + w[3].at[u];
                sum = chain(sum, x + (t * batch + b) * in, w[0].at + u * in, in, format);
                sum = chain(sum, from, w[1].at + u * hidden, hidden, format);
                to[u] = flush(sum > 0 ? sum : 0.0f);
            }
        }
    memcpy(h, y + (steps - 1) * batch * hidden, batch * hidden * sizeof *h);
}

enum { LAYERS = 2 };

static void runs_recurrent(const fl_kernels *kernels, uint64_t *state, size_t threads,
                           size_t *count)
{
    const size_t in = between(state, 1, 40), hidden = near(state, FL_NV * kernels->lanes, 2, 70);
    const size_t steps = between(state, 1, 9), batch = between(state, 1, 9);
    const fl_config f = {.cell = FL_RNN_RELU,
                         .input = in,
                         .hidden = hidden,
                         .layers = LAYERS,
                         .dirs = 1,
                         .format = (int)(draw(state) % FL_FORMATS)};
    const fl_shape state_shape = {.axes = 3, .size = {LAYERS, batch, hidden}};
    const fl_array x[] = {drawn(state, (fl_shape){.axes = 3, .size = {steps, batch, in}}, 1, 1),
                          drawn(state, state_shape, 1, 0)};
    fl_array w[4 * LAYERS];
    for (size_t i = 0; i < LAYERS; i++) {
        const size_t k = i ? hidden : in;
        const float scale = 1.0f / sqrtf((float)hidden);
        w[4 * i] = drawn(state, (fl_shape){.axes = 2, .size = {hidden, k}}, scale, 0);
        w[4 * i + 1] = drawn(state, (fl_shape){.axes = 2, .size = {hidden, hidden}}, scale, 0);
        w[4 * i + 2] = drawn(state, (fl_shape){.axes = 1, .size = {hidden}}, 0.3f, 0);
        w[4 * i + 3] = drawn(state, (fl_shape){.axes = 1, .size = {hidden}}, 0.3f, 0);
    }
    fl_operator *op = fl_recurrent_new(&f, kernels);
    CHECK(op && !strcmp(op->type->name, "recurrent"));
    CHECK(op->type->pack(op, w, 4 * LAYERS) == FL_OK);
    const fl_shape given[] = {x[0].shape, x[1].shape};
    fl_shape expected[2];
    CHECK(op->type->shape(op, given, 2, expected, 2) == FL_OK);
    CHECK(op->type->bytes(op, given, 2, threads) == 0);
    const fl_array want[] = {empty(state, expected[0]), empty(state, expected[1])};
    float *between_layers = get(state, steps * batch * hidden * sizeof(float));
    memcpy(want[1].at, x[1].at, LAYERS * batch * hidden * sizeof(float));
    rnn(w, x[0].at, between_layers, want[1].at, steps, batch, in, hidden, f.format);
    rnn(w + 4, between_layers, want[0].at, want[1].at + batch * hidden, steps, batch, hidden,
        hidden, f.format);
    for (size_t n = 0; n <= threads; n++) {
        const fl_caller caller = {.threads = n};
        const fl_array y[] = {empty(state, expected[0]), empty(state, expected[1])};
        CHECK(op->type->run(op, x, 2, y, 2, NULL, &caller) == FL_OK);
        CHECK(same(&y[0], &want[0]) && same(&y[1], &want[1]));
        ++*count;
    }
    op->type->free(op);
    give_back();
}

/* ---- what is refused ---- */

static void refuses(const fl_kernels *kernels)
{
    const fl_caller caller = {.threads = 1};
    uint64_t state = 1;
    fl_shape out[3];
    CHECK(!fl_linear_new(kernels, FL_FORMATS, 3, 4) && !fl_linear_new(kernels, -1, 3, 4));
    CHECK(!fl_linear_new(kernels, FL_FLOAT32, 0, 4) && !fl_linear_new(kernels, FL_FLOAT32, 3, 0));
    CHECK(!fl_linear_new(kernels, FL_FLOAT32, SIZE_MAX / 2, SIZE_MAX / 2));
    fl_kernels without = *kernels;
    without.gemm[FL_FLOAT16] = NULL;
    CHECK(!fl_linear_new(&without, FL_FLOAT16, 3, 4));
    const fl_config half = {.input = 3, .hidden = 4, .layers = 1, .dirs = 1, .format = FL_FLOAT16};
    CHECK(fl_isa_can_run(kernels, &half) && !fl_isa_can_run(&without, &half));
    CHECK(!fl_recurrent_new(&half, &without));
    without = *kernels;
    without.cell[FL_LSTM].step[FL_FLOAT16] = NULL;
    CHECK(!fl_isa_can_run(&without, &half) && !fl_net_new(&half, &without));

    fl_operator *op = fl_linear_new(kernels, FL_FLOAT32, 3, 4);
    const fl_shape right = {.axes = 2, .size = {2, 3}}, wrong = {.axes = 2, .size = {3, 2}};
    const fl_shape huge = {.axes = 3, .size = {SIZE_MAX / 4, 4, 3}}, none = {.axes = 0};
    const fl_shape no_rows = {.axes = 2, .size = {0, 3}}, of_none = {.axes = 2, .size = {0, 4}};
    CHECK(op->type->shape(op, &right, 1, out, 1) == FL_OK);
    const fl_shape y_shape = out[0];
    const fl_shape *bad[] = {&wrong, &huge, &none};
    for (int i = 0; i < 3; i++)
        CHECK(op->type->shape(op, bad[i], 1, out, 1) == FL_BAD_SHAPE);
    CHECK(op->type->shape(op, &right, 2, out, 1) == FL_BAD_SHAPE);
    fl_array w[] = {drawn(&state, (fl_shape){.axes = 2, .size = {4, 3}}, 1, 0),
                    drawn(&state, (fl_shape){.axes = 1, .size = {3}}, 1, 0)};
    CHECK(op->type->pack(op, w, 2) == FL_BAD_SHAPE && op->type->pack(op, w, 1) == FL_BAD_SHAPE);
    const fl_array x = drawn(&state, right, 1, 0), y = empty(&state, y_shape);
    const fl_array missing = {right, NULL}, small = {wrong, y.at}, zero = {no_rows, x.at};
    CHECK(op->type->run(op, &missing, 1, &y, 1, NULL, &caller) == FL_BAD_SHAPE);
    CHECK(op->type->run(op, &x, 1, &small, 1, NULL, &caller) == FL_BAD_SHAPE);
    CHECK(op->type->run(op, &zero, 1, &(fl_array){of_none, y.at}, 1, NULL, &caller) == FL_OK);
    op->type->free(op);

    op = fl_recurrent_new(&half, kernels);
    const fl_shape shapes[] = {{.axes = 3, .size = {5, 2, 3}},
                               {.axes = 3, .size = {1, 2, 4}},
                               {.axes = 3, .size = {1, 2, 4}}};
    const fl_shape no_steps = {.axes = 3, .size = {0, 2, 3}};
    CHECK(op->type->shape(op, shapes, 3, out, 3) == FL_OK);
    CHECK(op->type->shape(op, shapes, 4, out, 3) == FL_BAD_SHAPE);
    CHECK(op->type->shape(op, shapes + 1, 2, out, 3) == FL_BAD_SHAPE);
    CHECK(op->type->shape(op, &no_steps, 1, out, 1) == FL_BAD_SHAPE);
    CHECK(op->type->pack(op, w, 2) == FL_BAD_SHAPE);
    op->type->free(op);
    give_back();
}

static void short_memory(const fl_kernels *kernels)
{
    const fl_config f = {.input = 3, .hidden = 64, .layers = 1, .dirs = 1};
    const fl_shape given = {.axes = 3, .size = {30, 50, 3}}; /* too much for the stack */
    const fl_caller caller = {.threads = 2};
    uint64_t state = 1;
    fl_alloc_fail_after(0);
    CHECK(!fl_linear_new(kernels, FL_FLOAT32, 3, 4));
    for (long n = 0; n < 2; n++) {
        fl_alloc_fail_after(n);
        CHECK(!fl_recurrent_new(&f, kernels));
    }
    fl_alloc_fail_after(-1);
    fl_operator *op = fl_recurrent_new(&f, kernels);
    fl_shape out;
    CHECK(op && op->type->shape(op, &given, 1, &out, 1) == FL_OK);
    const fl_array x = drawn(&state, given, 1, 0), y = empty(&state, out),
                   untouched = empty(&state, out);
    fl_alloc_fail_after(0);
    CHECK(op->type->run(op, &x, 1, &y, 1, NULL, &caller) == FL_NO_MEMORY && same(&y, &untouched));
    fl_alloc_fail_after(-1);
    CHECK(op->type->run(op, &x, 1, &y, 1, NULL, &caller) == FL_OK && !same(&y, &untouched));
    op->type->free(op);
    give_back();
}

/* ---- interrupted ---- */

typedef struct polls {
    size_t asked;
    int answer;
} polls;

static int poll(void *arg) { return ((polls *)arg)->asked++, ((polls *)arg)->answer; }

/* A run of half a billion operations: alone it is asked every 100 million; the first answer ends
   it. Helpers may be so fast that the caller has nothing to ask for, which is tried again. */
static void interrupted(fl_operator *op, fl_shape given, size_t threads)
{
    polls p = {0};
    fl_caller caller = {.threads = 1, .poll = poll, .poll_arg = &p};
    uint64_t state = 1;
    fl_shape out;
    CHECK(op && op->type->shape(op, &given, 1, &out, 1) == FL_OK);
    const fl_array x = drawn(&state, given, 1, 0), y = empty(&state, out);
    void *arena = get(&state, op->type->bytes(op, &given, 1, threads));
    CHECK(op->type->run(op, &x, 1, &y, 1, arena, &caller) == FL_OK && p.asked >= 3);
    p.answer = 1;
    for (caller.threads = 1; caller.threads <= threads; caller.threads++) {
        int e = FL_OK;
        for (int tries = 0; e == FL_OK && tries < 100; tries++)
            e = op->type->run(op, &x, 1, &y, 1, arena, &caller);
        CHECK(e == FL_INTERRUPTED);
    }
    op->type->free(op);
    give_back();
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    const size_t n = strtoul(argv[1], NULL, 10), threads = strtoul(argv[3], NULL, 10);
    size_t count = 0;
    for (int i = 0; i < fl_isa_count(); i++) {
        if (!fl_isa_runnable(i))
            continue;
        const fl_kernels *kernels = fl_isa_kernels(i);
        uint64_t state = strtoul(argv[2], NULL, 10);
#if defined(__x86_64__)
        fused = strcmp(fl_isa_name(i), "generic") != 0;
#else
        fused = 1;
#endif
        for (size_t k = 0; k < n; k++) {
            runs_linear(kernels, &state, threads, &count);
            runs_recurrent(kernels, &state, threads, &count);
        }
        refuses(kernels);
        short_memory(kernels);
        interrupted(fl_linear_new(kernels, FL_FLOAT16, 512, 500),
                    (fl_shape){.axes = 2, .size = {1000, 512}}, threads);
        const fl_config f = {
            .cell = FL_RNN_TANH, .input = 8, .hidden = 256, .layers = 2, .dirs = 1};
        interrupted(fl_recurrent_new(&f, kernels), (fl_shape){.axes = 3, .size = {300, 5, 8}},
                    threads);
    }
    printf("%zu runs\n", count);
    return 0;
}
