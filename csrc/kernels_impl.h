/* SPDX-License-Identifier: MIT */
/*
 * Every kernel, written once. Included by kernels_<isa>.c after its vec_<isa>.h, with
 *
 *   FL_NAME      a string, the instruction set's name        FL_TABLE   the table's symbol
 *   FL_TILE_M    rows in the register tile of a panel of FL_NV vectors, 1 .. 8
 *   FL_TILE_M3   the same of a panel of three
 *   FL_TILE_P    panels taken together when there is one row only, 1 .. 4; those of FL_NV vectors
 *                as long as all of them have no more than FL_WIDE_BYTES
 *
 * The register tile is as many rows x one panel, or one row x FL_TILE_P panels: enough independent
 * chains to hide the latency of fma without splitting any sum.
 */
#include <stdint.h>

#include "kernels.h"
#include "vecmath.h"

#define FL_GROUP (FL_NV * FL_LANES) /* floats across a panel of FL_NV vectors */
#define FL_MAX_TILE 8
#define FL_TILE_ROWS(V) ((V) == 3 ? FL_TILE_M3 : FL_TILE_M)
/* A loop of constant length, unrolled early enough for the sums to live in registers. */
#define FL_FOR(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
/* One that is not to be unrolled. */
#define FL_LOOP(i, n) _Pragma("GCC unroll 1") for (int i = 0; i < (n); i++)

#include "cells.h"

/* Panels larger than this altogether are taken not to stay in L2 from one step to the next. */
#define FL_NEAR_BYTES (1u << 20)

/* Memory to fetch while a tile runs. */
typedef struct fl_soon {
    const float *at;
    size_t step; /* a panel's width at most */
} fl_soon;

/*
 * acc[j][v] += sum_k a[m][k * a_step] * panel[q][k][v], panels of V vectors, `apart` floats apart,
 * for M rows and one panel (j = m) or one row and P panels (j = q). V, M and P are constants where
 * this is inlined. Meanwhile fetches k * soon.step floats at soon.at.
 */
FL_INLINE void fl_sum(const int V, const int M, const int P, vf acc[FL_MAX_TILE][FL_NV], size_t k,
                      const float *const *rows, ptrdiff_t a_step, const float *panel, size_t apart,
                      fl_soon soon)
{
    const float *a[FL_MAX_TILE];
    FL_FOR (m, M)
        a[m] = rows[m];
    for (ptrdiff_t i = 0, end = (ptrdiff_t)k * a_step; i != end;
         i += a_step, panel += V * FL_LANES) {
        vf s[FL_MAX_TILE], b[FL_NV];
        if (M > 1) { /* one row is bound by bandwidth as it is */
            FL_FOR (v, (V * FL_LANES + 15) / 16)
                FL_PREFETCH(soon.at + v * 16);
            soon.at += soon.step;
        }
        if (M > V) { /* hold the weights and take the rows in turn: the fewer registers */
            FL_FOR (v, V)
                b[v] = vf_keep(vf_load(panel + v * FL_LANES));
            FL_FOR (m, M) {
                s[m] = vf_set1(a[m][i]);
                FL_FOR (v, V)
                    acc[m][v] = vf_mad(s[m], b[v], acc[m][v]);
            }
            continue;
        }
        FL_FOR (m, M)
            s[m] = vf_set1(a[m][i]);
        FL_FOR (q, P)
            FL_FOR (v, V) {
                b[v] = vf_load(panel + (size_t)q * apart + v * FL_LANES);
                if (M > 1)
                    b[v] = vf_keep(b[v]);
                FL_FOR (m, M)
                    acc[m + q][v] = vf_mad(s[m], b[v], acc[m + q][v]);
            }
    }
}

FL_INLINE void fl_gemm_tile(const int V, const int M, const int P, const fl_gemm *g, size_t p,
                            size_t r, fl_soon soon)
{
    const size_t group = V * FL_LANES, apart = g->k * group;
    vf acc[FL_MAX_TILE][FL_NV];
    FL_FOR (q, P)
        FL_FOR (v, V) {
            vf b = g->init ? vf_load(g->init + (p + q) * group + v * FL_LANES) : vf_set1(0.0f);
            FL_FOR (m, M)
                acc[m + q][v] = b;
        }
    if (g->add == FL_ONTO)
        FL_FOR (m, M)
            FL_FOR (q, P)
                FL_FOR (v, V)
                    acc[m + q][v] =
                        vf_load(g->c + (p + q) * g->c_panel + (r + m) * g->c_row + v * FL_LANES);
    fl_sum(V, M, P, acc, g->k, g->a + r, g->a_step, g->panel + p * apart, apart, soon);
    if (g->add == FL_AFTER)
        FL_FOR (m, M)
            FL_FOR (q, P)
                FL_FOR (v, V)
                    acc[m + q][v] =
                        vf_add(acc[m + q][v], vf_load(g->c + (p + q) * g->c_panel +
                                                      (r + m) * g->c_row + v * FL_LANES));
    FL_FOR (m, M)
        FL_FOR (q, P)
            FL_FOR (v, V)
                vf_store(g->c + (p + q) * g->c_panel + (r + m) * g->c_row + v * FL_LANES,
                         acc[m + q][v]);
}

