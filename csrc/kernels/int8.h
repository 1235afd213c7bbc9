/* SPDX-License-Identifier: MIT */
/*
 * The kernels of FL_INT8 of one instruction set: encode (codes.h), gemm, the steps of an LSTM and a
 * GRU, and a probe. Their names are FL_INT8_KERNEL(encode) and so on. Every set has them (included
 * by table.h); CPUs with instructions for products of codes run those of a file int8_<name>.c
 * instead, which includes int8_kernels.h.
 */
#ifndef FL_INT8_H
#define FL_INT8_H

#include "kernels/codes.h"
#include "kernels/gemm.h"
#include "kernels/step.h"

#define FL_INT8_KERNEL(name) fl_int8_##name##_run
#define FL_TABLE_CODE_ZERO FL_CODE_ZERO

/*
 * The sums of one register tile, of rows r .. r + M - 1 in one panel (P = 1), or of row r in P
 * panels (M = 1), which lie panel_bytes apart:
 *
 *     finished[j][v] = sum_k code[r + m][k] * panel[q][k][v]        j = m + q
 */
FL_INLINE void fl_sum_codes(const int V, const int M, const int P, vi finished[FL_MAX_TILE][FL_NV],
                            size_t k, const fl_codes *codes, size_t r, const void *panel,
                            size_t panel_bytes, fl_prefetch prefetch)
{
    const size_t group_bytes = V * FL_LANES * 4, lines = fl_format_lines(FL_INT8, k);
    const int8_t *a[FL_MAX_TILE], *group = panel;
    vi total[FL_MAX_TILE][FL_NV]; /* stays in registers; `finished`, passed by address, would not */
    FL_FOR (m, M) {
        a[m] = (const int8_t *)codes->at + (r + m) * codes->row;
        FL_FOR (q, P)
            FL_FOR (v, V)
                total[m + q][v] = vi_start(codes->sum[r + m]);
    }
    for (size_t line = 0; line < lines; line++, group += group_bytes) {
        vi four[FL_MAX_TILE], w[FL_NV];
        if (M > 1) {
            FL_FOR (v, (int)(group_bytes + 63) / 64)
                FL_PREFETCH(prefetch.at + v * 64);
            prefetch.at += prefetch.step;
        }
        if (M > V) { /* holding the weights and taking the rows in turn needs fewer registers */
            FL_FOR (v, V)
                w[v] = vi_load(group + v * FL_LANES * 4);
            FL_FOR (m, M) {
                four[m] = vi_four(a[m] + 4 * line);
                FL_FOR (v, V)
                    total[m][v] = vi_dot(total[m][v], w[v], four[m]);
            }
            continue;
        }
        FL_FOR (m, M)
            four[m] = vi_four(a[m] + 4 * line);
        FL_FOR (q, P)
            FL_FOR (v, V) {
                w[v] = vi_load(group + (size_t)q * panel_bytes + v * FL_LANES * 4);
                FL_FOR (m, M)
                    total[m + q][v] = vi_dot(total[m + q][v], w[v], four[m]);
            }
    }
    FL_FOR (j, M * P)
        FL_FOR (v, V)
            finished[j][v] = total[j][v];
}

/* The same with codes of 16 bits, for rows r .. r + R - 1 and one panel of V vectors. A vector of
   columns has two vectors of sums, which vi_columns makes one. It is a function of its own so that
   nothing else is in registers. */
#define FL_SUM_CODES_16(V, R)                                                                      \
    static FL_NOINLINE void fl_sum_codes_16_##V##_##R(                                             \
        vi total[][FL_NV], size_t k, const fl_codes *codes, size_t r, const int8_t *panel)         \
    {                                                                                              \
        const size_t lines = fl_format_lines(FL_INT8, k);                                          \
        const int8_t *a[R];                                                                        \
        vi pair[R][FL_NV][2];                                                                      \
        FL_FOR (m, R) {                                                                            \
            a[m] = (const int8_t *)codes->at + (r + m) * codes->row;                               \
            FL_FOR (v, V) {                                                                        \
                pair[m][v][0] = vi_start(0);                                                       \
                pair[m][v][1] = vi_start(codes->sum[r + m]);                                       \
            }                                                                                      \
        }                                                                                          \
        for (size_t line = 0; line < lines; line++, panel += V * FL_LANES * 4)                     \
            FL_FOR (v, V)                                                                          \
                FL_FOR (m, R)                                                                      \
                    vi_dot_16(pair[m][v], panel + v * FL_LANES * 4, a[m], line, lines);            \
        FL_FOR (m, R)                                                                              \
            FL_FOR (v, V)                                                                          \
                total[m][v] = vi_columns(pair[m][v]);                                              \
    }
