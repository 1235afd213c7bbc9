/* SPDX-License-Identifier: MIT */
/*
 * Every thread that works on a call enters before its first kernel and leaves after its last one:
 * calls run on a copy of an instruction set's table whose enter and leave count, and whose kernels
 * check that their thread is between the two. Built with FL_SPLIT_HOOK, so that small work is
 * shared among threads too.
 *
 *     hooks_driver N SEED THREADS    N drawn networks on every instruction set, forward and
 *                                    backward, then calls that their poll interrupts. Prints how
 *                                    many calls there were and how often a thread entered: for
 *                                    one row, for several rows, backward, and interrupted
 */
#include <sched.h>
#include <stdatomic.h>

#include "on_the_heap.h"
#include "kernels/contract.h"
#include "runs_floats.h"
#include "vary.h"

/* ---- the counting table ---- */

static const fl_kernels *original;
static atomic_size_t entered, left;
static _Thread_local int inside;

static void enter(void)
{
    CHECK(!inside);
    inside = 1;
    atomic_fetch_add(&entered, 1);
}

static void leave(void)
{
    CHECK(inside);
    inside = 0;
    atomic_fetch_add(&left, 1);
}

/* A kernel of the copy: the original's, on a thread that has entered. */
#define KERNEL(name, type, place)                                                                  \
    static void name(const type *arguments)                                                        \
    {                                                                                              \
        CHECK(inside);                                                                             \
        original->place(arguments);                                                                \
    }
