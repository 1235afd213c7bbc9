/* SPDX-License-Identifier: MIT */
/* Where the windows of a convolution (convolve.h) lie in x, as pointers for the kernels gemm and
   depthwise, and where their outputs go. */
#ifndef FL_CONVOLVE_WINDOWS_H
#define FL_CONVOLVE_WINDOWS_H

#include "ops/convolve_pack.h"

/* Where x and y are in one run. */
typedef struct fl_placement {
    const float *x; /* [images][in[0]][in[1]][C] */
    float *y;
    size_t images, in[2];
    size_t out[2];      /* positions j that are computed, along each axis */
    ptrdiff_t begin[2]; /* may be negative */
    /* The M numbers of (n, j1, j2) are row n * y_image + (from[0] + j1 * step[0]) * y_row + from[1]
       + j2 * step[1] of y. */
    size_t y_image, y_row, from[2], step[2];
    int tiny; /* x has numbers below FL_TINY in magnitude, which count as 0 */
} fl_placement;

/* Pixels of x, each of C numbers. */
static inline size_t fl_pixels(const fl_placement *p)
{
    return fl_mul(fl_mul(p->images, p->in[0]), p->in[1]);
}

/* Positions side by side in one row of y. */
typedef struct fl_segment {
    size_t first, count; /* positions first .. first + count - 1 of the block */
    const float *image;  /* of x */
    ptrdiff_t at[2];     /* where the first window begins in x, along each axis */
} fl_segment;

/* Positions first .. first + count - 1 of a run. */
typedef struct fl_block {
    const fl_convolution *c;
    const fl_placement *place;
    size_t count, segments;
    fl_segment *segment; /* memory for [count] */
    float **y;           /* [count]: where the outputs of each position go */
} fl_block;

/* Fills in the segments and y of a block. */
void fl_block_place(fl_block *block, size_t first, size_t count);

/* By product: a[j] becomes the address of piece `piece` of position j's window, for group g: in x,
   of zeros, or, if the piece reaches over a border of x, at gathered + j * piece_k. */
void fl_block_piece(const fl_block *block, size_t piece, size_t g, const float **a,
                    float *gathered);

/* By channel: a[j] becomes the address of tap (t1, t2) of position j's window in copy i of x. */
void fl_block_tap(const fl_block *block, size_t t1, size_t t2, size_t i, const float **a);

/* The range *first .. *end - 1 of the block's positions that contains all whose windows have row t1
   of their taps inside of x; *first is not below *end if there are none. */
void fl_block_reached(const fl_block *block, size_t t1, size_t *first, size_t *end);

/* The range *first .. *end - 1 of rows of taps that contains all that are inside of x for some
   position of the block; *first is not below *end if there are none. */
void fl_block_rows(const fl_block *block, size_t *first, size_t *end);

#endif
