/* SPDX-License-Identifier: MIT */
/*
 * Sets whose products of FL_INT8 and FL_BFLOAT16 are of tiles: matrices of 16 rows in registers of
 * their own. A file isa/tiled_<name>.c has what depends on such registers, under the names that
 * FL_TILED_KERNEL(k) makes:
 *
 *   gemm_int8, gemm_bfloat16
 *               the gemm of each format, for any number of rows
 *   lstm_int8, gru_int8
 *               the steps of FL_INT8
 *   split_row   fl_split_row, to 2 bytes a number: fl_codes of contract.h
 *   split_lines what contract.h says
 *   leave       fl_kernels.leave: releases the tile registers of the thread
 *   probe_int8, probe_bfloat16
 *               what contract.h says of `probe`
 *
 * Here are the steps of FL_BFLOAT16. For one panel after the other the gemm adds the products of h
 * to z, or to sums beside it, and the gates are computed from there while the sums are in L1: the
 * steps of step_by_product.h, as in pairs.h, by another product.
 */
#ifndef FL_TILED_H
#define FL_TILED_H

#include "kernels/pairs.h"

void FL_TILED_KERNEL(gemm_int8)(const fl_gemm *);
void FL_TILED_KERNEL(lstm_int8)(const fl_step *);
void FL_TILED_KERNEL(gru_int8)(const fl_step *);
void FL_TILED_KERNEL(gemm_bfloat16)(const fl_gemm *);
void FL_TILED_KERNEL(split_row)(void *, const float *, size_t, int, float);
void FL_TILED_KERNEL(split_lines)(void *, const float *, size_t, size_t, size_t, int, float);
void FL_TILED_KERNEL(leave)(void);
double FL_TILED_KERNEL(probe_int8)(size_t);
double FL_TILED_KERNEL(probe_bfloat16)(size_t);

/* What table_entries.h calls them. Rows of FL_INT8 are encoded by the function of the set with
   products of codes. */
#define FL_TILED_INT8_encode FL_DOT_KERNEL(encode)
#define FL_TILED_INT8_probe FL_TILED_KERNEL(probe_int8)
#define FL_TILED_INT8_gemm FL_TILED_KERNEL(gemm_int8)
#define FL_TILED_INT8_lstm FL_TILED_KERNEL(lstm_int8)
#define FL_TILED_INT8_gru FL_TILED_KERNEL(gru_int8)
#define FL_TILED_BFLOAT16_split_row FL_TILED_KERNEL(split_row)
#define FL_TILED_BFLOAT16_split_lines FL_TILED_KERNEL(split_lines)
#define FL_TILED_BFLOAT16_gemm FL_TILED_KERNEL(gemm_bfloat16)
#define FL_TILED_BFLOAT16_probe FL_TILED_KERNEL(probe_bfloat16)
#define FL_TILED_BFLOAT16_lstm fl_tiled_lstm_run
#define FL_TILED_BFLOAT16_gru fl_tiled_gru_run

static void fl_tiled_product(const fl_step *s, size_t V, size_t p, size_t r, size_t rows,
                             float *sums)
{
    const size_t group = V * FL_LANES;
    fl_gemm g = {.rows = rows,
                 .vectors = V,
                 .panels = 1,
                 .k = s->k,
                 .panel = (const char *)s->panel + p * s->panel_bytes,
                 .panel_bytes = s->panel_bytes,
                 .c = sums,
                 .c_row = group,
                 .add = FL_ONTO,
                 .codes = s->codes};
    g.codes.at = (const char *)s->codes.at + r * s->codes.row;
    s->gemm(&g);
}

static void fl_tiled_lstm_run(const fl_step *s) { fl_lstm_by(s, fl_tiled_product); }
static void fl_tiled_gru_run(const fl_step *s)
{
    fl_gru_by(s, fl_tiled_product, 2 * FL_TILE_LINES);
}

#endif
