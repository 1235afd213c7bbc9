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
 *     bfloat16_driver sums I P N SEED
 *                                at least N sums of drawn numbers, of all sizes, which cancel, are
 *                                zeros or near the bound, against fused multiply-adds in order.
 *                                Prints how many
 */
#include <math.h>
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

/* ---- drawn sums ---- */

enum { ROWS = 64, COLUMNS = 96, DEPTH = 80, PARTS = 3 };
enum { PLAIN, WIDE, CANCELLING, ZEROS, BOUNDS, KINDS };

/* A number in -1 .. 1. */
static float even(uint64_t *state) { return (float)(int32_t)draw(state) * 0x1p-31f; }

static float drawn(uint64_t *state, int kind)
{
    const float x = even(state);
    if (kind == WIDE)
        return ldexpf(x, (int)between(state, 0, 100) - 60);
    if (kind == BOUNDS)
        return ldexpf(x < 0 ? -1 + x / 64 : 1 - x / 64, -(int)between(state, 54, 57));
    return kind == ZEROS && draw(state) % 3 ? 0 * x : x;
}

/* n rows of k numbers; of those that cancel each second number is the one before it, in one of the
   two factors negative, all or but for its last digits. */
static void draw_rows(uint64_t *state, int kind, int second, float *x, size_t n, size_t k)
{
    for (size_t i = 0; i < n * k; i++) {
        x[i] = drawn(state, kind);
        if (kind == CANCELLING && i % k % 2)
            x[i] = second ? -x[i - 1] * (draw(state) % 4 ? 1 : 1 + 0x1p-8f) : x[i - 1];
    }
}

/* To the nearest of 8 bits of precision, ties to even; 0 below 2^-56. */
static float nearest(float x)
{
    int exponent;
    const float part = frexpf(x, &exponent), y = ldexpf(rintf(ldexpf(part, 8)), exponent - 8);
    return fabsf(y) < 0x1p-56f ? 0.0f : y;
}

static void parts_of(float (*to)[ROWS + COLUMNS][DEPTH], size_t row, const float *x, size_t k,
                     int parts)
{
    for (size_t i = 0; i < k; i++) {
        float rest = x[i];
        for (int part = 0; part < parts; part++) {
            to[part][row][i] = nearest(rest);
            rest -= to[part][row][i];
        }
    }
}

/* `sum` and the products of row r and column c, as bfloat16.h says. */
static float in_order(float (*part)[ROWS + COLUMNS][DEPTH], size_t r, size_t c, size_t k, int parts,
                      float sum)
{
    for (size_t k0 = 0; k0 < k; k0 += FL_PIECE)
        for (int j = parts - 1; j >= 0; j--)
            for (int i = parts - 1 - j; i >= 0; i--) {
                const float *x = part[i][r], *w = part[j][c];
                float chain[2] = {0, 0};
                for (size_t n = k0; n < k && n < k0 + FL_PIECE; n++)
                    chain[n % 2] = fmaf(x[n], w[n], chain[n % 2]);
                sum = sum + (chain[0] + chain[1]);
            }
    return sum;
}

static size_t drawn_sums(const fl_kernels *kernels, int parts, uint64_t *state, int kind)
{
    static float part[PARTS][ROWS + COLUMNS][DEPTH];
    const size_t rows = between(state, 1, ROWS), columns = between(state, 1, COLUMNS);
    const size_t k = between(state, 1, DEPTH), vectors = between(state, 3, 4);
    const size_t row = fl_code_bytes(kernels, FL_BFLOAT16, k, 16 * parts);
    const size_t group = vectors * kernels->lanes, panels = (columns + group - 1) / group;
    float *x = floats(rows * k), *w = floats(columns * k), *c = floats(panels * rows * group);
    char *a = fl_alloc(rows * row + 64);
    fl_carver counted = {0};
    fl_panels_carve(&counted, FL_BFLOAT16, parts, kernels, panels, group, k);
    fl_carver carver = {.base = fl_alloc(counted.used)};
    CHECK(a && carver.base);
    memset(carver.base, 0, counted.used);
    const fl_panels packed =
        fl_panels_carve(&carver, FL_BFLOAT16, parts, kernels, panels, group, k);
    draw_rows(state, kind, 0, x, rows, k);
    draw_rows(state, kind, 1, w, columns, k);
    fl_pack_plain(&packed, group, kernels->lanes, w, columns, k);
    for (size_t r = 0; r < rows; r++) {
        kernels->split_row(a + r * row, x + r * k, k, parts, FL_TINY_PART);
        parts_of(part, r, x + r * k, k, parts);
    }
    for (size_t i = 0; i < columns; i++)
        parts_of(part, ROWS + i, w + i * k, k, parts);
    float *due = floats(rows * columns);
    memset(c, 0, panels * rows * group * sizeof *c);
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++) {
            const float start = ldexpf(even(state), -(int)between(state, 0, 102));
            float *at = c + i / group * rows * group + r * group + i % group;
            *at = fabsf(start) < FL_TINY_BIAS ? 0.0f : start;
            due[r * columns + i] = in_order(part, r, ROWS + i, k, parts, *at);
        }
    const fl_gemm g = {.rows = rows,
                       .vectors = vectors,
                       .panels = panels,
                       .k = k,
                       .panel = packed.data,
                       .panel_bytes = packed.panel_bytes,
                       .c = c,
                       .c_panel = rows * group,
                       .c_row = group,
                       .add = FL_ONTO,
                       .codes = {.at = a, .row = row, .bits = 16 * parts}};
    kernels->gemm[FL_BFLOAT16](&g);
    if (kernels->leave)
        kernels->leave();
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < columns; i++)
            CHECK(!memcmp(c + i / group * rows * group + r * group + i % group,
                          due + r * columns + i, sizeof *due));
    fl_free(x), fl_free(w), fl_free(c), fl_free(a), fl_free(due), fl_free(packed.data);
    return rows * columns;
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
    if (!strcmp(argv[1], "sums")) {
        CHECK(argc == 6);
        uint64_t state = strtoul(argv[5], NULL, 10);
        size_t count = 0;
        for (int i = 0; count < strtoul(argv[4], NULL, 10); i++)
            count += drawn_sums(fl_isa_kernels(isa), parts, &state, i % KINDS);
        printf("%zu\n", count);
    } else if (!strcmp(argv[1], "gemm"))
        while (gemm(fl_isa_kernels(isa), parts))
            ;
    else if (!strcmp(argv[1], "split"))
        split_all(fl_isa_kernels(isa), parts, argc > 4 ? strtof(argv[4], NULL) : FL_TINY_PART);
    else
        biases(fl_isa_kernels(isa));
    return 0;
}
