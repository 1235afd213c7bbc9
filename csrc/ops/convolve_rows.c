/* SPDX-License-Identifier: MIT */
#include "ops/convolve_rows.h"

#include <string.h>

/*
 * The kernel depthwise gets a row of y in pieces of `wide` positions: to it a piece is a row, and
 * its positions are channels. Tap (t1, t2) of all windows of a piece is a run of x, and its weight
 * stands `wide` times in taps_w.
 */

fl_rows fl_rows_carve(fl_carver *carver, const fl_convolution *c, size_t n)
{
    const size_t taps = c->taps[0] * c->taps[1], pieces = n / fl_rows_wide(c) + 1;
    return (fl_rows){.padded =
                         fl_carve(carver, fl_mul(c->taps[0], n + c->taps[1] - 1), sizeof(float)),
                     .a = fl_carve(carver, fl_mul(taps, pieces), sizeof(float *)),
                     .y = fl_carve(carver, fl_mul(n, c->out), sizeof(float))};
}

/* Where the `n` numbers of row i1 of x are that the windows of a segment reach: in x, or at
   `padded`, with zeros beside them, if they reach over a border of x. */
static const float *row_of(const fl_placement *p, const fl_segment *s, ptrdiff_t i1, size_t n,
                           float *padded)
{
    const ptrdiff_t width = (ptrdiff_t)p->in[1], at = s->at[1], end = at + (ptrdiff_t)n;
    const int outside = i1 < 0 || i1 >= (ptrdiff_t)p->in[0];
    const float *row = outside ? NULL : s->image + (size_t)i1 * p->in[1];
    if (row && at >= 0 && end <= width)
        return row + at;
    memset(padded, 0, n * sizeof *padded);
    const ptrdiff_t first = at < 0 ? 0 : at, last = end < width ? end : width;
    if (row && first < last)
        memcpy(padded + (first - at), row + first, (size_t)(last - first) * sizeof *padded);
    return padded;
}

void fl_rows_run(const fl_convolution *c, const fl_placement *p, const fl_segment *s,
                 const fl_rows *rows, float least, float most)
{
    const size_t wide = fl_rows_wide(c), pieces = s->count / wide, rest = s->count % wide;
    const size_t n = s->count + c->taps[1] - 1;
    const float **const last = rows->a + c->taps[0] * c->taps[1] * pieces;
    size_t taps = 0, first = 0;
    for (size_t t1 = 0; t1 < c->taps[0]; t1++) {
        const ptrdiff_t i1 = s->at[0] + (ptrdiff_t)(t1 * c->dilation[0]);
        if (c->finite && (i1 < 0 || i1 >= (ptrdiff_t)p->in[0]))
            continue; /* zeros times finite weights */
        if (taps == 0)
            first = t1;
        const float *row = row_of(p, s, i1, n, rows->padded + t1 * n);
        for (size_t t2 = 0; t2 < c->taps[1]; t2++, taps++) {
            for (size_t i = 0; i < pieces; i++)
                rows->a[taps * pieces + i] = row + t2 + i * wide;
            last[taps] = row + t2 + pieces * wide;
        }
    }
    fl_depthwise d = {.taps = taps, .w_tap = wide, .least = least, .most = most, .y_row = wide};
    for (size_t m = 0; m < c->out; m++) {
        d.w = c->taps_w + (m * c->taps[0] + first) * c->taps[1] * wide;
        d.bias = c->bias + m * wide;
        d.y = rows->y + m * s->count;
        d.rows = pieces;
        d.channels = wide;
        d.a = rows->a;
        c->kernels->depthwise(&d);
        d.y += pieces * wide;
        d.rows = 1;
        d.channels = rest;
        d.a = last;
        c->kernels->depthwise(&d);
    }
}
