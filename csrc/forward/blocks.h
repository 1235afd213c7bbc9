/* SPDX-License-Identifier: MIT */
/* The beginning and the end of a block of rows, and where its layers read and write. */
#ifndef FL_BLOCKS_H
#define FL_BLOCKS_H

#include "base/size.h"
#include "forward/job.h"
#include "forward/sequence.h"

/* Carves the memory of one block that is worked on. */
fl_block_memory fl_block_memory_carve(fl_carver *carver, const fl_job *job);

/* Begins block `number`: sets its rows, lengths and initial states, in the memory given. With a
   tape it also writes the block's inputs there, and may then be stopped half way; context.stopped
   says so. */
void fl_block_start(fl_job *job, fl_slot *slot, size_t number, const fl_block_memory *memory);

/* Ends a block: writes its final states and the zeros of y past its rows' lengths to the caller's
   arrays. The zeros come last because in a bidirectional stack y also holds outputs of lower layers
   while the block runs. May be stopped half way. */
void fl_block_end(fl_job *job, fl_slot *slot, const fl_block *block);

/* The rows of a block in one of the caller's arrays, in which row b at time t is at
   base + t * t_step + b * b_step. The sequence's base is not const since y is found in this way
   too; nothing is written to inputs. */
fl_sequence fl_caller_rows(const fl_job *job, const fl_block *block, const float *base,
                           ptrdiff_t t_step, ptrdiff_t b_step);

/* Where chunk number `chunk` of a layer reads, and where it writes. */
fl_sequence fl_layer_input(const fl_job *job, const fl_block *block, size_t layer, size_t chunk);
fl_sequence fl_layer_output(const fl_job *job, const fl_block *block, size_t layer, size_t chunk);

#endif
