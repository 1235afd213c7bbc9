/* SPDX-License-Identifier: MIT */
/* The floating-point control registers of the calling thread: how it rounds, and what it does with
   subnormals. */
#ifndef FL_CONTROL_H
#define FL_CONTROL_H

#include <stdint.h>

/* On x86 MXCSR without its flags, with the x87 control word above it; on Arm FPCR. */
static inline uint64_t control(void)
{
#if defined(__x86_64__)
    uint16_t x87;
    __asm__ volatile("fnstcw %0" : "=m"(x87));
    return (uint64_t)x87 << 32 | (__builtin_ia32_stmxcsr() & ~0x3fu);
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return fpcr;
#else
    return 0;
#endif
}

/* Sets how SSE and AVX, or NEON, round: 0 to nearest, 1 down, 2 up, 3 to zero; and whether
   subnormals count as zero. */
static inline void set_control(unsigned rounding, int flush)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(0x1f80u | (rounding & 3u) << 13 | (flush ? 0x8040u : 0u));
#elif defined(__aarch64__)
    const uint64_t modes[] = {0, 2, 1, 3};
    const uint64_t fpcr = modes[rounding & 3u] << 22 | (uint64_t)(flush != 0) << 24;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}

#endif
