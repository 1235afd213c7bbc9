/* SPDX-License-Identifier: MIT */
/* The arithmetic of one thread's share of a span. A share is a range of panels, so of units. */
#ifndef FL_SPLIT_SHARE_H
#define FL_SPLIT_SHARE_H

#include "forward/split_units.h"

/* How many stages a step has: 2 for cells that reset h, whose product of r h needs all units of
   r h, otherwise 1. Stages are counted through a span: step i's are stages * i and those after. */
size_t fl_share_stages(const fl_net *net);

/* The input product of a share's panels, for all steps of the span, to scratch->z, where the stages
   read it. FL_OK or FL_INTERRUPTED. */
int fl_share_product(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share);

/* Stage number `stage` of the span, a stage of step number i = stage / stages, for a share's
   panels. It reads h[i % 2] and c[i % 2]; the last one of the step writes the share's units of h
   and c [1 - i % 2]. Where there are two, the first writes the share's units of r h to c[0], which
   such cells do not need, and the second reads all of r h. FL_OK or FL_INTERRUPTED. */
int fl_share_stage(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share,
                   size_t stage);

/* Prefetches the parts of h or of r h that the other shares have written in a stage, whose lines
   are in the caches of other cores. */
void fl_share_fetch(const fl_job *job, const fl_span *span, size_t share, size_t stage);

#endif
