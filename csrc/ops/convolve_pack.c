/* SPDX-License-Identifier: MIT */
#include "ops/convolve_pack.h"

#include <string.h>

#include "base/alloc.h"
#include "kernels/contract.h"
#include "network/half.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"

/* PANEL_BYTES are of one part: with 96 KiB a layer of 256 channels took twice as long. */
enum {
    PANEL_BYTES = 24 << 10,
    MOST_GATHERED = 32, /* a shorter row of a window is no piece of its own */
    FEW_CHANNELS = 8    /* groups with fewer outputs than this are computed by channel */
};

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

void fl_convolution_carve(fl_carver *carver, fl_convolution *c)
{
    const size_t lanes = c->kernels->lanes, group_in = c->in / c->groups;
    const size_t group_out = c->out / c->groups, vectors = fl_ceil_div(group_out, lanes);
    const size_t row = fl_mul(c->taps[1], group_in), window = fl_mul(c->taps[0], row);
    c->by_channel = c->groups > 1 && group_out < FEW_CHANNELS;
    if (c->by_channel) {
        c->bias = fl_carve(carver, c->out, sizeof(float));
        c->taps_w = fl_carve(carver, fl_mul(window, c->out), sizeof(float));
        return;
    }
    c->pieces = row >= MOST_GATHERED ? c->taps[0] : 1;
    c->piece_k = window / c->pieces;
    c->vectors = fl_plain_vectors(vectors);
    c->columns = c->vectors * lanes;
    c->count = fl_ceil_div(group_out, c->columns);
    const size_t panels = fl_mul(c->groups, c->count);
    c->bias = fl_carve(carver, fl_mul(panels, c->columns), sizeof(float));
    c->parts = fl_ceil_div(c->piece_k, PANEL_BYTES / (c->columns * sizeof(float)));
    c->part_k = fl_ceil_div(c->piece_k, c->parts);
    c->w = fl_panels_carve(carver, c->format, fl_mul(fl_mul(panels, c->pieces), c->parts),
                           c->columns, c->part_k);
}

/* Numbers of a piece of output m's window, in their order. */
static void take_piece(const fl_convolution *c, const fl_filter *f, size_t g, size_t m,
                       size_t piece, float *to)
{
    const size_t rows = c->taps[0] / c->pieces, group_in = c->in / c->groups;
    for (size_t t1 = piece * rows; t1 < (piece + 1) * rows; t1++)
        for (size_t t2 = 0; t2 < c->taps[1]; t2++) {
            const float *from = f->w + (ptrdiff_t)g * f->group + (ptrdiff_t)m * f->out +
                                (ptrdiff_t)t1 * f->tap[0] + (ptrdiff_t)t2 * f->tap[1];
            for (size_t i = 0; i < group_in; i++)
                *to++ = from[(ptrdiff_t)i * f->in];
        }
}

static int pack_product(fl_convolution *c, const fl_filter *f, const float *bias)
{
    const size_t group_out = c->out / c->groups, lanes = c->kernels->lanes;
    const size_t columns = c->count * c->columns;
    const size_t part_rows = lanes * c->part_k; /* numbers of one part, for a vector of outputs */
    float *rows = fl_alloc(fl_mul(fl_mul(lanes + 1, c->parts * c->part_k), sizeof *rows));
    if (!rows)
        return FL_NO_MEMORY;
    float *const row = rows + c->parts * part_rows;
    for (size_t i = 0; i < c->groups * c->pieces; i++) {
        const size_t g = i / c->pieces, piece = i % c->pieces;
        for (size_t m = 0; m < group_out; m += lanes) {
            const size_t n = min(lanes, group_out - m);
            for (size_t j = 0; j < n; j++) {
                take_piece(c, f, g, m + j, piece, row);
                for (size_t part = 0; part < c->parts; part++)
                    memcpy(rows + part * part_rows + j * fl_part_numbers(c, part),
                           row + part * c->part_k, fl_part_numbers(c, part) * sizeof *row);
            }
            for (size_t part = 0; part < c->parts; part++)
                fl_pack_vector(&c->w, c->columns, (i * c->parts + part) * columns + m,
                               rows + part * part_rows, fl_part_numbers(c, part), n);
        }
        if (bias)
            memcpy(c->bias + g * columns, bias + g * group_out, group_out * sizeof *bias);
    }
    fl_pack_end(&c->w, c->groups * c->pieces * c->parts * c->count);
    fl_no_subnormals(c->bias, c->groups * columns);
    fl_free(rows);
    return FL_OK;
}

static void pack_channels(fl_convolution *c, const fl_filter *f, const float *bias)
{
    const size_t group_in = c->in / c->groups, group_out = c->out / c->groups;
    float *to = c->taps_w;
    for (size_t t1 = 0; t1 < c->taps[0]; t1++)
        for (size_t t2 = 0; t2 < c->taps[1]; t2++)
            for (size_t i = 0; i < group_in; i++)
                for (size_t m = 0; m < c->out; m++) {
                    const float w =
                        f->w[(ptrdiff_t)(m / group_out) * f->group +
                             (ptrdiff_t)(m % group_out) * f->out + (ptrdiff_t)i * f->in +
                             (ptrdiff_t)t1 * f->tap[0] + (ptrdiff_t)t2 * f->tap[1]];
                    *to++ = c->format == FL_FLOAT16 ? fl_from_half(fl_half(w)) : w;
                }
    fl_no_subnormals(c->taps_w, (size_t)(to - c->taps_w));
    if (bias)
        memcpy(c->bias, bias, c->out * sizeof *bias);
    fl_no_subnormals(c->bias, c->out);
}

int fl_convolution_pack(fl_convolution *c, const fl_filter *filter, const float *bias)
{
    if (!c->by_channel)
        return pack_product(c, filter, bias);
    pack_channels(c, filter, bias);
    return FL_OK;
}
