/* SPDX-License-Identifier: MIT */
/*
 * The two conversions between float32 and binary16, on whatever numbers a test pipes in.
 *
 *     half_driver round    float32 numbers on the standard input: what packing rounds them to, as
 *                          binary16 patterns, on the standard output
 *     half_driver sets     how many instruction sets there are
 *     half_driver load I   binary16 patterns: the float32 numbers that the gemm of instruction set
 *                          I makes of them, each times 1 and added to -0, so that -0 stays; from
 *                          one row of several panels, and from more rows than a tile has
 */
#include <string.h>

#include "base/alloc.h"
#include "kernels/contract.h"
#include "network/half.h"
#include "check.h"
#include "runs_floats.h"

static void round_all(void)
{
    float x;
    while (fread(&x, sizeof x, 1, stdin) == 1) {
        const uint16_t h = fl_half(x);
        CHECK(fwrite(&h, sizeof h, 1, stdout) == 1);
    }
}

enum { PANELS = 5, ROWS = 19, MOST = PANELS * FL_NV * FL_MAX_LANES };

static void load_all(const fl_kernels *kernels)
{
    const size_t group = FL_NV * kernels->lanes, count = PANELS * group;
    const float one = 1.0f, *a[ROWS];
    uint16_t *halves = fl_alloc(count * sizeof *halves);
    float *init = fl_alloc(count * sizeof *init), *c = fl_alloc(ROWS * count * sizeof *c);
    CHECK(halves && init && c);
    for (size_t r = 0; r < ROWS; r++)
        a[r] = &one;
    for (size_t i = 0; i < count; i++)
        init[i] = -0.0f;
    for (size_t n; (n = fread(halves, sizeof *halves, count, stdin)) > 0;) {
        fl_gemm g = {.rows = 1,
                     .vectors = FL_NV,
                     .panels = PANELS,
                     .k = 1,
                     .a = a,
                     .a_step = 1,
                     .panel = halves,
                     .panel_bytes = group * sizeof *halves,
                     .init = init,
                     .c = c,
                     .c_panel = ROWS * group,
                     .c_row = group};
        float alone[MOST];
        kernels->gemm[FL_FLOAT16](&g);
        for (size_t i = 0; i < count; i++)
            alone[i] = c[i / group * g.c_panel + i % group];
        g.rows = ROWS;
        kernels->gemm[FL_FLOAT16](&g);
        for (size_t i = 0; i < count; i++)
            for (size_t r = 0; r < ROWS; r++)
                CHECK(!memcmp(&alone[i], &c[i / group * g.c_panel + r * group + i % group], 4));
        CHECK(fwrite(alone, sizeof *alone, n, stdout) == n);
    }
    fl_free(halves), fl_free(init), fl_free(c);
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "round"))
        return round_all(), 0;
    if (argc == 2 && !strcmp(argv[1], "sets"))
        return printf("%d\n", fl_isa_count()), 0;
    CHECK(argc == 3 && !strcmp(argv[1], "load"));
    const int isa = atoi(argv[2]);
    CHECK(isa >= 0 && isa < fl_isa_count());
    if (runs_floats(isa))
        load_all(fl_isa_kernels(isa));
    return 0;
}
