/* SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <stdint.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <malloc.h>
#endif

static long fail_after = -1; /* a test's tool: set while no other thread allocates */

void fl_alloc_fail_after(long n) { fail_after = n; }

void *fl_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - 63)
        return NULL;
    if (fail_after >= 0 && fail_after-- == 0) {
        fail_after = 0;
        return NULL;
    }
    bytes = bytes ? (bytes + 63) / 64 * 64 : 64;
#if defined(_WIN32)
    return _aligned_malloc(bytes, 64);
#else
    return aligned_alloc(64, bytes);
#endif
}

void fl_free(void *p)
{
#if defined(_WIN32)
    _aligned_free(p);
#else
    free(p);
#endif
}

size_t fl_mul(size_t a, size_t b) { return a && b > SIZE_MAX / a ? SIZE_MAX : a * b; }

size_t fl_sum2(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }
