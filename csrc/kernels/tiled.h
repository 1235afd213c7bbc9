/* SPDX-License-Identifier: MIT */
/*
 * Sets whose products of FL_INT8 and FL_BFLOAT16 are of tiles: matrices of 16 rows in registers of
 * their own. A file isa/tiled_<name>.c has what depends on such registers, under the names that
 * FL_TILED_KERNEL(k) makes:
 *
 *   gemm_int8, gemm_bfloat16
 *               the gemm of each format, for any number of rows
 *   round_row   fl_round_row, and the row in 2 bytes a number behind it: fl_code_bytes of
 *               contract.h
 *   leave       gives up what a thread's tiles hold
 *
 * Here are the steps of the LSTM and the GRU on such sets. For one panel after the other the gemm
 * adds the products of h to z, or to sums beside it, and the gates are computed from there while
 * the sums are in L1.
 */
#ifndef FL_TILED_H
#define FL_TILED_H

#include "kernels/cells.h"
#include "kernels/pairs.h"

void FL_TILED_KERNEL(gemm_int8)(const fl_gemm *);
void FL_TILED_KERNEL(gemm_bfloat16)(const fl_gemm *);
void FL_TILED_KERNEL(round_row)(float *, const float *, size_t);
void FL_TILED_KERNEL(leave)(void);

/* What table_entries.h calls them. Codes are those of the set with products of codes. */
#define FL_TILED_INT8_encode FL_DOT_KERNEL(encode)
#define FL_TILED_INT8_probe FL_DOT_KERNEL(probe)
#define FL_TILED_INT8_gemm FL_TILED_KERNEL(gemm_int8)
#define FL_TILED_INT8_lstm fl_tiled_lstm_run
#define FL_TILED_INT8_gru fl_tiled_gru_run
#define FL_TILED_BFLOAT16_round_row FL_TILED_KERNEL(round_row)
#define FL_TILED_BFLOAT16_gemm FL_TILED_KERNEL(gemm_bfloat16)
#define FL_TILED_BFLOAT16_lstm fl_tiled_lstm_run
#define FL_TILED_BFLOAT16_gru fl_tiled_gru_run

/* sums += h . panel p, for rows r .. r + rows - 1 and `vectors` vectors. */
static void fl_tiled_product(const fl_step *s, size_t vectors, size_t p, size_t r, size_t rows,
                             float *sums)
{
    const size_t group = vectors * FL_LANES;
    fl_gemm g = {.rows = rows,
                 .vectors = vectors,
                 .panels = 1,
                 .k = s->k,
                 .panel = (const char *)s->panel + p * s->panel_bytes,
                 .panel_bytes = s->panel_bytes,
                 .c = sums,
                 .c_row = group,
                 .add = FL_ONTO,
                 .codes = s->codes};
    g.codes.at = (const char *)s->codes.at + r * s->codes.row;
    if (s->scales) { /* FL_INT8 */
        g.scales = s->scales + p * group;
        g.codes.scale += r;
        g.codes.sum += r;
    }
    s->gemm(&g);
}

static void fl_tiled_lstm_run(const fl_step *s)
{
    FL_STEP_PANELS(p, s)
    {
        float *z = (float *)(uintptr_t)s->z + p * s->z_panel;
        fl_tiled_product(s, FL_NV, p, 0, s->rows, z);
        for (size_t r = 0; r < s->rows; r++, z += FL_GROUP) {
            vf a[FL_NV];
            FL_FOR (v, FL_NV)
                a[v] = vf_load(z + v * FL_LANES);
            fl_lstm_step(0, a, s, p, r);
        }
    }
}

/* Of n the products of h are sums of their own, from b_hn on, beside those of x in z. */
static void fl_tiled_gru_run(const fl_step *s)
{
    enum { ROWS = 2 * FL_TILE_LINES, GROUP = 3 * FL_LANES };
    FL_STEP_PANELS(p, s)
    for (size_t r0 = 0, m; r0 < s->rows; r0 += m) {
        _Alignas(FL_ALIGN) float sums[ROWS * GROUP];
        const float *z = s->z + p * s->z_panel + r0 * GROUP;
        m = s->rows - r0 < ROWS ? s->rows - r0 : ROWS;
        for (size_t r = 0; r < m; r++)
            FL_FOR (v, 3)
                vf_store(sums + r * GROUP + v * FL_LANES,
                         vf_load(v == 2 ? s->b_hn + p * FL_LANES : z + r * GROUP + v * FL_LANES));
        fl_tiled_product(s, 3, p, r0, m, sums);
        for (size_t r = 0; r < m; r++) {
            vf a[3];
            FL_FOR (v, 3)
                a[v] = vf_load(sums + r * GROUP + v * FL_LANES);
            fl_gru_step(0, a, s, p, r0 + r);
        }
    }
}

#endif
