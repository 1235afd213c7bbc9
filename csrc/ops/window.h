/* SPDX-License-Identifier: MIT */
/*
 * The windows of convolutions and pools over one or two axes. Along one axis, with a window of
 * `size` taps, output position o reads x at
 *
 *     o * stride - begin + t * dilation        for t = 0 .. size - 1
 *
 * where positions outside 0 .. in - 1 are padding. Arrays have channels last: (N, S, C) or (N, S1,
 * S2, C). A window over one axis is one over two whose first has size 1, as has x.
 */
#ifndef FL_WINDOW_H
#define FL_WINDOW_H

#include "ops/operator.h"

/* How much padding there is along an axis, by ONNX's auto_pad: as `begin` and `end` say (NOTSET);
   as much as makes ceil(in / stride) outputs, half of it at each end, and of an odd number the
   larger half at the end (SAME_UPPER) or at the beginning (SAME_LOWER); none (VALID). `begin` and
   `end` are read for the first alone. */
enum { FL_PAD_GIVEN, FL_PAD_SAME_UPPER, FL_PAD_SAME_LOWER, FL_PAD_VALID, FL_PADS };

enum { FL_WINDOW_INTS = 5 }; /* for each axis, what fl_window_read reads */

typedef struct fl_window {
    size_t axes;                                              /* 1 or 2, as the caller counts */
    size_t size[2], stride[2], dilation[2], begin[2], end[2]; /* with one axis it is number 1 */
    int auto_pad;
    int ceil; /* 1: count the last window also if it is not whole, if it begins before the padding
                 at the end. fl_window_read sets 0 */
} fl_window;

/* Reads sizes, strides, dilations, begins and ends, `axes` ints each. FL_BAD_SHAPE if one is more
   than 2^31 - 1 or less than 1 (begins and ends: 0), axes is not 1 or 2, or auto_pad is none of the
   list above. */
int fl_window_read(const int64_t *ints, int64_t axes, int64_t auto_pad, fl_window *window);

/* From the first tap to the last, inclusive, along an axis. */
static inline size_t fl_window_extent(const fl_window *window, int axis)
{
    return (window->size[axis] - 1) * window->dilation[axis] + 1;
}

/* Where the windows of one input lie. */
typedef struct fl_windows {
    size_t images, channels;
    size_t in[2], out[2];
    size_t begin[2], end[2]; /* the padding, auto_pad's too */
} fl_windows;

/* Output positions of all images. */
static inline size_t fl_windows_count(const fl_windows *w)
{
    return w->images * w->out[0] * w->out[1];
}

/* The windows of x. FL_BAD_SHAPE unless it has floats, all axes, and space for one window at least
   along each axis. */
int fl_windows_of(const fl_window *window, const fl_array *x, fl_windows *windows);

/* The array (N, out[..], channels) of floats. FL_BAD_SHAPE if its bytes are too many. */
int fl_windows_out(const fl_window *window, const fl_windows *windows, size_t channels,
                   fl_array *y);

/* Sets the images, channels and `in` of the windows of x, without a check; the rest becomes 0. */
void fl_windows_in(const fl_window *window, const fl_array *x, fl_windows *windows);

#endif
