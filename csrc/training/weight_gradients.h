/* SPDX-License-Identifier: MIT */
/* Gradients of the weights, for one layer in one direction. */
#ifndef FL_WEIGHT_GRADIENTS_H
#define FL_WEIGHT_GRADIENTS_H

#include "training/backward_job.h"

/* Gradients of the weights of panels p0 .. p1 - 1, and of the projection if p0 is 0. FL_OK, or
   FL_INTERRUPTED with the work half done. */
int fl_weight_gradients(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                        size_t dir, size_t p0, size_t p1);

/* Floats of a thread's `strips`, for a layer whose input is `in` wide. */
size_t fl_weight_gradients_strips(const fl_net *net, size_t in, size_t span);

#endif
