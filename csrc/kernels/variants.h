/* SPDX-License-Identifier: MIT */
/*
 * The elementwise half of the variants, the cells that ONNX and Keras files can describe and
 * PyTorch's layers do not have: other activations, sums cut to [-clip, clip], an LSTM's peepholes
 * and coupled gates.
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

#include "kernels/cells.h"

/* ---- activations ---- */

/* exp(-b) = 2 s (1 - p), for b in -89 .. 87.6, with a power of two s. Returns s, and p to *p. s is
   0 where exp(-b) is below 2^-125.5. The reduction is that of vecmath.h. 2 s could be 2^128, which
   no float holds; with s, half of it, the result is infinity, not NaN, where exp(-b) overflows. */
FL_INLINE vf fl_exp_parts(vf b, vf *p)
{
    const vf round = vf_set1(FL_ROUND + 126.0f);
    vf t = vf_fma(b, vf_set1(-FL_LOG2E), round);
    vf n = vf_sub(t, round);
    vf r = vf_fma(n, vf_set1(FL_LN2_HI), b);
    r = vf_fma(n, vf_set1(FL_LN2_LO), r);
    vf r2 = vf_mul(r, r);
    *p = vf_fma(r2, FL_POLY4(r, r2, 1), r);
    return vf_shl23(t);
}

/* exp(-b). It is 0 for b above 87, although exp(-b) is subnormal only from 87.34 on, and infinity
   for b below -88.73. */
FL_INLINE vf fl_exp_minus(vf b)
{
    vf p, s = fl_exp_parts(vf_max(vf_set1(-89.0f), vf_min(vf_set1(87.6f), b)), &p);
    vf half = vf_fnma(s, p, s);
    return vf_add(half, half);
}

/* exp(-b) - 1 for b >= 0. Near 0, where 2 s = 1, it is -p, which has full relative precision. */
FL_INLINE vf fl_expm1_minus(vf b)
{
    vf p, s = fl_exp_parts(vf_min(vf_set1(87.6f), b), &p);
    s = vf_add(s, s);
    return vf_fnma(s, p, vf_sub(s, vf_set1(1.0f)));
}

/* ln(1 + u) = 2 atanh(w) = 2 w + w^3 q(w^2) with w = u / (2 + u), for u in 0 .. 1. q has degree 3
   and was fitted as the coefficients of vecmath.h were, to a relative error of 0.08 * 2^-24. */
FL_INLINE vf fl_log1p(vf u)
{
    vf w = vf_div(u, vf_add(vf_set1(2.0f), u)), w2 = vf_mul(w, w);
    vf q = vf_fma(w2, vf_set1(0x1.1ed6a0p-2f), vf_set1(0x1.1ebd44p-2f));
    q = vf_fma(w2, q, vf_set1(0x1.99d206p-2f));
    q = vf_fma(w2, q, vf_set1(0x1.555502p-1f));
    return vf_fma(vf_mul(w, w2), q, vf_add(w, w));
}

/* The upper tail of the normal distribution, e P(t) with e = exp(-b^2 / 2) and t = 1 / (1 + b / 4),
   for b in 0 .. 13.19. The form is that of Abramowitz and Stegun 7.1.26, fitted anew with degree 7
   to an error of 0.9 * 2^-24 of the tail. Past b = 5 the error slowly grows, where the tail is too
   small to matter. */
FL_INLINE vf fl_normal_tail(vf b, vf e)
{
    vf one = vf_set1(1.0f), t = vf_div(one, vf_fma(b, vf_set1(0.25f), one));
    vf q = vf_fma(t, vf_set1(-0x1.868902p-4f), vf_set1(0x1.6f4a50p-2f));
    q = vf_fma(t, q, vf_set1(-0x1.321bf6p-2f));
    q = vf_fma(t, q, vf_set1(0x1.3ffcccp-2f));
    q = vf_fma(t, q, vf_set1(0x1.01cc9ep-7f));
    q = vf_fma(t, q, vf_set1(0x1.df1caep-4f));
    q = vf_fma(t, q, vf_set1(0x1.928628p-4f));
    return vf_mul(e, vf_mul(t, q));
}

/*
 * gelu and, to *slope, its slope, for x in -1 .. 1, as `back` wants them:
 *
 *     gelu(x) = x (1/2 + x p(x^2))        gelu'(x) = 1/2 + x q(x^2)
 *
 * p and q have degrees 4 and 5 and were fitted as the coefficients of vecmath.h were, to 0.5 *
 * 2^-24 of the value and 0.03 * 2^-24 of the slope. Made of the tail, whose argument 1 + b / 4 is
 * rounded, values are up to 7.6 * 2^-24 of themselves off and slopes 4.1 * 2^-24. A forward call
 * keeps these values, whose error is small beside 1; gradients whose terms cancel would show it.
 */
