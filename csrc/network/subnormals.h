/* SPDX-License-Identifier: MIT */
/* Subnormal numbers among weights. */
#ifndef FL_SUBNORMALS_H
#define FL_SUBNORMALS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Sets the subnormal numbers among n floats to 0, and -0 to 0: as factors, subnormal weights would
   cost a slow path of the CPU, microcode on many, at every use. The test is one of the bits as an
   integer, because every compiler turns that into vector instructions. */
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
