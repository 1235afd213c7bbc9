/* SPDX-License-Identifier: MIT */
/*
 * The kernels of FL_BFLOAT16 (bfloat16.h): gemm, and the steps of the LSTM and the GRU. Those of
 * the other cells are a gemm and then their gates (elementwise.h). Included once for each
 * instruction set by table.h.
 *
 * Registers hold the two chains of each sum, for a piece of 32 k. The sums are in memory, where z
 * or c is, since each is touched once in a piece.
 */
#ifndef FL_PAIRS_H
#define FL_PAIRS_H

#include "kernels/bfloat16.h"
#include "kernels/cells.h"
#include "kernels/product.h"

#define FL_BFLOAT16_KERNEL(name) fl_bfloat16_##name##_run

/* The vectors of a panel of V that are summed in one pass over it, for M rows: all, or 2 of 4 if
   they would need more than FL_CHAINS registers. And the rows of the largest tile. */
#define FL_PASS(V, M) (2 * (V) * (M) <= FL_CHAINS || (V) % 2 ? (V) : 2)
#define FL_TILE_PAIRS(V) (FL_CHAINS / (2 * FL_PASS(V, 2)))

/* Pieces that are summed at a time: two of one row, if there are registers for their chains. The
   chains of the vectors alone are fewer than hide the latency of a multiply-add. */
#define FL_PIECES(V, M) ((M) == 1 && 4 * (V) <= FL_CHAINS ? 2 : 1)

/* chain[m][v] += x of row m times vector v, for the even or the odd numbers of one line. The fewer
   are held in registers, rows or vectors, and the others are taken in turn. */
FL_INLINE void fl_sum_line(const int odd, const int W, const int M, vf (*chain)[FL_NV],
                           const float *x, size_t row, const uint16_t *line)
{
    vf a[4], b[FL_NV];
    if (M > W) {
        FL_FOR (v, W)
            b[v] =
                odd ? vf_load_odd(line + v * 2 * FL_LANES) : vf_load_even(line + v * 2 * FL_LANES);
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
        b[v] = odd ? vf_load_odd(line + v * 2 * FL_LANES) : vf_load_even(line + v * 2 * FL_LANES);
        FL_FOR (m, M)
            chain[m][v] = vf_mad(a[m], b[v], chain[m][v]);
    }
}

