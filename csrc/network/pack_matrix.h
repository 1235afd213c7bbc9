/* SPDX-License-Identifier: MIT */
/*
 * A matrix in PyTorch's layout, row after row, as panels (kernels/panels.h) of any format: its rows
 * become the panels' columns, so that x W^T is one gemm. Numbers are rounded to the panels' format
 * here, once; subnormal float32 numbers become 0.
 */
#ifndef FL_PACK_MATRIX_H
#define FL_PACK_MATRIX_H

#include "base/size.h"
#include "kernels/panels.h"

/* Carves `panels` panels of `group` columns and `k` numbers a column; panel_bytes is SIZE_MAX, and
   so is carver->used, if that is more than a size_t counts. */
fl_panels fl_panels_carve(fl_carver *carver, int format, size_t panels, size_t group, size_t k);

/* Packs n <= L rows of w, of k numbers each, as one vector of lanes of the panels: columns
   `column` .. `column` + n - 1, counted through all panels of `group` columns. */
void fl_pack_vector(const fl_panels *panels, size_t group, size_t column, const float *w, size_t k,
                    size_t n);

/* Sets the subnormal numbers of the first `count` panels, once packed, to 0. */
void fl_pack_end(const fl_panels *panels, size_t count);

/* Packs all of w, `rows` rows of k numbers, into plain panels of `group` columns. Columns past the
   last row stay as they are. */
void fl_pack_plain(const fl_panels *panels, size_t group, size_t lanes, const float *w, size_t rows,
                   size_t k);

#endif
