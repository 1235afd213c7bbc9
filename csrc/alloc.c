/* SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <stdint.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

static long fail_after = -1; /* a test's tool: set while no other thread allocates */

void fl_alloc_fail_after(long n) { fail_after = n; }

static int failing(void)
{
    if (fail_after > 0)
        fail_after--;
    else if (fail_after == 0)
        return 1;
    return 0;
}

void *fl_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX - 63 || failing())
        return NULL;
    bytes = bytes ? (bytes + 63) / 64 * 64 : 64;
#if defined(_WIN32)
    return _aligned_malloc(bytes, 64);
#else
    return aligned_alloc(64, bytes);
#endif
}

void *fl_alloc_lasting(size_t bytes)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const size_t huge = (size_t)1 << 21;
    if (bytes >= huge / 2 && bytes <= SIZE_MAX - huge) {
        if (failing())
            return NULL;
        bytes = (bytes + huge - 1) / huge * huge;
        void *p = aligned_alloc(huge, bytes);
        if (p)
            (void)madvise(p, bytes, MADV_HUGEPAGE); /* a wish: the system may say no */
        return p;
    }
#endif
    return fl_alloc(bytes);
}

void fl_free(void *p)
{
#if defined(_WIN32)
    _aligned_free(p);
#else
    free(p);
#endif
}
