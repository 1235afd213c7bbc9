/* SPDX-License-Identifier: MIT */
/*
 * Memory. All of csrc/ gets it here, and tests can make it fail on purpose.
 *
 * base/ is what the core needs of the system and the compiler: memory, time, threads, and the
 * context of a call. It knows no kernel and no network.
 */
#ifndef FL_ALLOC_H
#define FL_ALLOC_H

#include <stddef.h>

/* 64-byte aligned, not cleared; NULL when memory is short or `bytes` overflowed to SIZE_MAX. */
void *fl_alloc(size_t bytes);
/* The same for memory that is read again and again, such as panels. It is on huge pages where the
   system has them, which made gemm out of a 2 MiB L2 15 % faster: there are fewer TLB misses, and
   hardware prefetchers stop at the end of a page. A call's workspace does not come from here,
   because clearing a huge page costs 0.1 ms. */
void *fl_alloc_lasting(size_t bytes);
/* p is from either of the two, or NULL. */
void fl_free(void *p);

/* For tests: lets n more allocations succeed and all later ones fail. n < 0, as at the start of the
   process: none fails on purpose. */
void fl_alloc_fail_after(long n);

#endif
