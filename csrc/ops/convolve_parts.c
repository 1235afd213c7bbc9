/* SPDX-License-Identifier: MIT */
#include "ops/convolve_parts.h"

#include <string.h>

#include "kernels/bfloat16.h"
#include "kernels/run.h"

/* Where the parts of k numbers lie in a row of codes, in bytes. */
typedef struct layout {
    size_t number; /* of one number */
    size_t part;   /* from a part to the next one */
    size_t row;    /* from a row to the next one */
} layout;

/* Every number of rows runs on the same kernels (kernels/run.c). */
static layout layout_of(const fl_convolution *c, size_t k)
{
    const int tiles = c->kernels->without_tiles != NULL;
    return (layout){.number = tiles ? sizeof(uint16_t) : sizeof(float),
                    .part = tiles ? fl_part_bytes(k) : fl_part_floats(k) * sizeof(float),
                    .row = fl_code_bytes(c->kernels, FL_BFLOAT16, k, c->bits)};
}

size_t fl_split_bytes(const fl_convolution *c, const fl_placement *p)
{
    const size_t row = fl_code_bytes(c->kernels, FL_BFLOAT16, fl_mul(p->in[1], c->in), c->bits);
    return fl_mul(fl_mul(p->images, p->in[0]), row);
}

void fl_split_pixels(const fl_convolution *c, const fl_placement *p, char *split, size_t row)
{
    const size_t n = p->in[1] * c->in;
    c->kernels->split_row(split + row * layout_of(c, n).row, p->x + row * n, n, c->bits / 16,
                          FL_TINY_PART);
}

static ptrdiff_t limited(ptrdiff_t n, ptrdiff_t least, ptrdiff_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* memcpy and memset, of which the compiler makes slow instructions where n is not constant. */
static void copy(char *to, const char *from, size_t n)
{
    for (; n >= 32; n -= 32, to += 32, from += 32)
        memcpy(to, from, 32);
    for (; n >= 2; n -= 2, to += 2, from += 2)
        memcpy(to, from, 2);
}

static void zero(char *to, size_t n)
{
    for (; n >= 32; n -= 32, to += 32)
        memset(to, 0, 32);
    for (; n >= 2; n -= 2, to += 2)
        memset(to, 0, 2);
}

/* A run of `taps` pixels from pixel `at` of a row of x on, which may be NULL, in one part: the
   numbers of a group, `pixel` bytes, which lie `next` bytes apart. */
static void take_run(char *to, const char *row, ptrdiff_t at, ptrdiff_t taps, ptrdiff_t width,
                     size_t pixel, size_t next)
{
    const ptrdiff_t first = row ? limited(-at, 0, taps) : taps;
    const ptrdiff_t end = row ? limited(width - at, first, taps) : taps;
    zero(to, (size_t)first * pixel);
    if (first < end)
        copy(to + (size_t)first * pixel, row + (size_t)(at + first) * next,
             (size_t)(end - first) * pixel);
    zero(to + (size_t)end * pixel, (size_t)(taps - end) * pixel);
}

/* One window, whose first tap is at pixel `at` of an image. */
static void take_window(const fl_convolution *c, const fl_placement *p, const char *image,
                        const ptrdiff_t at[2], size_t g, char *to)
{
    const size_t group_in = c->in / c->groups, k = fl_window_numbers(c);
    const layout from = layout_of(c, p->in[1] * c->in), row = layout_of(c, k);
    const ptrdiff_t taps = (ptrdiff_t)(c->taps[1] / c->row_pieces);
    for (size_t part = 0; part < (size_t)c->bits / 16; part++, to += row.part) {
        char *next = to;
        for (size_t t1 = 0; t1 < c->taps[0]; t1++) {
            const ptrdiff_t i1 = at[0] + (ptrdiff_t)(t1 * c->dilation[0]);
            const char *pixels = NULL;
            if (i1 >= 0 && i1 < (ptrdiff_t)p->in[0])
                pixels =
                    image + (size_t)i1 * from.row + part * from.part + g * group_in * from.number;
            for (size_t t2 = 0; t2 < c->row_pieces; t2++, next += c->piece_k * from.number)
                take_run(next, pixels, at[1] + (ptrdiff_t)(t2 * c->dilation[1]), taps,
                         (ptrdiff_t)p->in[1], group_in * from.number, c->in * from.number);
        }
        zero(next, (size_t)(to + row.part - next));
    }
}

fl_codes fl_split_windows(const fl_block *b, const char *split, size_t g, char *to)
{
    const fl_convolution *c = b->c;
    const fl_placement *p = b->place;
    const size_t row = layout_of(c, fl_window_numbers(c)).row;
    const size_t image = p->in[0] * p->in[1] * c->in;
    const size_t image_bytes = p->in[0] * layout_of(c, p->in[1] * c->in).row;
    const fl_codes codes = {.at = to, .row = row, .bits = c->bits};
    for (size_t i = 0; i < b->segments; i++) {
        const fl_segment *s = &b->segment[i];
        const size_t number = image ? (size_t)(s->image - p->x) / image : 0;
        const char *pixels = split + number * image_bytes;
        for (size_t j = 0; j < s->count; j++, to += row) {
            const ptrdiff_t at[2] = {s->at[0], s->at[1] + (ptrdiff_t)(j * c->stride[1])};
            take_window(c, p, pixels, at, g, to);
        }
    }
    return codes;
}
