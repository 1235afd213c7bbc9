/* SPDX-License-Identifier: MIT */
/*
 * Kernels run on a few panels at a time, so that a thread looks about every millisecond whether its
 * call should stop. fl_run_gemm and fl_run_step return FL_OK, or FL_INTERRUPTED with their output
 * partly written; the context says why.
 */
#ifndef FL_RUN_H
#define FL_RUN_H

#include "base/context.h"
#include "kernels/contract.h"

/* A context for calls on `kernels`, whose enter and leave it knows. */
void fl_run_init(fl_context *context, const fl_kernels *kernels, int (*poll)(void *),
                 void *poll_arg);

/* What every thread that works on a call does around its kernels: fl_enter once before the first of
   them, fl_leave once after the last, also when the call was stopped. */
void fl_enter(const fl_context *context);
void fl_leave(const fl_context *context);

/* The kernels that calls of so many rows run on: `kernels`, or the set without tiles. They are the
   ones to make the codes of the rows. */
const fl_kernels *fl_run_kernels(const fl_kernels *kernels, int format, size_t rows);

/* All panels of g, whose weights have the given format. */
int fl_run_gemm(fl_context *context, fl_slot *slot, int format, fl_gemm g);

/*
 * Panels p0 .. p1 - 1 of s, by `cell`: its keep where s->kept is set, otherwise its step for panels
 * of the given format. s is unchanged afterwards.
 *
 * s is passed by address because to copy it cost 13 ns of a step: 85 ns instead of 72 at H = 16. A
 * compiler copies a struct with wide loads. These wait until the narrow stores that have just
 * written its fields are in the cache, and those stores wait for all stores of the step before.
 */
int fl_run_step(fl_context *context, fl_slot *slot, const fl_cell *cell, int format, fl_step *s);

#endif
