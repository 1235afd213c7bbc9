/* SPDX-License-Identifier: MIT */
/* Networks with drawn weights, for drivers whose calls are divided among threads. */
#ifndef FL_DRAWN_NETS_H
#define FL_DRAWN_NETS_H

#include "base/alloc.h"
#include "check.h"
#include "fastlstm.h"

/* n drawn floats in -scale .. scale. */
static inline float *floats(uint64_t *state, size_t n, float scale)
{
    float *p = fl_alloc((n + 1) * sizeof(float));
    CHECK(p);
    for (size_t i = 0; i < n; i++)
        p[i] = ((float)(draw(state) >> 15) - 65536.0f) * (scale / 65536.0f);
    return p;
}

/* A drawn instruction set of those that this CPU can run. */
static inline const fl_kernels *kernels(uint64_t *state)
{
    const fl_kernels *found[16];
    size_t n = 0;
    for (int i = 0; i < fl_isa_count(); i++)
        if (fl_isa_runnable(i))
            found[n++] = fl_isa_kernels(i);
    return found[draw(state) % n];
}

/* A network with drawn weights: of an LSTM or one of the GRUs. */
static inline fl_net *make_net(uint64_t *state, const fl_config *f)
{
    fl_net *net = fl_net_new(f, kernels(state));
    CHECK(net);
    for (size_t l = 0; l < f->layers; l++) {
        const size_t rows = (f->cell == FL_LSTM ? 4 : 3) * f->hidden;
        float *w = floats(state, rows * (l ? f->dirs * f->hidden : f->input), 0.5f);
        float *r = floats(state, rows * f->hidden, 0.2f);
        float *b = floats(state, rows, 0.5f);
        for (size_t d = 0; d < f->dirs; d++)
            fl_net_set(net, l, d, w, r, b, b, NULL);
        fl_free(w), fl_free(r), fl_free(b);
    }
    return net;
}

#endif
