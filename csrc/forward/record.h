/* SPDX-License-Identifier: MIT */
/* How a forward call writes its tape: inputs, initial states, cell states, activations and the
   outputs of every layer. */
#ifndef FL_RECORD_H
#define FL_RECORD_H

#include "forward/job.h"
#include "forward/sequence.h"

/* Writes a block's inputs, with values below FL_TINY set to 0, and its initial states to the tape.
   May be stopped half way; context.stopped says so. */
void fl_record_start(fl_job *job, fl_slot *slot, const fl_block *block);

/* Sets in `step` where step s of a track is to write on the tape: kept, and c_out for cells with c,
   or c for cells that reset h. */
void fl_record_step(const fl_job *job, const fl_block *block, size_t track, size_t s,
                    fl_step *step);

/* Where the rows of a block are on the tape: of a layer's input if `input` is 1, else of its
 * output. */
fl_sequence fl_record_rows(const fl_job *job, const fl_block *block, size_t layer, int input);

/* After steps s0 .. s1 - 1 of a track: copies the top layer's outputs from the tape to the caller's
   y, or those of another layer, with dropout, to the input of the layer above. */
void fl_record_tile(const fl_job *job, const fl_block *block, size_t layer, size_t dir, size_t s0,
                    size_t s1);

#endif
