/* SPDX-License-Identifier: MIT */
/*
 * The sums that gemm and step share, and the order in which register tiles are taken. Included once
 * for each instruction set by table.h, after the set's vec_*.h.
 *
 * A register tile is FL_TILE_M rows of one panel, or one row of FL_TILE_P panels: enough
 * independent chains of additions to hide the latency of a fused multiply-add without splitting any
 * sum.
 */
#ifndef FL_PRODUCT_H
#define FL_PRODUCT_H

#include <stdint.h>

#include "kernels/contract.h"

#define FL_GROUP (FL_NV * FL_LANES) /* floats across a panel of FL_NV vectors */
#define FL_MAX_TILE 8               /* rows or panels in the largest tile of any set */
#define FL_TILE_ROWS(V) ((V) == 3 ? FL_TILE_M3 : FL_TILE_M)

/* A loop of constant length that is unrolled early enough for the sums to live in registers, and
   one that is not to be unrolled. */
#define FL_FOR(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#define FL_LOOP(i, n) _Pragma("GCC unroll 1") for (int i = 0; i < (n); i++)

/* When all panels together are larger than this, the next step is taken not to find them in L2. */
#define FL_NEAR_BYTES (1u << 20)

/* Memory to fetch into the cache while a tile runs: `step` bytes from `at` on for each k. */
typedef struct fl_prefetch {
    const char *at;
    size_t step;
} fl_prefetch;

/* One vector of weights as float32: numbers i .. i + L - 1 of a panel. Every kernel reads weights
   here and nowhere else, so this is what a new format adds to. */
FL_INLINE vf fl_load_weights(const int format, const void *panel, size_t i)
{
    return format == FL_FLOAT16 ? vf_load_f16((const uint16_t *)panel + i)
                                : vf_load((const float *)panel + i);
}

/*
 * sums[j][v] += sum_k a[m][k * a_step] * panel[q][k][v] for panels of V vectors, panel_bytes apart:
 * M rows of one panel (j = m), or one row of P panels (j = q). The format, V, M and P are constants
 * where this is inlined.
 */
FL_INLINE void fl_sum(const int format, const int V, const int M, const int P,
                      vf sums[FL_MAX_TILE][FL_NV], size_t k, const float *const *rows,
                      ptrdiff_t a_step, const void *panel, size_t panel_bytes, fl_prefetch prefetch)
{
    const size_t group_bytes = V * FL_LANES * fl_format_bytes(format);
    const char *group = panel;
    const float *a[FL_MAX_TILE];
    FL_FOR (m, M)
        a[m] = rows[m];
    for (ptrdiff_t i = 0, end = (ptrdiff_t)k * a_step; i != end;
         i += a_step, group += group_bytes) {
        vf s[FL_MAX_TILE], b[FL_NV];
        if (M > 1) { /* one row is bound by the memory's bandwidth: to fetch more gains nothing */
            FL_FOR (v, (int)(group_bytes + 63) / 64)
                FL_PREFETCH(prefetch.at + v * 64);
            prefetch.at += prefetch.step;
        }
        if (M > V) { /* holding the weights and taking the rows in turn needs fewer registers */
            FL_FOR (v, V)
                b[v] = vf_keep(fl_load_weights(format, group, (size_t)v * FL_LANES));
            FL_FOR (m, M) {
                s[m] = vf_set1(a[m][i]);
                FL_FOR (v, V)
                    sums[m][v] = vf_mad(s[m], b[v], sums[m][v]);
            }
            continue;
        }
        FL_FOR (m, M)
            s[m] = vf_set1(a[m][i]);
        FL_FOR (q, P)
            FL_FOR (v, V) {
                b[v] =
                    fl_load_weights(format, group + (size_t)q * panel_bytes, (size_t)v * FL_LANES);
                if (M > 1)
                    b[v] = vf_keep(b[v]);
                FL_FOR (m, M)
                    sums[m + q][v] = vf_mad(s[m], b[v], sums[m + q][v]);
            }
    }
}

/* A tile as a plain function: of the gemm or step at `args`, from panel p and row r on. */
typedef void fl_tile_fn(const void *args, size_t p, size_t r, fl_prefetch prefetch);

