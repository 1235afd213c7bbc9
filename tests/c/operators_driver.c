/* SPDX-License-Identifier: MIT */
/*
 * Operators of csrc/ops in memory of exactly their size, on every instruction set and for 0 ..
 * THREADS threads. Linear and recurrent ones against sums written out as loops, to the same bits,
 * in every format, at sizes around the boundaries of panels and blocks; those of elements and along
 * axes against their own run on one thread. Every array and every arena ends before a page that may
 * not be touched, or begins after one.
 *
 *     operators_driver N SEED THREADS    N drawn linear layers, stacks of RNNs and other operators
 *                                        on every instruction set; then wrong shapes, short memory
 *                                        and calls that are interrupted. Prints how many runs were
 *                                        compared
 */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/contract.h"
#include "ops/epilogue.h"
#include "ops/opcodes.h"
#include "ops/recurrent.h"
#include "ops/reduce.h"
#include "ops/registry.h"
#include "check.h"
#include "coded.h"
#include "guarded.h"
#include "written_sums.h"

/* An array of numbers in -scale .. scale; one in eight is so small that it counts as 0 if `tiny`.
 */
static fl_array drawn(uint64_t *state, fl_shape shape, float scale, int tiny)
{
    const size_t n = fl_shape_span(&shape, 0, shape.axes);
    float *at = get(state, n * sizeof *at);
    for (size_t i = 0; i < n; i++) {
        at[i] = ((float)(draw(state) >> 15) - 65536.0f) * (scale / 65536.0f);
        if (tiny && draw(state) % 8 == 0)
            at[i] *= 0x1p-80f;
    }
    return (fl_array){.type = FL_F32, .shape = shape, .at = at};
}

/* Memory for an array whose type and shape are known. */
static fl_array empty(uint64_t *state, fl_array like)
{
    like.at = get(state, fl_array_bytes(&like));
    return like;
}

static int same(const fl_array *a, const fl_array *b)
{
    return !memcmp(a->at, b->at, fl_array_bytes(a));
}

static fl_operator *made(const fl_kernels *kernels, const char *name, const int64_t *ints,
                         size_t int_count, const float *floats, size_t float_count)
{
    const fl_attributes attributes = {kernels, ints, int_count, floats, float_count};
    fl_operator *op;
    const int e = fl_operator_new(name, &attributes, &op);
    CHECK((e == FL_OK) == (op != NULL));
    CHECK(e == FL_OK || e == FL_BAD_SHAPE || e == FL_NO_MEMORY);
    return op;
}

