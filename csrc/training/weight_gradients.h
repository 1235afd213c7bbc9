/* SPDX-License-Identifier: MIT */
/* The gradients of the weights of one layer in one direction: sums over all rows of the tape. */
#ifndef FL_WEIGHT_GRADIENTS_H
#define FL_WEIGHT_GRADIENTS_H

#include "training/backward_job.h"

/* Writes the gradients of the weights whose columns are in panels p0 .. p1 - 1, of their biases and
   of their units' peepholes to the caller's arrays, and that of the projection too if p0 is 0.
   FL_OK, or FL_INTERRUPTED with the work half done. */
int fl_weight_gradients(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                        size_t dir, size_t p0, size_t p1);

/* How many floats a thread's `strips` has for a layer whose input has `in` features. */
size_t fl_weight_gradients_strips(const fl_net *net, size_t in, size_t span);

/* By bfloat16 parts: rows of a span, and the bytes of a thread's `lines`, which are 0 in float32.
 */
size_t fl_weight_gradients_span(const fl_net *net);
size_t fl_weight_gradients_lines(const fl_backward_job *job);

#endif
