/* SPDX-License-Identifier: MIT */
/* A stack of recurrent layers as an operator: a network and its forward call. */
#ifndef FL_RECURRENT_H
#define FL_RECURRENT_H

#include "ops/operator.h"

/*
 * T time, B batch, I input, H hidden, L layers, D directions, K the width of h: the projection if
 * there is one, else H. T and B may be 0.
 *
 * Inputs: x (T, B, I); then, each optional, lengths (B) int64 in 0 .. T, h0 (L D, B, K) and, for
 * cells with a state c, c0 (L D, B, H). Outputs: y (T, B, D K); then, each optional, hn and cn, of
 * the shapes of h0 and c0. Without h0 or c0 these are zeros. FL_BAD_VALUE for other lengths.
 *
 * Weights, for each layer and in it for each direction: w_ih, w_hh, b_ih, b_hh, with a projection
 * w_hr, with peepholes those: the arrays of fl_net_set and fl_net_set_peepholes. The memory of a
 * bias may be NULL, for zeros. A network of FL_INT8 takes no weights from pack, which answers
 * FL_BAD_SHAPE: see fl_recurrent_of.
 *
 * A run needs no memory of its caller's: fl_forward takes its own. NULL when memory is short, or
 * unless fl_isa_can_run.
 */
fl_operator *fl_recurrent_new(const fl_config *config, const fl_kernels *kernels);

/* The same of a network that has its weights: pack may not be called. The operator becomes one of
   the network's users (fl_net_hold), so both it and whoever made the network free it. NULL when
   memory is short; the operator is then no user. */
fl_operator *fl_recurrent_of(fl_net *net);

#endif