/* A step of the cell that `what` names, and whether its activations are kept. */
#define FL_KEPT 16
#define FL_CELL(what) ((what) % FL_KEPT)
#define FL_VECTORS(what) (FL_CELL(what) == FL_GRU ? 3 : FL_NV)

FL_INLINE void fl_step_tile(const int what, const int M, const int P, const fl_step *s, size_t p,
                            size_t r, fl_soon soon)
{
    const int V = FL_VECTORS(what), keep = what / FL_KEPT;
    const size_t group = V * FL_LANES, apart = s->k * group;
    vf acc[FL_MAX_TILE][FL_NV];
    FL_FOR (m, M)
        FL_FOR (q, P)
            FL_FOR (v, V)
                acc[m + q][v] =
                    FL_CELL(what) == FL_GRU && v == 2
                        ? vf_load(s->b_hn + (p + q) * FL_LANES)
                        : vf_load(s->z + (p + q) * s->z_panel + (r + m) * group + v * FL_LANES);
    fl_sum(V, M, P, acc, s->k, s->h + r, 1, s->panel + p * apart, apart, soon);
    /* by way of memory and a loop: the gates in line for each row made AVX-512's kernels 1.7 times
       as large and no tile faster */
    vf sums[FL_MAX_TILE][FL_NV];
    FL_FOR (j, M * P)
        FL_FOR (v, V)
            sums[j][v] = acc[j][v];
    FL_LOOP (j, M * P) {
        const size_t pj = M > 1 ? p : p + (size_t)j, rj = M > 1 ? r + (size_t)j : r;
        if (FL_CELL(what) == FL_LSTM)
            fl_lstm_step(keep, sums[j], s, pj, rj);
        else if (FL_CELL(what) == FL_GRU)
            fl_gru_step(keep, sums[j], s, pj, rj);
        else
            fl_rnn_step(FL_CELL(what) == FL_RNN_RELU, sums[j], s, pj, rj);
    }
}

/* Tiles of 1 .. FL_TILE_ROWS(V) rows, and of one row x FL_TILE_P panels, as plain functions: of
   gemm, with the number of vectors V, and of steps. Those of more rows are empty, never called. */
typedef void fl_tile_fn(const void *args, size_t p, size_t r, fl_soon soon);

#define FL_TILE(op, tile, what, V, name, M, P)                                                     \
    static void fl_##op##_##name(const void *args, size_t p, size_t r, fl_soon soon)               \
    {                                                                                              \
        if (M <= FL_TILE_ROWS(V))                                                                  \
            tile(what, M, P, args, p, r, soon);                                                    \
    }
#define FL_ROWS(op, tile, what, V, M) FL_TILE(op, tile, what, V, M, M, 1)
#define FL_TILES(op, tile, what, V)                                                                \
    FL_ROWS(op, tile, what, V, 1)                                                                  \
    FL_ROWS(op, tile, what, V, 2)                                                                  \
    FL_ROWS(op, tile, what, V, 3)                                                                  \
    FL_ROWS(op, tile, what, V, 4)                                                                  \
    FL_ROWS(op, tile, what, V, 5)                                                                  \
    FL_ROWS(op, tile, what, V, 6)                                                                  \
    FL_ROWS(op, tile, what, V, 7)                                                                  \
    FL_ROWS(op, tile, what, V, 8)                                                                  \
    FL_TILE(op, tile, what, V, wide, 1, FL_TILE_P)                                                 \
    static fl_tile_fn *const fl_##op##_tiles[] = {fl_##op##_wide, fl_##op##_1, fl_##op##_2,        \
                                                  fl_##op##_3,    fl_##op##_4, fl_##op##_5,        \
                                                  fl_##op##_6,    fl_##op##_7, fl_##op##_8};
