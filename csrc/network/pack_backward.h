/* SPDX-License-Identifier: MIT */
/*
 * The weights packed once more, for backward, where the sums run over the gates:
 *
 *     dh = dz R      dx = dz W      with R = weight_hh, W = weight_ih and dz the gradients of the
 *                                   gates' sums
 *
 * They are plain panels (kernels/panels.h). Their columns are the features of h or x. In float32
 * their k counts the columns of the panels for forward calls, in which dz lies too: lane l of
 * vector v of panel p has k = kk(p, v, l) = p * G + v * L + l. Weights are zeros where a lane holds
 * no unit. Of bfloat16 parts k is a row's number in PyTorch's layout, g * H + u: the order of the
 * sums is then the same for vectors of every length. Parts below 2^-40 are 0 (kernels/bfloat16.h).
 */
#ifndef FL_PACK_BACKWARD_H
#define FL_PACK_BACKWARD_H

#include "kernels/parallel.h"
#include "network/network.h"

typedef struct fl_backward_track {
    fl_panels w;    /* weight_ih: the columns are the input's features, k is kk */
    fl_panels r;    /* weight_hh: the columns are the state's features, k is kk. For cells that
                       reset h it does not contain the last gate */
    fl_panels last; /* weight_hh of the last gate, for cells that reset h, k counted from that
                       gate's first panel; data is NULL for other cells */
    fl_panels proj; /* weight_hr: the columns are units, k counts the projection's features; data is
                       NULL without a projection */
} fl_backward_track;

struct fl_backward_weights {
    size_t bytes;              /* of this allocation */
    fl_backward_track track[]; /* [tracks]; the panels follow in the same allocation */
};

/* fl_backward_weights_set of fastlstm.h on up to caller->threads threads of the team, if the
   matrices are large. FL_OK, or FL_INTERRUPTED with some of the weights packed and others not. */
int fl_backward_weights_pack(fl_backward_weights *weights, const fl_net *net, size_t layer,
                             size_t dir, const float *w_ih, const float *w_hh, const float *w_hr,
                             const fl_caller *caller);

#endif
