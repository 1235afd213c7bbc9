/* SPDX-License-Identifier: MIT */
#include "network/pack_matrix.h"

#include "network/half.h"
#include "network/subnormals.h"
#include "network/transpose.h"

fl_panels fl_panels_carve(fl_carver *carver, int format, size_t panels, size_t group, size_t k)
{
    const size_t panel_bytes = fl_mul(fl_mul(k, group), fl_format_bytes(format));
    fl_panels p = {.panel_bytes = panel_bytes, .k_group = 1, .format = format};
    p.data = fl_carve(carver, panels, panel_bytes);
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

void fl_pack_plain(const fl_panels *panels, size_t group, size_t lanes, const float *w, size_t rows,
                   size_t k)
{
    for (size_t row = 0; row < rows; row += lanes)
        fl_pack_vector(panels, group, row, w + row * k, k, rows - row < lanes ? rows - row : lanes);
    fl_pack_end(panels, fl_ceil_div(rows, group));
}
