/* SPDX-License-Identifier: MIT */
/*
 * The activations that a variant may have, and their slopes, for vectors of numbers; sigmoid and
 * tanh are those of vecmath.h. Included once for each instruction set, through table.h.
 */
#ifndef FL_ACTIVATIONS_H
#define FL_ACTIVATIONS_H

#include "kernels/contract.h"
#include "kernels/vecmath.h"

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
 * rounded, values are up to 7.6 * 2^-24 of themselves off and slopes 4.1 * 2^-24. A forward call,
 * in training too, uses the values made of the tail, whose error is small beside 1; gradients whose
 * terms cancel would show it.
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
 * a NaN. With a slope gelu's value is more accurate (fl_gelu_near_0). This function and those
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

#endif
