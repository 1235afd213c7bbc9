/* SPDX-License-Identifier: MIT */
/* Draws a variant of a network. */
#ifndef FL_VARY_H
#define FL_VARY_H

#include "../../csrc/fastlstm.h"
#include "check.h"

/* Any activations, but nothing that overflows: sums are cut, and of c, which is not, there is no
   exponential. For LSTM coupled gates and peepholes. */
static fl_variant drawn_variant(uint64_t *state, int cell)
{
    fl_variant v = {.any = 1, .clip = 1};
    for (int i = 0; i < 6; i++)
        v.act[i / 3][i % 3] =
            (fl_activation){(int)(draw(state) % FL_FUNCTIONS), 0.25f * (float)(draw(state) % 4),
                            0.5f * (float)(draw(state) % 3)};
    for (int d = 0; d < 2; d++)
        if (cell == FL_LSTM && v.act[d][2].function == FL_EXPONENTIAL)
            v.act[d][2].function = FL_SOFTPLUS;
    v.input_forget = cell == FL_LSTM && draw(state) % 2;
    v.peepholes = cell == FL_LSTM && draw(state) % 2;
    return v;
}

#endif
