/* SPDX-License-Identifier: MIT */
/* The kernel depthwise that contract.h describes. Included once for each instruction set by
   table.h. */
#ifndef FL_DEPTHWISE_H
#define FL_DEPTHWISE_H

#include "kernels/product.h"

/* Outputs of rows r .. r + M - 1, in V vectors of channels from c on, or, if `rest` is 1, in the
   last channels, fewer than a vector. M * V chains of sums hide the latency of a multiply-add. */
FL_INLINE void fl_depthwise_tile(const int V, const int M, const int rest, const fl_depthwise *d,
                                 size_t r, size_t c)
{
    const size_t n = d->channels - c;
    const vf least = vf_set1(d->least), most = vf_set1(d->most), tiny = vf_set1(FL_TINY);
    const float *const *a = d->a + r;
    const float *w = d->w + c;
    vf sums[FL_MAX_TILE][FL_NV], x[FL_MAX_TILE][FL_NV], b[FL_NV];
    FL_FOR (v, V)
        FL_FOR (m, M)
            sums[m][v] = vf_load(d->bias + c + v * FL_LANES);
    for (size_t t = 0; t < d->taps; t++, a += d->rows, w += d->w_tap) {
        FL_FOR (v, V)
            b[v] = vf_keep(vf_load(w + v * FL_LANES));
        FL_FOR (m, M)
            FL_FOR (v, V) {
                const float *from = a[m] + c + v * FL_LANES;
                x[m][v] = rest ? vf_loadn(from, n) : vf_loadu(from);
                sums[m][v] = vf_mad(x[m][v], b[v], sums[m][v]);
            }
    }
    FL_FOR (m, M)
        FL_FOR (v, V) {
            float *to = d->y + (r + m) * d->y_row + c + v * FL_LANES;
            const vf y = vf_max(least, vf_min(most, vf_flush(sums[m][v], tiny)));
            if (rest)
                vf_storen(to, y, n);
            else
                vf_storeu(to, y);
        }
}

/* All rows of V vectors of channels. */
#define FL_DEPTHWISE(name, V, M, rest)                                                             \
    static void name(const fl_depthwise *d, size_t c)                                              \
    {                                                                                              \
        size_t r = 0;                                                                              \
        for (; r + M <= d->rows; r += M)                                                           \
            fl_depthwise_tile(V, M, rest, d, r, c);                                                \
        for (; r < d->rows; r++)                                                                   \
            fl_depthwise_tile(V, 1, rest, d, r, c);                                                \
    }
FL_DEPTHWISE(fl_depthwise_two, 2, 4, 0)
FL_DEPTHWISE(fl_depthwise_one, 1, 8, 0)
FL_DEPTHWISE(fl_depthwise_rest, 1, 4, 1)

static void fl_depthwise_run(const fl_depthwise *d)
{
    size_t c = 0;
    for (; c + 2 * FL_LANES <= d->channels; c += 2 * FL_LANES)
        fl_depthwise_two(d, c);
    if (c + FL_LANES <= d->channels) {
        fl_depthwise_one(d, c);
        c += FL_LANES;
    }
    if (c < d->channels)
        fl_depthwise_rest(d, c);
}

#endif
