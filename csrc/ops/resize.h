/* SPDX-License-Identifier: MIT */
/* An array with one or two neighbouring axes of another size, as ONNX's Resize: images. */
#ifndef FL_RESIZE_H
#define FL_RESIZE_H

#include "ops/registry.h"

/*
 * Output position o of a resized axis lies at the position p of x, where s is the output's size
 * divided by the input's, or the scale that is given:
 *
 *     half_pixel          p = (o + 1/2) / s - 1/2
 *     asymmetric          p = o / s
 *     align_corners       p = o (in - 1) / (out - 1), or 0 if out is 1
 *     pytorch_half_pixel  as half_pixel, or 0 if out is 1
 *
 * p is then cut to 0 .. in - 1. nearest: y is x at p rounded; of two that are as near the lower or
 * the upper one, or always the one below or above. linear: y is between the two neighbours of p, (1
 * - w) x0 + w x1 with w = p - floor(p), first along the second axis, then along the first.
 *
 * Inputs: x of any type (linear: floats), and sizes, optional: int64, those of all axes of the
 * output, which are x's own but for the resized ones. Output: y.
 *
 * ints: the first resized axis, their number n (1 or 2), 1 for linear and 0 for nearest, the
 * coordinates' rule in the order above, the rounding (round_prefer_floor, round_prefer_ceil, floor,
 * ceil), and n sizes of the output, 0 where the scale decides. floats: n scales, 0 where the size
 * does; with a scale alone the size is floor(in * scale). With the input `sizes` both are 0.
 */
int fl_make_resize(const fl_attributes *attributes, fl_operator **op);

#endif
