/* SPDX-License-Identifier: MIT */
/* A float matrix as the codes that a network of FL_INT8 takes, in memory of exactly their size. */
#ifndef FL_CODED_H
#define FL_CODED_H

#include <math.h>
#include <stdlib.h>

#include "fastlstm.h"
#include "check.h"

/* The rows of w, of k numbers each; nothing for NULL. drop_codes gives the memory back. */
static fl_int8 coded(const float *w, size_t rows, size_t k)
{
    if (!w)
        return (fl_int8){0};
    int8_t *codes = malloc(rows * k);
    float *scales = malloc(rows * sizeof *scales);
    CHECK(codes && scales);
    for (size_t row = 0; row < rows; row++) {
        float most = 0;
        for (size_t i = 0; i < k; i++)
            most = fmaxf(most, fabsf(w[row * k + i]));
        most = most < 0x1p-100f ? 0 : most;
        for (size_t i = 0; i < k; i++)
            codes[row * k + i] = (int8_t)(most > 0 ? rintf(w[row * k + i] * (127 / most)) : 0);
        scales[row] = most / 127;
    }
    return (fl_int8){codes, scales};
}

static void drop_codes(fl_int8 w)
{
    free((void *)(uintptr_t)w.codes);
    free((void *)(uintptr_t)w.scales);
}

/* fl_net_set for a network of any format: of FL_INT8 the matrices are made into codes. G: rows of
   the gates' matrices; in, K, P, H: widths. */
static inline void set_any(fl_net *net, const fl_config *f, size_t layer, size_t dir,
                           const float *w, const float *r, const float *b, const float *b_hh,
                           const float *p, size_t G, size_t in, size_t K)
{
    if (f->format != FL_INT8) {
        fl_net_set(net, layer, dir, w, r, b, b_hh, p);
        return;
    }
    const fl_int8 w_ih = coded(w, G, in), w_hh = coded(r, G, K),
                  w_hr = coded(p, f->proj, f->hidden);
    fl_net_set_int8(net, layer, dir, w_ih, w_hh, b, b_hh, w_hr);
    drop_codes(w_ih), drop_codes(w_hh), drop_codes(w_hr);
}

#endif
