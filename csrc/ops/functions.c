/* SPDX-License-Identifier: MIT */
#include "ops/functions.h"

#include <math.h>
#include <stdint.h>

#include "base/compiler.h"
#include "ops/loops.h"

/* Adding 1.5 * 2^52 to a double of small magnitude rounds it to an integer, half to even, which
   then is in the low bits of the sum. */
#define ROUND 0x1.8p52
#define LOG2E 0x1.71547652b82fep+0
#define LN2 0x1.62e42fefa39efp-1

typedef union number {
    double value;
    uint64_t bits;
} number;

FL_INLINE double of_bits(uint64_t bits) { return (number){.bits = bits}.value; }
FL_INLINE uint64_t bits_of(double value) { return (number){.value = value}.bits; }

/* exp(x) = 2^n exp(r) with r = x - n ln 2, |r| <= ln(2) / 2, and exp(r) by its Taylor series, which
   leaves out 2e-10. x is cut to -200 .. 200, where floats have long been 0 or infinity. */
FL_INLINE double exp_of(double x)
{
    x = x > 200.0 ? 200.0 : x;
    x = x < -200.0 ? -200.0 : x;
    const double t = x * LOG2E + ROUND, r = x - (t - ROUND) * LN2, r2 = r * r, r4 = r2 * r2;
    const double low = (1.0 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    const double high = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    const double p = low + r4 * (high + r4 * (1.0 / 40320));
    return p * of_bits((bits_of(t) + 1023) << 52);
}

/* ln(x) of a normal double x > 0, to a relative error of 1e-14: x = 2^n m with m in sqrt(1/2) ..
   sqrt(2), and ln(m) = 2 atanh(s) with s = (m - 1) / (m + 1), by its Taylor series. */
FL_INLINE double log_of(double x)
{
    const uint64_t bits = bits_of(x), least = 0x3fe6a09e667f3bcdu;    /* of sqrt(1/2) */
    const uint64_t n = (bits - least + ((uint64_t)1024 << 52)) >> 52; /* 1024 more than it is */
    const double m = of_bits(bits - (n << 52) + ((uint64_t)1024 << 52));
    const double exponent = of_bits(n | (uint64_t)0x433 << 52) - (0x1p52 + 1024);
    const double s = (m - 1.0) / (m + 1.0), z = s * s, z2 = z * z, z4 = z2 * z2;
    const double low = (2.0 / 3 + z * (2.0 / 5)) + z2 * (2.0 / 7 + z * (2.0 / 9));
    const double high = (2.0 / 11 + z * (2.0 / 13)) + z2 * (2.0 / 15 + z * (2.0 / 17));
    return exponent * LN2 + (2.0 * s + s * z * (low + z4 * high));
}

/* ln of any x >= 0. */
FL_INLINE double log_from_zero(double x)
{
    double y = log_of(x);
    y = x == 0.0 ? -(double)INFINITY : y;
    return x > 0x1p1000 ? (double)INFINITY : y;
}

void fl_exp(float *y, const float *x, size_t n)
{
    FL_EACH(n)
    y[i] = (float)exp_of((double)x[i]);
}

void fl_log(float *y, const float *x, size_t n)
{
    FL_EACH(n)
    {
        const double v = (double)x[i];
        const double l = log_from_zero(v);
        y[i] = (float)(v >= 0.0 ? l : (double)NAN);
    }
}

/*
 * |x| < 1: the Taylor series, which leaves out 3e-11. Above: 1 - exp(-x^2) t q(t) with t = 1 / (1 +
 * x / 2), where q has degree 6 and was fitted for this file by least maximum error on 1 .. 4, to
 * 1.2e-12.
 */
FL_INLINE double erf_of(double x)
{
    const double z = x * x, b = x < 0.0 ? -x : x;
    double s = -1.0 / (39916800.0 * 23);
    s = s * z + 1.0 / (3628800.0 * 21);
    s = s * z - 1.0 / (362880.0 * 19);
    s = s * z + 1.0 / (40320.0 * 17);
    s = s * z - 1.0 / (5040.0 * 15);
    s = s * z + 1.0 / (720.0 * 13);
    s = s * z - 1.0 / (120.0 * 11);
    s = s * z + 1.0 / (24.0 * 9);
    s = s * z - 1.0 / (6.0 * 7);
    s = s * z + 1.0 / (2.0 * 5);
    s = s * z - 1.0 / 3;
    s = 0x1.20dd750429b6dp+0 * (x * (1.0 + z * s)); /* 2 / sqrt(pi); -0 stays -0 */
    const double t = 1.0 / (1.0 + 0.5 * b);
    double q = 0x1.c92184bef4bbep-4;
    q = q * t - 0x1.c246a54612b04p-2;
    q = q * t + 0x1.0476b28456a8ep-1;
    q = q * t - 0x1.a4c8fced3aa26p-5;
    q = q * t + 0x1.4591d323c28fep-2;
    q = q * t + 0x1.1459e080cf9c2p-2;
    q = q * t + 0x1.21c8dfab5fd68p-2;
    double tail = 1.0 - exp_of(-z) * (t * q);
    tail = x < 0.0 ? -tail : tail;
    return b < 1.0 ? s : tail;
}

void fl_erf(float *y, const float *x, size_t n)
{
    FL_EACH(n)
    y[i] = (float)erf_of((double)x[i]);
}

/* |x| rounded to an integer, half to even; x is anything. */
FL_INLINE float rounded(float x)
{
    const float b = fabsf(x), r = (b + 0x1p23f) - 0x1p23f;
    return b < 0x1p23f ? r : b;
}

FL_INLINE float pow_of(float a, float b)
{
    const float size = fabsf(a), half = 0.5f * fabsf(b);
    const int whole = rounded(b) == fabsf(b), odd = whole & (rounded(half) != half);
    float y = (float)exp_of((double)b * log_from_zero((double)size));
    y = size != size || b != b ? NAN : y;
    /* Negative numbers, -0 included, have odd powers; powers of finite ones that are not whole are
       not real. */
    const int negative = copysignf(1.0f, a) < 0.0f;
    y = (negative & odd) ? -y : y;
    y = ((a < 0.0f) & (size <= 0x1.fffffep127f) & !whole) ? NAN : y;
    return b == 0.0f || a == 1.0f || (a == -1.0f && fabsf(b) > 0x1.fffffep127f) ? 1.0f : y;
}

void fl_pow(float *y, const float *a, const float *b, size_t n)
{
    FL_EACH(n)
    y[i] = pow_of(a[i], b[i]);
}

/* The bits of 2 / pi after the point, from bit `from` on, 64 of them. */
static uint64_t two_over_pi(unsigned from)
{
    static const uint32_t words[] = {0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                     0xf534ddc0u, 0xdb629599u, 0x3c439041u,
                                     0xfe5163abu, 0xdebbc561u, 0xb7246e3au};
    const uint32_t *w = words + from / 32;
    const unsigned shift = from % 32;
    const uint64_t high = (uint64_t)w[0] << 32 | w[1];
    return shift ? high << shift | w[2] >> (32 - shift) : high;
}

/* x = n pi / 2 + r with |r| <= pi / 4: returns r, and n modulo 4 to *quarter. For large |x|: x = m
   2^e with an integer m < 2^24, and of m 2^e 2 / pi only the bits around the point are computed. */
static double reduced_large(double x, uint64_t *quarter)
{
    const double size = fabs(x);
    const uint64_t bits = bits_of(size);
    const unsigned e = (unsigned)(bits >> 52) - 1023 - 23; /* 2 .. 104: |x| >= 2^25 */
    const uint64_t m = (bits & 0xfffffffffffffu) >> 29 | 0x800000u;
    /* Bits of 2 / pi before e - 2 give multiples of 4. Of the product modulo 4, 64 bits after those
       of m would be lost: `low` has 64 bits of 2 / pi from there, `high` the 64 before them. */
    const uint64_t high = two_over_pi(e - 2), low = two_over_pi(e + 62);
    const uint64_t carried = ((m * (low >> 32)) + (m * (low & 0xffffffffu) >> 32)) >> 32;
    const uint64_t product = m * high + carried; /* in units of 2^-62, modulo 4 */
    uint64_t n = product >> 62;
    const uint64_t half = product >> 61 & 1;
    const int64_t rest = (int64_t)(product << 2); /* -1/2 .. 1/2 in units of 2^-64 */
    n += half;
    const double r = (double)rest * 0x1p-64 * 0x1.921fb54442d18p+0;
    *quarter = (x < 0.0 ? 4 - n : n) & 3;
    return x < 0.0 ? -r : r;
}

/* sin(r) and cos(r) by their Taylor series, which leave out 3e-13; quarter & 1 chooses, and
   quarter & 2 is the sign. */
FL_INLINE double of_quarter(double r, uint64_t quarter)
{
    const double z = r * r;
    double s = 1.0 / 6227020800.0;
    s = s * z - 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z - 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z - 1.0 / 6.0;
    s = r * (1.0 + z * s);
    double c = 1.0 / 479001600.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = c * z - 1.0 / 2.0;
    c = 1.0 + z * c;
    s = quarter & 1 ? c : s;
    return of_bits(bits_of(s) ^ (quarter & 2) << 62);
}

/* x = n pi / 2 + r: returns r, and n modulo 4 to *quarter; NaN of what is not finite. Up to 2^25 a
   product of n and the first two of three parts of pi / 2 is exact. */
FL_INLINE double reduced(float x, uint64_t *quarter)
{
    const double v = (double)x;
    if (fabsf(x) < 0x1p25f) {
        const double t = v * 0x1.45f306dc9c883p-1 + ROUND, n = t - ROUND;
        *quarter = bits_of(t);
        return (v - n * 0x1.921fb54p+0) - n * 0x1.10b4611a62633p-30;
    }
    *quarter = 0;
    return fabsf(x) <= 0x1.fffffep127f ? reduced_large(v, quarter) : (double)NAN;
}

/* sin(x + turn pi / 2) */
static void sines(float *y, const float *x, size_t n, uint64_t turn)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t quarter;
        const double r = reduced(x[i], &quarter);
        y[i] = (float)of_quarter(r, quarter + turn);
    }
}