FL_SUM_CODES_16(3, 1)
FL_SUM_CODES_16(4, 1)
#if FL_ROWS_16 == 2
FL_SUM_CODES_16(3, 2)
FL_SUM_CODES_16(4, 2)
#endif

/* The same for `rows` rows, FL_ROWS_16 at a time as long as there are so many. */
FL_INLINE void fl_sum_rows_16(const int V, vi total[][FL_NV], size_t rows, size_t k,
                              const fl_codes *codes, size_t r, const int8_t *panel)
{
    size_t j = 0;
#if FL_ROWS_16 == 2
    for (; j + 2 <= rows; j += 2)
        (V == 4 ? fl_sum_codes_16_4_2 : fl_sum_codes_16_3_2)(total + j, k, codes, r + j, panel);
#endif
    for (; j < rows; j++)
        (V == 4 ? fl_sum_codes_16_4_1 : fl_sum_codes_16_3_1)(total + j, k, codes, r + j, panel);
}

/* start + total * (scales * scale): total and the scales' product are rounded to float, then the
   result is. */
FL_INLINE vf fl_scaled(vi total, const float *scales, float scale, vf start)
{
    return vf_fma(vi_float(total), vf_mul(vf_load(scales), vf_set1(scale)), start);
}

/* What gemm makes of the finished sums of panel p and row r, of V vectors. This and the next two
   are functions of their own: inlined in every tile they would be most of int8's code. */
#define FL_INT8_GEMM_END(V)                                                                        \
    static FL_NOINLINE void fl_int8_gemm_end_##V(const fl_gemm *g, const vi total[FL_NV],          \
                                                 size_t p, size_t r)                               \
    {                                                                                              \
        const vf least = vf_set1(g->least), most = vf_set1(g->most), tiny = vf_set1(FL_TINY);      \
        const size_t columns = p * V * FL_LANES;                                                   \
        float *const c = g->c + p * g->c_panel + r * g->c_row;                                     \
        FL_FOR (v, V) {                                                                            \
            const size_t at = v * FL_LANES;                                                        \
            const vf before = g->add ? vf_load(c + at) : vf_set1(0.0f);                            \
            vf sum = g->add == FL_ONTO ? before                                                    \
                     : g->init         ? vf_load(g->init + columns + at)                           \
                                       : vf_set1(0.0f);                                            \
            sum = fl_scaled(total[v], g->scales + columns + at, g->codes.scale[r], sum);           \
            if (g->add == FL_AFTER)                                                                \
                sum = vf_add(sum, before);                                                         \
            if (g->clip)                                                                           \
                sum = vf_max(least, vf_min(most, vf_flush(sum, tiny)));                            \
            vf_store(c + at, sum);                                                                 \
        }                                                                                          \
    }
FL_INT8_GEMM_END(3)
FL_INT8_GEMM_END(4)

static FL_NOINLINE void fl_int8_lstm_end(const fl_step *s, const vi total[FL_NV], size_t p,
                                         size_t r)
{
    vf sums[FL_NV];
    FL_FOR (v, 4)
        sums[v] = fl_scaled(total[v], s->scales + (p * 4 + v) * FL_LANES, s->codes.scale[r],
                            vf_load(s->z + p * s->z_panel + (r * 4 + v) * FL_LANES));
    fl_lstm_step(0, sums, s, p, r);
}
static FL_NOINLINE void fl_int8_gru_end(const fl_step *s, const vi total[FL_NV], size_t p, size_t r)
{
    vf sums[FL_NV];
    FL_FOR (v, 3)
        sums[v] = fl_scaled(total[v], s->scales + (p * 3 + v) * FL_LANES, s->codes.scale[r],
                            vf_load(v == 2 ? s->b_hn + p * FL_LANES
                                           : s->z + p * s->z_panel + (r * 3 + v) * FL_LANES));
    fl_gru_step(0, sums, s, p, r);
}

