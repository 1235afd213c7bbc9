/* SPDX-License-Identifier: MIT */
#include "network/pack_matrix.h"

#include <string.h>

#include "kernels/bfloat16.h"
#include "network/half.h"
#include "network/subnormals.h"
#include "network/transpose.h"

fl_panels fl_panels_carve(fl_carver *carver, int format, int parts, const fl_kernels *kernels,
                          size_t panels, size_t group, size_t k)
{
    const int pairs = format == FL_BFLOAT16;
    const size_t line = fl_format_k(format) * fl_format_bytes(format);
    const size_t unit = pairs || (format == FL_INT8 && kernels->without_tiles) ? FL_TILE_LINES : 1;
    const size_t lines = fl_mul(fl_ceil_div(fl_format_lines(format, k), unit), unit);
    fl_panels p = {.format = format, .parts = pairs && parts > 1 ? parts : 1};
    p.panel_bytes = fl_mul(fl_mul(fl_mul(lines, group), line), (size_t)p.parts);
    p.lanes = pairs ? kernels->lanes : 0;
    const size_t panel_bytes = p.panel_bytes;
    p.data = fl_carve(carver, panels, panel_bytes);
    if (format == FL_INT8)
        p.scales = fl_carve(carver, fl_mul(panels, group), sizeof(float));
    return p;
}

/* A vector of columns of a panel: 32 k at a time to lines of float32, and these to tiles. */
static void pack_parts(const fl_panels *panels, size_t group, uint32_t *panel, size_t vector,
                       const float *w, size_t k, size_t n)
{
    const size_t lanes = panels->lanes, tile = FL_TILE_LINES * lanes;
    const size_t part = FL_TILE_LINES * group;
    _Alignas(FL_ALIGN) float lines[FL_PIECE * FL_MAX_LANES] = {0};
    panel += vector * tile;
    for (size_t i = 0; i < k; i += FL_PIECE, panel += part * (size_t)panels->parts) {
        const size_t here = k - i < FL_PIECE ? k - i : FL_PIECE;
        if (here < FL_PIECE)
            memset(lines, 0, sizeof lines);
        fl_transpose(lines, lanes, w + i, k, n, here);
        fl_split_tile(panel, part, lines, lanes, lanes, panels->parts, FL_TINY_PART);
    }
}

void fl_pack_vector(const fl_panels *panels, size_t group, size_t column, const float *w, size_t k,
                    size_t n)
{
    char *panel = (char *)panels->data + column / group * panels->panel_bytes;
    if (panels->format == FL_FLOAT32) {
        fl_transpose((float *)panel + column % group, group, w, k, n, k);
        return;
    }
    if (panels->format == FL_BFLOAT16) {
        pack_parts(panels, group, (uint32_t *)panel, column % group / panels->lanes, w, k, n);
        return;
    }
    uint16_t *to = (uint16_t *)panel + column % group;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < n; j++)
            to[i * group + j] = fl_half(w[j * k + i]);
}

/* Binary16's subnormal numbers stay: they are normal once they are float32. Float32's were rounded
   to 0 by fl_half. */
void fl_pack_end(const fl_panels *panels, size_t first, size_t count)
{
    if (panels->format == FL_FLOAT32)
        fl_no_subnormals((float *)(uintptr_t)fl_panel(panels, first),
                         count * panels->panel_bytes / sizeof(float));
}

void fl_pack_codes(const fl_panels *panels, int zero, size_t group, size_t column, const fl_int8 *w,
                   size_t row, size_t k, size_t n)
{
    int8_t *to = (int8_t *)panels->data + column / group * panels->panel_bytes + column % group * 4;
    for (size_t j = 0; j < n; j++, to += 4) {
        const int8_t *from = w->codes + (row + j) * k;
        for (size_t i = 0; i < k; i++)
            to[i / 4 * group * 4 + i % 4] = (int8_t)(from[i] ^ zero);
        panels->scales[column + j] = w->scales[row + j];
    }
}

float fl_codes_top(const fl_int8 *w, size_t rows, size_t k, int bits)
{
    const size_t limit = bits == 16 ? 127 * 256 : 127;
    size_t most = 1;
    for (size_t row = 0; row < rows; row++) {
        size_t sum = 0;
        for (size_t i = 0; i < k; i++)
            sum += (size_t)(w->codes[row * k + i] < 0 ? -w->codes[row * k + i]
                                                      : w->codes[row * k + i]);
        most = sum > most ? sum : most;
    }
    return (float)(INT32_MAX / most < limit ? INT32_MAX / most : limit);
}

void fl_pack_plain(const fl_panels *panels, size_t group, size_t lanes, const float *w, size_t rows,
                   size_t k)
{
    for (size_t row = 0; row < rows; row += lanes)
        fl_pack_vector(panels, group, row, w + row * k, k, rows - row < lanes ? rows - row : lanes);
    fl_pack_end(panels, 0, fl_ceil_div(rows, group));
}
