/* SPDX-License-Identifier: MIT */
/* Subnormal numbers among weights. */
#ifndef FL_SUBNORMALS_H
#define FL_SUBNORMALS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Subnormal weights become 0: as factors they would cost an assist at every use. By their bits: an
   integer test is one that every compiler turns into vectors. */
static inline void fl_no_subnormals(float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, w + i, 4);
        u = u & 0x7f800000u ? u : 0;
        memcpy(w + i, &u, 4);
    }
}

#endif
