/* SPDX-License-Identifier: MIT */
/*
 * The elementwise half of the variants, the cells that ONNX and Keras files can describe and
 * PyTorch's layers do not have: other activations (activations.h), sums cut to [-clip, clip], an
 * LSTM's peepholes and coupled gates.
 *
 * A variant's step has two parts: gemm adds the product of h to z, which finishes the sums, and
 * then one of the functions here computes the gates. They choose the activation anew for each
 * vector, by a switch. What they keep for `back` are the sums, not the activations; `back` computes
 * values and slopes of the activations from them.
 *
 * Included once for each instruction set, by elementwise.h.
 */
#ifndef FL_VARIANTS_H
#define FL_VARIANTS_H

#include "kernels/activations.h"
#include "kernels/cells.h"

/* Adds the product of h to z, for panels p0 .. p1 - 1: z += h . panel. */
static void fl_add_product(const fl_step *s, size_t vectors)
{
    fl_gemm g = {.rows = s->rows,
                 .vectors = vectors,
                 .panels = s->p1 - s->p0,
                 .k = s->k,
                 .descending = s->descending,
                 .cut = 1,
                 .a = s->h,
                 .a_step = 1,
                 .panel = (const char *)s->panel + s->p0 * s->panel_bytes,
                 .panel_bytes = s->panel_bytes,
                 .c = (float *)(uintptr_t)s->z + s->p0 * s->z_panel,
                 .c_panel = s->z_panel,
                 .c_row = vectors * FL_LANES,
                 .add = FL_ONTO,
                 .codes = s->codes,
                 .scales = s->scales ? s->scales + s->p0 * vectors * FL_LANES : NULL};
    s->gemm(&g);
}

/*
 * LSTM, with its three activations A, C and O and peepholes p, [panels][i f o][L]:
 *
 *     i = A(a_i + p_i c)      f = A(a_f + p_f c), or 1 - i with input_forget      g = C(a_g)
 *     c' = f c + i g          o = A(a_o + p_o c')                                 h' = o O(c')
 *
 * Every argument of A and C is cut to [-clip, clip] first, that of O is not. Kept are the arguments
 * of A and C before they are cut. In the padding past the last unit the sums are 0 but g need not
 * be, so c is set to 0 there.
 */
static FL_NOINLINE void fl_lstm_variant(const fl_step *s, size_t p, size_t r)
{
    const vf tiny = vf_set1(FL_TINY);
    const fl_variant *variant = s->variant;
    const fl_activation *f = s->activation;
    const size_t unit = p * FL_LANES;
    const float *z = s->z + p * s->z_panel + r * FL_GROUP,
                *peep = variant->peepholes ? s->peep + 3 * unit : NULL;
    float *cp = s->c + r * s->c_row + unit;
    vf a[FL_NV], c = vf_load(cp);
    FL_FOR (g, FL_NV)
        a[g] = vf_load(z + g * FL_LANES);
    if (peep) {
        a[0] = vf_fma(vf_load(peep), c, a[0]);
        a[1] = vf_fma(vf_load(peep + FL_LANES), c, a[1]);
    }
    vf i = fl_clipped_activation_of(variant, f, a[0], NULL);
    vf keep = variant->input_forget ? vf_sub(vf_set1(1.0f), i)
                                    : fl_clipped_activation_of(variant, f, a[1], NULL);
    c = vf_flush(vf_fma(keep, c, vf_mul(i, fl_clipped_activation_of(variant, f + 1, a[2], NULL))),
                 tiny);
    if (peep)
        a[3] = vf_fma(vf_load(peep + 2 * FL_LANES), c, a[3]);
    vf o = fl_clipped_activation_of(variant, f, a[3], NULL);
    vf_store(cp, c);
    if (unit + FL_LANES > s->hidden) {
        vf_store(cp, vf_set1(0.0f));
        vf_storen(cp, c, s->hidden - unit);
    }
    if (s->kept) {
        FL_FOR (g, FL_NV)
            vf_store(s->kept + p * s->kept_panel + r * FL_GROUP + g * FL_LANES, a[g]);
        vf_store(s->c_out + r * s->c_row + unit, vf_load(cp));
    }
    fl_put(s->h_out[r], unit, s->hidden,
           vf_flush(vf_mul(o, fl_activation_of(f + 2, c, NULL)), tiny));
}

