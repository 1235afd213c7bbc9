/* SPDX-License-Identifier: MIT */
#include "ops/convolve_windows.h"

#include <string.h>

#include "base/compiler.h"

enum { SHORT_COPY = 16 }; /* copies of fewer floats are loops, not calls of memcpy */

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

void fl_block_place(fl_block *b, size_t first, size_t count)
{
    const fl_convolution *c = b->c;
    const fl_placement *p = b->place;
    const size_t each = p->out[0] * p->out[1];
    const size_t image = p->in[0] * p->in[1] * (c->by_channel ? c->out : c->in);
    size_t n = first / each, j1 = first % each / p->out[1], j2 = first % p->out[1];
    b->count = count;
    b->segments = 0;
    for (size_t r = 0; r < count; j2 = 0) {
        const size_t here = min(count - r, p->out[1] - j2);
        b->segment[b->segments++] =
            (fl_segment){.first = r,
                         .count = here,
                         .image = p->x + n * image,
                         .at = {(ptrdiff_t)(j1 * c->stride[0]) - p->begin[0],
                                (ptrdiff_t)(j2 * c->stride[1]) - p->begin[1]}};
        const size_t row = n * p->y_image + (p->from[0] + j1 * p->step[0]) * p->y_row + p->from[1];
        for (size_t j = j2; j < j2 + here; j++)
            b->y[r++] = p->y + (row + j * p->step[1]) * c->out;
        if (++j1 == p->out[0]) {
            j1 = 0;
            n++;
        }
    }
}

static ptrdiff_t limited(ptrdiff_t n, size_t most)
{
    return n<0 ? 0 : n>(ptrdiff_t) most ? (ptrdiff_t)most : n;
}

/* a / b, rounded up, of which a may be negative. */
static ptrdiff_t up(ptrdiff_t a, size_t b)
{
    return a > 0 ? (a - 1) / (ptrdiff_t)b + 1 : -(-a / (ptrdiff_t)b);
}

/*
 * Pointers to a run of `taps` pixels of one row of x, or NULL, for the positions of a segment,
 * where the first position's run begins at pixel `at`. `first` and `end` become the positions of
 * the segment between which runs are inside of x; only their pointers are set. `zeros` are those of
 * the others that touch no pixel of x.
 */
static void point(const fl_block *b, const fl_segment *s, const float *row, size_t wide,
                  ptrdiff_t at, size_t taps, const float **a, size_t *first, size_t *end)
{
    const size_t stride = b->c->stride[1];
    const ptrdiff_t width = (ptrdiff_t)b->place->in[1];
    const ptrdiff_t from = limited(up(-at, stride), s->count);
    const ptrdiff_t to = limited(up(width - (ptrdiff_t)taps + 1 - at, stride), s->count);
    *first = (size_t)from;
    *end = to > from ? (size_t)to : (size_t)from;
    if (to > from) {
        const float *run = row + (at + from * (ptrdiff_t)stride) * (ptrdiff_t)wide;
        for (ptrdiff_t j = from; j < to; j++, run += stride * wide)
            a[j] = run;
    }
}

static float *copy(float *to, const float *from, size_t n)
{
    if (n >= SHORT_COPY)
        memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++) {
            FL_KEEP("r", to); /* so that the compiler does not make it a call of memcpy */
            to[i] = from[i];
        }
    return to + n;
}

/* The run of a row of x that begins at pixel `at` and reaches over a border, to `to`. */
static void gather(const fl_block *b, const float *row, ptrdiff_t at, float *to)
{
    const fl_convolution *c = b->c;
    const ptrdiff_t taps = (ptrdiff_t)c->taps[1], width = (ptrdiff_t)b->place->in[1];
    const ptrdiff_t first = at < 0 ? -at : 0, end = width - at < taps ? width - at : taps;
    memset(to, 0, (size_t)first * c->in * sizeof *to);
    to = copy(to + (size_t)first * c->in, row + (at + first) * (ptrdiff_t)c->in,
              (size_t)(end - first) * c->in);
    memset(to, 0, (size_t)(taps - end) * c->in * sizeof *to);
}

