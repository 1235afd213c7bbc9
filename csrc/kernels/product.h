/* SPDX-License-Identifier: MIT */
/*
 * The sums that gemm and step share, and the order in which register tiles are taken. Included once
 * for each instruction set by table.h, after the set's vec_*.h.
 *
 * A register tile (in this file "tile"; not the tiles of panels.h) is the part of the work whose
 * sums are in registers at the same time: up to FL_TILE_M rows (FL_TILE_M3, M2 or M1, if a panel
 * has 3, 2 or 1 vectors) in one panel, or one row in FL_TILE_P panels (twice as many, if a panel
 * has 2 vectors or 1). These are enough independent chains of additions to hide the latency of a
 * fused multiply-add, although no sum is split.
 */
#ifndef FL_PRODUCT_H
#define FL_PRODUCT_H

#include <stdint.h>

#include "kernels/contract.h"

#define FL_GROUP (FL_NV * FL_LANES) /* floats across a panel of FL_NV vectors */
#define FL_MAX_TILE 8               /* rows or panels in the largest tile of any set */
#define FL_TILE_ROWS(V)                                                                            \
    ((V) == 4 ? FL_TILE_M : (V) == 3 ? FL_TILE_M3 : (V) == 2 ? FL_TILE_M2 : FL_TILE_M1)
/* The same for panels of codes, for which a row needs registers besides its sums. */
#define FL_TILE_ROWS_OF(format, V) ((format) == FL_INT8 ? FL_TILE_CODES : FL_TILE_ROWS(V))
#define FL_TILE_PANELS(V) ((V) > 2 ? FL_TILE_P : 2 * FL_TILE_P)
/* Is there a tile of M rows? To save code, panels of 1 or 2 vectors and float16, which is there to
   save memory, have none of 3, 5 or 7 rows unless it is the largest: fl_run_tiles then divides the
   rows otherwise. */
#define FL_FEW_TILES(format, V) ((V) < 3 || (format) == FL_FLOAT16)
#define FL_HAS_TILE(format, V, M)                                                                  \
    ((M) <= FL_TILE_ROWS_OF(format, V) &&                                                          \
     (!FL_FEW_TILES(format, V) || (M) == 1 || (M) % 2 == 0 || (M) == FL_TILE_ROWS_OF(format, V)))

/* Panels that are larger than this, all of them together, are assumed not to be in L2 any more when
   they are read again. */
#define FL_NEAR_BYTES (1u << 20)

/* Memory to fetch into the cache while a tile runs: for each line of the panel (panels.h) the cache
   lines of as many bytes as it has, the first from `at`, each further one `step` bytes on. */
typedef struct fl_prefetch {
    const char *at;
    size_t step;
} fl_prefetch;

/* One vector of weights as float32: numbers i .. i + L - 1 from `panel` on, of FL_FLOAT32 or
   FL_FLOAT16. Kernels of the other formats read weights in their own way (int8.h, pairs.h). */
FL_INLINE vf fl_load_weights(const int format, const void *panel, size_t i)
{
    return format == FL_FLOAT16 ? vf_load_f16((const uint16_t *)panel + i)
                                : vf_load((const float *)panel + i);
}

/*
 * sums[j][v] += sum_k rows[m][(from + k) * a_step] * panel[q][k][v]
 *
 * for M rows and one panel (P = 1, j = m), or for one row and P panels (M = 1, j = q), which lie
 * panel_bytes apart. Vector v of a panel's V vectors has L columns. The format, V, M and P are
 * constants where this is inlined.
 */
