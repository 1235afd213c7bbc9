/* SPDX-License-Identifier: MIT */
#include "ops/strided.h"

#include <string.h>

/* Axes that lie in memory like one are joined, and axes of size 1 left out. */
static fl_strided joined(const fl_strided *copy)
{
    fl_strided y = {.bytes = copy->bytes};
    for (size_t i = 0; i < copy->axes; i++) {
        if (copy->size[i] == 1)
            continue;
        const size_t last = y.axes - 1;
        const ptrdiff_t n = (ptrdiff_t)copy->size[i];
        if (y.axes && y.from_step[last] == n * copy->from_step[i] &&
            y.to_step[last] == n * copy->to_step[i]) {
            y.size[last] *= copy->size[i];
            y.from_step[last] = copy->from_step[i];
            y.to_step[last] = copy->to_step[i];
        } else {
            y.size[y.axes] = copy->size[i];
            y.from_step[y.axes] = copy->from_step[i];
            y.to_step[y.axes++] = copy->to_step[i];
        }
    }
    return y;
}

static void copy_row(size_t n, size_t bytes, char *to, ptrdiff_t to_step, const char *from,
                     ptrdiff_t from_step)
{
    if (to_step == (ptrdiff_t)bytes && from_step == (ptrdiff_t)bytes) {
        memcpy(to, from, n * bytes);
        return;
    }
    for (size_t i = 0; i < n; i++, to += to_step, from += from_step) {
        if (bytes == 4)
            memcpy(to, from, 4);
        else if (bytes == 8)
            memcpy(to, from, 8);
        else
            *to = *from;
    }
}

/* The matrix of the last two axes. Where neither matrix has its rows side by side in memory, it is
   copied in squares of TILE x TILE elements, so that each line of cache is used whole. */
static void copy_matrix(const fl_strided *c, char *to, const char *from)
{
    enum { TILE = 16 };
    const size_t i = c->axes - 2, j = c->axes - 1;
    const ptrdiff_t bytes = (ptrdiff_t)c->bytes;
    const int rows = c->to_step[j] == bytes && (c->from_step[j] == bytes || c->from_step[j] == 0);
    const size_t width = rows ? c->size[j] : TILE, height = rows ? 1 : TILE;
    for (size_t r = 0; r < c->size[i]; r += height)
        for (size_t s = 0; s < c->size[j]; s += width)
            for (size_t k = r; k < r + height && k < c->size[i]; k++)
                copy_row(c->size[j] - s < width ? c->size[j] - s : width, c->bytes,
                         to + (ptrdiff_t)k * c->to_step[i] + (ptrdiff_t)s * c->to_step[j],
                         c->to_step[j],
                         from + (ptrdiff_t)k * c->from_step[i] + (ptrdiff_t)s * c->from_step[j],
                         c->from_step[j]);
}

void fl_copy_strided(const fl_strided *copy, void *to, const void *from)
{
    for (size_t i = 0; i < copy->axes; i++)
        if (copy->size[i] == 0)
            return;
    const fl_strided c = joined(copy);
    if (c.axes < 2) {
        copy_row(c.axes ? c.size[0] : 1, c.bytes, to, c.axes ? c.to_step[0] : (ptrdiff_t)c.bytes,
                 from, c.axes ? c.from_step[0] : (ptrdiff_t)c.bytes);
        return;
    }
    size_t at[FL_MAX_AXES] = {0};
    char *t = to;
    const char *f = from;
    for (;;) {
        copy_matrix(&c, t, f);
        size_t i = c.axes - 2; /* the outer axes count like the digits of a number */
        while (i-- > 0) {
            t += c.to_step[i];
            f += c.from_step[i];
            if (++at[i] < c.size[i])
                break;
            t -= (ptrdiff_t)c.size[i] * c.to_step[i];
            f -= (ptrdiff_t)c.size[i] * c.from_step[i];
            at[i] = 0;
        }
        if (i == SIZE_MAX)
            return;
    }
}

void fl_contiguous_steps(const fl_shape *shape, size_t bytes, ptrdiff_t *step)
{
    /* Without elements the other sizes are of any magnitude, and their product may overflow. */
    ptrdiff_t next = fl_shape_span(shape, 0, shape->axes) ? (ptrdiff_t)bytes : 0;
    for (size_t i = shape->axes; i-- > 0;) {
        step[i] = next;
        next *= (ptrdiff_t)shape->size[i];
    }
}
