/* SPDX-License-Identifier: MIT */
/*
 * One convolution with channels last, which both convolution operators are made of. For image n,
 * output position j = (j1, j2) and output channel m of group g:
 *
 *     sum = bias[m] + sum over t1, t2, c, in this order, of x[n][i1][i2][g Cg + c] w[m][t1][t2][c]
 *     i = j * stride - begin + t * dilation along each axis
 *
 * x counts as 0 where i is outside of it. There are C channels of x, Cg = C / groups of a group,
 * and M of y, Mg = M / groups of a group.
 *
 * It is computed in one of two ways:
 *
 *   by product   The window of a position is a row of numbers in the order (t1, t2, c), and the
 * sums of a block of positions are one gemm. A window that is one run of x, as all are that touch
 * no border if k1 = 1, groups = 1 and the second dilation is 1, is read where it lies, so windows
 * overlap in memory and nothing is copied. Others are gathered into scratch. A window of several
 * rows of x is summed piece by piece, a row at a time, if a row has MOST_GATHERED numbers or more:
 * these pieces are again runs of x. Every product is added by one fused multiply-add.
 *
 *   by channel   With several groups that have few channels each (depthwise), whose products are
 * too small for gemm: loops over channels, for each tap and c. A product is rounded before it is
 * added, since plain C has no fast fused multiply-add, and taps outside of x are left out.
 */
#ifndef FL_CONVOLVE_H
#define FL_CONVOLVE_H

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

/* Bytes of scratch for `positions` positions in all, and a run with so much, aligned to 64. */
size_t fl_convolve_bytes(const fl_convolution *c, size_t positions, size_t threads);
int fl_convolve(const fl_convolution *c, const fl_placement *place, void *arena,
                const fl_caller *caller);

#endif
