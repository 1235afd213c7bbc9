/* SPDX-License-Identifier: MIT */
/* Draws a variant of a drawn network. */
#ifndef FL_VARY_H
#define FL_VARY_H

#include <math.h>

#include "../../csrc/fastlstm.h"

/* Half of all networks: other activations, clip, coupled gates, peepholes; reverse if dirs is 1. */
static void vary(fl_config *f, uint64_t seed)
{
    uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;
#define VARY_DRAW(n) (s = s * 6364136223846793005u + 1442695040888963407u, (size_t)(s >> 33) % (n))
    f->reverse = f->dirs == 1 && VARY_DRAW(3) == 0;
    if (VARY_DRAW(2))
        return;
    f->variant.any = 1;
    for (int d = 0; d < 2; d++)
        for (int g = 0; g < 3; g++) {
            fl_activation *a = &f->variant.act[d][g];
            a->function = (int)VARY_DRAW(FL_FUNCTIONS);
            a->alpha = (float)(1 + VARY_DRAW(8)) / 8.0f;
            a->beta = (float)(1 + VARY_DRAW(8)) / 8.0f;
        }
    f->variant.clip = VARY_DRAW(2) ? INFINITY : 0.5f;
    f->variant.input_forget = f->cell == FL_LSTM && VARY_DRAW(3) == 0;
    f->variant.peepholes = f->cell == FL_LSTM && VARY_DRAW(2);
#undef VARY_DRAW
}

#endif