FL_INLINE vf fl_gelu_near_0(vf x, vf *slope)
{
    vf x2 = vf_mul(x, x), half = vf_set1(0.5f);
    vf p = vf_fma(x2, vf_set1(0x1.7fd4b8p-14f), vf_set1(-0x1.30e752p-10f));
    p = vf_fma(x2, p, vf_set1(0x1.4672a4p-7f));
    p = vf_fma(x2, p, vf_set1(-0x1.1055eep-4f));
    p = vf_fma(x2, p, vf_set1(0x1.98844ap-2f));
    vf q = vf_fma(x2, vf_set1(-0x1.6cdf12p-14f), vf_set1(0x1.2664a4p-10f));
    q = vf_fma(x2, q, vf_set1(-0x1.36a6acp-7f));
    q = vf_fma(x2, q, vf_set1(0x1.ea2d62p-5f));
    q = vf_fma(x2, q, vf_set1(-0x1.10580cp-2f));
    q = vf_fma(x2, q, vf_set1(0x1.988452p-1f));
    *slope = vf_fma(x, q, half);
    return vf_mul(x, vf_fma(x, p, half));
}

/*
 * f(x), and f'(x) to *slope unless that is NULL; fastlstm.h has the formulas. Where f has a corner
 * the slope is PyTorch's: for hard_sigmoid 0 at both ends, for the others the left one. A NaN gives
 * a NaN. With a slope the value of gelu is a nearer one (fl_gelu_near_0). This function and those
 * that call it are not inlined: a call costs little beside what most activations cost, while
 * inlining made the compiler copy the loops around it for each case, 60 KB.
 */
static FL_NOINLINE vf fl_activation_of(const fl_activation *f, vf x, vf *slope)
{
    const vf zero = vf_set1(0.0f), one = vf_set1(1.0f);
    const vf alpha = vf_set1(f->alpha), beta = vf_set1(f->beta);
    vf d = alpha, y = zero;
    switch (f->function) {
    case FL_SIGMOID:
        y = fl_sigmoid(x);
        d = vf_fnma(y, y, y);
        break;
    case FL_SCALED_TANH:
        y = fl_tanh(vf_mul(beta, x));
        d = vf_mul(vf_mul(alpha, beta), vf_fnma(y, y, one));
        y = vf_mul(alpha, y);
        break;
    case FL_AFFINE:
        y = vf_fma(alpha, x, beta);
        break;
    case FL_THRESHOLDED_RELU:
        y = vf_le(x, alpha, zero, x);
        d = vf_le(x, alpha, zero, one);
        break;
    case FL_LEAKY_RELU:
        y = vf_fma(alpha, vf_min(zero, x), vf_max(zero, x));
        d = vf_le(x, zero, alpha, one);
        break;
    case FL_HARD_SIGMOID:
        x = vf_fma(alpha, x, beta);
        y = vf_max(zero, vf_min(one, x));
        d = vf_le(x, zero, zero, vf_le(one, x, zero, alpha));
        break;
    case FL_ELU:
        y = fl_expm1_minus(vf_sub(zero, vf_min(zero, x)));
        d = vf_mul(beta, vf_le(x, zero, vf_fma(alpha, y, alpha), one));
        y = vf_mul(beta, vf_fma(alpha, y, vf_max(zero, x)));
        break;
    case FL_SOFTSIGN:
        d = vf_div(one, vf_add(one, vf_abs(x)));
        y = vf_mul(x, d);
        d = vf_mul(d, d);
        break;
    case FL_SOFTPLUS:
        y = vf_add(vf_max(zero, x), fl_log1p(fl_exp_minus(vf_abs(x))));
        d = fl_sigmoid(x);
        break;
    case FL_SILU:
        d = fl_sigmoid(x);
        y = vf_mul(x, d);
        d = vf_fma(y, vf_sub(one, d), d);
        break;
    case FL_GELU: {
        vf b = vf_min(vf_set1(13.1875f), vf_abs(x)), bell = vf_mul(vf_set1(0.5f), b);
        bell = fl_exp_minus(vf_mul(bell, b));
        vf tail = fl_normal_tail(b, bell);
        y = vf_fnma(b, tail, vf_max(zero, x));
        d = vf_mul(vf_mul(vf_set1(0x1.988454p-2f), bell), vf_copysign(b, x)); /* 1 / sqrt(2 pi) */
        d = vf_add(d, vf_le(x, zero, tail, vf_sub(one, tail)));
        if (slope) {
            vf near, near_0 = fl_gelu_near_0(x, &near);
            y = vf_le(b, one, near_0, y);
            d = vf_le(b, one, near, d);
        }
        break;
    }
    case FL_EXPONENTIAL:
        d = y = fl_exp_minus(vf_sub(zero, x));
        break;
    }
    if (slope)
        *slope = d;
    return y;
}

/* f(x cut to [-clip, clip]), and its slope in x, which outside is 0, as torch.clamp's is. */
static FL_NOINLINE vf fl_clipped_activation_of(const fl_variant *variant, const fl_activation *f,
                                               vf x, vf *slope)
{
    const vf clip = vf_set1(variant->clip);
    vf y = fl_activation_of(f, vf_max(vf_set1(-variant->clip), vf_min(clip, x)), slope);
    if (slope)
        *slope = vf_le(vf_abs(x), clip, *slope, vf_set1(0.0f));
    return y;
}

/* ---- the step ---- */

/* Adds the product of h to z, for panels p0 .. p1 - 1: z += h . panel. */
static void fl_add_product(const fl_step *s, size_t vectors)
{
    fl_gemm g = {.rows = s->rows,
                 .vectors = vectors,
                 .panels = s->p1 - s->p0,
                 .k = s->k,
                 .descending = s->descending,
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
