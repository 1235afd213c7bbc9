/* SPDX-License-Identifier: MIT */
/*
 * Windows of a convolution (convolve.h) as rows of numbers in bfloat16 parts. x is split once, each
 * of its rows of pixels as one row of codes (fl_codes in kernels/contract.h), and windows are
 * then copied from it, part by part: splitting the windows themselves took 2.2 times as long in
 * all, with 3 x 3 taps of 64 channels.
 */
#ifndef FL_CONVOLVE_PARTS_H
#define FL_CONVOLVE_PARTS_H

#include "ops/convolve_windows.h"

/* Numbers of a window, of which one gemm takes all. */
static inline size_t fl_window_numbers(const fl_convolution *c)
{
    return c->call_pieces * c->piece_k;
}

/* Bytes of x split into parts. */
size_t fl_split_bytes(const fl_convolution *c, const fl_placement *place);

/* Splits row `row` of x, counted through all images, to its place in `split`. */
void fl_split_pixels(const fl_convolution *c, const fl_placement *place, char *split, size_t row);

/* The windows of a block's positions for group g, as the rows of a gemm in memory of
   fl_most_code_bytes each. */
fl_codes fl_split_windows(const fl_block *block, const char *split, size_t g, char *to);

#endif