FL_TILES(gemm, fl_gemm_tile, FL_NV, FL_NV)
FL_TILES(gemm3, fl_gemm_tile, 3, 3)
FL_TILES(lstm, fl_step_tile, FL_LSTM, FL_NV)
FL_TILES(lstm_keep, fl_step_tile, FL_LSTM + FL_KEPT, FL_NV)
FL_TILES(gru, fl_step_tile, FL_GRU, 3)
FL_TILES(gru_keep, fl_step_tile, FL_GRU + FL_KEPT, 3)
FL_TILES(rnn_tanh, fl_step_tile, FL_RNN_TANH, FL_NV)
FL_TILES(rnn_relu, fl_step_tile, FL_RNN_RELU, FL_NV)

/*
 * rows x panels p0 .. p1 - 1, from the last panel to the first if `down`. Panels outside, so that
 * one panel serves all rows while it is near; rows in nearly equal parts, so that no small tile is
 * left over at the end. While a panel is worked on, the one after it is fetched to L2, if all of
 * them are too large to stay there: 8 % at H = 512, B = 16; where they do stay it would cost 5 %.
 */
static void fl_tiles(fl_tile_fn *const *tiles, const void *args, size_t rows, size_t k,
                     size_t group, const float *panel, size_t p0, size_t p1, int down)
{
    const size_t size = k * group, bytes = (p1 - p0) * size * sizeof(float);
    const size_t tile = FL_TILE_ROWS(group / FL_LANES), tiles_of = (rows + tile - 1) / tile;
    const size_t share = tiles_of < 4 ? tiles_of : 4;
    if (rows == 1 && (group < FL_GROUP || bytes <= FL_WIDE_BYTES))
        while (p1 - p0 >= FL_TILE_P) {
            tiles[0](args, down ? p1 - FL_TILE_P : p0, 0, (fl_soon){panel, 0});
            if (down)
                p1 -= FL_TILE_P;
            else
                p0 += FL_TILE_P;
        }
    for (size_t n = p1 - p0, i = 0; i < n; i++) {
        const size_t p = down ? p1 - 1 - i : p0 + i;
        const float *next = panel + (down ? p - 1 : p + 1) * size;
        const int far = bytes > FL_NEAR_BYTES && i + 1 < n && share > 1;
        for (size_t r = 0, t = 0; t < tiles_of; t++) {
            const size_t m = (rows - r + tiles_of - t - 1) / (tiles_of - t);
            fl_soon soon = {panel + p * size + 32 * group, group};
            if (far && t < share)
                soon = (fl_soon){next + t * (size / share), group / share};
            tiles[m](args, p, r, soon);
            r += m;
        }
    }
}

static void fl_gemm_run(const fl_gemm *g)
{
    fl_tiles(g->vectors == 3 ? fl_gemm3_tiles : fl_gemm_tiles, g, g->rows, g->k,
             g->vectors * FL_LANES, g->panel, 0, g->panels, g->down);
}

#define FL_STEP(cell, what)                                                                        \
    static void fl_##cell##_run(const fl_step *s)                                                  \
    {                                                                                              \
        fl_tiles(fl_##cell##_tiles, s, s->rows, s->k, FL_VECTORS(what) * FL_LANES, s->panel,       \
                 s->p0, s->p1, s->down);                                                           \
    }
FL_STEP(lstm, FL_LSTM)
FL_STEP(lstm_keep, FL_LSTM)
FL_STEP(gru, FL_GRU)
FL_STEP(gru_keep, FL_GRU)
FL_STEP(rnn_tanh, FL_RNN_TANH)
FL_STEP(rnn_relu, FL_RNN_RELU)

#include "variants.h"

/* Something for all panels p and rows r, or for all vectors v of them too. */
#define FL_GROUPS(name, args, first, panels_, expr)                                                \
    static void name(const args *s)                                                                \
    {                                                                                              \
        for (size_t p = first; p < s->panels_; p++)                                                \
            for (size_t r = 0; r < s->rows; r++)                                                   \
                expr;                                                                              \
    }
#define FL_UNITS(name, args, first, panels_, expr)                                                 \
    FL_GROUPS(name, args, first, panels_, for (size_t v = 0; v < FL_NV; v++) expr)

