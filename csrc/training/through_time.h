/* SPDX-License-Identifier: MIT */
/* The gradients of the gates' sums, of the inputs and of the initial states, by going back through
   the steps of one layer in one direction. */
#ifndef FL_THROUGH_TIME_H
#define FL_THROUGH_TIME_H

#include "training/backward_job.h"

/* For rows first .. first + rows - 1 of the tape: writes their part of the layer's fl_delta, of the
   caller's dx if the layer is the lowest one and there is one direction, and of dh0 and dc0. FL_OK,
   or FL_INTERRUPTED with the work half done. */
int fl_through_time(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer, size_t dir,
                    size_t first, size_t rows);

#endif
