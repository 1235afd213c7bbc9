/* SPDX-License-Identifier: MIT */
/* The arithmetic of one thread's share of a span. A share is a range of panels, so of units. */
#ifndef FL_SPLIT_SHARE_H
#define FL_SPLIT_SHARE_H

#include "forward/split_units.h"

/* The input product of a share's panels, for all steps of the span. FL_OK or FL_INTERRUPTED. */
int fl_share_product(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share);

/* Step number `step` of the span for a share's panels: reads h[step % 2] and c[step % 2] and writes
   the share's units of h and c [1 - step % 2]. FL_OK or FL_INTERRUPTED. */
int fl_share_step(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share, size_t step);

/* Prefetches the parts of h that the other shares have written in step number `step`, whose lines
   are in the caches of other cores. */
void fl_share_fetch(const fl_job *job, const fl_span *span, size_t share, size_t step);

#endif