/*
 * LSTM, the gradients of the sums. Here c is the cell state before the step and t = O of that after
 * it; i', f', g', o' and t' are the slopes of the activations at their arguments:
 *
 *     dz_o = dh t o'         d = dc + dh o t' + dz_o p_o          dz_g = d i g'
 *     dz_f = d c f'          dz_i = d g i'                        dc = d f + dz_i p_i + dz_f p_f
 *
 * With input_forget dz_f = 0 and dz_i = d (g - c) i'.
 */
static FL_NOINLINE void fl_lstm_variant_back(const fl_back *s, size_t p, size_t r)
{
    const vf tiny = vf_set1(FL_TINY_GRADIENT);
    const fl_variant *variant = s->variant;
    const fl_activation *act = s->activation;
    const size_t unit = p * FL_LANES, at = r * s->c_row + unit;
    const float *a = s->kept + p * s->kept_panel + r * FL_GROUP,
                *peep = variant->peepholes ? s->peep + 3 * unit : NULL;
    vf di, df, dg, dout, dt, c = vf_load(s->c_prev + at),
                             dh = vf_load(s->dh + r * s->dh_row + unit);
    vf i = fl_clipped_activation_of(variant, act, vf_load(a), &di);
    vf f = fl_clipped_activation_of(variant, act, vf_load(a + FL_LANES), &df);
    vf g = fl_clipped_activation_of(variant, act + 1, vf_load(a + 2 * FL_LANES), &dg);
    vf o = fl_clipped_activation_of(variant, act, vf_load(a + 3 * FL_LANES), &dout);
    vf t = fl_activation_of(act + 2, vf_load(s->c + at), &dt), to_i = g;
    if (variant->input_forget) {
        f = vf_sub(vf_set1(1.0f), i);
        df = vf_set1(0.0f);
        to_i = vf_sub(g, c);
    }
    vf dz_o = vf_flush(vf_mul(vf_mul(dh, t), dout), tiny);
    vf d = vf_fma(vf_mul(dh, o), dt, vf_load(s->dc + at));
    if (peep)
        d = vf_fma(dz_o, vf_load(peep + 2 * FL_LANES), d);
    vf dz_i = vf_flush(vf_mul(vf_mul(d, to_i), di), tiny);
    vf dz_f = vf_flush(vf_mul(vf_mul(d, c), df), tiny);
    vf dz_g = vf_flush(vf_mul(vf_mul(d, i), dg), tiny), dc = vf_mul(d, f);
    if (peep)
        dc = vf_fma(dz_i, vf_load(peep), vf_fma(dz_f, vf_load(peep + FL_LANES), dc));
    vf_store(s->dc + at, vf_flush(dc, tiny));
    fl_dz(s->dz, s->dz_rows, s, FL_NV, 0, p, r, dz_i);
    fl_dz(s->dz, s->dz_rows, s, FL_NV, 1, p, r, dz_f);
    fl_dz(s->dz, s->dz_rows, s, FL_NV, 2, p, r, dz_g);
    fl_dz(s->dz, s->dz_rows, s, FL_NV, 3, p, r, dz_o);
    if (s->h)
        vf_store(s->h + p / FL_NV * s->h_panel + r * FL_GROUP + p % FL_NV * FL_LANES, vf_mul(o, t));
}

/*
 * GRU, by the equations of cells.h. The product of h for n must be added to b_hn alone, because r
 * multiplies it. So before the product fl_gru_variant_set_aside moves n_x, the part of the input,
 * from z to the scratch s->c, and puts b_hn in its place. Kept are the sums a_r and a_z, a_n, and
 * the whole argument n_x + r a_n.
 */
