/* SPDX-License-Identifier: MIT */
/* What a forward call with a tape writes to it: inputs, initial states, cell states, activations
   and every layer's outputs. */
#ifndef FL_RECORD_H
#define FL_RECORD_H

#include "forward/job.h"
#include "forward/sequence.h"

/* Writes a block's inputs, with tiny values set to 0, and its initial states. May be stopped half
   way, which context.stopped then says. */
void fl_record_start(fl_job *job, fl_slot *slot, const fl_block *block);

/* Tells a step of a track where its activations and its c are kept. */
void fl_record_step(const fl_job *job, const fl_block *block, size_t track, size_t s,
                    fl_step *step);

/* The tape's rows of a block: of a layer's input, or of its output. */
fl_sequence fl_record_rows(const fl_job *job, const fl_block *block, size_t layer, int input);

/* After steps s0 .. s1 - 1 of a track: dropout for the layer above, or the top layer's outputs to
   the caller's y. */
void fl_record_tile(const fl_job *job, const fl_block *block, size_t layer, size_t dir, size_t s0,
                    size_t s1);

#endif