/* The tiles of the kernels: fl_gemm_tile and fl_step_tile for this format. */
FL_INLINE void fl_int8_gemm_tile(const int format, const int V, const int M, const int P,
                                 const fl_gemm *g, size_t p, size_t r, fl_prefetch prefetch)
{
    vi total[FL_MAX_TILE][FL_NV];
    (void)format;
    const int8_t *panel = (const int8_t *)g->panel + p * g->panel_bytes;
    if (g->codes.bits == 8)
        fl_sum_codes(V, M, P, total, g->k, &g->codes, r, panel, g->panel_bytes, prefetch);
    else
        FL_LOOP (q, P)
            fl_sum_rows_16(V, total + q, M, g->k, &g->codes, r, panel + (size_t)q * g->panel_bytes);
    FL_LOOP (j, M * P)
        (V == 4 ? fl_int8_gemm_end_4 : fl_int8_gemm_end_3)(g, total[j], M > 1 ? p : p + (size_t)j,
                                                           M > 1 ? r + (size_t)j : r);
}
FL_INLINE void fl_int8_step_tile(const int format, const int cell, const int M, const int P,
                                 const fl_step *s, size_t p, size_t r, fl_prefetch prefetch)
{
    vi total[FL_MAX_TILE][FL_NV];
    (void)format;
    fl_sum_codes(FL_VECTORS(cell), M, P, total, s->k, &s->codes, r,
                 (const char *)s->panel + p * s->panel_bytes, s->panel_bytes, prefetch);
    FL_LOOP (j, M * P)
        (cell == FL_LSTM ? fl_int8_lstm_end : fl_int8_gru_end)(
            s, total[j], M > 1 ? p : p + (size_t)j, M > 1 ? r + (size_t)j : r);
}

/* The like of fl_probe_fma (probes.h) for products of codes. Each chain's sum serves as its weights
   too, so that the compiler finds nothing that is the same in all rounds and could be computed
   once. */
static double fl_int8_probe_run(size_t n)
{
    volatile int8_t ones[4] = {1, 1, 1, 1};
    const int8_t four[4] = {ones[0], ones[1], ones[2], ones[3]};
    const vi a = vi_four(four);
    vi acc[12];
    FL_FOR (i, 12)
        acc[i] = vi_start(i);
    for (size_t k = 0; k < n; k++) {
        FL_FOR (i, 12)
            acc[i] = vi_dot(acc[i], acc[i], a);
    }
    vf total = vi_float(acc[0]);
    for (int i = 1; i < 12; i++)
        total = vf_add(total, vi_float(acc[i]));
    float sink[FL_LANES];
    vf_storeu(sink, total);
    ones[0] = (int8_t)(sink[0] > 0);
    return (double)n * 12 * FL_LANES * 8;
}

FL_GEMM(int8_gemm, fl_int8_gemm_tile, FL_INT8, NULL, NULL)
FL_STEP(int8_lstm, fl_int8_step_tile, FL_INT8, FL_LSTM)
FL_STEP(int8_gru, fl_int8_step_tile, FL_INT8, FL_GRU)

/* The declarations of these kernels, where FL_INT8_KERNEL names those of another file. */
#define FL_DECLARE_INT8_KERNELS                                                                    \
    float FL_INT8_KERNEL(encode)(void *, const float *, size_t, int, float, float, int32_t *);     \
    double FL_INT8_KERNEL(probe)(size_t);                                                          \
    void FL_INT8_KERNEL(gemm)(const fl_gemm *);                                                    \
    void FL_INT8_KERNEL(lstm)(const fl_step *);                                                    \
    void FL_INT8_KERNEL(gru)(const fl_step *);

#endif
