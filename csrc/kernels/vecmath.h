/* SPDX-License-Identifier: MIT */
/*
 * sigmoid and tanh, as fixed sequences of IEEE operations: every instruction set that has a fused
 * multiply-add gives the same bits.
 *
 * Each is a numerator and a denominator, so that a product of two gates costs one division instead
 * of two, and one rounding less:
 *
 *     i * g = num_g / (den_i * den_g)
 *
 * Both need exp(-x). The reduction is Cody and Waite's, and q a polynomial of degree 4:
 *
 *     x = r - n ln 2 with an integer n and |r| <= ln(2) / 2      exp(-x) = 2^n exp(-r)
 *     exp(-r) = 1 - r + r^2 q(r)
 *
 * q was fitted for this file by least maximum error, by iteratively reweighted least squares on
 * |r| <= 0.348. Its coefficients, rounded to float, leave exp(-r) - 1 an error below 0.27 * 2^-24.
 * Over all 2^32 floats sigmoid and tanh are within 2 ULP, and monotone
 * (tests/numbers/test_activations.py).
 *
 * -x / ln 2 is rounded to the integer n by adding 1.5 * 2^23 plus the exponent bias of 127. The low
 * bits of that sum are the exponent field of 2^n, and a shift by 23 makes the float 2^n of them.
 */
#ifndef FL_VECMATH_H
#define FL_VECMATH_H

#include "base/compiler.h"

#define FL_LOG2E 0x1.715476p+0f
#define FL_LN2_HI 0x1.62e4p-1f /* has 15 bits, so n * FL_LN2_HI is exact for |n| < 512 */
#define FL_LN2_LO 0x1.7f7d1cp-20f
#define FL_ROUND 0x1.8p23f

/* A set whose code is to be small defines this as static FL_NOINLINE, and each is one function. */
#ifndef FL_MATH
#define FL_MATH FL_INLINE
#endif

/* FL_POLY4 is -c^2 q(c r) for a constant power of two c, with r2 = r^2; fl_poly4 is a polynomial in
   r with the coefficients q0 .. q4. Its two halves, summed side by side, take 4 cycles less than
   Horner's chain. */
FL_INLINE vf fl_poly4(vf r, vf r2, float q0, float q1, float q2, float q3, float q4)
{
    vf low = vf_fma(r, vf_set1(q1), vf_set1(q0));
    vf high = vf_fma(r, vf_set1(q3), vf_set1(q2));
    high = vf_fma(r2, vf_set1(q4), high);
    return vf_fma(r2, high, low);
}
#define FL_POLY4(r, r2, c)                                                                         \
    fl_poly4(r, r2, -0x1p-1f * c * c, 0x1.5554aep-3f * c * c * c, -0x1.555486p-5f * c * c * c * c, \
             0x1.1228f4p-7f * c * c * c * c * c, -0x1.6d9a5cp-10f * c * c * c * c * c * c)

/*
 * sigmoid(a) = FL_SIGMOID_NUM / fl_sigmoid_den(a), where the denominator is 2^-64 (1 + exp(-a)).
 *
 * The factor 2^-64 keeps exp(-a) finite down to a = -104, where sigmoid itself rounds to 0, so that
 * the one division gives subnormal results too. Where exp(-a) is above 2^24, the sum `hi` of the
 * two terms loses the 1; `lo` is what was lost. Without `lo` the error there is 2.4 ULP.
 */
#define FL_SIGMOID_NUM 0x1p-64f

FL_MATH vf fl_sigmoid_den(vf a)
{
    const vf round = vf_set1(FL_ROUND + 63.0f); /* 127 - 64 */
    a = vf_max(vf_set1(-104.5f), vf_min(vf_set1(30.0f), a));
    vf t = vf_fma(a, vf_set1(-FL_LOG2E), round);
    vf n = vf_sub(t, round);
    vf r = vf_fma(n, vf_set1(FL_LN2_HI), a);
    r = vf_fma(n, vf_set1(FL_LN2_LO), r);
    vf r2 = vf_mul(r, r);
    vf p = vf_fma(r2, FL_POLY4(r, r2, 1), r); /* 1 - exp(-r) */
    vf s = vf_shl23(t);
    vf one = vf_set1(FL_SIGMOID_NUM);
    vf hi = vf_add(s, one), lo = vf_sub(one, vf_sub(hi, s));
    return vf_add(hi, vf_fnma(s, p, lo));
}

FL_INLINE vf fl_sigmoid(vf a) { return vf_div(vf_set1(FL_SIGMOID_NUM), fl_sigmoid_den(a)); }

/*
 * exp(-2 |x|) = s (1 - p). Returns p, and s, a power of two, to *s.
 *
 * Here r = |x| + n ln(2) / 2; the polynomial's argument is 2 r, and the doubling is in its
 * constants. ln 2 in one piece suffices: at n = -1 its error is 2^-29, and for smaller n tanh is
 * near 1.
 */
FL_INLINE vf fl_tanh_parts(vf x, vf *s)
{
    const vf round = vf_set1(FL_ROUND + 127.0f);
    vf b = vf_min(vf_set1(20.0f), vf_abs(x));
    vf t = vf_fma(b, vf_set1(-2.0f * FL_LOG2E), round);
    vf n = vf_sub(t, round);
    vf r = vf_fma(n, vf_set1(0x1.62e43p-2f), b);
    vf r2 = vf_mul(r, r);
    *s = vf_shl23(t);
    return vf_fma(r2, FL_POLY4(r, r2, 2), vf_add(r, r));
}

/*
 * tanh(x) = num / den with num = sign(x) (1 - e), den = 1 + e and e = exp(-2 |x|). Returns num, and
 * den to *den. den is made from e and not from num, whose rounding would then count twice (2.5
 * ULP). Near 0, where s = 1, num is p = 2 |x| (1 - |x| ...) to full relative precision.
 */
FL_MATH vf fl_tanh_num(vf x, vf *den)
{
    vf s, p = fl_tanh_parts(x, &s);
    *den = vf_fnma(s, p, vf_add(vf_set1(1.0f), s));
    return vf_copysign(vf_fma(s, p, vf_sub(vf_set1(1.0f), s)), x);
}

FL_INLINE vf fl_tanh(vf x)
{
    vf den, num = fl_tanh_num(x, &den);
    return vf_div(num, den);
}

#endif
