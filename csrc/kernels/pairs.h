/* SPDX-License-Identifier: MIT */
/*
 * The kernels of FL_BFLOAT16 (bfloat16.h): gemm, and the steps of the LSTM and the GRU. Those of
 * the other cells are a gemm and then their gates (elementwise.h). Included once for each
 * instruction set by table.h.
 *
 * Registers hold the two chains of each sum, for one product of parts of a piece of 32 k. The sums
 * are in memory, where z or c is, since each is touched once in such a product.
 */
#ifndef FL_PAIRS_H
#define FL_PAIRS_H

#include "kernels/bfloat16.h"
#include "kernels/cells.h"
#include "kernels/product.h"
#include "kernels/step_by_product.h"

#define FL_BFLOAT16_KERNEL(name) fl_bfloat16_##name##_run

/* The vectors of a panel of V that are summed in one pass over it, for M rows: all, or 2 of 4 if
   they would need more than FL_CHAINS registers. And the rows of the largest tile. */
#define FL_PASS(V, M) (2 * (V) * (M) <= FL_CHAINS || (V) % 2 ? (V) : 2)
#define FL_TILE_PAIRS(V) (FL_CHAINS / (2 * FL_PASS(V, 2)))

/* Products of parts that are summed at a time: two of one row, if there are registers for their
   chains. The chains of the vectors alone are fewer than hide the latency of a multiply-add. */
#define FL_PRODUCTS(V, M) ((M) == 1 && 4 * (V) <= FL_CHAINS ? 2 : 1)

enum { FL_TILE_NUMBERS = FL_TILE_LINES * 2 * FL_LANES }; /* bfloat16 numbers of a tile (panels.h) */

/* chain[m][v] += x of row m times vector v, for the even or the odd k of one line, whose vectors
   lie a tile apart. Of the M rows and the W vectors those that are fewer are held in registers, and
   the others are taken in turn. */
FL_INLINE void fl_sum_line(const int odd, const int W, const int M, vf (*chain)[FL_NV],
                           const float *x, size_t row, const uint16_t *line)
{
    vf a[4], b[FL_NV];
    if (M > W) {
        FL_FOR (v, W)
            b[v] = odd ? vf_load_odd(line + v * FL_TILE_NUMBERS)
                       : vf_load_even(line + v * FL_TILE_NUMBERS);
        FL_FOR (m, M) {
            a[m] = vf_set1(x[(size_t)m * row + (size_t)odd]);
            FL_FOR (v, W)
                chain[m][v] = vf_mad(a[m], b[v], chain[m][v]);
        }
        return;
    }
    FL_FOR (m, M)
        a[m] = vf_set1(x[(size_t)m * row + (size_t)odd]);
    FL_FOR (v, W) {
        b[v] = odd ? vf_load_odd(line + v * FL_TILE_NUMBERS)
                   : vf_load_even(line + v * FL_TILE_NUMBERS);
        FL_FOR (m, M)
            chain[m][v] = vf_mad(a[m], b[v], chain[m][v]);
    }
}

/* S products of n lines each, S or M being 1, for W of a panel's vectors: the numbers of the rows
   begin at x[s], those of the panel at w[s]. */
FL_INLINE void fl_sum_products(const int W, const int M, const int S, float *sums, size_t sums_row,
                               size_t n, const float *const x[2], size_t row,
                               const uint16_t *const w[2])
{
    vf even[4][FL_NV], odd[4][FL_NV];
    FL_FOR (j, M * S)
        FL_FOR (v, W)
            even[j][v] = odd[j][v] = vf_set1(0.0f);
    const float *a = x[0];
    const uint16_t *b = w[0];
    const ptrdiff_t next_a = x[S - 1] - a, next_b = w[S - 1] - b;
    for (const float *end = a + 2 * n; a != end; a += 2, b += 2 * FL_LANES)
        FL_FOR (s, S) {
            fl_sum_line(0, W, M, even + s, a + s * next_a, row, b + s * next_b);
            fl_sum_line(1, W, M, odd + s, a + s * next_a, row, b + s * next_b);
        }
    FL_FOR (m, M)
        FL_FOR (v, W) {
            float *sum = sums + (size_t)m * sums_row + v * FL_LANES;
            vf total = vf_load(sum);
            FL_FOR (s, S)
                total = vf_add(total, vf_add(even[m + s][v], odd[m + s][v]));
            vf_store(sum, total);
        }
}

/*
 * sums[m][v] += sum_k a[m][k] * panel[k][v]
 *
 * for M rows and the V vectors of a panel, of `parts` parts. Row m of a begins `row` floats after
 * row m - 1; the sums of a row lie V vectors one after the other, those of the next row sums_row
 * floats further on.
 */
FL_INLINE void fl_sum_pairs(const int V, const int M, float *sums, size_t sums_row, size_t k,
                            int parts, const float *a, size_t row, const uint16_t *panel)
{
    const int W = FL_PASS(V, M), S = FL_PRODUCTS(V, M);
    const size_t part = V * FL_TILE_NUMBERS, a_part = fl_part_floats(k);
    for (int pass = 0; pass < V / W; pass++) {
        const float *x[2];
        const uint16_t *w[2];
        int waiting = 0; /* 1: x[0] and w[0] hold a product that is to be summed with the next */
        for (size_t at = 0; at < a_part; at += FL_PIECE) {
            const size_t left = a_part - at, lines = left < FL_PIECE ? left / 2 : FL_PIECE / 2;
            for (int j = parts; j-- > 0;)
                for (int i = parts - j; i-- > 0;) {
                    x[waiting] = a + at + (size_t)i * a_part;
                    w[waiting] = panel + (at / FL_PIECE * (size_t)parts + (size_t)j) * part;
                    if (S == 2 && waiting)
                        fl_sum_products(W, M, S, sums, sums_row, lines, x, row, w);
                    else if (S == 2 && (j || i || left >= 2 * FL_PIECE)) {
                        waiting = 1; /* the next product has as many lines */
                        continue;
                    } else
                        fl_sum_products(W, M, 1, sums, sums_row, lines, x, row, w);
                    waiting = 0;
                }
        }
        sums += W * FL_LANES;
        panel += W * FL_TILE_NUMBERS;
    }
}

