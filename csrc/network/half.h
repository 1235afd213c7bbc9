/* SPDX-License-Identifier: MIT */
/* float32 to IEEE binary16 and back, for packing. It is done with integers, so that the result does
   not depend on the CPU's rounding mode. */
#ifndef FL_HALF_H
#define FL_HALF_H

#include <stdint.h>
#include <string.h>

/* The bits of the binary16 number nearest to x, ties to even; infinity from 65520 on; a NaN stays a
   NaN. */
static inline uint16_t fl_half(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    const uint32_t sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520 */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below 2^-14 the result counts units of 2^-24 */
        const uint32_t shift = 126u - (magnitude >> 23);
        if (shift > 24)
            return (uint16_t)sign;
        const uint32_t digits = (magnitude & 0x7fffffu) | 0x800000u, half = 1u << (shift - 1);
        const uint32_t rest = digits & (2 * half - 1), units = digits >> shift;
        return (uint16_t)(sign | (units + (rest > half || (rest == half && (units & 1)))));
    }
    /* Move the exponent's bias from 127 to 15, and round 13 bits away. */
    const uint32_t last = magnitude >> 13 & 1u; /* of the digits that stay */
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + last) >> 13);
}

/* The float that a binary16 number is. */
static inline float fl_from_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    uint32_t u = sign | 0x7f800000u | (magnitude & 0x3ffu) << 13; /* infinity or NaN */
    float x;
    if (magnitude < 0x400u) { /* it counts units of 2^-24 */
        x = (float)magnitude * 0x1p-24f;
        memcpy(&u, &x, 4);
        u |= sign;
    } else if (magnitude < 0x7c00u)
        u = sign | ((magnitude << 13) + 0x38000000u);
    memcpy(&x, &u, 4);
    return x;
}

#endif