static fl_operator *linear(const fl_kernels *kernels, int64_t format, int64_t in, int64_t out)
{
    return made(kernels, "linear", (const int64_t[]){format, in, out}, 3, NULL, 0);
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
    const int format = (int)(draw(state) % FL_FORMATS), axes = (int)between(state, 1, 3);
    const size_t taps = axes > 1 && draw(state) % 2 ? between(state, 1, 4) : 1;
    const size_t stride = taps > 1 ? between(state, 1, 3) : 1;
    const size_t channels = near(state, 16, 5, 100), in = taps * channels;
    const size_t out = near(state, group, 9, 200);
    const size_t rows = near(state, draw(state) % 2 ? 24 : 32, 5, 130);
    const int bits = format == FL_BFLOAT16 ? 16 * (int)between(state, 1, 3) : 8 << draw(state) % 2;
    fl_shape x_shape = {.axes = 2, .size = {rows, channels}};
    if (axes == 1)
        x_shape = (fl_shape){.axes = 1, .size = {channels}};
    if (axes == 3)
        x_shape = (fl_shape){.axes = 3, .size = {2, rows, channels}};
    const fl_array x = drawn(state, x_shape, draw(state) % 8 ? 2.0f : 0x1p-70f, 1);
    fl_array w[] = {drawn(state, (fl_shape){.axes = 2, .size = {out, in}}, 0.5f, 0),
                    drawn(state, (fl_shape){.axes = 1, .size = {out}}, 0.5f, 0),
                    {.type = FL_F32, .shape = {.axes = 1, .size = {out}}}};
    const fl_int8 codes = format == FL_INT8 ? coded(w[0].at, out, in) : (fl_int8){0};
    const float *w_at = w[0].at;
    if (format == FL_INT8) {
        w[0].type = FL_CODES;
        w[0].at = (void *)(uintptr_t)codes.codes;
        w[2].at = (void *)(uintptr_t)codes.scales;
    }
    if (draw(state) % 4 == 0)
        w[1].at = NULL;

    const int64_t ints[] = {format,        (int64_t)in,     (int64_t)out, FL_NO_ACTIVATION,
                            (int64_t)taps, (int64_t)stride, bits};
    fl_operator *op = made(kernels, "linear", ints, 7, NULL, 0);
    fl_array y_like = {0};
    CHECK(op && !strcmp(op->type->name, "linear"));
    CHECK(op->type->pack(op, w, format == FL_INT8 ? 3 : 2) == FL_OK);
    CHECK(op->type->shape(op, &x, 1, &y_like, 1) == FL_OK && y_like.type == FL_F32);
    CHECK(y_like.shape.axes == x_shape.axes && y_like.shape.size[x_shape.axes - 1] == out);
    const fl_array want = empty(state, y_like);
    const size_t steps = axes == 1 ? 1 : rows < taps ? 0 : (rows - taps) / stride + 1;
    const size_t all = axes == 3 ? 2 * steps : steps;
    const float *x_at = x.at, *b_at = w[1].at;
    const float top =
        format == FL_INT8 ? largest_code(codes.codes, out, in, bits == 16 ? 32512 : 127) : 0;
    CHECK(fl_count(&y_like) == all * out);
    float *parts[2] = {NULL, NULL};
    if (format == FL_BFLOAT16) {
        parts[0] = bfloat16_parts(x_at, fl_count(&x), bits / 16);
        parts[1] = bfloat16_parts(w_at, out * in, bits / 16);
    }
    for (size_t r = 0; r < all; r++)
        for (size_t o = 0; o < out; o++) {
            const float *row = x_at + (r / steps * rows + r % steps * stride) * channels;
            const float b = b_at ? b_at[o] : 0.0f;
            ((float *)want.at)[r * out + o] = flush(
                format == FL_INT8
                    ? sum_of_codes(b, row, codes.codes + o * in, codes.scales[o], in, top)
                : format == FL_BFLOAT16 ? in_pieces(b, parts[0] + (row - x_at), fl_count(&x),
                                                    parts[1] + o * in, out * in, in, bits / 16)
                                        : chain(b, row, w_at + o * in, in, format));
        }
    drop_codes(codes);
    free(parts[0]), free(parts[1]);
    for (size_t n = 0; n <= threads; n++) {
        const fl_caller caller = {.threads = n};
        const fl_array y = empty(state, y_like);
        void *arena = get(state, op->type->bytes(op, &x, 1, n));
        CHECK(op->type->run(op, &x, 1, &y, 1, arena, &caller) == FL_OK);
        CHECK(same(&y, &want));
        ++*count;
    }
    /* Memory does not grow with the rows once there are enough for all threads. */
    const fl_array wide = {.type = FL_F32,
                           .shape = {.axes = 2, .size = {(size_t)1 << 30, channels}}};
    const fl_array wider = {.type = FL_F32,
                            .shape = {.axes = 2, .size = {(size_t)1 << 31, channels}}};
    CHECK(op->type->bytes(op, &wide, 1, 3) == op->type->bytes(op, &wider, 1, 3));
    op->type->free(op);
    give_back();
}

