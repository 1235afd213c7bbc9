/* SPDX-License-Identifier: MIT */
/*
 * The weights packed once more, for backward, where rows and columns change their roles: the sums
 * of dh = dz R and dx = dz W run over the gates. They are plain float32 panels whose columns are
 * features and whose k counts the columns of the forward panels, kk = p * G + v * L + lane, with
 * zeros where a lane holds no unit.
 */
#ifndef FL_PACK_BACKWARD_H
#define FL_PACK_BACKWARD_H

#include "network/network.h"

typedef struct fl_backward_track {
    fl_panels w;    /* weight_ih: columns are the input's features, k = kk */
    fl_panels r;    /* weight_hh: columns are the state's features, k = kk; for cells that reset h
                       the kk of all gates but the last */
    fl_panels last; /* weight_hh of the last gate, for cells that reset h; data NULL: none */
    fl_panels proj; /* weight_hr: columns are units, k the projection's features; data NULL: none */
} fl_backward_track;

struct fl_backward_weights {
    size_t bytes;
    fl_backward_track track[]; /* [tracks]; the panels follow in the same allocation */
};

#endif
