/* SPDX-License-Identifier: MIT */
/* The kernels step and keep that contract.h describes, for those of PyTorch's cells whose sums and
   gates are computed in one pass: LSTM, GRU and RNN. It is a template: FL_STEP makes the kernel of
   one cell and format. */
#ifndef FL_STEP_H
#define FL_STEP_H

#include "kernels/cells.h"
#include "kernels/product.h"

/* `what` is the number of a cell, plus FL_KEPT for the kernel keep, which also writes what training
   needs. */
#define FL_KEPT 16
#define FL_CELL(what) ((what) % FL_KEPT)
#define FL_VECTORS(what) (FL_CELL(what) == FL_GRU ? 3 : FL_NV)

/* One register tile of s: the sums, and then the gates, of rows r .. r + M - 1 in panel p (P is 1),
   or of row r in panels p .. p + P - 1 (M is 1). */
FL_INLINE void fl_step_tile(const int format, const int what, const int M, const int P,
                            const fl_step *s, size_t p, size_t r, fl_prefetch prefetch)
{
    const int V = FL_VECTORS(what), keep = what / FL_KEPT;
    const size_t group = V * FL_LANES;
    const void *panel = (const char *)s->panel + p * s->panel_bytes;
    vf sums[FL_MAX_TILE][FL_NV];
    FL_FOR (m, M)
        FL_FOR (q, P)
            FL_FOR (v, V)
                sums[m + q][v] =
                    FL_CELL(what) == FL_GRU && v == 2
                        ? vf_load(s->b_hn + (p + q) * FL_LANES)
                        : vf_load(s->z + (p + q) * s->z_panel + (r + m) * group + v * FL_LANES);
    fl_sum(format, V, M, P, sums, 0, s->k, s->h + r, 1, panel, s->panel_bytes, prefetch);
    /* The sums pass through memory to a loop over the tile's M * P groups. With the gates inlined
       for each group, AVX-512's kernels were 1.7 times as large and no tile was faster. */
    vf finished[FL_MAX_TILE][FL_NV];
    FL_FOR (j, M * P)
        FL_FOR (v, V)
            finished[j][v] = sums[j][v];
    FL_LOOP (j, M * P) {
        const size_t pj = M > 1 ? p : p + (size_t)j, rj = M > 1 ? r + (size_t)j : r;
        if (FL_CELL(what) == FL_LSTM)
            fl_lstm_step(keep, finished[j], s, pj, rj);
        else if (FL_CELL(what) == FL_GRU)
            fl_gru_step(keep, finished[j], s, pj, rj);
        else
            fl_rnn_step(FL_CELL(what) == FL_RNN_RELU, finished[j], s, pj, rj);
    }
}

/* FL_STEP makes the step of one cell and format: its tiles, of `tile`, and the kernel
   fl_<name>_run. */
#define FL_STEP(name, tile, format_, what)                                                         \
    FL_TILES(name, tile, format_, what, FL_VECTORS(what))                                          \
    static void fl_##name##_run(const fl_step *s)                                                  \
    {                                                                                              \
        const fl_panels panels = {.data = (void *)(uintptr_t)s->panel,                             \
                                  .panel_bytes = s->panel_bytes,                                   \
                                  .format = format_};                                              \
        fl_run_tiles(fl_##name##_tiles, s, s->rows, FL_VECTORS(what), &panels, s->p0, s->p1,       \
                     s->descending, 0, NULL);                                                      \
    }

#endif