/*
 * FL_TILES makes the functions of all tiles of one kernel and the table fl_<name>_tiles of them: at
 * index M the tile of M rows of one panel, at index 0 the one of one row of FL_TILE_P panels.
 * `tile` is the inline function, `what` its first argument, V the vectors across a panel. Tiles of
 * more than FL_TILE_ROWS(V) rows are empty and never called.
 */
#define FL_TILE(name, tile, format, what, V, suffix, M, P)                                         \
    static void fl_##name##_##suffix(const void *args, size_t p, size_t r, fl_prefetch prefetch)   \
    {                                                                                              \
        if (M <= FL_TILE_ROWS(V))                                                                  \
            tile(format, what, M, P, args, p, r, prefetch);                                        \
    }
#define FL_ROWS(name, tile, format, what, V, M) FL_TILE(name, tile, format, what, V, M, M, 1)
#define FL_TILES(name, tile, format, what, V)                                                      \
    FL_ROWS(name, tile, format, what, V, 1)                                                        \
    FL_ROWS(name, tile, format, what, V, 2)                                                        \
    FL_ROWS(name, tile, format, what, V, 3)                                                        \
    FL_ROWS(name, tile, format, what, V, 4)                                                        \
    FL_ROWS(name, tile, format, what, V, 5)                                                        \
    FL_ROWS(name, tile, format, what, V, 6)                                                        \
    FL_ROWS(name, tile, format, what, V, 7)                                                        \
    FL_ROWS(name, tile, format, what, V, 8)                                                        \
    FL_TILE(name, tile, format, what, V, panels, 1, FL_TILE_P)                                     \
    static fl_tile_fn *const fl_##name##_tiles[] = {                                               \
        fl_##name##_panels, fl_##name##_1, fl_##name##_2, fl_##name##_3, fl_##name##_4,            \
        fl_##name##_5,      fl_##name##_6, fl_##name##_7, fl_##name##_8};

/*
 * All tiles of `rows` rows and panels p0 .. p1 - 1, from the last panel to the first if
 * `descending`. The outer loop is over panels, so that one panel serves all rows while it is near;
 * the rows are divided nearly equally, so that no small tile is left over at the end. While a panel
 * is worked on, the one after it is fetched to L2 if all of them are too large to stay there: 8 %
 * at H = 512, B = 16. Where they do stay it would cost 5 %.
 */
static void fl_run_tiles(fl_tile_fn *const *tiles, const void *args, size_t rows, size_t vectors,
                         const fl_panels *all, size_t p0, size_t p1, int descending)
{
    const size_t group_bytes = vectors * FL_LANES * fl_format_bytes(all->format);
    const size_t bytes = (p1 - p0) * all->panel_bytes;
    const size_t tile = FL_TILE_ROWS(vectors), tiles_of = (rows + tile - 1) / tile;
    const size_t share = tiles_of < 4 ? tiles_of : 4;
    if (rows == 1 && (vectors < FL_NV || bytes <= FL_WIDE_BYTES))
        while (p1 - p0 >= FL_TILE_P) {
            tiles[0](args, descending ? p1 - FL_TILE_P : p0, 0, (fl_prefetch){all->data, 0});
            if (descending)
                p1 -= FL_TILE_P;
            else
                p0 += FL_TILE_P;
        }
    for (size_t n = p1 - p0, i = 0; i < n; i++) {
        const size_t p = descending ? p1 - 1 - i : p0 + i;
        const char *next = fl_panel(all, descending ? p - 1 : p + 1);
        const int fetch_next = bytes > FL_NEAR_BYTES && i + 1 < n && share > 1;
        for (size_t r = 0, t = 0; t < tiles_of; t++) {
            const size_t m = (rows - r + tiles_of - t - 1) / (tiles_of - t);
            fl_prefetch prefetch = {(const char *)fl_panel(all, p) + 32 * group_bytes, group_bytes};
            if (fetch_next && t < share)
                prefetch =
                    (fl_prefetch){next + t * (all->panel_bytes / share), group_bytes / share};
            tiles[m](args, p, r, prefetch);
            r += m;
        }
    }
}

#endif