void fl_sin(float *y, const float *x, size_t n) { sines(y, x, n, 0); }
void fl_cos(float *y, const float *x, size_t n) { sines(y, x, n, 1); }

void fl_tan(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t quarter;
        const double r = reduced(x[i], &quarter);
        y[i] = (float)(of_quarter(r, quarter) / of_quarter(r, quarter + 1));
    }
}

/* (exp(x) - exp(-x)) / 2, and for |x| < 1 the Taylor series, which leaves out 8e-13. */
FL_INLINE double sinh_of(double x)
{
    const double z = x * x;
    double s = 1.0 / 6227020800.0;
    s = s * z + 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z + 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z + 1.0 / 6.0;
    s = x * (1.0 + z * s);
    const double large = 0.5 * (exp_of(x) - exp_of(-x));
    return fabs(x) < 1.0 ? s : large;
}

/* The angle, -pi / 2 .. pi / 2: of |x| > 1 that of 1 / x is the rest to pi / 2, and that of t >
   tan(pi / 8) is pi / 4 and the one of (t - 1) / (t + 1). Below, the Taylor series, which leaves
   out 1e-12. */
FL_INLINE double atan_of(double x)
{
    const double size = fabs(x), t = size > 1.0 ? 1.0 / size : size;
    const int upper = t > 0.41421356237309503;
    const double u = upper ? (t - 1.0) / (t + 1.0) : t, z = u * u;
    double s = -1.0 / 27;
    s = s * z + 1.0 / 25;
    s = s * z - 1.0 / 23;
    s = s * z + 1.0 / 21;
    s = s * z - 1.0 / 19;
    s = s * z + 1.0 / 17;
    s = s * z - 1.0 / 15;
    s = s * z + 1.0 / 13;
    s = s * z - 1.0 / 11;
    s = s * z + 1.0 / 9;
    s = s * z - 1.0 / 7;
    s = s * z + 1.0 / 5;
    s = s * z - 1.0 / 3;
    s = u + u * (z * s) + (upper ? 0x1.921fb54442d18p-1 : 0.0);
    return copysign(size > 1.0 ? 0x1.921fb54442d18p+0 - s : s, x);
}

