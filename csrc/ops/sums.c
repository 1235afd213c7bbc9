/* SPDX-License-Identifier: MIT */
#include "ops/sums.h"

#include <string.h>

FL_FOLD(sum, float, x, p + q)

int fl_split_at(const fl_shape *shape, int64_t axis, fl_split *split)
{
    const int64_t at = axis < 0 ? axis + (int64_t)shape->axes : axis;
    if (at < 0 || at >= (int64_t)shape->axes)
        return FL_BAD_SHAPE;
    *split = (fl_split){.outer = fl_shape_span(shape, 0, (size_t)at),
                        .n = shape->size[at],
                        .inner = fl_shape_span(shape, (size_t)at + 1, shape->axes)};
    return FL_OK;
}

void fl_sum_part(float *parts, const float *x, size_t n, size_t j) { sum_row(parts, x, n, j); }

float fl_sum_parts(const float *parts, size_t step) { return sum_tree(parts, step); }

float fl_sum(const float *x, size_t n)
{
    float parts[FL_PARTS] = {0};
    sum_row(parts, x, n, 0);
    return sum_tree(parts, 1);
}

float fl_sum_squares(const float *x, size_t n, float mean)
{
    float parts[FL_PARTS] = {0};
    for (; n >= FL_PARTS; n -= FL_PARTS, x += FL_PARTS)
        for (size_t r = 0; r < FL_PARTS; r++)
            parts[r] += (x[r] - mean) * (x[r] - mean);
    for (size_t r = 0; r < n; r++)
        parts[r] += (x[r] - mean) * (x[r] - mean);
    return sum_tree(parts, 1);
}
