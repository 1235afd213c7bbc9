/* SPDX-License-Identifier: MIT */
/*
 * Prints, for every instruction set that runs here, a hash of the bits of the activations over a
 * sample of all floats and of forward calls of every cell over drawn shapes, weights and inputs,
 * some of them for training (gradients are not promised the same bits by two instruction sets:
 * their sums run over panels). Everything is drawn from integers, so every machine draws the same:
 * lines that differ between two machines or two instruction sets with fused multiply-add are broken
 * promises. No Python, no torch.
 *
 *     bits [cases [stride of the sample of floats]]
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fastlstm.h"
#include "kernels/contract.h"
#include "check.h"
#include "coded.h"
#include "halves.h"
#include "vary.h"

static uint64_t state;

/* -1 .. 1 in steps of 2^-16, times scale: exact on every machine */
static float *floats(size_t n, float scale)
{
    float *p = fl_alloc((n + 1) * sizeof(float));
    if (!p)
        exit(2);
    for (size_t i = 0; i < n; i++)
        p[i] = ((float)(draw(&state) >> 15) - 65536.0f) * (scale / 65536.0f);
    return p;
}

static uint64_t hash(uint64_t h, const float *p, size_t n) /* FNV-1a over words */
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, p + i, 4);
        if ((u & 0x7fffffffu) > 0x7f800000u)
            u = 0x7fc00000u; /* NaNs count as equal: their payloads differ between CPUs */
        h = (h ^ u) * 0x100000001b3u;
    }
    return h;
}

static void activations(const fl_kernels *k, unsigned stride)
{
    float x[4096], y[4096];
    uint64_t s = 1, t = 1;
    for (uint64_t bits = 0; bits < 0x100000000u;) {
        size_t n = 0;
        for (; n < 4096 && bits < 0x100000000u; n++, bits += stride) {
            uint32_t u = (uint32_t)bits;
            memcpy(x + n, &u, 4);
        }
        k->sigmoid(y, x, n);
        s = hash(s, y, n);
        k->tanh(y, x, n);
        t = hash(t, y, n);
    }
    uint64_t v = 1;
    for (int f = 0; f < FL_FUNCTIONS; f++)
        for (uint64_t bits = 0; bits < 0x100000000u;) {
            const fl_activation one = {f, 0.75f, 0.625f};
            float slope[4096];
            size_t n = 0;
            for (; n < 4096 && bits < 0x100000000u; n++, bits += 16 * (uint64_t)stride) {
                uint32_t u = (uint32_t)bits;
                memcpy(x + n, &u, 4);
            }
            k->activate(&one, y, slope, x, n);
            v = hash(hash(v, y, n), slope, n);
        }
    printf("%s activations %016llx %016llx %016llx\n", k->name, (unsigned long long)s,
           (unsigned long long)t, (unsigned long long)v);
}

static void round_to_half(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = half_rounded(p[i]);
}

/* The hash of a drawn call's outputs. Every third network has float16 weights; with `twin`, those
   of float32 whose matrices were rounded to float16 instead. Of the others every fourth has int8
   weights, and every fourth bfloat16, in 1, 2 or 3 parts. */
