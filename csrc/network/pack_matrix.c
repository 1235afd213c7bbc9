/* SPDX-License-Identifier: MIT */
#include "network/pack_matrix.h"

#include <string.h>

#include "kernels/bfloat16.h"
#include "network/half.h"
#include "network/subnormals.h"
#include "network/transpose.h"

fl_panels fl_panels_carve(fl_carver *carver, int format, int tiles, size_t panels, size_t group,
                          size_t k)
{
    const size_t line = fl_format_k(format) * fl_format_bytes(format);
    const size_t unit = tiles && fl_format_encoded(format) ? FL_TILE_LINES : 1;
    const size_t lines = fl_mul(fl_ceil_div(fl_format_lines(format, k), unit), unit);
    const size_t panel_bytes = fl_mul(fl_mul(lines, group), line);
    fl_panels p = {.panel_bytes = panel_bytes, .format = format};
    p.data = fl_carve(carver, panels, panel_bytes);
    if (format == FL_INT8)
        p.scales = fl_carve(carver, fl_mul(panels, group), sizeof(float));
    return p;
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
        uint16_t *to = (uint16_t *)panel + column % group * 2;
        for (size_t j = 0; j < n; j++)
            for (size_t i = 0; i < k; i++) {
                uint32_t bits[2];
                fl_round_row((float *)bits, w + j * k + i, 1);
                to[(i / 2 * group + j) * 2 + i % 2] = (uint16_t)(bits[0] >> 16);
            }
        return;
    }
    uint16_t *to = (uint16_t *)panel + column % group;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < n; j++)
            to[i * group + j] = fl_half(w[j * k + i]);
}

/* Binary16's subnormal numbers stay: they are normal once they are float32. Float32's were rounded
   to 0 by fl_half. */
void fl_pack_end(const fl_panels *panels, size_t count)
{
    if (panels->format == FL_FLOAT32)
        fl_no_subnormals(panels->data, count * panels->panel_bytes / sizeof(float));
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
    fl_pack_end(panels, fl_ceil_div(rows, group));
}
