/* SPDX-License-Identifier: MIT */
#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif
#include "kernels/simd/vec_neon.h"

/* The sizes of the register tiles, for 32 registers: 6 rows of a panel of four vectors are 24 sums,
   4 vectors of weights and 2 registers of factors; 8 rows of a panel of three vectors are 24 sums
   and 3 vectors of weights; one row of 4 panels is 16 sums. */
#define FL_NAME "neon"
#define FL_TABLE fl_kernels_neon
#define FL_TILE_M 6
#define FL_TILE_M3 8
#define FL_TILE_M2 8
#define FL_TILE_M1 8
#define FL_TILE_CODES 4
#define FL_ROWS_16 1
#define FL_CHAINS 24
#define FL_TILE_P 4
#define FL_WIDE_BYTES SIZE_MAX
#ifdef FL_BUILD_NEON_DOT
#define FL_DOT_NAME "neon-dot"
#define FL_DOT_TABLE fl_kernels_neon_dot
#define FL_DOT_KERNEL(name) fl_neon_dot_##name
#define FL_DOT_CODE_ZERO 0
#endif
#include "kernels/table.h"