/* Where piece number `piece` of the windows of a segment is, for group g. */
static void point_piece(const fl_block *b, const fl_segment *s, size_t piece, size_t g,
                        const float **a, float *gathered)
{
    const fl_convolution *c = b->c;
    const fl_placement *p = b->place;
    const size_t t1 = piece / c->row_pieces, t2 = piece % c->row_pieces;
    const size_t taps = c->taps[1] / c->row_pieces;
    const ptrdiff_t i1 = s->at[0] + (ptrdiff_t)(t1 * c->dilation[0]);
    const ptrdiff_t i2 = s->at[1] + (ptrdiff_t)(t2 * c->dilation[1]);
    size_t first = s->count, end = s->count;
    const float *row = NULL;
    if (i1 >= 0 && i1 < (ptrdiff_t)p->in[0]) {
        row = s->image + (size_t)i1 * p->in[1] * c->in + g * (c->in / c->groups);
        point(b, s, row, c->in, i2, taps, a, &first, &end);
    }
    for (size_t j = 0; j < s->count; j++) {
        if (j == first && end > first) {
            j = end - 1;
            continue;
        }
        const ptrdiff_t at = i2 + (ptrdiff_t)(j * c->stride[1]);
        a[j] = c->zeros;
        if (row && at > -(ptrdiff_t)taps && at < (ptrdiff_t)p->in[1]) {
            a[j] = gathered + j * c->piece_k;
            gather(b, row, at, gathered + j * c->piece_k);
        }
    }
}

void fl_block_piece(const fl_block *b, size_t piece, size_t g, const float **a, float *gathered)
{
    for (size_t i = 0; i < b->segments; i++) {
        const size_t first = b->segment[i].first;
        point_piece(b, &b->segment[i], piece, g, a + first, gathered + first * b->c->piece_k);
    }
}

/* Where tap (t1, t2) of the windows of a segment is in copy i of x. */
static void point_tap(const fl_block *b, const fl_segment *s, size_t t1, size_t t2, size_t i,
                      const float **a)
{
    const fl_convolution *c = b->c;
    const fl_placement *p = b->place;
    const ptrdiff_t i1 = s->at[0] + (ptrdiff_t)(t1 * c->dilation[0]);
    size_t first = s->count, end = s->count;
    if (i1 >= 0 && i1 < (ptrdiff_t)p->in[0])
        point(b, s, s->image + (i * fl_pixels(p) + (size_t)i1 * p->in[1]) * c->out, c->out,
              s->at[1] + (ptrdiff_t)(t2 * c->dilation[1]), 1, a, &first, &end);
    for (size_t j = 0; j < first; j++)
        a[j] = c->zeros;
    for (size_t j = end; j < s->count; j++)
        a[j] = c->zeros;
}

void fl_block_tap(const fl_block *b, size_t t1, size_t t2, size_t i, const float **a)
{
    for (size_t k = 0; k < b->segments; k++)
        point_tap(b, &b->segment[k], t1, t2, i, a + b->segment[k].first);
}

void fl_block_rows(const fl_block *b, size_t *first, size_t *end)
{
    const fl_convolution *c = b->c;
    *first = c->taps[0];
    *end = 0;
    for (size_t i = 0; i < b->segments; i++) {
        const ptrdiff_t at = b->segment[i].at[0], in = (ptrdiff_t)b->place->in[0];
        const size_t from = (size_t)limited(up(-at, c->dilation[0]), c->taps[0]);
        const size_t to = (size_t)limited(up(in - at, c->dilation[0]), c->taps[0]);
        if (from < to) {
            *first = min(*first, from);
            *end = to > *end ? to : *end;
        }
    }
}

void fl_block_reached(const fl_block *b, size_t t1, size_t *first, size_t *end)
{
    *first = b->count;
    *end = 0;
    for (size_t i = 0; i < b->segments; i++) {
        const fl_segment *s = &b->segment[i];
        const ptrdiff_t i1 = s->at[0] + (ptrdiff_t)(t1 * b->c->dilation[0]);
        if (i1 >= 0 && i1 < (ptrdiff_t)b->place->in[0]) {
            *first = min(*first, s->first);
            *end = s->first + s->count;
        }
    }
}