FL_INLINE void fl_gru_variant_set_aside(const fl_step *s, size_t p, size_t r)
{
    float *n = (float *)(uintptr_t)s->z + p * s->z_panel + (r * 3 + 2) * FL_LANES;
    vf_store(s->c + r * s->c_row + p * FL_LANES, vf_load(n));
    vf_store(n, vf_load(s->b_hn + p * FL_LANES));
}

static FL_NOINLINE void fl_gru_variant(const fl_step *s, size_t p, size_t r)
{
    const fl_variant *variant = s->variant;
    const size_t unit = p * FL_LANES;
    const float *a = s->z + p * s->z_panel + r * 3 * FL_LANES;
    vf a_n = vf_load(a + 2 * FL_LANES);
    vf reset = fl_clipped_activation_of(variant, s->activation, vf_load(a), NULL);
    vf z = fl_clipped_activation_of(variant, s->activation, vf_load(a + FL_LANES), NULL);
    vf sum = vf_fma(reset, a_n, vf_load(s->c + r * s->c_row + unit));
    vf n = fl_clipped_activation_of(variant, s->activation + 1, sum, NULL);
    if (s->kept) {
        float *kept = s->kept + p * s->kept_panel + r * 4 * FL_LANES;
        vf_store(kept, vf_load(a));
        vf_store(kept + FL_LANES, vf_load(a + FL_LANES));
        vf_store(kept + 2 * FL_LANES, a_n);
        vf_store(kept + 3 * FL_LANES, sum);
    }
    fl_put(s->h_out[r], unit, s->hidden, fl_gru_mix(z, n, fl_get(s->h[r], unit, s->hidden)));
}

/* For both GRUs, from the slopes z' and n' of the activations of z and n: returns the gradient of
   n's sum, dn = d (1 - z) n', and stores that of z's, dz = d (h - n) z', in *dz. */
FL_INLINE vf fl_gru_variant_dn(vf d, vf h, vf z, vf z_slope, vf n, vf n_slope, vf *dz)
{
    const vf tiny = vf_set1(FL_TINY_GRADIENT);
    *dz = vf_flush(vf_mul(vf_mul(d, vf_sub(h, n)), z_slope), tiny);
    return vf_flush(vf_mul(vf_mul(d, vf_sub(vf_set1(1.0f), z)), n_slope), tiny);
}

static FL_NOINLINE void fl_gru_variant_back(const fl_back *s, size_t p, size_t r)
{
    const vf tiny = vf_set1(FL_TINY_GRADIENT);
    const fl_variant *variant = s->variant;
    const size_t unit = p * FL_LANES;
    const float *kept = s->kept + p * s->kept_panel + r * 4 * FL_LANES;
    float *dc = s->dc + r * s->c_row + unit;
    vf d = vf_add(vf_load(s->dh + r * s->dh_row + unit), vf_load(dc));
    vf r_slope, z_slope, n_slope, dz;
    vf reset = fl_clipped_activation_of(variant, s->activation, vf_load(kept), &r_slope);
    vf z = fl_clipped_activation_of(variant, s->activation, vf_load(kept + FL_LANES), &z_slope);
    vf n = fl_clipped_activation_of(variant, s->activation + 1, vf_load(kept + 3 * FL_LANES),
                                    &n_slope);
    vf h = fl_get(s->before[r], unit, s->hidden);
    vf dn = fl_gru_variant_dn(d, h, z, z_slope, n, n_slope, &dz);
    vf dr = vf_flush(vf_mul(vf_mul(dn, vf_load(kept + 2 * FL_LANES)), r_slope), tiny);
    vf_store(dc, vf_flush(vf_mul(d, z), tiny));
    fl_gru_dz(s, p, r, dr, dz, dn, vf_flush(vf_mul(dn, reset), tiny));
}

/* The GRU that resets h before the product of n, by the equations of cells.h. Kept are the sums of
   r, z and n. */
