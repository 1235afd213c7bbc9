/* SPDX-License-Identifier: MIT */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(_WIN32)
#include <malloc.h>
#elif defined(__linux__)
#include <sys/mman.h>
#endif

static long fail_after = -1; /* for tests, which set it while no other thread allocates */

void fl_alloc_fail_after(long n) { fail_after = n; }

/* Should this allocation fail on purpose? */
static int failing(void)
{
    if (fail_after > 0)
        fail_after--;
    else if (fail_after == 0)
        return 1;
    return 0;
}

/*
 *     [ size | unused ][ what the caller sees ... ]        the header is one cache line
 *
 * Blocks of KEPT_FROM to KEPT_TO bytes are not given back to the system when they are freed. Up to
 * KEPT_BLOCKS of them wait in `kept` for the next training step's tape, workspace and packed
 * weights. The system would hand these out as new pages at every call, and the first touch of the
 * pages took 45 ms of a step of 320 (50 x 64 x 512; 2 us for each 4 KiB in a virtual machine), and
 * a third of forward_train at 100 x 16 x 64. A kept block serves a request of at least half its
 * size. When one more is freed than `kept` holds, the oldest goes back to the system.
 */
enum { HEAD = 64, KEPT_BLOCKS = 8, KEPT_FROM = 256 << 10, KEPT_TO = 64 << 20 };
static _Atomic(size_t *) kept[KEPT_BLOCKS];

#if defined(__SANITIZE_ADDRESS__) || defined(FL_NO_KEPT_BLOCKS)
#define KEPT(bytes) ((void)(bytes), 0) /* a block that is used again hides a use after free */
#else
#define KEPT(bytes) ((bytes) >= KEPT_FROM && (bytes) <= KEPT_TO)
#endif

static void release(size_t *block)
{
#if defined(_WIN32)
    _aligned_free(block);
#else
    free(block);
#endif
}

static void *allocate(size_t bytes, int lasting)
{
    const size_t huge = (size_t)1 << 21;
    if (bytes > SIZE_MAX - 63 - HEAD - huge || failing())
        return NULL;
    bytes = (bytes ? (bytes + 63) / 64 * 64 : 64) + HEAD;
    size_t *block;
    for (int i = 0; KEPT(bytes) && i < KEPT_BLOCKS; i++) {
        if (!(block = atomic_exchange(&kept[i], NULL)))
            continue;
        if (*block >= bytes && *block / 2 <= bytes)
            return (char *)block + HEAD;
        if ((block = atomic_exchange(&kept[i], block)))
            release(block); /* another thread has put one there meanwhile */
    }
#if defined(_WIN32)
    block = _aligned_malloc(bytes, 64);
#elif defined(__linux__) && defined(MADV_HUGEPAGE)
    if (lasting && bytes >= huge / 2) {
        bytes = (bytes + huge - 1) / huge * huge;
        block = aligned_alloc(huge, bytes);
        if (block)
            (void)madvise(block, bytes, MADV_HUGEPAGE); /* the system may refuse */
    } else {
        block = aligned_alloc(64, bytes);
    }
#else
    block = aligned_alloc(64, bytes);
#endif
    (void)lasting;
    if (!block)
        return NULL;
    *block = bytes;
    return (char *)block + HEAD;
}

void *fl_alloc(size_t bytes) { return allocate(bytes, 0); }

void *fl_alloc_lasting(size_t bytes) { return allocate(bytes, 1); }

void fl_free(void *p)
{
    if (!p)
        return;
    size_t *block = (size_t *)(void *)((char *)p - HEAD);
    if (KEPT(*block)) {
        for (int i = 0; block && i < KEPT_BLOCKS; i++)
            block = atomic_exchange(&kept[i], block); /* each moves up by one; the oldest is left */
        if (!block)
            return;
    }
    release(block);
}
