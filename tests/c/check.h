/* SPDX-License-Identifier: MIT */
/* What every driver uses: a check that ends the process if it fails, and drawn numbers. libFuzzer
   keeps the input of a process that aborts, not of one that exits. */
#ifndef FL_CHECK_H
#define FL_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(FL_LIBFUZZER)
#define CHECK_FAILED() abort()
#else
#define CHECK_FAILED() _Exit(1)
#endif

#define CHECK(ok)                                                                                  \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #ok);                               \
            CHECK_FAILED();                                                                        \
        }                                                                                          \
    } while (0)

/* The next number of a generator whose state is *state: splitmix64, Steele et al. 2014. */
static inline uint32_t draw(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

/* A drawn number in low .. high. */
static inline size_t between(uint64_t *state, size_t low, size_t high)
{
    return low + draw(state) % (high - low + 1);
}

#endif
