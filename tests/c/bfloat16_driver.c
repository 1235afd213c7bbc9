/* SPDX-License-Identifier: MIT */
/*
 * The gemm of bfloat16 panels on whatever numbers a test pipes in. I is the number of an
 * instruction set; nothing is printed if it does not run here.
 *
 *     bfloat16_driver gemm I P   records on the standard input, native 32-bit numbers: rows,
 *                                columns, k, vectors of a panel, onto (0 or 1); x (rows, k);
 *                                w (columns, k); the start of the sums, (columns) or, if onto,
 *                                (rows, columns). Printed: the sums, (rows, columns)
 *     bfloat16_driver split I P BOUND
 *                                floats: the parts of rows of inputs, of a million of them part
 *                                after part
 *     bfloat16_driver bias I     floats: what a network's biases become when they are packed
 */
#include <string.h>

#include "base/alloc.h"
#include "kernels/bfloat16.h"
#include "kernels/dispatch.h"
#include "network/network.h"
#include "network/pack_matrix.h"
#include "check.h"
#include "runs_floats.h"

static int take(void *to, size_t count)
{
    const size_t n = fread(to, 4, count, stdin);
    CHECK(n == count || n == 0);
    return n == count;
}

static float *floats(size_t count)
{
    float *p = fl_alloc((count + 1) * sizeof(float));
    CHECK(p);
    return p;
}

static int gemm(const fl_kernels *kernels, int parts)
{
    uint32_t n[5];
    if (!take(n, 5))
        return 0;
    const size_t rows = n[0], columns = n[1], k = n[2];
    const size_t row = fl_code_bytes(kernels, FL_BFLOAT16, k, 16 * parts) / sizeof(float);
    const size_t group = n[3] * kernels->lanes, panels = (columns + group - 1) / group;
    float *x = floats(rows * k), *w = floats(columns * k), *start = floats(rows * columns);
    float *a = floats(rows * row), *c = floats(panels * rows * group);
    float *init = floats(panels * group);
    fl_carver counted = {0};
    fl_panels_carve(&counted, FL_BFLOAT16, parts, kernels, panels, group, k);
    fl_carver carver = {.base = fl_alloc(counted.used)};
    CHECK(carver.base && take(x, rows * k) && take(w, columns * k));
    CHECK(take(start, n[4] ? rows * columns : columns));
    memset(carver.base, 0, counted.used);
    memset(init, 0, panels * group * sizeof(float));
    memset(c, 0, panels * rows * group * sizeof(float));
    const fl_panels packed =
        fl_panels_carve(&carver, FL_BFLOAT16, parts, kernels, panels, group, k);
    fl_pack_plain(&packed, group, kernels->lanes, w, columns, k);
    for (size_t r = 0; r < rows; r++)
        kernels->split_row(a + r * row, x + r * k, k, parts, FL_TINY_PART);
    for (size_t i = 0; i < columns; i++) {
        init[i] = start[i];
        for (size_t r = 0; r < rows && n[4]; r++)
            c[i / group * rows * group + r * group + i % group] = start[r * columns + i];
    }
    const fl_gemm g = {.rows = rows,
                       .vectors = n[3],
                       .panels = panels,
                       .k = k,
                       .descending = rows % 2,
                       .panel = packed.data,
                       .panel_bytes = packed.panel_bytes,
                       .init = init,
                       .c = c,
                       .c_panel = rows * group,
                       .c_row = group,
                       .add = n[4] ? FL_ONTO : 0,
                       .codes = {.at = a, .row = row * sizeof(float), .bits = 16 * parts}};
    kernels->gemm[FL_BFLOAT16](&g);
    if (kernels->leave)
        kernels->leave();
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++)
            CHECK(fwrite(c + i / group * rows * group + r * group + i % group, 4, 1, stdout) == 1);
    fl_free(x), fl_free(w), fl_free(start), fl_free(a), fl_free(c), fl_free(init);
    fl_free(packed.data);
    return 1;
}

enum { MOST = 1 << 20 };

/* n numbers of 2 bytes, and one more, as floats. */
static void widen(float *to, const void *from, size_t n)
{
    for (size_t i = 0; i <= n; i++) {
        uint16_t half = 0;
        if (i < (n + 1) / 2 * 2)
            memcpy(&half, (const char *)from + 2 * i, sizeof half);
        const uint32_t bits = (uint32_t)half << 16;
        memcpy(to + i, &bits, sizeof bits);
    }
}

static void split_all(const fl_kernels *kernels, int parts, float bound)
{
    float *x = floats(MOST), *wide = floats(MOST);
    float *y = floats(fl_code_bytes(kernels, FL_BFLOAT16, MOST, 16 * parts) / sizeof(float));
    for (size_t n; (n = fread(x, sizeof *x, MOST, stdin)) > 0;) {
        kernels->split_row(y, x, n, parts, bound);
        for (int part = 0; part < parts; part++) {
            const float *at = y + (size_t)part * fl_part_floats(n);
            if (kernels->without_tiles) {
                widen(wide, (const char *)y + (size_t)part * fl_part_bytes(n), n);
                at = wide;
            }
            CHECK(n % 2 == 0 || at[n] == 0.0f);
            CHECK(fwrite(at, sizeof *at, n, stdout) == n);
        }
    }
    fl_free(x), fl_free(y), fl_free(wide);
}

static void biases(const fl_kernels *kernels)
{
    float *b = floats(MOST), *zeros = floats(MOST);
    const size_t n = fread(b, sizeof *b, 1000, stdin);
    const fl_config f = {.cell = FL_RNN_TANH,
                         .input = 1,
                         .hidden = n,
                         .layers = 1,
                         .dirs = 1,
                         .format = FL_BFLOAT16};
    fl_net *net = fl_net_new(&f, kernels);
    CHECK(n && net);
    memset(zeros, 0, MOST * sizeof *zeros);
    fl_net_set(net, 0, 0, zeros, zeros, b, NULL, NULL);
    for (size_t u = 0; u < n; u++)
        CHECK(fwrite(net->track[0].bias + fl_column(net, 0, u), 4, 1, stdout) == 1);
    fl_net_free(net);
    fl_free(b), fl_free(zeros);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 3);
    const int parts = argc > 3 ? atoi(argv[3]) : 1;
    CHECK(parts >= 1 && parts <= 3);
    const int isa = atoi(argv[2]);
    CHECK(isa >= 0 && isa < fl_isa_count());
    const int tiles = fl_isa_runnable(isa) && fl_isa_kernels(isa)->without_tiles;
    if (!runs_floats(isa) && !tiles)
        return 0;
    CHECK(!tiles || fl_permitted_kernels(fl_isa_kernels(isa), 1) == fl_isa_kernels(isa));
    if (!strcmp(argv[1], "gemm"))
        while (gemm(fl_isa_kernels(isa), parts))
            ;
    else if (!strcmp(argv[1], "split"))
        split_all(fl_isa_kernels(isa), parts, argc > 4 ? strtof(argv[4], NULL) : FL_TINY_PART);
    else
        biases(fl_isa_kernels(isa));
    return 0;
}
