/* SPDX-License-Identifier: MIT */
/*
 * forward_train and backward in C: every buffer of the caller's stands between two pages that may
 * not be touched, against the one before it or the one after; every call is made with one thread
 * and with several, to the same bits.
 *
 *     training_driver N SEED THREADS [LARGEST]   N networks of drawn shapes on every instruction
 * set
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../csrc/fastlstm.h"
#include "check.h"
#include "vary.h"

/* Guarded floats; all of a network's are given back at once. */
static struct {
    void *base;
    size_t bytes;
} held[256];
static size_t holding;

static void *guarded(uint64_t *state, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), inner = (bytes + page - 1) / page * page;
    char *base = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED && holding < 256);
    CHECK(inner == 0 || mprotect(base + page, inner, PROT_READ | PROT_WRITE) == 0);
    held[holding].base = base;
    held[holding++].bytes = inner + 2 * page;
    return draw(state) % 2 ? base + page : base + page + inner - bytes;
}

static void give_back(void)
{
    while (holding) {
        holding--;
        CHECK(munmap(held[holding].base, held[holding].bytes) == 0);
    }
}

static float *floats(uint64_t *state, size_t n, float scale)
{
    float *p = guarded(state, n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        p[i] = ((float)(draw(state) >> 15) - 65536.0f) * (scale / 65536.0f);
    return p;
}

/* All that a call gives out. */
typedef struct outputs {
    float *part[64];
    size_t n[64], parts;
} outputs;

static float *output(outputs *o, uint64_t *state, size_t n)
{
    CHECK(o->parts < 64);
    o->part[o->parts] = floats(state, n, 1);
    o->n[o->parts] = n;
    return o->part[o->parts++];
}

typedef struct strides {
    ptrdiff_t t, b;
} strides;

static strides order(int batch_first, size_t steps, size_t batch, size_t n)
{
    return batch_first ? (strides){(ptrdiff_t)n, (ptrdiff_t)(steps * n)}
                       : (strides){(ptrdiff_t)(batch * n), (ptrdiff_t)n};
}

static void run(uint64_t seed, const fl_kernels *kernels, size_t threads, size_t largest)
{
    uint64_t draws = seed, *state = &draws;
    static const size_t gates[FL_CELLS] = {4, 3, 3, 1, 1};
    fl_config f = {.cell = draw(state) % 2 ? FL_LSTM : (int)(draw(state) % FL_CELLS),
                   .input = between(state, 1, largest),
                   .hidden = between(state, 1, largest),
                   .layers = between(state, 1, 3),
                   .dirs = between(state, 1, 2)};
    const int lstm = f.cell == FL_LSTM;
    if (lstm && f.hidden > 1 && draw(state) % 3 == 0)
        f.proj = between(state, 1, f.hidden - 1);
    vary(&f, seed);
    const size_t H = f.hidden, G = gates[f.cell] * H, K = f.proj ? f.proj : H, row = f.dirs * K;
    const size_t B = between(state, 1, 9), T = between(state, 1, 12), lanes = f.layers * f.dirs;
    fl_net *net = fl_net_new(&f, kernels);
    fl_turned *turned = net ? fl_turned_new(net) : NULL;
    CHECK(net && turned);
    fl_grads grads[6];
    outputs out[2] = {{.parts = 0}, {.parts = 0}};
    for (size_t i = 0; i < lanes; i++) {
        const size_t in = i < f.dirs ? f.input : row;
        const float *w = floats(state, G * in, 0.3f), *r = floats(state, G * K, 0.3f);
        const float *b = draw(state) % 4 ? floats(state, G, 0.3f) : NULL;
        const float *p = f.proj ? floats(state, K * H, 0.3f) : NULL;
        fl_net_set(net, i / f.dirs, i % f.dirs, w, r, b, b, p);
        if (f.variant.peepholes)
            fl_net_set_peepholes(net, i / f.dirs, i % f.dirs, floats(state, 3 * H, 0.3f));
        fl_turned_set(turned, net, i / f.dirs, i % f.dirs, w, r, p);
    }
    const int first = (int)(draw(state) % 2), wants = (int)draw(state);
    const strides x = order(first, T, B, f.input), y = order(first, T, B, row);
    int64_t *lengths = guarded(state, B * sizeof *lengths);
    for (size_t b = 0; b < B; b++)
        lengths[b] = (int64_t)between(state, 0, T);
    fl_call call = {.steps = T,
                    .batch = B,
                    .x = floats(state, T * B * f.input, 1),
                    .x_t = x.t,
                    .x_b = x.b,
                    .y_t = y.t,
                    .y_b = y.b,
                    .lengths = wants & 1 ? lengths : NULL,
                    .h0 = wants & 2 ? floats(state, lanes * B * K, 1) : NULL,
                    .c0 = lstm && wants & 2 ? floats(state, lanes * B * H, 1) : NULL};
    fl_back_call back = {.dy = wants & 4 ? floats(state, T * B * row, 1) : NULL,
                         .dy_t = y.t,
                         .dy_b = y.b,
                         .dhn = wants & 8 ? floats(state, lanes * B * K, 1) : NULL,
                         .dcn = lstm && wants & 16 ? floats(state, lanes * B * H, 1) : NULL,
                         .dx_t = x.t,
                         .dx_b = x.b,
                         .grads = grads};
    const float dropout = draw(state) % 2 ? 0.3f : 0.0f;
    for (int k = 0; k < 2; k++) {
        outputs *o = &out[k];
        call.threads = back.threads = k ? threads : 1;
        call.y = output(o, state, T * B * row);
        call.hn = output(o, state, lanes * B * K);
        call.cn = lstm ? output(o, state, lanes * B * H) : NULL;
        back.dx = wants & 32 ? output(o, state, T * B * f.input) : NULL;
        back.dh0 = wants & 64 ? output(o, state, lanes * B * K) : NULL;
        back.dc0 = lstm && wants & 64 ? output(o, state, lanes * B * H) : NULL;
        for (size_t i = 0; i < lanes; i++)
            grads[i] = (fl_grads){
                .w_ih = output(o, state, G * (i < f.dirs ? f.input : row)),
                .w_hh = output(o, state, G * K),
                .b_ih = wants & 128 ? output(o, state, G) : NULL,
                .b_hh = wants & 128 ? output(o, state, G) : NULL,
                .w_hr = f.proj ? output(o, state, K * H) : NULL,
                .peepholes = f.variant.peepholes ? output(o, state, 3 * H) : NULL,
            };
        fl_tape *tape = fl_tape_new(net, &call, dropout, seed, 0, T);
        CHECK(tape);
        call.tape = tape;
        back.tape = tape;
        CHECK(fl_forward(net, &call) == FL_OK);
        CHECK(fl_backward(net, turned, &back) == FL_OK);
        call.tape = NULL;
        fl_tape_free(tape);
    }
    for (size_t i = 0; i < out[0].parts; i++)
        CHECK(!memcmp(out[0].part[i], out[1].part[i], out[0].n[i] * sizeof(float)));
    fl_turned_free(turned);
    fl_net_free(net);
    give_back();
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    const size_t n = strtoul(argv[1], NULL, 10), threads = strtoul(argv[3], NULL, 10);
    const uint64_t seed = strtoul(argv[2], NULL, 10);
    size_t calls = 0;
    for (int i = 0; i < fl_isa_count(); i++)
        for (size_t k = 0; k < n && fl_isa_runnable(i); k++, calls++)
            run(1000 * seed + k, fl_isa_kernels(i), threads,
                argc > 4 ? strtoul(argv[4], NULL, 10) : 130);
    printf("%zu networks\n", calls);
    return 0;
}
