/* SPDX-License-Identifier: MIT */
/*
 * The steps of the LSTM and the GRU in two parts: a product of h and one panel, which adds to sums
 * in memory, and then the gates of the panel. The products are those of bfloat16 (pairs.h, or with
 * tiles tiled.h) and of floats in several chains. With floats in one chain, and with codes outside
 * of tiles, step.h and int8.h do both in registers.
 */
#ifndef FL_STEP_BY_PRODUCT_H
#define FL_STEP_BY_PRODUCT_H

#include "kernels/cells.h"
#include "kernels/product.h"

/* The head of a loop over panels p0 .. p1 - 1 of s, in its order, which declares p. */
#define FL_STEP_PANELS(p, s)                                                                       \
    for (size_t i = (s)->p0, p; p = (s)->descending ? (s)->p0 + (s)->p1 - 1 - i : i, i < (s)->p1;  \
         i++)

/* sums += h . panel p, for rows r .. r + rows - 1 and a panel of V vectors. The sums of a row are V
   vectors one after the other, and those of the next row follow. */
typedef void fl_product_fn(const fl_step *s, size_t V, size_t p, size_t r, size_t rows,
                           float *sums);

/* The steps, by such a product. Each is one function for all products of a set. Where s->kept is
   not NULL they write it too. fl_lstm_by adds the products in s->z, and begins a panel's product
   before it computes the gates of the panel before: their sums have been finished by then, so the
   gates do not wait for them. */
static FL_ONE_COPY void fl_lstm_by(const fl_step *s, fl_product_fn *product)
{
    float *const z = (float *)(uintptr_t)s->z;
    for (size_t i = s->p0; i <= s->p1; i++) {
        const size_t sum = s->p0 + s->p1 - 1;
        if (i < s->p1) {
            const size_t p = s->descending ? sum - i : i;
            product(s, FL_NV, p, 0, s->rows, z + p * s->z_panel);
        }
        if (i == s->p0)
            continue;
        const size_t p = s->descending ? sum - (i - 1) : i - 1;
        const float *sums = z + p * s->z_panel;
        fl_lstm_row row, before; /* a row begins before the one before it ends */
        for (size_t r = 0; r <= s->rows; r++, sums += FL_GROUP) {
            before = row;
            if (r < s->rows) {
                vf a[FL_NV];
                FL_FOR (v, FL_NV)
                    a[v] = vf_load(sums + v * FL_LANES);
                fl_lstm_begin(s->kept != NULL, &row, a, s, p, r);
            }
            if (r > 0)
                fl_lstm_end(before, s, p, r - 1);
        }
    }
}

/* Of n the products of h are sums of their own, from b_hn on, beside those of x in z. `most` rows
   are taken at a time, at most 32. */
static FL_ONE_COPY void fl_gru_by(const fl_step *s, fl_product_fn *product, size_t most)
{
    enum { GROUP = 3 * FL_LANES };
    FL_STEP_PANELS(p, s)
    for (size_t r0 = 0, m; r0 < s->rows; r0 += m) {
        _Alignas(FL_ALIGN) float sums[32 * GROUP];
        const float *z = s->z + p * s->z_panel + r0 * GROUP;
        m = s->rows - r0 < most ? s->rows - r0 : most;
        for (size_t r = 0; r < m; r++)
            FL_FOR (v, 3)
                vf_store(sums + r * GROUP + v * FL_LANES,
                         vf_load(v == 2 ? s->b_hn + p * FL_LANES : z + r * GROUP + v * FL_LANES));
        product(s, 3, p, r0, m, sums);
        for (size_t r = 0; r < m; r++) {
            vf a[3];
            FL_FOR (v, 3)
                a[v] = vf_load(sums + r * GROUP + v * FL_LANES);
            fl_gru_step(s->kept != NULL, a, s, p, r0 + r);
        }
    }
}

/* For k above FL_UNCUT: the product of panels of floats, in chains. */
static void fl_product_in_chains(const fl_step *s, size_t V, size_t p, size_t r, size_t rows,
                                 float *sums)
{
    const fl_gemm g = {.rows = rows,
                       .vectors = V,
                       .panels = 1,
                       .k = s->k,
                       .descending = s->descending,
                       .far = 1,
                       .cut = 1,
                       .a = s->h + r,
                       .a_step = 1,
                       .panel = (const char *)s->panel + p * s->panel_bytes,
                       .panel_bytes = s->panel_bytes,
                       .c = sums,
                       .c_row = V * FL_LANES,
                       .add = FL_ONTO};
    s->gemm(&g);
}

static void fl_lstm_in_chains(const fl_step *s) { fl_lstm_by(s, fl_product_in_chains); }
static void fl_gru_in_chains(const fl_step *s) { fl_gru_by(s, fl_product_in_chains, 32); }

#endif