/* ---- recurrent ---- */

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
                         .format = (int)(draw(state) % FL_INT8)};
    const fl_shape state_shape = {.axes = 3, .size = {LAYERS, batch, hidden}};
    fl_array in_arrays[] = {drawn(state, (fl_shape){.axes = 3, .size = {steps, batch, in}}, 1, 1),
                            {.type = FL_TYPES},
                            drawn(state, state_shape, 1, 0)};
    fl_array *x = in_arrays;
    if (draw(state) % 2) {
        x[1] = empty(state, (fl_array){.type = FL_I64, .shape = {.axes = 1, .size = {batch}}});
        for (size_t b = 0; b < batch; b++)
            ((int64_t *)x[1].at)[b] = (int64_t)between(state, 0, steps);
    }
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
    fl_array expected[2] = {0};
    CHECK(op->type->shape(op, x, 3, expected, 2) == FL_OK && !op->type->bytes);
    const fl_array want[] = {empty(state, expected[0]), empty(state, expected[1])};
    const size_t one = batch * hidden;
    float *between_layers = get(state, steps * one * sizeof(float)), *h = want[1].at;
    memcpy(h, x[2].at, LAYERS * one * sizeof(float));
    rnn(w, x[0].at, between_layers, h, x[1].at, steps, batch, in, hidden, f.format);
    rnn(w + 4, between_layers, want[0].at, h + one, x[1].at, steps, batch, hidden, hidden,
        f.format);
    for (size_t n = 0; n <= threads; n++) {
        const fl_caller caller = {.threads = n};
        const fl_array y[] = {empty(state, expected[0]), empty(state, expected[1])};
        CHECK(op->type->run(op, x, 3, y, 2, NULL, &caller) == FL_OK);
        CHECK(same(&y[0], &want[0]) && same(&y[1], &want[1]));
        ++*count;
    }
    if (x[1].at) {
        const fl_caller caller = {.threads = 1};
        ((int64_t *)x[1].at)[batch - 1] = draw(state) % 2 ? -1 : (int64_t)steps + 1;
        CHECK(op->type->run(op, x, 3, want, 2, NULL, &caller) == FL_BAD_VALUE);
    }
    op->type->free(op);
    give_back();
}

/* ---- elements and axes ---- */

/* Runs an operator on one thread, and on more of them in memory of their own. */
static void runs_equally(fl_operator *op, uint64_t *state, const fl_array *in, size_t ins,
                         size_t threads, size_t *count)
{
    fl_array like = {0}, one = {0};
    CHECK(op && op->type->shape(op, in, ins, &like, 1) == FL_OK);
    for (size_t n = 0; n <= threads; n++) {
        const fl_caller caller = {.threads = n};
        const fl_array y = empty(state, like);
        void *arena = get(state, op->type->bytes ? op->type->bytes(op, in, ins, n) : 0);
        CHECK(op->type->run(op, in, ins, &y, 1, arena, &caller) == FL_OK);
        one = n ? one : y;
        CHECK(same(&y, &one));
        ++*count;
    }
    op->type->free(op);
}

static void runs_elements(const fl_kernels *kernels, uint64_t *state, size_t threads, size_t *count)
{
    const fl_shape full = {
        .axes = 3,
        .size = {between(state, 1, 40), near(state, 64, 3, 90),
                 draw(state) % 2 ? between(state, 1, 9) : near(state, 64, 2, 99)}};
    fl_shape part = full;
    for (size_t a = 0; a < 3; a++)
        if (draw(state) % 2)
            part.size[a] = 1;
    const fl_array in[] = {drawn(state, full, 2, 1), drawn(state, part, 2, 1)};
    const int64_t code[] = {2, 3, FL_OP_ADD, 0, 1, -1, FL_OP_EXP, 3, -1, -1, FL_OP_MUL, 4, 2, -1};
    const int64_t axis = (int64_t)(draw(state) % 3),
                  choice = (int64_t)(draw(state) % FL_REDUCTIONS);
    const int64_t reduction[] = {choice, 1, axis, (axis + 1) % 3}, last[] = {axis, 0, 1};
    const float half[] = {0.5f};
    runs_equally(made(kernels, "pointwise", code, 14, half, 1), state, in, 2, threads, count);
    give_back_but(2);
    runs_equally(made(kernels, "reduce", reduction, 3 + draw(state) % 2, NULL, 0), state, in, 1,
                 threads, count);
    runs_equally(made(kernels, "softmax", &axis, 1, NULL, 0), state, in, 1, threads, count);
    give_back_but(2);
    runs_equally(made(kernels, "log_softmax", &axis, 1, NULL, 0), state, in, 1, threads, count);
    runs_equally(made(kernels, "argmax", last, 3, NULL, 0), state, in, 1, threads, count);
    give_back_but(2);
    runs_equally(made(kernels, "cumsum", last, 3, NULL, 0), state, in, 1, threads, count);
    const fl_array scale = drawn(state, (fl_shape){.axes = 1, .size = {full.size[2]}}, 1, 0);
    const fl_array norm[] = {in[0], scale};
    runs_equally(made(kernels, "layer_norm", (const int64_t[]){-1}, 1, half, 1), state, norm, 2,
                 threads, count);
    give_back();
}

/* ---- what is refused ---- */

