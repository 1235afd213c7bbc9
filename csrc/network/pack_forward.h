/* SPDX-License-Identifier: MIT */
/* pack_forward.c implements fl_net_set, fl_net_set_int8 and fl_net_set_peepholes, which fastlstm.h
   declares, and the first two once more with threads and a poll. */
#ifndef FL_PACK_FORWARD_H
#define FL_PACK_FORWARD_H

#include "kernels/parallel.h"

/* fl_net_set and fl_net_set_int8 on up to caller->threads threads of the team, if the matrices are
   large. FL_OK, or FL_INTERRUPTED with some of the weights packed and others not. */
int fl_net_pack(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                const float *b_ih, const float *b_hh, const float *w_hr, const fl_caller *caller);
int fl_net_pack_int8(fl_net *net, size_t layer, size_t dir, fl_int8 w_ih, fl_int8 w_hh,
                     const float *b_ih, const float *b_hh, fl_int8 w_hr, const fl_caller *caller);

#endif
