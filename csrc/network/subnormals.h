/* SPDX-License-Identifier: MIT */
/* Subnormal numbers among weights. */
#ifndef FL_SUBNORMALS_H
#define FL_SUBNORMALS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
typedef uint32_t fl_four_words __attribute__((vector_size(16)));
#endif

/* Sets the subnormal numbers among n floats to 0, and -0 to 0: as factors, subnormal weights would
   cost a slow path of the CPU, microcode on many, at every use. The test is one of the bits as an
   integer; four at a time where the compiler has vectors, which gcc does not make of a loop at
   -O2. */
static inline void fl_no_subnormals(float *w, size_t n)
{
    size_t i = 0;
#if defined(__GNUC__)
    for (; n - i >= 4; i += 4) {
        fl_four_words u;
        memcpy(&u, w + i, sizeof u);
        u &= (fl_four_words)((u & 0x7f800000u) != 0u);
        memcpy(w + i, &u, sizeof u);
    }
#endif
    for (; i < n; i++) {
        uint32_t u;
        memcpy(&u, w + i, 4);
        u = u & 0x7f800000u ? u : 0;
        memcpy(w + i, &u, 4);
    }
}

#endif
