/* SPDX-License-Identifier: MIT */
/* The kernel gemm that contract.h describes, as a template: FL_GEMM makes it for one format. */
#ifndef FL_GEMM_H
#define FL_GEMM_H

#include "kernels/product.h"

/* One register tile of g: the sums of rows r .. r + M - 1 in panel p (P is 1), or of row r in
   panels p .. p + P - 1 (M is 1). */
FL_INLINE void fl_gemm_tile(const int format, const int V, const int M, const int P,
                            const fl_gemm *g, size_t p, size_t r, fl_prefetch prefetch)
{
    const size_t group = V * FL_LANES;
    const void *panel = (const char *)g->panel + p * g->panel_bytes;
    vf sums[FL_MAX_TILE][FL_NV];
    FL_FOR (q, P)
        FL_FOR (v, V) {
            vf b = g->init ? vf_load(g->init + (p + q) * group + v * FL_LANES) : vf_set1(0.0f);
            FL_FOR (m, M)
                sums[m + q][v] = b;
        }
    if (g->add == FL_ONTO)
        FL_FOR (m, M)
            FL_FOR (q, P)
                FL_FOR (v, V)
                    sums[m + q][v] =
                        vf_load(g->c + (p + q) * g->c_panel + (r + m) * g->c_row + v * FL_LANES);
    const float *const *a = g->a + r;
    for (size_t piece = 1;; piece++, a += g->rows) {
        fl_sum(format, V, M, P, sums, g->from, g->k, a, g->a_step, panel, g->panel_bytes, prefetch);
        if (piece >= g->pieces)
            break;
        panel = (const char *)panel + g->k * group * fl_format_bytes(format);
        prefetch.at += g->k * prefetch.step;
    }
    if (g->add == FL_AFTER)
        FL_FOR (m, M)
            FL_FOR (q, P)
                FL_FOR (v, V)
                    sums[m + q][v] =
                        vf_add(sums[m + q][v], vf_load(g->c + (p + q) * g->c_panel +
                                                       (r + m) * g->c_row + v * FL_LANES));
    if (g->clip) {
        const vf least = vf_set1(g->least), most = vf_set1(g->most), tiny = vf_set1(FL_TINY);
        FL_FOR (m, M)
            FL_FOR (q, P)
                FL_FOR (v, V)
                    sums[m + q][v] = vf_max(least, vf_min(most, vf_flush(sums[m + q][v], tiny)));
    }
    FL_FOR (m, M)
        FL_FOR (q, P)
            FL_FOR (v, V)
                vf_store(g->c + (p + q) * g->c_panel + (r + m) * g->c_row + v * FL_LANES,
                         sums[m + q][v]);
}

/* g with `cut` and k above FL_UNCUT: of each panel one chain after the other, added to c. With
   FL_AFTER g->init is not read. */
static FL_ONE_COPY void fl_gemm_in_chains(fl_tile_fn *const *tiles, const fl_gemm *g, int format)
{
    const size_t group = g->vectors * FL_LANES, line = group * fl_format_bytes(format);
    const size_t end = g->from + g->k;
    const int far = g->far || g->panels * g->panel_bytes > FL_NEAR_BYTES;
    for (size_t i = 0; i < g->panels; i++) {
        const size_t p = g->descending ? g->panels - 1 - i : i;
        const char *at = (const char *)g->panel + p * g->panel_bytes;
        const char *const next = i + 1 == g->panels ? NULL
                                 : g->descending    ? at - g->panel_bytes
                                                    : at + g->panel_bytes;
        fl_panels lines = {.data = (void *)(uintptr_t)at, .format = format};
        fl_gemm part = *g;
        part.init = g->init ? g->init + p * group : NULL;
        part.c = g->c + p * g->c_panel;
        part.clip = 0;
        part.k = 0;
        if (!g->add) /* no product: c becomes what the sums start from */
            fl_run_tiles(tiles, &part, g->rows, g->vectors, &lines, 0, 1, 0, 0, NULL);
        for (part.add = FL_AFTER; part.from < end; part.from += part.k, at += lines.panel_bytes) {
            part.k = end - part.from < FL_CUT ? end - part.from : FL_CUT;
            part.clip = g->clip && part.from + part.k == end;
            part.panel = at;
            part.init = NULL;
            lines.data = (void *)(uintptr_t)at;
            lines.panel_bytes = part.k * line;
            fl_run_tiles(tiles, &part, g->rows, g->vectors, &lines, 0, 1, 0, far,
                         part.from + part.k == end ? next : at + lines.panel_bytes);
        }
    }
}

/* The kernel fl_<name>_run of one format, made of the tiles of `tile`. It chooses among them by the
   panels' vectors; `one` and `two` are those of panels of 1 and 2. */
#define FL_GEMM(name, tile, format_, one, two)                                                     \
    FL_TILES(name, tile, format_, FL_NV, FL_NV)                                                    \
    FL_TILES(name##_3, tile, format_, 3, 3)                                                        \
    static void fl_##name##_run(const fl_gemm *g)                                                  \
    {                                                                                              \
        static fl_tile_fn *const *const tiles[] = {one, two, fl_##name##_3_tiles,                  \
                                                   fl_##name##_tiles};                             \
        const fl_panels panels = {.data = (void *)(uintptr_t)g->panel,                             \
                                  .panel_bytes = g->panel_bytes,                                   \
                                  .format = format_};                                              \
        if (!fl_format_encoded(format_) && g->cut && g->k > FL_UNCUT)                              \
            fl_gemm_in_chains(tiles[g->vectors - 1], g, format_);                                  \
        else                                                                                       \
            fl_run_tiles(tiles[g->vectors - 1], g, g->rows, g->vectors, &panels, 0, g->panels,     \
                         g->descending, g->far, NULL);                                             \
    }

#endif