#define CELL(c)                                                                                    \
    KERNEL(step_##c, fl_step, cell[c].step[FL_FLOAT32])                                            \
    KERNEL(step_half_##c, fl_step, cell[c].step[FL_FLOAT16])                                       \
    KERNEL(keep_##c, fl_step, cell[c].keep)                                                        \
    KERNEL(reset_##c, fl_step, cell[c].reset)                                                      \
    KERNEL(back_##c, fl_back, cell[c].back)                                                        \
    KERNEL(back_reset_##c, fl_back, cell[c].back_reset)
#define SET(c)                                                                                     \
    copy.cell[c].step[FL_FLOAT32] = step_##c;                                                      \
    copy.cell[c].step[FL_FLOAT16] = step_half_##c;                                                 \
    copy.cell[c].keep = keep_##c;                                                                  \
    copy.cell[c].reset = copy.cell[c].reset ? reset_##c : NULL;                                    \
    copy.cell[c].back = back_##c;                                                                  \
    copy.cell[c].back_reset = copy.cell[c].back_reset ? back_reset_##c : NULL;
#define ALL_CELLS(what)                                                                            \
    what(FL_LSTM) what(FL_GRU) what(FL_GRU_BEFORE) what(FL_RNN_TANH) what(FL_RNN_RELU)             \
        what(FL_LSTM_VARIANT) what(FL_GRU_VARIANT) what(FL_GRU_BEFORE_VARIANT)                     \
            what(FL_RNN_VARIANT)

ALL_CELLS(CELL)
KERNEL(gemm, fl_gemm, gemm[FL_FLOAT32])
KERNEL(gemm_half, fl_gemm, gemm[FL_FLOAT16])

static fl_kernels counting(const fl_kernels *kernels)
{
    fl_kernels copy = *kernels;
    original = kernels;
    copy.enter = enter;
    copy.leave = leave;
    copy.gemm[FL_FLOAT32] = gemm;
    copy.gemm[FL_FLOAT16] = gemm_half;
    ALL_CELLS(SET)
    return copy;
}

/* ---- calls ---- */

/* Calls, and how often a thread entered in them. */
typedef struct tally {
    size_t calls, entered;
} tally;

/* After a call: the caller has left, and so do, at last, helpers that went on after it. */
static void add(tally *to)
{
    CHECK(!inside);
    while (atomic_load(&left) != atomic_load(&entered))
        sched_yield();
    to->calls++;
    to->entered += atomic_load(&entered);
    CHECK(atomic_load(&entered) > 0);
    atomic_store(&entered, 0);
    atomic_store(&left, 0);
}

static shape drawn(uint64_t *state)
{
    shape s = {.f = {.cell = (int)(draw(state) % FL_CELLS),
                     .input = between(state, 1, 40),
                     .hidden = between(state, 2, 150),
                     .layers = between(state, 1, 3),
                     .dirs = between(state, 1, 2),
                     .format = (int)(draw(state) % FL_FORMATS),
                     .input_bits = 16},
               .steps = between(state, 1, 30),
               .batch = draw(state) % 2 ? 1 : between(state, 2, 40),
               .wants = DY | DX,
               .scale = 1,
               .seed = draw(state)};
    s.f.proj = s.f.cell == FL_LSTM && draw(state) % 3 == 0 ? between(state, 1, s.f.hidden - 1) : 0;
    if (draw(state) % 3 == 0)
        s.f.variant = finite_variant(state, s.f.cell);
    return s;
}

static int stop(void *wanted) { return *(int *)wanted; }

/* A call of one row or many, backward or not, that its first poll ends: tried again where the
   helpers were so fast that the caller had nothing to poll for. */
static void interrupted(const fl_kernels *kernels, size_t batch, int backward, size_t threads,
                        tally *to)
{
    const shape s = {.f = {.input = 8, .hidden = 200, .layers = 2, .dirs = 1},
                     .steps = 960 / batch,
                     .batch = batch,
                     .wants = DY | DX,
                     .scale = 1};
    int wanted = 0, e = FL_OK;
    trial x;
    tally rest = {0};
    prepare(&x, &s);
    CHECK(open_net(&x, kernels));
    x.call.threads = x.back.threads = threads;
    x.call.poll = x.back.poll = stop;
    x.call.poll_arg = x.back.poll_arg = &wanted;
    if (backward)
        CHECK((x.call.tape = fl_tape_new(x.net, &x.call, 0, 0, 0, s.steps)));
    if (backward) {
        CHECK(fl_forward(x.net, &x.call) == FL_OK);
        add(&rest);
        x.back.tape = x.call.tape;
    }
    wanted = 1;
    for (int tries = 0; e == FL_OK && tries < 100; tries++) {
        e = backward ? fl_backward(x.net, x.weights, &x.back) : fl_forward(x.net, &x.call);
        add(e == FL_OK ? &rest : to);
    }
    CHECK(e == FL_INTERRUPTED);
    fl_tape_free(x.call.tape);
    close_net(&x);
    give_back();
}

/* A set with kernels for products of codes, or of tiles, has all others of the set that is called
   as it is. */
static void test_shared_kernels(void)
{
    for (int i = 0; i < fl_isa_count(); i++)
        for (int j = 0; j < fl_isa_count(); j++) {
            const fl_kernels *dot = fl_isa_kernels(i), *base = fl_isa_kernels(j);
            const size_t length = strlen(fl_isa_name(j));
            if (!dot || !base || runs_floats(i) || strncmp(dot->name, base->name, length) ||
                dot->name[length] != '-' || !runs_floats(j))
                continue;
            fl_kernels copy;
            memcpy(&copy, dot, sizeof copy);
            CHECK(copy.encode != base->encode && copy.gemm[FL_INT8] != base->gemm[FL_INT8]);
            CHECK(!dot->without_tiles == (dot->gemm[FL_BFLOAT16] == base->gemm[FL_BFLOAT16]));
            copy.name = base->name;
            copy.without_tiles = NULL;
            copy.enter = copy.leave = NULL;
            copy.split_row = base->split_row;
            copy.split_lines = base->split_lines;
            copy.gemm[FL_BFLOAT16] = base->gemm[FL_BFLOAT16];
            copy.cell[FL_LSTM].step[FL_BFLOAT16] = base->cell[FL_LSTM].step[FL_BFLOAT16];
            copy.cell[FL_GRU].step[FL_BFLOAT16] = base->cell[FL_GRU].step[FL_BFLOAT16];
            copy.encode = base->encode;
            copy.code_zero = base->code_zero;
            copy.probe[FL_INT8] = base->probe[FL_INT8];
            copy.probe[FL_BFLOAT16] = base->probe[FL_BFLOAT16];
            copy.gemm[FL_INT8] = base->gemm[FL_INT8];
            copy.cell[FL_LSTM].step[FL_INT8] = base->cell[FL_LSTM].step[FL_INT8];
            copy.cell[FL_GRU].step[FL_INT8] = base->cell[FL_GRU].step[FL_INT8];
            CHECK(!memcmp(&copy, base, sizeof copy));
        }
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    const size_t n = strtoul(argv[1], NULL, 10), threads = strtoul(argv[3], NULL, 10);
    uint64_t state = strtoul(argv[2], NULL, 10);
    test_shared_kernels();
    tally one = {0}, several = {0}, back = {0}, stopped = {0};
    for (int i = 0; i < fl_isa_count(); i++) {
        if (!runs_floats(i))
            continue;
        const fl_kernels kernels = counting(fl_isa_kernels(i));
        for (size_t k = 0; k < n; k++) {
            const shape s = drawn(&state);
            trial x;
            prepare(&x, &s);
            CHECK(open_net(&x, &kernels));
            CHECK(run(&x, threads, 0, NULL));
            add(s.batch == 1 ? &one : &several);
            if (trains(&x)) {
                CHECK(run(&x, threads, 1, NULL));
                add(&back);
            }
            close_net(&x);
            give_back();
        }
        for (size_t batch = 1; batch <= 8; batch += 7)
            for (int backward = 0; backward < 2; backward++)
                interrupted(&kernels, batch, backward, threads, &stopped);
    }
    const tally all[] = {one, several, back, stopped};
    for (int i = 0; i < 4; i++)
        printf("%zu calls, entered %zu times\n", all[i].calls, all[i].entered);
    return 0;
}
