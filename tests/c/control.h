/* SPDX-License-Identifier: MIT */
/* The calling thread's floating-point control registers. */
#ifndef FL_CONTROL_H
#define FL_CONTROL_H

#include <stdint.h>

/* Of x86 MXCSR without its flags, and the x87 control word above it; of Arm FPCR. */
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

/* How SSE and AVX, or NEON, round, and what becomes of subnormals: `tiny` set, they are zero. On
   x86 way 0 nearest, 1 down, 2 up, 3 to zero. */
static inline void set_control(unsigned way, int tiny)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr(0x1f80u | (way & 3u) << 13 | (tiny ? 0x8040u : 0u));
#elif defined(__aarch64__)
    const uint64_t modes[] = {0, 2, 1, 3};
    const uint64_t fpcr = modes[way & 3u] << 22 | (uint64_t)(tiny != 0) << 24;
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr));
#endif
}

#endif
