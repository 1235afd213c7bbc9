/* SPDX-License-Identifier: MIT */
/* The arithmetic of one thread's share of a span: a range of panels. */
#ifndef FL_SPLIT_SHARE_H
#define FL_SPLIT_SHARE_H

#include "forward/split_units.h"

/* The input product of a share's panels, for all steps of the span. FL_OK or FL_INTERRUPTED. */
int fl_share_product(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share);

/* Step number k of a share's panels, from place k % 2 to the other one. FL_OK or FL_INTERRUPTED. */
int fl_share_step(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share, size_t k);

/* Asks early for the parts of h that the other shares have written in step number k, whose lines
   are in other cores' caches. */
void fl_share_fetch(const fl_job *job, const fl_span *span, size_t share, size_t k);

#endif
