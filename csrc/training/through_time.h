/* SPDX-License-Identifier: MIT */
/* Back through time, for one layer in one direction. */
#ifndef FL_THROUGH_TIME_H
#define FL_THROUGH_TIME_H

#include "training/backward_job.h"

/* Rows first .. first + rows - 1 of the tape. FL_OK, or FL_INTERRUPTED with the work half done. */
int fl_through_time(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer, size_t dir,
                    size_t first, size_t rows);

#endif
