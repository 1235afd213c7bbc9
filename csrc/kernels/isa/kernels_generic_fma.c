/* SPDX-License-Identifier: MIT */
#if !defined(__FMA__)
#error "compile this file with -mfma"
#endif
#include "kernels/simd/vec_generic.h"

/* The vectors of plain C, compiled with fused multiply-add: for x86-64 CPUs that have FMA3 but no
   AVX2. This is the simplest form of the arithmetic that every other instruction set with fused
   multiply-add must match bit for bit. sigmoid and tanh are functions, as in kernels_generic.c. */
#define FL_NAME "generic-fma"
#define FL_TABLE fl_kernels_generic_fma
#define FL_TILE_M 2
#define FL_TILE_M3 2
#define FL_TILE_M2 4
#define FL_TILE_M1 4
#define FL_TILE_CODES 1
#define FL_ROWS_16 1
#define FL_CHAINS 8
#define FL_TILE_P 2
#define FL_WIDE_BYTES SIZE_MAX
#define FL_MATH static FL_NOINLINE
#include "kernels/table.h"
