/* SPDX-License-Identifier: MIT */
#include "ops/convolve_pack.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/bfloat16.h"
#include "kernels/contract.h"
#include "network/half.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"

/* PANEL_BYTES are of one gemm: with 96 KiB a layer of 256 channels took twice as long. */
enum { PANEL_BYTES = 24 << 10, FAR_BYTES = 1 << 18 };

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

/* By channel M / L vectors are computed for each tap and c, and each costs about twice as much as
   by product, where there are groups * ceil(M / groups / L), of which many lanes may be empty. */
static int is_by_channel(const fl_convolution *c)
{
    const size_t lanes = c->kernels->lanes;
    return c->groups > 1 &&
           2 * fl_ceil_div(c->out, lanes) <= c->groups * fl_ceil_div(c->out / c->groups, lanes);
}

/* Few channels of y leave most lanes of a product empty, and each position costs some 10 ns beside
   its products. MOST_TAPS is a bound of the weights' memory. */
static int is_by_row(const fl_convolution *c)
{
    enum { MOST_TAPS = 64 };
    return c->in == 1 && c->out * 2 <= c->kernels->lanes && c->stride[1] == 1 &&
           c->dilation[1] == 1 && fl_mul(c->taps[0], c->taps[1]) <= MOST_TAPS;
}

/* Panels of two vectors take 5 to 8 % less time than panels of four if they come from a far cache
   (512 and 256 channels, AVX2), and the same otherwise. */
static size_t vectors_of(const fl_convolution *c)
{
    const size_t vectors = fl_ceil_div(c->out / c->groups, c->kernels->lanes);
    return c->far && c->format == FL_FLOAT32 && vectors % 2 == 0
               ? 2
               : fl_plain_vectors(c->format, vectors);
}

/* How the pieces are divided among gemms. By parts a window is one row of one gemm. */
static void divide(fl_convolution *c)
{
    const size_t pieces = c->taps[0] * c->row_pieces;
    const size_t most =
        c->by_parts ? fl_mul(pieces, c->piece_k) : PANEL_BYTES / (c->columns * sizeof(float));
    c->parts = fl_ceil_div(c->piece_k, most);
    c->part_k = fl_ceil_div(c->piece_k, c->parts);
    c->call_pieces = c->parts > 1 ? 1 : min(most / c->piece_k, pieces);
    c->calls = fl_ceil_div(pieces, c->call_pieces);
    c->call_pieces = fl_ceil_div(pieces, c->calls);
    c->calls = fl_mul(fl_ceil_div(pieces, c->call_pieces), c->parts);
}

void fl_convolution_carve(fl_carver *carver, fl_convolution *c)
{
    const size_t lanes = c->kernels->lanes, group_in = c->in / c->groups;
    const size_t group_out = c->out / c->groups;
    c->by_parts = c->format == FL_BFLOAT16;
    c->by_channel = !c->by_parts && is_by_channel(c);
    c->by_row = !c->by_parts && is_by_row(c);
    if (c->by_row) {
        c->w_tap = fl_rows_wide(c);
        c->bias = fl_carve(carver, c->out * c->w_tap, sizeof(float));
        c->taps_w = fl_carve(carver, c->out * c->taps[0] * c->taps[1] * c->w_tap, sizeof(float));
        return;
    }
    if (c->by_channel) {
        const size_t window = fl_mul(fl_mul(c->taps[0], c->taps[1]), group_in);
        c->w_tap = fl_ceil_div(c->out, lanes) * lanes;
        c->bias = fl_carve(carver, c->w_tap, sizeof(float));
        c->zeros = fl_carve(carver, c->w_tap, sizeof(float));
        c->taps_w = fl_carve(carver, fl_mul(window, c->w_tap), sizeof(float));
        return;
    }
    const int runs = c->taps[1] == 1 || (c->groups == 1 && c->dilation[1] == 1);
    c->row_pieces = runs ? 1 : c->taps[1];
    c->piece_k = fl_mul(runs ? c->taps[1] : 1, group_in);
    c->far = fl_mul(fl_mul(fl_mul(c->taps[0] * c->row_pieces, c->piece_k), group_out),
                    fl_format_bytes(c->format)) > FAR_BYTES;
    c->vectors = vectors_of(c);
    c->columns = c->vectors * lanes;
    c->count = fl_ceil_div(group_out, c->columns);
    divide(c);
    const size_t panels = fl_mul(c->groups, c->count);
    c->bias = fl_carve(carver, fl_mul(panels, c->columns), sizeof(float));
    c->zeros = fl_carve(carver, c->piece_k, sizeof(float));
    c->w = fl_panels_carve(carver, c->format, c->bits / 16, c->kernels, fl_mul(panels, c->calls),
                           c->columns, fl_mul(c->call_pieces, c->part_k));
}

/* Is it a finite number, also once it is rounded to the format? Binary16 ends below 65520. */
static int is_finite(const fl_convolution *c, float w)
{
    return fabsf(w) < (c->format == FL_FLOAT16 ? 65520.0f : INFINITY);
}

