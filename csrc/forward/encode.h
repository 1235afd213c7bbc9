/* SPDX-License-Identifier: MIT */
/* The rows of numbers that panels of FL_INT8 are multiplied by, as codes in a thread's memory, and
   those for panels of FL_BFLOAT16, in parts. For other formats nothing is done, and the codes that
   are returned are all zeros and are not read. */
#ifndef FL_ENCODE_H
#define FL_ENCODE_H

#include "base/size.h"
#include "forward/job.h"

/* Carves the memory for codes of a thread's scratch, for the sizes of the job's plan. */
void fl_encode_carve(fl_carver *carver, const fl_job *job, fl_scratch *scratch);

/* Codes of n rows of a layer's input, to which scratch->a points, for its track's weights. */
fl_codes fl_encode_inputs(const fl_job *job, fl_scratch *scratch, const fl_track_weights *weights,
                          size_t layer, size_t n);

/* Codes of n rows of k numbers that are states, or products of a gate and a state, for `panels`. */
fl_codes fl_encode_states(const fl_job *job, fl_scratch *scratch, const fl_panels *panels,
                          const float *const *rows, size_t n, size_t k);

#endif
