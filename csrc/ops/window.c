/* SPDX-License-Identifier: MIT */
#include "ops/window.h"

int fl_window_read(const int64_t *ints, int64_t axes, int64_t auto_pad, fl_window *window)
{
    if (axes < 1 || axes > 2 || auto_pad < 0 || auto_pad >= FL_PADS)
        return FL_BAD_SHAPE;
    *window = (fl_window){.axes = (size_t)axes,
                          .size = {1, 1},
                          .stride = {1, 1},
                          .dilation = {1, 1},
                          .auto_pad = (int)auto_pad};
    size_t *const fields[FL_WINDOW_INTS] = {window->size, window->stride, window->dilation,
                                            window->begin, window->end};
    for (int64_t f = 0; f < FL_WINDOW_INTS; f++)
        for (int64_t i = 0; i < axes; i++) {
            const int64_t value = ints[f * axes + i];
            if (value < (f < 3) || value > INT32_MAX)
                return FL_BAD_SHAPE;
            fields[f][2 - axes + i] = (size_t)value;
        }
    return FL_OK;
}

void fl_windows_in(const fl_window *window, const fl_array *x, fl_windows *windows)
{
    const size_t *size = x->shape.size, axes = window->axes;
    *windows = (fl_windows){
        .images = size[0], .channels = size[axes + 1], .in = {axes == 2 ? size[1] : 1, size[axes]}};
}

/* Padding and outputs along one axis. */
static int along(const fl_window *window, int axis, fl_windows *w)
{
    const size_t in = w->in[axis], stride = window->stride[axis];
    const size_t extent = fl_window_extent(window, axis);
    w->begin[axis] = window->auto_pad == FL_PAD_GIVEN ? window->begin[axis] : 0;
    w->end[axis] = window->auto_pad == FL_PAD_GIVEN ? window->end[axis] : 0;
    if (in > PTRDIFF_MAX / 2)
        return FL_BAD_SHAPE;
    if (window->auto_pad == FL_PAD_SAME_UPPER || window->auto_pad == FL_PAD_SAME_LOWER) {
        const size_t out = fl_ceil_div(in, stride);
        const size_t reach = out ? (out - 1) * stride + extent : 0;
        const size_t pads = reach > in ? reach - in : 0;
        w->begin[axis] = window->auto_pad == FL_PAD_SAME_UPPER ? pads / 2 : pads - pads / 2;
        w->end[axis] = pads - w->begin[axis];
        w->out[axis] = out;
        return FL_OK;
    }
    const size_t padded = in + w->begin[axis] + w->end[axis];
    if (padded < extent)
        return FL_BAD_SHAPE;
    w->out[axis] =
        (window->ceil ? fl_ceil_div(padded - extent, stride) : (padded - extent) / stride) + 1;
    if (window->ceil && (w->out[axis] - 1) * stride >= in + w->begin[axis])
        w->out[axis]--;
    return FL_OK;
}

int fl_windows_of(const fl_window *window, const fl_array *x, fl_windows *windows)
{
    if (x->type != FL_F32 || x->shape.axes != window->axes + 2)
        return FL_BAD_SHAPE;
    fl_windows_in(window, x, windows);
    for (int axis = 0; axis < 2; axis++)
        if (along(window, axis, windows) != FL_OK)
            return FL_BAD_SHAPE;
    return FL_OK;
}

int fl_windows_out(const fl_window *window, const fl_windows *windows, size_t channels, fl_array *y)
{
    y->type = FL_F32;
    y->shape.axes = window->axes + 2;
    y->shape.size[0] = windows->images;
    for (size_t i = 0; i < window->axes; i++)
        y->shape.size[1 + i] = windows->out[2 - window->axes + i];
    y->shape.size[window->axes + 1] = channels;
    return fl_array_bytes(y) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}
