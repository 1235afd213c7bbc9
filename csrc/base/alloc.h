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

/* Memory aligned to 64 bytes and not cleared; NULL when memory is short or `bytes` overflowed to
   SIZE_MAX. 0 bytes are a pointer too. Any thread may call these three functions. */
void *fl_alloc(size_t bytes);
/* The same for memory that is read again and again: packed weights, tapes, the workspace of a
   backward call. From 1 MiB on it is on huge pages, where Linux grants them, which made gemm out of
   a 2 MiB L2 15 % faster: there are fewer TLB misses, and hardware prefetchers stop at the end of a
   page. A forward call's workspace comes from fl_alloc, because clearing a huge page costs
   0.1 ms. */
void *fl_alloc_lasting(size_t bytes);
/* Gives memory of either function back; p may be NULL. Of blocks of 256 KiB to 64 MiB the process
   keeps the last 8 for later requests of either function, of at least half a block's size; the
   system gets back the oldest when there is a ninth. */
void fl_free(void *p);

/* For tests: n more allocations succeed and all later ones fail. With n < 0, as at the start of the
   process, none fails on purpose. No other thread may allocate meanwhile. */
void fl_alloc_fail_after(long n);

#endif
