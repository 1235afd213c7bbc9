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
 * Every product is added by one fused multiply-add, and the sums are computed in one of three
 * ways:
 *
 *     by product   The window of a position is a row of numbers in the order (t1, t2, c), and the
 *                  sums of a block of positions are gemms. A window consists of pieces that are
 *                  contiguous in x: its rows if groups = 1 and the second dilation is 1,
 *                  otherwise its taps. gemm takes a pointer for each piece and position, so
 *                  windows overlap in memory and nothing is copied but pieces that reach over a
 *                  border of x. Rows of taps that are outside of x for all positions of a block
 *                  are left out if all weights are finite: their products would be zeros.
 *
 *     by channel   With several groups that have few channels each (depthwise), whose products
 *                  would leave most lanes of gemm empty: the kernel depthwise, a vector of
 *                  channels for each tap and c. If groups have several channels, x is first
 *                  copied Cg times, so that channel m of copy i is channel i of m's group.
 *
 *     by row       With one channel of x and few of y, whose products would leave most lanes of
 *                  gemm empty: the kernel depthwise once more, on vectors of positions that are
 *                  side by side (convolve_rows.h).
 *
 * All add the same numbers in the same order.
 *
 * Of FL_BFLOAT16 the sums by product have the order of kernels/bfloat16.h, over the whole window,
 * in which positions outside of x are zeros, and no other way is taken, since which one is depends
 * on L: x is split into parts, of which the windows are copied (convolve_parts.h).
 */
#ifndef FL_CONVOLVE_H
#define FL_CONVOLVE_H

#include "ops/convolve_windows.h"

/* Bytes of the arena of a run at `place`, of which x and y may be NULL here; and the run, with an
   arena aligned to 64 bytes: FL_OK or FL_INTERRUPTED. */
size_t fl_convolve_bytes(const fl_convolution *c, const fl_placement *place, size_t threads);
int fl_convolve(const fl_convolution *c, const fl_placement *place, void *arena,
                const fl_caller *caller);

#endif