typedef void fl_pairs_fn(float *sums, size_t sums_row, size_t k, int parts, const float *a,
                         size_t row, const uint16_t *panel);
#define FL_SUM_PAIRS(V, M)                                                                         \
    static void fl_sum_pairs_##V##_##M(float *sums, size_t sums_row, size_t k, int parts,          \
                                       const float *a, size_t row, const uint16_t *panel)          \
    {                                                                                              \
        if (M <= FL_TILE_PAIRS(V))                                                                 \
            fl_sum_pairs(V, M, sums, sums_row, k, parts, a, row, panel);                           \
    }
FL_SUM_PAIRS(3, 1)
FL_SUM_PAIRS(3, 2)
FL_SUM_PAIRS(3, 3)
FL_SUM_PAIRS(3, 4)
FL_SUM_PAIRS(4, 1)
FL_SUM_PAIRS(4, 2)
FL_SUM_PAIRS(4, 3)

/* The sums of `rows` rows, from row r of the codes on, and one panel of V vectors, in nearly equal
   tiles of rows. `sums` begins with those of row r. */
static FL_NOINLINE void fl_pairs_rows(size_t V, float *sums, size_t sums_row, size_t k,
                                      const fl_codes *codes, size_t r, size_t rows,
                                      const void *panel)
{
    static fl_pairs_fn *const tile[2][4] = {
        {fl_sum_pairs_3_1, fl_sum_pairs_3_2, fl_sum_pairs_3_3, fl_sum_pairs_3_4},
        {fl_sum_pairs_4_1, fl_sum_pairs_4_2, fl_sum_pairs_4_3, NULL}};
    const size_t most = V == 3 ? FL_TILE_PAIRS(3) : FL_TILE_PAIRS(4);
    for (size_t tiles = (rows + most - 1) / most; tiles; tiles--) {
        const size_t m = (rows + tiles - 1) / tiles;
        const void *a = (const char *)codes->at + r * codes->row;
        tile[V - 3][m - 1](sums, sums_row, k, fl_parts(codes), a, codes->row / sizeof(float),
                           panel);
        sums += m * sums_row;
        r += m;
        rows -= m;
    }
}

static void fl_bfloat16_gemm_run(const fl_gemm *g)
{
    const size_t group = g->vectors * FL_LANES;
    for (size_t i = 0; i < g->panels; i++) {
        const size_t p = g->descending ? g->panels - 1 - i : i;
        float *c = g->c + p * g->c_panel;
        for (size_t r = 0; r < g->rows && g->add != FL_ONTO; r++)
            for (size_t v = 0; v < group; v += FL_LANES)
                vf_store(c + r * g->c_row + v,
                         g->init ? vf_load(g->init + p * group + v) : vf_set1(0.0f));
        fl_pairs_rows(g->vectors, c, g->c_row, g->k, &g->codes, 0, g->rows,
                      (const char *)g->panel + p * g->panel_bytes);
    }
}

static void fl_pairs_product(const fl_step *s, size_t V, size_t p, size_t r, size_t rows,
                             float *sums)
{
    fl_pairs_rows(V, sums, V * FL_LANES, s->k, &s->codes, r, rows,
                  (const char *)s->panel + p * s->panel_bytes);
}
static void fl_bfloat16_lstm_run(const fl_step *s) { fl_lstm_by(s, fl_pairs_product); }
static void fl_bfloat16_gru_run(const fl_step *s)
{
    fl_gru_by(s, fl_pairs_product, FL_TILE_PAIRS(3));
}
#define fl_bfloat16_probe_run fl_probe_fma
static void fl_bfloat16_split_row_run(void *to, const float *x, size_t n, int parts, float bound)
{
    if (parts == 1)
        fl_split_row(to, fl_part_floats(n), x, n, 1, bound);
    else
        fl_split_row(to, fl_part_floats(n), x, n, parts, bound);
}

static void fl_bfloat16_split_lines_run(void *panel, const float *x, size_t row, size_t n,
                                        size_t vectors, int parts, float bound)
{
    enum { TILE = FL_TILE_LINES * FL_LANES }; /* words of 32 bits in a tile */
    _Alignas(FL_ALIGN) float last[FL_PIECE * FL_LANES] = {0};
    uint32_t *to = panel;
    for (size_t k = 0; k < n; k += FL_PIECE, to += vectors * TILE * ((size_t)parts - 1))
        for (size_t v = 0; v < vectors; v++, to += TILE) {
            const float *from = x + k * row + v * FL_LANES;
            const int whole = n - k >= FL_PIECE;
            for (size_t i = 0; !whole && i < n - k; i++)
                vf_store(last + i * FL_LANES, vf_load(from + i * row));
            fl_split_tile(to, vectors * TILE, whole ? from : last, whole ? row : FL_LANES, FL_LANES,
                          parts, bound);
        }
}

#endif
