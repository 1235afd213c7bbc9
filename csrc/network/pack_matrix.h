/* SPDX-License-Identifier: MIT */
/*
 * Packs a matrix in PyTorch's layout, row after row, into panels (kernels/panels.h) of a format:
 * its rows become the panels' columns, so that x W^T is one gemm. Numbers are rounded to the
 * panels' format here, once; subnormal float32 numbers become 0 in every format. The panels' memory
 * must be zeros at first: not everything past the last row or the last k is written.
 *
 * To pack a matrix whose rows do not become consecutive columns, call fl_pack_vector for each
 * vector and then fl_pack_end once; fl_pack_plain does both for one whose rows do.
 */
#ifndef FL_PACK_MATRIX_H
#define FL_PACK_MATRIX_H

#include "base/size.h"
#include "kernels/contract.h"
#include "kernels/parallel.h"

/* How many vectors across a plain panel take the least time for a matrix whose columns are
   `vectors` vectors: 1 to 4 in float32, 3 or 4 in other formats, as gemm has them. The time of a
   matrix is the number of vectors in all its panels, padding included, where a vector in a panel of
   two counts as 1.05, and one in a panel of one as 1.5, since its tiles have few chains of sums. */
static inline size_t fl_plain_vectors(int format, size_t vectors)
{
    static const size_t cost[] = {30, 21, 20, 20};
    size_t best = 4;
    for (size_t v = 3; v > (format == FL_FLOAT32 ? 0 : 2); v--)
        if (fl_ceil_div(vectors, v) * v * cost[v - 1] <
            fl_ceil_div(vectors, best) * best * cost[best - 1])
            best = v;
    return best;
}

/* Carves memory for `panels` panels of `group` columns and `k` numbers a column, and sets nothing
   in it; data is NULL if the carver only counts. `parts` is read for FL_BFLOAT16, where 0 counts as
   1, `kernels`, which the panels are for, for FL_INT8 and FL_BFLOAT16. If the bytes are more than a
   size_t counts, carver->used becomes SIZE_MAX, and panel_bytes too if those of one panel are. Of
   FL_INT8 it carves the scales too, and `top` is left to the caller. */
fl_panels fl_panels_carve(fl_carver *carver, int format, int parts, const fl_kernels *kernels,
                          size_t panels, size_t group, size_t k);

/* Packs n <= L rows of w, of k numbers each, as columns `column` .. `column` + n - 1 of the panels,
   counted through all panels of `group` columns. `column` is the first of a vector. Not for
   FL_INT8. */
void fl_pack_vector(const fl_panels *panels, size_t group, size_t column, const float *w, size_t k,
                    size_t n);

/* The same for panels of FL_INT8, of rows row .. row + n - 1 of w, and their scales. `zero` is the
   kernels' code_zero: 0, or 128, which is added to every code. */
void fl_pack_codes(const fl_panels *panels, int zero, size_t group, size_t column, const fl_int8 *w,
                   size_t row, size_t k, size_t n);

/* The largest code that inputs of `bits` bits, 16 or 8, may have if they are multiplied by w of
   `rows` rows: no sum of products may leave 32 bits (kernels/codes.h). */
float fl_codes_top(const fl_int8 *w, size_t rows, size_t k, int bits);

/* Sets the subnormal numbers among the float32 numbers of `count` panels from the first to 0; to be
   called when they are packed. Panels of other formats need none and are left as they are. */
void fl_pack_end(const fl_panels *panels, size_t first, size_t count);

/* Packs all of w, `rows` rows of k numbers, into plain panels of `group` columns, a vector of
   `lanes` columns at a time, and calls fl_pack_end. Columns past the last row stay 0. */
void fl_pack_plain(const fl_panels *panels, size_t group, size_t lanes, const float *w, size_t rows,
                   size_t k);

/* How many threads are worth having to pack a matrix of so many numbers, which is divided into
   `blocks` blocks: one for each million numbers, which take about a millisecond, so that a small
   layer makes no threads. */
static inline size_t fl_pack_threads(const fl_caller *caller, size_t blocks, size_t numbers)
{
    return fl_useful_threads(caller->threads, blocks, fl_move_flop(numbers) / 32);
}

#endif
