/* SPDX-License-Identifier: MIT */
/* A convolution (convolve.h) without its inputs: its numbers, and its packed weights. */
#ifndef FL_CONVOLVE_PACK_H
#define FL_CONVOLVE_PACK_H

#include "kernels/contract.h"
#include "kernels/panels.h"
#include "ops/epilogue.h"

typedef struct fl_convolution {
    const fl_kernels *kernels;
    int format;
    int bits;               /* FL_BFLOAT16: of a number's parts, as in fl_codes; else 0 */
    size_t in, out, groups; /* C, M; groups divides both */
    size_t taps[2], stride[2], dilation[2];
    fl_epilogue epilogue;
    /* What fl_convolution_carve fills in. */
    int by_channel, by_row; /* otherwise by product */
    int by_parts;           /* by product, of numbers in bfloat16 parts */
    /* By product. A gemm takes either call_pieces whole pieces or, where a piece is too long for
       one gemm, one of `parts` parts of a piece. */
    size_t row_pieces, piece_k;     /* pieces of a row of taps, and numbers of each */
    size_t parts, part_k;           /* parts of a piece, and numbers of each, the last one fewer */
    size_t call_pieces, calls;      /* pieces of one gemm, 1 if parts > 1; gemms of a window */
    size_t vectors, columns, count; /* vectors and columns of a panel; panels of a group's gemm */
    fl_panels w;                    /* by product: [groups][calls][count] panels */
    float *bias;   /* [groups][count][columns], by channel [w_tap], or by row [M][w_tap] */
    float *taps_w; /* by channel: [k1][k2][Cg][w_tap]; by row: [M][k1][k2][w_tap] */
    size_t w_tap;  /* by channel: M, rounded up to whole vectors; by row: fl_rows_wide, as often as
                      each number is repeated */
    float *zeros;  /* by product and by channel: what is read in place of a piece outside of x */
    int far;       /* by product: the weights of a group are too many for a near cache */
    int finite;    /* by product and by row: all weights are finite numbers in their format; set
                      when they are packed */
} fl_convolution;

/* Where weights are: number (m, c, t1, t2) of group g is at w + g * group + m * out + c * in + t1 *
   tap[0] + t2 * tap[1]. */
typedef struct fl_filter {
    const float *w;
    ptrdiff_t group, out, in, tap[2];
} fl_filter;

/* How many numbers part `part` of a piece has. */
static inline size_t fl_part_numbers(const fl_convolution *c, size_t part)
{
    const size_t left = c->piece_k - part * c->part_k;
    return left < c->part_k ? left : c->part_k;
}

/* By row: positions of a piece, and how often each weight stands in taps_w. */
static inline size_t fl_rows_wide(const fl_convolution *c) { return 2 * c->kernels->lanes; }

/* Decides in which way c is computed, and carves memory for the weights. If the carver has a base,
   the memory there must be zeros. */
void fl_convolution_carve(fl_carver *carver, fl_convolution *c);

/* Packs weights into the memory that was carved; bias [M] or NULL for zeros. FL_OK or FL_NO_MEMORY.
 */
int fl_convolution_pack(fl_convolution *c, const fl_filter *filter, const float *bias);

#endif
