/* SPDX-License-Identifier: MIT */
/*
 * The weights once more, packed for backward, where the roles of rows and columns are exchanged:
 * dh = dz R and dx = dz W sum over the gates. They are plain panels whose columns are features and
 * whose k counts the columns of the forward panels, kk = p * G + v * L + lane, with zeros for the
 * lanes that hold no unit.
 */
#ifndef FL_PACK_BACKWARD_H
#define FL_PACK_BACKWARD_H

#include "network/network.h"

typedef struct fl_backward_track {
    fl_panels w; /* weight_ih: columns are the input's features, k = kk */
    fl_panels r; /* weight_hh: columns are the state's features, k = kk; for cells that reset h all
                    gates but the last */
    fl_panels last; /* weight_hh of the last gate, for cells that reset h; data NULL: none */
    fl_panels
        proj; /* weight_hr: columns are units, k = the projection's features; data NULL: none */
} fl_backward_track;

struct fl_backward_weights {
    size_t bytes;
    fl_backward_track track[]; /* [tracks]; the panels follow in the same allocation */
};

#endif