static uint64_t forward(const fl_kernels *k, unsigned number, int twin)
{
    const int half = number % 3 == 0, codes = !half && number % 4 == 1;
    const int pairs = !half && number % 4 == 3;
    state = number;
    fl_config f = {.cell = (int)(number % FL_CELLS),
                   .input = between(&state, 1, 40),
                   .hidden = between(&state, 1, 70),
                   .layers = between(&state, 1, 3),
                   .dirs = between(&state, 1, 2),
                   .format = codes           ? FL_INT8
                             : half && !twin ? FL_FLOAT16
                             : pairs         ? FL_BFLOAT16
                                             : FL_FLOAT32,
                   .input_bits = number % 8 == 1 ? 16 : 8,
                   .parts = 1 + (int)(number / 4 % 3)};
    f.proj = draw(&state) % 3 == 0 && f.hidden > 1 ? between(&state, 1, f.hidden - 1) : 0;
    f.proj = f.cell == FL_LSTM ? f.proj : 0;
    const size_t gates[] = {4, 3, 3, 1, 1}, rows_of = gates[f.cell] * f.hidden;
    f.reverse = f.dirs == 1 && draw(&state) % 3 == 0;
    if (draw(&state) % 2) {
        f.variant = drawn_variant(&state, f.cell);
        f.variant.clip = draw(&state) % 2 ? INFINITY : 0.5f;
    }
    size_t width = f.proj ? f.proj : f.hidden;
    fl_call c = {.steps = between(&state, 1, 20),
                 .batch = draw(&state) % 4 ? between(&state, 1, 9) : between(&state, 10, 140)};
    /* From ordinary values to the edge of the subnormals */
    float scale = draw(&state) % 8 ? 2.0f : draw(&state) % 2 ? 0x1p-95f : 0x1p-125f;

    fl_net *net = fl_net_new(&f, k);
    if (!net)
        exit(2);
    for (size_t l = 0; l < f.layers; l++)
        for (size_t d = 0; d < f.dirs; d++) {
            size_t in = l ? f.dirs * width : f.input;
            float *w = floats(rows_of * in, 0.5f), *r = floats(rows_of * width, 0.5f);
            float scale_b = draw(&state) % 3 ? 0.5f : 0.0f;
            float *b = floats(rows_of, scale_b), *b_hh = floats(rows_of, scale_b);
            float *p = floats(f.proj * f.hidden, 0.5f);
            float *peep = floats(3 * f.hidden, 0.5f);
            if (twin) {
                round_to_half(w, rows_of * in);
                round_to_half(r, rows_of * width);
                round_to_half(p, f.proj * f.hidden);
            }
            set_any(net, &f, l, d, w, r, b, b_hh, f.proj ? p : NULL, rows_of, in, width);
            if (f.variant.peepholes)
                fl_net_set_peepholes(net, l, d, peep);
            fl_free(peep), fl_free(w), fl_free(r), fl_free(b), fl_free(b_hh), fl_free(p);
        }
    size_t rows = f.layers * f.dirs * c.batch, out = c.steps * c.batch * f.dirs * width;
    float *x = floats(c.steps * c.batch * f.input, scale), *y = floats(out, 1);
    float *h0 = floats(rows * width, scale), *c0 = floats(rows * f.hidden, scale);
    int64_t *lengths = fl_alloc(c.batch * sizeof *lengths);
    for (size_t b = 0; b < c.batch; b++)
        lengths[b] = (int64_t)between(&state, 0, c.steps);
    c.x = x, c.y = y;
    c.x_t = (ptrdiff_t)(c.batch * f.input), c.x_b = (ptrdiff_t)f.input;
    c.y_t = (ptrdiff_t)(c.batch * f.dirs * width), c.y_b = (ptrdiff_t)(f.dirs * width);
    if (draw(&state) % 2)
        c.h0 = h0, c.c0 = c0;
    if (draw(&state) % 2)
        c.lengths = lengths;
    c.hn = h0, c.cn = c0;
    if (draw(&state) % 4 == 0 && !half && !codes && !pairs &&
        !(c.tape = fl_tape_new(net, &c, 0, 0, 0, c.steps)))
        exit(2);
    if (fl_forward(net, &c) != FL_OK)
        exit(2);
    uint64_t sum = hash(hash(hash(1, y, out), h0, rows * width), c0, rows * f.hidden);
    fl_free(x), fl_free(y), fl_free(h0), fl_free(c0), fl_free(lengths);
    fl_tape_free(c.tape);
    fl_net_free(net);
    return sum;
}

int main(int argc, char **argv)
{
    unsigned cases = argc > 1 ? (unsigned)atoi(argv[1]) : 200;
    unsigned stride = argc > 2 ? (unsigned)atoi(argv[2]) : 1021;
    for (int i = 0; i < fl_isa_count(); i++)
        if (fl_isa_runnable(i)) {
            activations(fl_isa_kernels(i), stride);
            for (unsigned n = 1; n <= cases; n++) {
                const uint64_t sum = forward(fl_isa_kernels(i), n, 0);
                CHECK(n % 3 || sum == forward(fl_isa_kernels(i), n, 1));
                printf("%s case %u %016llx\n", fl_isa_name(i), n, (unsigned long long)sum);
            }
        }
    return 0;
}
