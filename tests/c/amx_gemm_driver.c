/* SPDX-License-Identifier: MIT */
/*
 * The gemms by AMX's tiles against those without, bit by bit, on rows, codes and panels between
 * pages that may not be touched (guarded.h). What lies between the numbers and the end of a row of
 * codes is -1 in every byte before the codes are made, a NaN in bfloat16.
 *
 *     amx_gemm_driver N SEED    N drawn gemms of each format and width of codes. Prints how many
 *                               there were
 */
#include <math.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/bfloat16.h"
#include "kernels/dispatch.h"
#include "network/pack_matrix.h"
#include "amx.h"
#include "guarded.h"

static uint64_t state;

/* What is multiplied, and the gemm's other arguments; the arrays of sums and scales are theirs. */
typedef struct problem {
    int format, bits;
    size_t rows, k, columns;
    const float *x, *w;
    const int8_t *codes; /* of w, if the format is FL_INT8 */
    const float *code_scales;
    fl_gemm g;
} problem;

static float *floats(size_t n, float scale)
{
    float *p = get(&state, n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = ((float)(draw(&state) >> 15) - 65536.0f) * (scale / 65536.0f);
    return p;
}

static problem drawn(int format, int bits)
{
    problem q = {.format = format, .bits = bits};
    q.rows = draw(&state) % 4 ? between(&state, 1, 40) : between(&state, 41, 130);
    q.k = draw(&state) % 4 ? between(&state, 1, 140) : between(&state, 141, 700);
    const size_t vectors = between(&state, 3, 4), panels = between(&state, 1, 3);
    q.columns = panels * vectors * 16;
    const size_t group = vectors * 16, gap = 16 * between(&state, 0, 1);
    float *x = floats(q.rows * q.k, 3);
    if (draw(&state) % 4 == 0)
        x[draw(&state) % (q.rows * q.k)] = draw(&state) % 2 ? NAN : INFINITY;
    q.x = x;
    q.w = floats(q.columns * q.k, 1);
    int8_t *codes = get(&state, q.columns * q.k);
    const int large = draw(&state) % 4 == 0; /* whose sums are the largest that may be */
    for (size_t i = 0; i < q.columns * q.k; i++)
        codes[i] = (int8_t)(large ? 127 : (int)between(&state, 0, 254) - 127);
    q.codes = codes;
    q.code_scales = floats(q.columns, 1);
    q.g = (fl_gemm){.rows = q.rows,
                    .vectors = vectors,
                    .panels = panels,
                    .k = q.k,
                    .descending = (int)between(&state, 0, 1),
                    .init = draw(&state) % 3 ? floats(q.columns, 1) : NULL,
                    .c_row = group + gap,
                    .c_panel = q.rows * (group + gap),
                    .add = (int)between(&state, 0, format == FL_INT8 ? FL_AFTER : FL_ONTO)};
    if (format == FL_INT8 && draw(&state) % 4 == 0) {
        q.g.clip = 1;
        q.g.least = -0.5f;
        q.g.most = 0.5f;
    }
    return q;
}

/* The gemm by `kernels`, on panels that are laid out for `layout`. */
static float *solved(const problem *q, const fl_kernels *kernels, const fl_kernels *layout,
                     const float *before)
{
    const size_t group = q->g.vectors * 16, size = q->g.panels * q->g.c_panel;
    fl_carver none = {0};
    fl_panels w = fl_panels_carve(&none, q->format, q->bits / 16, layout, 1, group, q->k);
    w.data = get(&state, q->g.panels * w.panel_bytes);
    w.scales = get(&state, q->columns * sizeof(float));
    memset(w.data, 0, q->g.panels * w.panel_bytes);
    const fl_int8 codes = {q->codes, q->code_scales};
    for (size_t i = 0; i < q->columns; i += 16)
        if (q->format == FL_INT8)
            fl_pack_codes(&w, layout->code_zero, group, i, &codes, i, q->k, 16);
        else
            fl_pack_vector(&w, group, i, q->w + i * q->k, q->k, 16);
    w.top = q->format == FL_INT8 ? fl_codes_top(&codes, q->columns, q->k, q->bits) : 0;
    const size_t row = fl_code_bytes(kernels, q->format, q->k, q->bits);
    char *a = get(&state, q->rows * row);
    float *scales = get(&state, q->rows * sizeof *scales);
    int32_t *sums = get(&state, q->rows * sizeof *sums);
    for (size_t r = 0; r < q->rows; r++)
        if (q->format == FL_INT8)
            scales[r] =
                kernels->encode(a + r * row, q->x + r * q->k, q->k, q->bits, 0.0f, w.top, &sums[r]);
        else
            kernels->split_row(a + r * row, q->x + r * q->k, q->k, q->bits / 16, FL_TINY_PART);
    fl_gemm g = q->g;
    g.codes = (fl_codes){.at = a, .row = row, .bits = q->bits, .scale = scales, .sum = sums};
    g.panel = w.data;
    g.panel_bytes = w.panel_bytes;
    g.scales = q->format == FL_INT8 ? w.scales : NULL;
    g.c = get(&state, size * sizeof(float));
    memcpy(g.c, before, size * sizeof(float));
    kernels->gemm[q->format](&g);
    if (kernels->leave)
        kernels->leave();
    CHECK(none_configured());
    return g.c;
}

static void check_equal(const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        CHECK((isnan(x[i]) && isnan(y[i])) || !memcmp(x + i, y + i, sizeof *x));
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    const size_t n = strtoul(argv[1], NULL, 10);
    state = strtoul(argv[2], NULL, 10);
    const fl_kernels *tiled = tiled_kernels(), *other = tiled->without_tiles;
    CHECK(fl_permitted_kernels(tiled, 1) == tiled && fl_permitted_kernels(tiled, 0) == tiled);
    for (size_t i = 0; i < 3 * n; i++) {
        const problem q = i % 3 == 2 ? drawn(FL_BFLOAT16, 16 * (int)between(&state, 1, 3))
                                     : drawn(FL_INT8, i % 3 == 1 ? 16 : 8);
        const size_t size = q.g.panels * q.g.c_panel;
        const float *before = floats(size, 2);
        const float *due = solved(&q, other, other, before);
        check_equal(solved(&q, tiled, tiled, before), due, size);
        check_equal(solved(&q, other, tiled, before), due, size); /* few rows run there */
        give_back();
    }
    printf("%zu gemms\n", 3 * n);
    return 0;
}
