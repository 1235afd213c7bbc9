/* SPDX-License-Identifier: MIT */
/* What the core asks of a compiler beyond C11: gcc and clang have it, on Windows clang-cl. Their
   vectors are used too, in kernels/simd/vec_generic.h and kernels/bfloat16.h. */
#ifndef FL_COMPILER_H
#define FL_COMPILER_H

#if !defined(__GNUC__) && !defined(__clang__)
#error "fastlstm's C core is compiled by gcc or clang; on Windows by clang-cl"
#endif

#define FL_INLINE static inline __attribute__((always_inline))
#define FL_NOINLINE __attribute__((noinline))

/* FL_KEEP hides from the compiler where the value of x came from, so that it keeps x in a register
   instead of loading it again. `constraint` is the letter that GCC's inline assembly has for the
   class of the register. FL_PREFETCH asks for the cache line at p. */
#define FL_KEEP(constraint, x) __asm__("" : "+" constraint(x))
#define FL_PREFETCH(p) __builtin_prefetch(p)

#endif