static FL_NOINLINE void fl_gru_before_variant_reset(const fl_step *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    vf a = vf_load(s->z + p * s->z_panel + at),
       reset = fl_clipped_activation_of(s->variant, s->activation, a, NULL);
    vf h = unit < s->hidden ? fl_get(s->h[r], unit, s->hidden) : vf_set1(0.0f);
    vf_store(s->c + r * s->c_row + unit, vf_flush(vf_mul(reset, h), vf_set1(FL_TINY)));
    if (s->kept)
        vf_store(s->kept + p * s->kept_panel + at, a);
}

static FL_NOINLINE void fl_gru_before_variant(const fl_step *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    const size_t pz = s->p1 + p, pn = 2 * s->p1 + p;
    vf a_z = vf_load(s->z + pz * s->z_panel + at), a_n = vf_load(s->z + pn * s->z_panel + at);
    if (s->kept) {
        vf_store(s->kept + pz * s->kept_panel + at, a_z);
        vf_store(s->kept + pn * s->kept_panel + at, a_n);
    }
    if (unit < s->hidden)
        fl_put(s->h_out[r], unit, s->hidden,
               fl_gru_mix(fl_clipped_activation_of(s->variant, s->activation, a_z, NULL),
                          fl_clipped_activation_of(s->variant, s->activation + 1, a_n, NULL),
                          fl_get(s->h[r], unit, s->hidden)));
}

static FL_NOINLINE void fl_gru_before_variant_back(const fl_back *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    const size_t pz = s->panels + p, pn = 2 * s->panels + p;
    float *dc = s->dc + r * s->c_row + unit;
    vf d = vf_add(vf_load(s->dh + r * s->dh_row + unit), vf_load(dc)), z_slope, n_slope, dz;
    vf z = fl_clipped_activation_of(s->variant, s->activation,
                                    vf_load(s->kept + pz * s->kept_panel + at), &z_slope);
    vf n = fl_clipped_activation_of(s->variant, s->activation + 1,
                                    vf_load(s->kept + pn * s->kept_panel + at), &n_slope);
    vf h = unit < s->hidden ? fl_get(s->before[r], unit, s->hidden) : vf_set1(0.0f);
    vf dn = fl_gru_variant_dn(d, h, z, z_slope, n, n_slope, &dz);
    vf_store(dc, vf_flush(vf_mul(d, z), vf_set1(FL_TINY_GRADIENT)));
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, pz, r, dz);
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, pn, r, dn);
}

static FL_NOINLINE void fl_gru_before_variant_back_reset(const fl_back *s, size_t p, size_t v,
                                                         size_t r)
{
    const vf tiny = vf_set1(FL_TINY_GRADIENT);
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    float *dc = s->dc + r * s->c_row + unit;
    vf slope, d = vf_load(s->dh + r * s->dh_row + unit);
    vf reset = fl_clipped_activation_of(s->variant, s->activation,
                                        vf_load(s->kept + p * s->kept_panel + at), &slope);
    vf h = unit < s->hidden ? fl_get(s->before[r], unit, s->hidden) : vf_set1(0.0f);
    vf_store(dc, vf_flush(vf_fma(d, reset, vf_load(dc)), tiny));
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, p, r, vf_flush(vf_mul(vf_mul(d, h), slope), tiny));
}

/* RNN: h' = A(a), dz = dh A'(a). Kept are the sums. */
static FL_NOINLINE void fl_rnn_variant(const fl_step *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    vf a = vf_load(s->z + p * s->z_panel + at);
    if (s->kept)
        vf_store(s->kept + p * s->kept_panel + at, a);
    if (unit < s->hidden)
        fl_put(s->h_out[r], unit, s->hidden,
               vf_flush(fl_clipped_activation_of(s->variant, s->activation, a, NULL),
                        vf_set1(FL_TINY)));
}

static FL_NOINLINE void fl_rnn_variant_back(const fl_back *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    vf slope, d = vf_load(s->dh + r * s->dh_row + unit);
    fl_clipped_activation_of(s->variant, s->activation, vf_load(s->kept + p * s->kept_panel + at),
                             &slope);
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, p, r,
          vf_flush(vf_mul(d, slope), vf_set1(FL_TINY_GRADIENT)));
}

#endif