FL_INLINE void fl_sum(const int format, const int V, const int M, const int P,
                      vf sums[FL_MAX_TILE][FL_NV], size_t from, size_t k, const float *const *rows,
                      ptrdiff_t a_step, const void *panel, size_t panel_bytes, fl_prefetch prefetch)
{
    const size_t group_bytes = V * FL_LANES * fl_format_bytes(format);
    const char *group = panel;
    const float *a[FL_MAX_TILE];
    FL_FOR (m, M)
        a[m] = rows[m];
    for (ptrdiff_t i = (ptrdiff_t)from * a_step, end = (ptrdiff_t)(from + k) * a_step; i != end;
         i += a_step, group += group_bytes) {
        vf s[FL_MAX_TILE], b[FL_NV];
        if (M > 1 && V > 1) { /* one row alone is limited by the memory's bandwidth, so a prefetch
                                 gains nothing; panels of one vector are small */
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

/* A function that computes one register tile, which begins at panel p and row r, of the fl_gemm or
   fl_step at `args`. */
typedef void fl_tile_fn(const void *args, size_t p, size_t r, fl_prefetch prefetch);

/*
 * FL_TILES makes the functions of all tiles of one kernel, and fl_<name>_tiles, an array of
 * pointers to them: at index M the tile of M rows in one panel, at index 0 the tile of one row in
 * FL_TILE_PANELS(V) panels. `tile` is the inline function that they are made of, `format` and
 * `what` its first two arguments, V the vectors across a panel. Those for which FL_HAS_TILE is 0
 * are empty and never called.
 */
#define FL_TILE(name, tile, format, what, V, suffix, M, P)                                         \
    static void fl_##name##_##suffix(const void *args, size_t p, size_t r, fl_prefetch prefetch)   \
    {                                                                                              \
        if (FL_HAS_TILE(format, V, M))                                                             \
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
    FL_TILE(name, tile, format, what, V, panels, 1, FL_TILE_PANELS(V))                             \
    static fl_tile_fn *const fl_##name##_tiles[] = {                                               \
        fl_##name##_panels, fl_##name##_1, fl_##name##_2, fl_##name##_3, fl_##name##_4,            \
        fl_##name##_5,      fl_##name##_6, fl_##name##_7, fl_##name##_8};

/*
 * Runs all tiles of `rows` rows and panels p0 .. p1 - 1, from the last panel to the first if
 * `descending`. The outer loop is over panels, so that a panel serves all rows while it is in a
 * near cache. The rows are divided nearly equally among tiles, so that the last tile is not small.
 * If all panels together are too large to stay in L2 (FL_NEAR_BYTES), or the caller says that they
 * are not there (`far`), and a panel has several tiles, the first four of these fetch the next
 * panel: this gains 8 % at H = 512, B = 16. Where the panels do stay in L2 it would cost 5 %. Other
 * tiles fetch their own panel, 32 lines ahead. `after` is the memory that the caller reads after
 * the last panel, or NULL. A single row is taken in several panels at a time, where FL_WIDE_BYTES
 * of table.h permits it.
 */
static void fl_run_tiles(fl_tile_fn *const *tiles, const void *args, size_t rows, size_t vectors,
                         const fl_panels *all, size_t p0, size_t p1, int descending, int far,
                         const char *after)
{
    const size_t number_bytes = fl_format_bytes(all->format) * fl_format_k(all->format);
    const size_t group_bytes = vectors * FL_LANES * number_bytes;
    const size_t bytes = (p1 - p0) * all->panel_bytes;
    const size_t tile = FL_TILE_ROWS_OF(all->format, vectors), tiles_of = (rows + tile - 1) / tile;
    const size_t share = tiles_of < 4 ? tiles_of : 4;
    const size_t wide = FL_TILE_PANELS(vectors);
    if (rows == 1 && (vectors < FL_NV || bytes <= FL_WIDE_BYTES))
        while (p1 - p0 >= wide) {
            tiles[0](args, descending ? p1 - wide : p0, 0, (fl_prefetch){all->data, 0});
            if (descending)
                p1 -= wide;
            else
                p0 += wide;
        }
    for (size_t n = p1 - p0, i = 0; i < n; i++) {
        const size_t p = descending ? p1 - 1 - i : p0 + i;
        const char *next = i + 1 < n ? fl_panel(all, descending ? p - 1 : p + 1) : after;
        const int fetch_next = (far || bytes > FL_NEAR_BYTES) && next && share > 1;
        for (size_t r = 0, t = 0, left = tiles_of; r < rows; t++, left -= left > 1) {
            size_t m = (rows - r + left - 1) / left;
            if (m > 1 && !FL_HAS_TILE(all->format, vectors, m))
                m = r + m < rows ? m + 1 : m - 1;
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
