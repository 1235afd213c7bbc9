/* SPDX-License-Identifier: MIT */
/* The third way of convolve.h, by row: vectors of positions that are side by side in a row of y. */
#ifndef FL_CONVOLVE_ROWS_H
#define FL_CONVOLVE_ROWS_H

#include "ops/convolve_windows.h"

/* Memory of one thread, for segments of up to n positions. */
typedef struct fl_rows {
    float *padded;   /* [k1][n + k2 - 1]: copies of the rows of x that windows reach over the border
                        of, with zeros where they are outside of x */
    const float **a; /* [k1][k2][n / fl_rows_wide + 1] */
    float *y;        /* [M][positions of the segment]: the outputs, channel by channel */
} fl_rows;

fl_rows fl_rows_carve(fl_carver *carver, const fl_convolution *c, size_t n);

/* The outputs of a segment, max(least, min(most, sum)), to rows->y. */
void fl_rows_run(const fl_convolution *c, const fl_placement *place, const fl_segment *segment,
                 const fl_rows *rows, float least, float most);

#endif
