/* SPDX-License-Identifier: MIT */
/* The one place csrc/ gets memory from; it can be made to fail on purpose. */
#ifndef FL_ALLOC_H
#define FL_ALLOC_H

#include <stddef.h>

/* 64-byte aligned, not cleared; NULL when memory is short or `bytes` overflowed to SIZE_MAX. */
void *fl_alloc(size_t bytes);
/* The same for memory that is read again and again, such as panels: on huge pages where the system
   has them, which made gemm 15 % faster out of a 2 MiB L2 (fewer TLB misses, and prefetchers stop
   at page ends). Not for a call's workspace: clearing a huge page costs 0.1 ms. */
void *fl_alloc_lasting(size_t bytes);
void fl_free(void *p);

/* Let `n` more allocations succeed and all later ones fail; n < 0 (the start): none fails. */
void fl_alloc_fail_after(long n);

#endif
