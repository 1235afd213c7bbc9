/* SPDX-License-Identifier: MIT */
/* One tile: a chunk of steps of one track, for one block of rows. A tile is what one thread does
   without looking for other work. */
#ifndef FL_TILE_H
#define FL_TILE_H

#include "forward/job.h"
#include "forward/sequence.h"

/* Runs steps s0 .. s1 - 1 of a track, reads the layer's input at `in` and writes its output to
   `out`. The state goes from and to the block's memory. FL_OK, or FL_INTERRUPTED with the track
   half done. */
int fl_tile_run(fl_job *job, fl_scratch *scratch, const fl_block *block, size_t layer, size_t dir,
                const fl_sequence *in, const fl_sequence *out, size_t s0, size_t s1);

#endif
