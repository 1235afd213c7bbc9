/* SPDX-License-Identifier: MIT */
/* A block of rows from its beginning to its end, and where its layers read and write. */
#ifndef FL_BLOCKS_H
#define FL_BLOCKS_H

#include "base/size.h"
#include "forward/job.h"
#include "forward/sequence.h"

/* Carves the memory of one block that is worked on. */
fl_block_memory fl_block_memory_carve(fl_carver *carver, const fl_job *job);

/* Sets a block's rows and initial states, in the memory given. With a tape it may be stopped half
   way, which context.stopped then says. */
void fl_block_start(fl_job *job, fl_slot *slot, size_t number, const fl_block_memory *memory);

/* Gives the caller a block's final states, and the zeros past its rows' lengths. Done last, since y
   may have served between two layers. May be stopped half way. */
void fl_block_end(fl_job *job, fl_slot *slot, const fl_block *block);

/* The rows of a block in an array of the caller's, whose element (t, b) is at base + t * t_step +
   b * b_step. */
fl_sequence fl_caller_rows(const fl_job *job, const fl_block *block, const float *base,
                           ptrdiff_t t_step, ptrdiff_t b_step);

/* What chunk number `chunk` of a layer reads, and what it writes. */
fl_sequence fl_layer_input(const fl_job *job, const fl_block *block, size_t layer, size_t chunk);
fl_sequence fl_layer_output(const fl_job *job, const fl_block *block, size_t layer, size_t chunk);

#endif