FL_GROUPS(fl_lstm_back_run, fl_back, 0, panels, fl_lstm_back_at(s, p, r))
FL_GROUPS(fl_gru_back_run, fl_back, 0, panels, fl_gru_back_at(s, p, r))
FL_UNITS(fl_rnn_tanh_back_run, fl_back, 0, panels, fl_rnn_back_at(0, s, p, v, r))
FL_UNITS(fl_rnn_relu_back_run, fl_back, 0, panels, fl_rnn_back_at(1, s, p, v, r))
FL_UNITS(fl_gru_before_reset_run, fl_step, 0, p1, fl_gru_before_reset(s->kept != NULL, s, p, v, r))
FL_UNITS(fl_gru_before_run, fl_step, 0, p1, fl_gru_before_step(0, s, p, v, r))
FL_UNITS(fl_gru_before_keep_run, fl_step, 0, p1, fl_gru_before_step(1, s, p, v, r))
FL_UNITS(fl_gru_before_back_run, fl_back, 0, panels, fl_gru_before_back_at(s, p, v, r))
FL_UNITS(fl_gru_before_back_reset_run, fl_back, 0, panels, fl_gru_before_back_reset(s, p, v, r))

FL_GROUPS(fl_lstm_any_gates, fl_step, s->p0, p1, fl_lstm_any(s, p, r))
FL_GROUPS(fl_lstm_any_back_run, fl_back, 0, panels, fl_lstm_any_back(s, p, r))
FL_GROUPS(fl_gru_any_aside_run, fl_step, s->p0, p1, fl_gru_any_aside(s, p, r))
FL_GROUPS(fl_gru_any_gates, fl_step, s->p0, p1, fl_gru_any(s, p, r))
FL_GROUPS(fl_gru_any_back_run, fl_back, 0, panels, fl_gru_any_back(s, p, r))
FL_UNITS(fl_gru_before_any_reset_run, fl_step, 0, p1, fl_gru_before_any_reset(s, p, v, r))
FL_UNITS(fl_gru_before_any_run, fl_step, 0, p1, fl_gru_before_any(s, p, v, r))
FL_UNITS(fl_gru_before_any_back_run, fl_back, 0, panels, fl_gru_before_any_back(s, p, v, r))
FL_UNITS(fl_gru_before_any_back_reset_run, fl_back, 0, panels,
         fl_gru_before_any_back_reset(s, p, v, r))
FL_UNITS(fl_rnn_any_gates, fl_step, s->p0, p1, fl_rnn_any(s, p, v, r))
FL_UNITS(fl_rnn_any_back_run, fl_back, 0, panels, fl_rnn_any_back(s, p, v, r))

static void fl_lstm_any_run(const fl_step *s)
{
    fl_any_product(s, FL_NV);
    fl_lstm_any_gates(s);
}

static void fl_gru_any_run(const fl_step *s)
{
    fl_gru_any_aside_run(s);
    fl_any_product(s, 3);
    fl_gru_any_gates(s);
}

static void fl_rnn_any_run(const fl_step *s)
{
    fl_any_product(s, FL_NV);
    fl_rnn_any_gates(s);
}

static void fl_activate(const fl_activation *f, float *y, float *slope, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += FL_LANES) {
        vf d, v = fl_act(f, fl_get(x, i, n), &d);
        fl_put(y, i, n, v);
        fl_put(slope, i, n, d);
    }
}

static int fl_any_tiny(const float *x, size_t n)
{
    const vf tiny = vf_set1(FL_TINY);
    size_t i = 0;
    for (; i + FL_LANES <= n; i += FL_LANES)
        if (vf_any_flush(vf_loadu(x + i), tiny))
            return 1;
    return i < n && vf_any_flush(vf_loadn(x + i, n - i), tiny);
}

/* A function of one vector over n floats. */
#define FL_MAP(fn, expr)                                                                           \
    static void fn(float *y, const float *x, size_t n)                                             \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + FL_LANES <= n; i += FL_LANES) {                                                 \
            vf v = vf_loadu(x + i);                                                                \
            vf_storeu(y + i, expr);                                                                \
        }                                                                                          \
        if (i < n) {                                                                               \
            vf v = vf_loadn(x + i, n - i);                                                         \
            vf_storen(y + i, expr, n - i);                                                         \
        }                                                                                          \
    }
FL_MAP(fl_flush_map, vf_flush(v, vf_set1(FL_TINY)))
FL_MAP(fl_sigmoid_map, fl_sigmoid(v))
FL_MAP(fl_tanh_map, fl_tanh(v))

/* Twelve chains hide the latency of fma on every machine met so far (4 cycles x 2 a cycle, or
   5 x 2). The factors are read through volatile so that nothing is folded away. */
