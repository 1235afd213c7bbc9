/* SPDX-License-Identifier: MIT */
/* Drawn variants, with everything that PyTorch's layers do not have. */
#ifndef FL_VARY_H
#define FL_VARY_H

#include "fastlstm.h"
#include "check.h"

/* Any activations, sums cut to [-1, 1], and for an LSTM perhaps coupled gates and peepholes. */
static inline fl_variant drawn_variant(uint64_t *state, int cell)
{
    fl_variant v = {.differs = 1, .clip = 1};
    for (int i = 0; i < 6; i++)
        v.activation[i / 3][i % 3] =
            (fl_activation){(int)(draw(state) % FL_FUNCTIONS), 0.25f * (float)(draw(state) % 4),
                            0.5f * (float)(draw(state) % 3)};
    v.input_forget = cell == FL_LSTM && draw(state) % 2;
    v.peepholes = cell == FL_LSTM && draw(state) % 2;
    return v;
}

/* The same, but without overflow: an LSTM's c, which is not cut, does not go through exp. */
static inline fl_variant finite_variant(uint64_t *state, int cell)
{
    fl_variant v = drawn_variant(state, cell);
    for (int d = 0; d < 2; d++)
        if (cell == FL_LSTM && v.activation[d][2].function == FL_EXPONENTIAL)
            v.activation[d][2].function = FL_SOFTPLUS;
    return v;
}

#endif
