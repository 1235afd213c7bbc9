/* SPDX-License-Identifier: MIT */
#if !defined(__AVX512VNNI__)
#error "compile this file with kernels_avx512.c's flags and -mavx512vnni"
#endif
#define FL_DOT_PRODUCTS 1
#define FL_DOT_KERNEL(name) fl_avx512_vnni_##name
#include "kernels/simd/vec_avx512.h"

/* Six rows of a panel of four vectors are 24 sums, 4 vectors of weights and 1 broadcast factor. One
   row of two panels at a time gains 20 % at H = 128 and nothing from H = 256 on. Two rows of codes
   of 16 bits at a time gain 13 % at I = 1024, whose panel is larger than L1, and nothing at 256
   (Zen 5). */
#define FL_TILE_M 6
#define FL_TILE_M3 8
#define FL_TILE_M2 8
#define FL_TILE_M1 8
#define FL_TILE_CODES 6
#define FL_ROWS_16 2
#define FL_TILE_P 2
#define FL_WIDE_BYTES 131072
#include "kernels/int8_kernels.h"

/* What tiled_avx512_amx.c does with sums of codes. */
#ifdef FL_BUILD_AVX512_AMX
#include "kernels/isa/int8_avx512_vnni.h"

enum { AHEAD = 4 }; /* rows of z that are fetched before they are used */

/* Row m's sums of V vectors. */
FL_INLINE void finished(const int V, vi sums[FL_NV], const vi (*total)[FL_NV], size_t m,
                        const fl_codes *codes, size_t r)
{
    const vi start = vi_start(codes->sum[r]);
    FL_FOR (v, V) {
        const vi pair[2] = {total[m][v], total[m + (codes->bits == 16) * FL_TILED_ROWS][v]};
        sums[v] = vi_add(codes->bits == 16 ? vi_columns(pair) : pair[0], start);
    }
}

/* What is added to, or cut off, one by one; else each column's scale and start are loaded once. */
FL_INLINE void gemm_ends(const int V, const fl_gemm *g, const vi (*total)[FL_NV], size_t p,
                         size_t r, size_t rows)
{
    const size_t columns = p * V * FL_LANES;
    float *c = g->c + p * g->c_panel + r * g->c_row;
    vf scales[FL_NV], start[FL_NV];
    vi sums[FL_NV];
    FL_FOR (v, V) {
        scales[v] = vf_load(g->scales + columns + v * FL_LANES);
        start[v] = g->init ? vf_load(g->init + columns + v * FL_LANES) : vf_set1(0.0f);
    }
    for (size_t m = 0; m < rows; m++, c += g->c_row) {
        finished(V, sums, total, m, &g->codes, r + m);
        if (g->add || g->clip) {
            (V == 4 ? fl_int8_gemm_end_4 : fl_int8_gemm_end_3)(g, sums, p, r + m);
            continue;
        }
        const vf scale = vf_set1(g->codes.scale[r + m]);
        FL_FOR (v, V)
            vf_store(c + v * FL_LANES,
                     vf_fma(vi_float(sums[v]), vf_mul(scales[v], scale), start[v]));
    }
}
void fl_avx512_vnni_gemm_ends(const void *args, const vi (*total)[FL_NV], size_t p, size_t r,
                              size_t rows)
{
    if (((const fl_gemm *)args)->vectors == 4)
        gemm_ends(4, args, total, p, r, rows);
    else
        gemm_ends(3, args, total, p, r, rows);
}

FL_INLINE void step_sums(const int V, vf sums[FL_NV], const vf scales[FL_NV], const fl_step *s,
                         const vi (*total)[FL_NV], size_t m, size_t p, size_t r)
{
    const float *z = s->z + p * s->z_panel + r * V * FL_LANES;
    const vf scale = vf_set1(s->codes.scale[r]);
    vi whole[FL_NV];
    finished(V, whole, total, m, &s->codes, r);
    FL_FOR (v, V) {
        const float *start = V == 3 && v == 2 ? s->b_hn + p * FL_LANES : z + v * FL_LANES;
        FL_PREFETCH(z + (AHEAD * V + v) * FL_LANES);
        sums[v] = vf_fma(vi_float(whole[v]), vf_mul(scales[v], scale), vf_load(start));
    }
}

/*
 * An LSTM's row begins before the one before it ends:
 *
 *     c' of row 0    c' of row 1    h' of row 0    c' of row 2    h' of row 1    ...
 *
 * It takes some 200 cycles from its sums to h', and a processor looks ahead over three rows.
 */
FL_INLINE void step_ends(const int V, const fl_step *s, const vi (*total)[FL_NV], size_t p,
                         size_t r0, size_t rows)
{
    fl_lstm_row row, before;
    vf scales[FL_NV], sums[FL_NV];
    FL_FOR (v, V)
        scales[v] = vf_load(s->scales + (p * V + v) * FL_LANES);
    for (size_t m = 0; m < rows + (V == 4); m++) {
        const size_t r = r0 + m;
        before = row;
        if (m < rows)
            step_sums(V, sums, scales, s, total, m, p, r);
        if (V == 3)
            fl_gru_step(0, sums, s, p, r);
        else if (m < rows)
            fl_lstm_begin(0, &row, sums, s, p, r);
        if (V == 4 && m > 0)
            fl_lstm_end(before, s, p, r - 1);
    }
}
void fl_avx512_vnni_lstm_ends(const void *args, const vi (*total)[FL_NV], size_t p, size_t r,
                              size_t rows)
{
    step_ends(4, args, total, p, r, rows);
}
void fl_avx512_vnni_gru_ends(const void *args, const vi (*total)[FL_NV], size_t p, size_t r,
                             size_t rows)
{
    step_ends(3, args, total, p, r, rows);
}
#endif