/* S pieces of n lines each, S or M being 1, for W of a panel's V vectors. */
FL_INLINE void fl_sum_pieces(const int V, const int W, const int M, const int S, float *sums,
                             size_t sums_row, size_t n, const float *x, size_t row,
                             const uint16_t *w)
{
    vf even[4][FL_NV], odd[4][FL_NV];
    const size_t next =
        (size_t)FL_PIECE * V * FL_LANES; /* numbers from one piece's w to the next's */
    FL_FOR (j, M * S)
        FL_FOR (v, W)
            even[j][v] = odd[j][v] = vf_set1(0.0f);
    for (const float *end = x + 2 * n; x != end; w += V * 2 * FL_LANES, x += 2)
        FL_FOR (s, S) {
            fl_sum_line(0, W, M, even + s, x + s * FL_PIECE, row, w + (size_t)s * next);
            fl_sum_line(1, W, M, odd + s, x + s * FL_PIECE, row, w + (size_t)s * next);
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
 * for M rows and the V vectors of a panel. Row m of a begins `row` floats after row m - 1; the sums
 * of a row lie V vectors one after the other, those of the next row sums_row floats further on.
 */
FL_INLINE void fl_sum_pairs(const int V, const int M, float *sums, size_t sums_row, size_t k,
                            const float *a, size_t row, const uint16_t *panel)
{
    const int W = FL_PASS(V, M), S = FL_PIECES(V, M);
    const size_t lines = fl_format_lines(FL_BFLOAT16, k), piece = FL_PIECE / 2;
    for (int pass = 0; pass < V / W; pass++) {
        size_t at = 0;
        for (; S == 2 && at + 2 * piece <= lines; at += 2 * piece)
            fl_sum_pieces(V, W, M, 2, sums, sums_row, piece, a + 2 * at, row,
                          panel + at * V * 2 * FL_LANES);
        for (; at < lines; at += piece)
            fl_sum_pieces(V, W, M, 1, sums, sums_row, lines - at < piece ? lines - at : piece,
                          a + 2 * at, row, panel + at * V * 2 * FL_LANES);
        sums += W * FL_LANES;
        panel += W * 2 * FL_LANES;
    }
}

typedef void fl_pairs_fn(float *sums, size_t sums_row, size_t k, const float *a, size_t row,
                         const uint16_t *panel);
#define FL_SUM_PAIRS(V, M)                                                                         \
    static void fl_sum_pairs_##V##_##M(float *sums, size_t sums_row, size_t k, const float *a,     \
                                       size_t row, const uint16_t *panel)                          \
    {                                                                                              \
        if (M <= FL_TILE_PAIRS(V))                                                                 \
            fl_sum_pairs(V, M, sums, sums_row, k, a, row, panel);                                  \
    }
FL_SUM_PAIRS(3, 1)
FL_SUM_PAIRS(3, 2)
FL_SUM_PAIRS(3, 3)
FL_SUM_PAIRS(3, 4)
FL_SUM_PAIRS(4, 1)
FL_SUM_PAIRS(4, 2)
FL_SUM_PAIRS(4, 3)

/* The sums of `rows` rows, from row r on, and one panel of V vectors: nearly equal tiles of rows.
 */
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
        tile[V - 3][m - 1](sums, sums_row, k, a, codes->row / sizeof(float), panel);
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

/* The order of panels p0 .. p1 - 1 of a step. */
#define FL_STEP_PANELS(p, s)                                                                       \
    for (size_t i = (s)->p0, p; p = (s)->descending ? (s)->p0 + (s)->p1 - 1 - i : i, i < (s)->p1;  \
         i++)

/* sums += h . panel p, for rows r .. r + rows - 1 and a panel of V vectors. The sums of a row are V
   vectors one after the other, and those of the next row follow. */
typedef void fl_product_fn(const fl_step *s, size_t V, size_t p, size_t r, size_t rows,
                           float *sums);

/* The steps, by such a product. Each is one function for all products of a set. */
static FL_ONE_COPY void fl_lstm_by(const fl_step *s, fl_product_fn *product)
{
    FL_STEP_PANELS(p, s)
    {
        float *z = (float *)(uintptr_t)s->z + p * s->z_panel;
        product(s, FL_NV, p, 0, s->rows, z);
        for (size_t r = 0; r < s->rows; r++, z += FL_GROUP) {
            vf a[FL_NV];
            FL_FOR (v, FL_NV)
                a[v] = vf_load(z + v * FL_LANES);
            fl_lstm_step(0, a, s, p, r);
        }
    }
}

/* Of n the products of h are sums of their own, from b_hn on, beside those of x in z. `most` rows
   are taken at a time, at most 32. */
static FL_ONE_COPY void fl_gru_by(const fl_step *s, fl_product_fn *product, size_t most)
{
    enum { GROUP = 3 * FL_LANES };
    FL_STEP_PANELS(p, s)
    for (size_t r0 = 0, m; r0 < s->rows; r0 += m) {
        _Alignas(FL_ALIGN) float sums[32 * GROUP];
        const float *z = s->z + p * s->z_panel + r0 * GROUP;
        m = s->rows - r0 < most ? s->rows - r0 : most;
        for (size_t r = 0; r < m; r++)
            FL_FOR (v, 3)
                vf_store(sums + r * GROUP + v * FL_LANES,
                         vf_load(v == 2 ? s->b_hn + p * FL_LANES : z + r * GROUP + v * FL_LANES));
        product(s, 3, p, r0, m, sums);
        for (size_t r = 0; r < m; r++) {
            vf a[3];
            FL_FOR (v, 3)
                a[v] = vf_load(sums + r * GROUP + v * FL_LANES);
            fl_gru_step(0, a, s, p, r0 + r);
        }
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
static void fl_bfloat16_round_row_run(float *y, const float *x, size_t n) { fl_round_row(y, x, n); }

#endif