/* The angle of which x is the sine; NaN if there is none. 1 - x^2 = (1 - x) (1 + x) is exact where
   it is small. */
FL_INLINE double asin_of(double x) { return atan_of(x / sqrt((1.0 - x) * (1.0 + x))); }

/* sign(x) ln(|x| + sqrt(x^2 + 1)), and of small x the Taylor series, which leaves out 1e-19. */
FL_INLINE double asinh_of(double x)
{
    const double b = fabs(x), z = x * x;
    const double small = b + b * (z * (z * (3.0 / 40) - 1.0 / 6));
    const double large = log_from_zero(b + sqrt(z + 1.0));
    return copysign(b < 0x1p-10 ? small : b == b ? large : b, x);
}

/* ln(x + sqrt(x^2 - 1)); NaN below 1. */
FL_INLINE double acosh_of(double x)
{
    const double y = log_from_zero(x + sqrt((x - 1.0) * (x + 1.0)));
    return x >= 1.0 ? y : (double)NAN;
}

/* ln((1 + x) / (1 - x)) / 2, and of small x the Taylor series, which leaves out 1e-19. */
FL_INLINE double atanh_of(double x)
{
    const double b = fabs(x), z = x * x;
    const double small = b + b * (z * (1.0 / 3 + z * (1.0 / 5)));
    const double large = 0.5 * log_from_zero((1.0 + b) / (1.0 - b));
    return copysign(b < 0x1p-10 ? small : b <= 1.0 ? large : (double)NAN, x);
}

#define EACH(name, expr)                                                                           \
    void name(float *y, const float *x, size_t n)                                                  \
    {                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                           \
            const double v = (double)x[i];                                                         \
            y[i] = (float)(expr);                                                                  \
        }                                                                                          \
    }
EACH(fl_sinh, sinh_of(v))
EACH(fl_cosh, 0.5 * (exp_of(v) + exp_of(-v)))
EACH(fl_asin, asin_of(v))
EACH(fl_acos, 0x1.921fb54442d18p+0 - asin_of(v))
EACH(fl_atan, atan_of(v))
EACH(fl_asinh, asinh_of(v))
EACH(fl_acosh, acosh_of(v))
EACH(fl_atanh, atanh_of(v))
