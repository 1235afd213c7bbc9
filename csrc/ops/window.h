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

/* Who says how much padding there is: `begin` and `end`; the rule that there are ceil(in / stride)
   outputs, of an uneven number the larger half at the end or at the beginning; or nobody, there is
   none. ONNX has them as NOTSET, SAME_UPPER, SAME_LOWER and VALID. */
enum { FL_PAD_GIVEN, FL_PAD_SAME_UPPER, FL_PAD_SAME_LOWER, FL_PAD_VALID, FL_PADS };

enum { FL_WINDOW_INTS = 5 }; /* for each axis, what fl_window_read reads */

typedef struct fl_window {
    size_t axes;                                              /* 1 or 2, as the caller counts */
    size_t size[2], stride[2], dilation[2], begin[2], end[2]; /* with one axis it is number 1 */
    int auto_pad;
    int ceil; /* count the last window also if it is not whole, if it begins before the padding at
                 the end */
} fl_window;

/* Reads sizes, strides, dilations, begins and ends, `axes` ints each. FL_BAD_SHAPE if one is more
   than 2^31 - 1 or less than 1 (begins and ends: 0), or axes is not 1 or 2. */
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

/* The axes of x as two, without a check. */
void fl_windows_in(const fl_window *window, const fl_array *x, fl_windows *windows);

#endif
