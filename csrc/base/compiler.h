/* SPDX-License-Identifier: MIT */
/* What the core asks of a compiler beyond C11: gcc and clang have it, on Windows clang-cl. Their
   vector types are used too, in kernels/simd/vec_generic.h and kernels/bfloat16.h. */
#ifndef FL_COMPILER_H
#define FL_COMPILER_H

#if !defined(__GNUC__) && !defined(__clang__)
#error "fastlstm's C core is compiled by gcc or clang; on Windows by clang-cl"
#endif

#define FL_INLINE static inline __attribute__((always_inline))
#define FL_NOINLINE __attribute__((noinline))

/* For a function that takes another function as an argument: the compiler shall not make a copy of
   it for each function that is passed. */
#if defined(__GNUC__) && !defined(__clang__)
#define FL_ONE_COPY __attribute__((noinline, noclone))
#else
#define FL_ONE_COPY FL_NOINLINE
#endif

/* FL_FOR is a loop of constant length, at most 16, that is unrolled early enough for its arrays to
   stay in registers, FL_LOOP one that the compiler must not unroll. */
#define FL_FOR(i, n) _Pragma("GCC unroll 16") for (int i = 0; i < (n); i++)
#define FL_LOOP(i, n) _Pragma("GCC unroll 1") for (int i = 0; i < (n); i++)

/* FL_KEEP hides from the compiler where the value of x came from, so that it keeps x in a register
   instead of loading it again. `constraint` is the letter that GCC's inline assembly has for the
   class of the register. FL_PREFETCH asks for the cache line at p. */
#define FL_KEEP(constraint, x) __asm__("" : "+" constraint(x))
#define FL_PREFETCH(p) __builtin_prefetch(p)

#endif
