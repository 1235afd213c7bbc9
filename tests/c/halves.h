/* SPDX-License-Identifier: MIT */
/* IEEE binary16 as its definition reads, for drivers to compare with. */
#ifndef FL_HALVES_H
#define FL_HALVES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* The number that a binary16 pattern stands for. */
static inline float half_value(uint16_t h)
{
    const int exponent = h >> 10 & 31, digits = h & 1023;
    const float sign = h & 0x8000u ? -1.0f : 1.0f;
    if (exponent == 31)
        return digits ? NAN : sign * INFINITY;
    return sign *
           (exponent ? ldexpf((float)(1024 + digits), exponent - 25) : ldexpf((float)digits, -24));
}

/* The finite number x, below 65504 in magnitude, rounded to binary16: to the nearest multiple of
   the unit of its last digit, ties to even, as rint does in the default rounding mode. */
static inline float half_rounded(float x)
{
    int exponent;
    frexpf(x, &exponent);
    const int unit = (exponent < -13 ? -13 : exponent) - 11;
    return ldexpf(rintf(ldexpf(x, -unit)), unit);
}

#endif