static double fl_probe_fma(size_t n)
{
    volatile float one = 1.0f, small = 0x1p-30f;
    vf a = vf_set1(one), b = vf_set1(small), acc[12];
    FL_FOR (i, 12)
        acc[i] = vf_set1(one);
    for (size_t k = 0; k < n; k++) {
        FL_FOR (i, 12)
            acc[i] = vf_mad(a, b, acc[i]);
    }
    for (int i = 1; i < 12; i++)
        acc[0] = vf_add(acc[0], acc[i]);
    float sink[FL_LANES];
    vf_storeu(sink, acc[0]);
    one = sink[0];
    return (double)n * 12 * FL_LANES * 2;
}

static float fl_probe_read(const float *x, size_t n)
{
    vf acc[8];
    FL_FOR (i, 8)
        acc[i] = vf_set1(0.0f);
    for (size_t k = 0; k + 8 * FL_LANES <= n; k += 8 * FL_LANES) {
        FL_FOR (i, 8)
            acc[i] = vf_add(acc[i], vf_loadu(x + k + i * FL_LANES));
    }
    for (int i = 1; i < 8; i++)
        acc[0] = vf_add(acc[0], acc[i]);
    float sink[FL_LANES];
    vf_storeu(sink, acc[0]);
    return sink[0];
}

const fl_kernels FL_TABLE = {
    .name = FL_NAME,
    .lanes = FL_LANES,
    .cell = {[FL_LSTM] = {.gates = 4,
                          .vectors = 4,
                          .units = 1,
                          .kept = 4,
                          .has_c = 1,
                          .step = fl_lstm_run,
                          .keep = fl_lstm_keep_run,
                          .back = fl_lstm_back_run},
             [FL_GRU] = {.gates = 3,
                         .vectors = 3,
                         .units = 1,
                         .kept = 4,
                         .step = fl_gru_run,
                         .keep = fl_gru_keep_run,
                         .back = fl_gru_back_run},
             [FL_GRU_BEFORE] = {.gates = 3,
                                .vectors = FL_NV,
                                .units = FL_NV,
                                .kept = FL_NV,
                                .step = fl_gru_before_run,
                                .keep = fl_gru_before_keep_run,
                                .reset = fl_gru_before_reset_run,
                                .back = fl_gru_before_back_run,
                                .back_reset = fl_gru_before_back_reset_run},
             [FL_RNN_TANH] = {.gates = 1,
                              .vectors = FL_NV,
                              .units = FL_NV,
                              .step = fl_rnn_tanh_run,
                              .keep = fl_rnn_tanh_run,
                              .back = fl_rnn_tanh_back_run},
             [FL_RNN_RELU] = {.gates = 1,
                              .vectors = FL_NV,
                              .units = FL_NV,
                              .step = fl_rnn_relu_run,
                              .keep = fl_rnn_relu_run,
                              .back = fl_rnn_relu_back_run},
             [FL_LSTM_ANY] = {.gates = 4,
                              .vectors = FL_NV,
                              .units = 1,
                              .kept = FL_NV,
                              .has_c = 1,
                              .step = fl_lstm_any_run,
                              .keep = fl_lstm_any_run,
                              .back = fl_lstm_any_back_run},
             [FL_GRU_ANY] = {.gates = 3,
                             .vectors = 3,
                             .units = 1,
                             .kept = 4,
                             .aside = 1,
                             .step = fl_gru_any_run,
                             .keep = fl_gru_any_run,
                             .back = fl_gru_any_back_run},
             [FL_GRU_BEFORE_ANY] = {.gates = 3,
                                    .vectors = FL_NV,
                                    .units = FL_NV,
                                    .kept = FL_NV,
                                    .step = fl_gru_before_any_run,
                                    .keep = fl_gru_before_any_run,
                                    .reset = fl_gru_before_any_reset_run,
                                    .back = fl_gru_before_any_back_run,
                                    .back_reset = fl_gru_before_any_back_reset_run},
             [FL_RNN_ANY] = {.gates = 1,
                             .vectors = FL_NV,
                             .units = FL_NV,
                             .kept = FL_NV,
                             .step = fl_rnn_any_run,
                             .keep = fl_rnn_any_run,
                             .back = fl_rnn_any_back_run}},
    .gemm = fl_gemm_run,
    .any_tiny = fl_any_tiny,
    .flush = fl_flush_map,
    .sigmoid = fl_sigmoid_map,
    .tanh = fl_tanh_map,
    .activate = fl_activate,
    .probe_fma = fl_probe_fma,
    .probe_read = fl_probe_read,
};