static void refuses(const fl_kernels *kernels)
{
    const fl_caller caller = {.threads = 1};
    uint64_t state = 1;
    fl_array out[3] = {0};
    CHECK(!linear(kernels, FL_FORMATS, 3, 4) && !linear(kernels, -1, 3, 4));
    CHECK(!linear(kernels, FL_INT8, 1 << 17, 4));
    CHECK(!linear(kernels, FL_FLOAT32, 0, 4) && !linear(kernels, FL_FLOAT32, 3, 0));
    CHECK(!linear(kernels, FL_FLOAT32, INT64_MAX, INT64_MAX));
    CHECK(!made(kernels, "linear", (const int64_t[]){FL_FLOAT32, 3}, 2, NULL, 0));
    CHECK(!made(kernels, "no such operator", NULL, 0, NULL, 0));
    fl_kernels without = *kernels;
    without.gemm[FL_FLOAT16] = NULL;
    CHECK(!linear(&without, FL_FLOAT16, 3, 4));
    const fl_config half = {.input = 3, .hidden = 4, .layers = 1, .dirs = 1, .format = FL_FLOAT16};
    CHECK(fl_isa_can_run(kernels, &half) && !fl_isa_can_run(&without, &half));
    CHECK(!fl_recurrent_new(&half, &without));
    without = *kernels;
    without.cell[FL_LSTM].step[FL_FLOAT16] = NULL;
    CHECK(!fl_isa_can_run(&without, &half) && !fl_net_new(&half, &without));

    fl_operator *op = linear(kernels, FL_FLOAT32, 3, 4);
    const fl_array right = {.type = FL_F32, .shape = {.axes = 2, .size = {2, 3}}};
    const fl_array bad[] = {{.type = FL_F32, .shape = {.axes = 2, .size = {3, 2}}},
                            {.type = FL_F32, .shape = {.axes = 3, .size = {SIZE_MAX / 4, 4, 3}}},
                            {.type = FL_F32, .shape = {.axes = 0}},
                            {.type = FL_I64, .shape = right.shape},
                            {.type = FL_TYPES}};
    CHECK(op->type->shape(op, &right, 1, out, 1) == FL_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(op->type->shape(op, &bad[i], 1, out + 1, 1) == FL_BAD_SHAPE);
    CHECK(op->type->shape(op, &right, 2, out, 1) == FL_BAD_SHAPE);
    CHECK(op->type->shape(op, &right, 1, out, 2) == FL_BAD_SHAPE);
    fl_array w[] = {drawn(&state, (fl_shape){.axes = 2, .size = {4, 3}}, 1, 0),
                    drawn(&state, (fl_shape){.axes = 1, .size = {3}}, 1, 0)};
    CHECK(op->type->pack(op, w, 2) == FL_BAD_SHAPE && op->type->pack(op, w, 1) == FL_BAD_SHAPE);
    const fl_array none = {.type = FL_F32, .shape = {.axes = 2, .size = {0, 3}}, .at = w[0].at};
    CHECK(op->type->shape(op, &none, 1, out, 1) == FL_OK && fl_count(out) == 0);
    out[0].at = get(&state, 0);
    void *arena = get(&state, op->type->bytes(op, &none, 1, 1));
    CHECK(op->type->run(op, &none, 1, out, 1, arena, &caller) == FL_OK);
    op->type->free(op);

    op = fl_recurrent_new(&half, kernels);
    fl_array in[] = {{.type = FL_F32, .shape = {.axes = 3, .size = {5, 2, 3}}},
                     {.type = FL_I64, .shape = {.axes = 1, .size = {2}}},
                     {.type = FL_F32, .shape = {.axes = 3, .size = {1, 2, 4}}},
                     {.type = FL_F32, .shape = {.axes = 3, .size = {1, 2, 4}}},
                     {.type = FL_F32, .shape = {.axes = 3, .size = {1, 2, 4}}}};
    CHECK(op->type->shape(op, in, 4, out, 3) == FL_OK);
    CHECK(op->type->shape(op, in, 5, out, 3) == FL_BAD_SHAPE);
    CHECK(op->type->shape(op, in, 4, out, 4) == FL_BAD_SHAPE);
    CHECK(op->type->shape(op, in + 2, 1, out, 1) == FL_BAD_SHAPE);
    for (size_t i = 0; i < 4; i++) {
        const fl_array before = in[i];
        in[i].shape.size[in[i].shape.axes - 1]++;
        CHECK(op->type->shape(op, in, 4, out, 3) == FL_BAD_SHAPE);
        in[i] = before;
        in[i].type = i == 1 ? FL_F32 : FL_I64;
        CHECK(op->type->shape(op, in, 4, out, 3) == FL_BAD_SHAPE);
        in[i] = before;
    }
    CHECK(op->type->pack(op, w, 2) == FL_BAD_SHAPE);
    in[0].shape.size[0] = 0; /* without a step hn is h0 */
    const fl_array h0 = drawn(&state, in[2].shape, 1, 0);
    in[1] = (fl_array){.type = FL_TYPES};
    in[2] = h0;
    in[0].at = get(&state, 0);
    CHECK(op->type->shape(op, in, 3, out, 2) == FL_OK && fl_count(out) == 0);
    out[0].at = get(&state, 0);
    out[1] = empty(&state, out[1]);
    CHECK(op->type->run(op, in, 3, out, 2, NULL, &caller) == FL_OK && same(&out[1], &h0));
    op->type->free(op);
    give_back();
}

static void short_memory(const fl_kernels *kernels)
{
    const fl_config f = {.input = 3, .hidden = 64, .layers = 1, .dirs = 1};
    const fl_caller caller = {.threads = 2};
    uint64_t state = 1;
    fl_alloc_fail_after(0);
    CHECK(!linear(kernels, FL_FLOAT32, 3, 4));
    CHECK(!made(kernels, "softmax", (const int64_t[]){0}, 1, NULL, 0));
    CHECK(!made(kernels, "pointwise", (const int64_t[]){1, 1, FL_OP_NEG, 0, -1, -1}, 6, NULL, 0));
    for (long n = 0; n < 2; n++) {
        fl_alloc_fail_after(n);
        CHECK(!fl_recurrent_new(&f, kernels));
    }
    fl_alloc_fail_after(-1);
    fl_operator *op = fl_recurrent_new(&f, kernels);
    fl_array out = {0}; /* x is too much for the stack */
    const fl_array x = drawn(&state, (fl_shape){.axes = 3, .size = {30, 50, 3}}, 1, 0);
    CHECK(op && op->type->shape(op, &x, 1, &out, 1) == FL_OK);
    const fl_array y = empty(&state, out), untouched = empty(&state, out);
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

/* A run of five times the operations after which it is asked, alone; the first answer ends it.
   Helpers may be so fast that the caller has nothing to ask for, which is tried again. */
static void interrupted(fl_operator *op, fl_shape given, size_t threads)
{
    polls p = {0};
    fl_caller caller = {.threads = 1, .poll = poll, .poll_arg = &p};
    uint64_t state = 1;
    fl_array out = {0};
    const fl_array x = drawn(&state, given, 1, 0);
    CHECK(op && op->type->shape(op, &x, 1, &out, 1) == FL_OK);
    const fl_array y = empty(&state, out);
    void *arena = get(&state, op->type->bytes ? op->type->bytes(op, &x, 1, threads) : 0);
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
            runs_elements(kernels, &state, threads, &count);
        }
        refuses(kernels);
        short_memory(kernels);
        /* Tenths of the usual work: 10, or 1 in a build with more polls, where softmax has them
           once in a block of rows all the same. Of windows there are 60, side by side. */
        const size_t tenths = (size_t)(FL_POLL_FLOP / 1e7), taps = 8192 * tenths / 10;
        interrupted(linear(kernels, FL_FLOAT16, 512, 500),
                    (fl_shape){.axes = 2, .size = {100 * tenths, 512}}, threads);
        interrupted(made(kernels, "softmax", (const int64_t[]){1}, 1, NULL, 0),
                    (fl_shape){.axes = 2, .size = {4000, 1000}}, threads);
        interrupted(made(kernels, "max_pool",
                         (const int64_t[]){1, 0, 0, 0, (int64_t)taps, 1, 1, 0, 0}, 9, NULL, 0),
                    (fl_shape){.axes = 3, .size = {1, taps + 59, 56}}, threads);
        const fl_config f = {
            .cell = FL_RNN_TANH, .input = 8, .hidden = 256, .layers = 2, .dirs = 1};
        interrupted(fl_recurrent_new(&f, kernels),
                    (fl_shape){.axes = 3, .size = {30 * tenths, 5, 8}}, threads);
    }
    printf("%zu runs\n", count);
    return 0;
}