/* The numbers of output m's window in pieces first .. end - 1, in their order; returns the end. */
static float *take_pieces(fl_convolution *c, const fl_filter *f, size_t g, size_t m, size_t first,
                          size_t end, float *to)
{
    const size_t group_in = c->in / c->groups, taps = c->taps[1] / c->row_pieces;
    for (size_t tap = first * taps; tap < end * taps; tap++) {
        const float *from = f->w + (ptrdiff_t)g * f->group + (ptrdiff_t)m * f->out +
                            (ptrdiff_t)(tap / c->taps[1]) * f->tap[0] +
                            (ptrdiff_t)(tap % c->taps[1]) * f->tap[1];
        for (size_t i = 0; i < group_in; i++) {
            *to = from[(ptrdiff_t)i * f->in];
            c->finite &= is_finite(c, *to++);
        }
    }
    return to;
}

static int pack_product(fl_convolution *c, const fl_filter *f, const float *bias)
{
    const size_t group_out = c->out / c->groups, lanes = c->kernels->lanes;
    const size_t columns = c->count * c->columns, pieces = c->taps[0] * c->row_pieces;
    const size_t call_k = c->call_pieces * c->piece_k; /* of all parts */
    float *rows = fl_alloc(fl_mul(fl_mul(lanes, 2 * call_k), sizeof *rows));
    if (!rows)
        return FL_NO_MEMORY;
    float *const part_rows = rows + lanes * call_k;
    for (size_t i = 0; i < c->groups * (c->calls / c->parts); i++) {
        const size_t g = i / (c->calls / c->parts), call = i % (c->calls / c->parts);
        const size_t first = call * c->call_pieces, end = min(first + c->call_pieces, pieces);
        const size_t k = (end - first) * c->piece_k;
        for (size_t m = 0; m < group_out; m += lanes) {
            const size_t n = min(lanes, group_out - m);
            for (size_t j = 0; j < n; j++)
                take_pieces(c, f, g, m + j, first, end, rows + j * k);
            for (size_t part = 0; part < c->parts; part++) {
                const size_t part_k = c->parts > 1 ? fl_part_numbers(c, part) : k;
                for (size_t j = 0; j < n; j++)
                    memcpy(part_rows + j * part_k, rows + j * k + part * c->part_k,
                           part_k * sizeof *rows);
                fl_pack_vector(&c->w, c->columns, (i * c->parts + part) * columns + m, part_rows,
                               part_k, n);
            }
        }
        if (bias)
            memcpy(c->bias + g * columns, bias + g * group_out, group_out * sizeof *bias);
    }
    fl_pack_end(&c->w, 0, c->groups * c->calls * c->count);
    fl_no_subnormals(c->bias, c->groups * columns);
    if (c->by_parts)
        fl_no_tiny_floats(c->bias, c->groups * columns, FL_TINY_BIAS);
    fl_free(rows);
    return FL_OK;
}

static void pack_channels(fl_convolution *c, const fl_filter *f, const float *bias)
{
    const size_t group_in = c->in / c->groups, group_out = c->out / c->groups;
    float *to = c->taps_w;
    for (size_t t1 = 0; t1 < c->taps[0]; t1++)
        for (size_t t2 = 0; t2 < c->taps[1]; t2++)
            for (size_t i = 0; i < group_in; i++, to += c->w_tap)
                for (size_t m = 0; m < c->out; m++) {
                    const float w =
                        f->w[(ptrdiff_t)(m / group_out) * f->group +
                             (ptrdiff_t)(m % group_out) * f->out + (ptrdiff_t)i * f->in +
                             (ptrdiff_t)t1 * f->tap[0] + (ptrdiff_t)t2 * f->tap[1]];
                    to[m] = c->format == FL_FLOAT16 ? fl_from_half(fl_half(w)) : w;
                }
    fl_no_subnormals(c->taps_w, (size_t)(to - c->taps_w));
    if (bias)
        memcpy(c->bias, bias, c->out * sizeof *bias);
    fl_no_subnormals(c->bias, c->out);
}

static void pack_rows(fl_convolution *c, const fl_filter *f, const float *bias)
{
    const size_t taps = c->taps[0] * c->taps[1];
    float *to = c->taps_w;
    for (size_t m = 0; m < c->out; m++) {
        for (size_t tap = 0; tap < taps; tap++) {
            const float w = f->w[(ptrdiff_t)m * f->out + (ptrdiff_t)(tap / c->taps[1]) * f->tap[0] +
                                 (ptrdiff_t)(tap % c->taps[1]) * f->tap[1]];
            c->finite &= is_finite(c, w);
            for (size_t i = 0; i < c->w_tap; i++)
                *to++ = c->format == FL_FLOAT16 ? fl_from_half(fl_half(w)) : w;
        }
        for (size_t i = 0; i < c->w_tap; i++)
            c->bias[m * c->w_tap + i] = bias ? bias[m] : 0.0f;
    }
    fl_no_subnormals(c->taps_w, c->out * taps * c->w_tap);
    fl_no_subnormals(c->bias, c->out * c->w_tap);
}

int fl_convolution_pack(fl_convolution *c, const fl_filter *filter, const float *bias)
{
    c->finite = 1;
    if (c->by_row) {
        pack_rows(c, filter, bias);
        return FL_OK;
    }
    if (!c->by_channel)
        return pack_product(c, filter, bias);
    pack_channels(c, filter, bias);
    return FL_OK;
}
