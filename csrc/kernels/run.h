/* SPDX-License-Identifier: MIT */
/*
 * Kernels run in pieces, so that a thread looks about every millisecond whether its call should
 * stop. Both functions give FL_OK, or FL_INTERRUPTED with their output partly written.
 */
#ifndef FL_RUN_H
#define FL_RUN_H

#include "base/context.h"
#include "kernels/contract.h"

/* What a thread does around its kernels: fl_enter before the first one, fl_leave after the last. */
void fl_enter(const fl_context *context);
void fl_leave(const fl_context *context);

/* All panels of g, whose weights have the given format. */
int fl_run_gemm(fl_context *context, fl_slot *slot, int format, fl_gemm g);

/*
 * Panels p0 .. p1 - 1 of s, by `cell`: its keep where s->kept is set, otherwise its step for panels
 * of the given format. s is unchanged afterwards.
 *
 * s is passed by address because a copy is made of wide loads, which wait for the narrow stores
 * that have just written the fields, and those for the stores of the step before: 85 ns instead of
 * 72 for a step at H = 16.
 */
int fl_run_step(fl_context *context, fl_slot *slot, const fl_cell *cell, int format, fl_step *s);

#endif
