/* SPDX-License-Identifier: MIT */
/*
 * Dropout. For feature f = first + i of a row,
 *
 *     y[i] = x[i] / (1 - rate) where 24 bits of hash(seed, row, f) are at least rate * 2^24, else 0
 *
 * There is a hash instead of a random generator with a state, so that threads may compute the
 * elements in every order and with every division of the work.
 */
#include "tape/dropout.h"

/* The finaliser of MurmurHash3 (Appleby, 2011), a bijection of 32 bits. */
static inline uint32_t mix32(uint32_t h)
{
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

/* splitmix64's output function (Steele, Lea, Flood 2014). */
static inline uint64_t mix64(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void fl_dropout(float *y, const float *x, size_t n, float rate, uint64_t seed, uint64_t row,
                size_t first)
{
    /* One 64-bit hash gives two words for the row; a 32-bit hash of them follows for each feature.
     */
    const uint64_t key = mix64(mix64(seed + 0x9e3779b97f4a7c15u) ^ (row + 1));
    const uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32) | 1u;
    /* A rate that is a float in 0.5 .. 1 is a multiple of 2^-24, so 24 bits hold it exactly. */
    const uint32_t limit = (uint32_t)((double)rate * 16777216.0 + 0.5);
    const float scale = rate < 1.0f ? 1.0f / (1.0f - rate) : 0.0f;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = mix32((uint32_t)(first + i) * high + low) >> 8;
        y[i] = u < limit ? 0.0f : x[i] * scale;
    }
}
