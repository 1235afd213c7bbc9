/* SPDX-License-Identifier: MIT */
/*
 * Kernels run on a few panels at a time, so that a thread looks about every millisecond whether its
 * call should stop. Such groups of panels ascend, also with `descending`, which orders the panels
 * of a group. fl_run_gemm and fl_run_step return FL_OK, or FL_INTERRUPTED with their output partly
 * written; fl_stopped(context) says why.
 */
#ifndef FL_RUN_H
#define FL_RUN_H

#include "base/context.h"
#include "kernels/contract.h"

/* fl_context_init, and the enter and leave of `kernels`. */
void fl_run_init(fl_context *context, const fl_kernels *kernels, int (*poll)(void *),
                 void *poll_arg);

/* What every thread that works on a call does around its kernels: fl_enter once before the first of
   them, fl_leave once after the last, also when the call was stopped. */
void fl_enter(const fl_context *context);
void fl_leave(const fl_context *context);

/* The kernels that calls of so many rows run on: `kernels`, or the set without tiles. The rows have
   to be encoded (fl_codes) by those that this returns. */
const fl_kernels *fl_run_kernels(const fl_kernels *kernels, int format, size_t rows);

/* All panels of g, whose weights have the given format. */
int fl_run_gemm(fl_context *context, fl_slot *slot, int format, fl_gemm g);

/*
 * Panels p0 .. p1 - 1 of s, by `cell`, a cell of context->kernels: its step for panels of the given
 * format, or, where s->kept is not NULL, with FL_FLOAT32 or if it has `reset`, its keep. s->gemm is
 * set; the rest of s is unchanged afterwards.
 *
 * s is passed by address because to copy it cost 13 ns of a step: 85 ns instead of 72 at H = 16. A
 * compiler copies a struct with wide loads. These wait until the narrow stores that have just
 * written its fields are in the cache, and those stores wait for all stores of the step before.
 */
int fl_run_step(fl_context *context, fl_slot *slot, const fl_cell *cell, int format, fl_step *s);

#endif
