/* SPDX-License-Identifier: MIT */
#if !defined(__aarch64__)
#error "this file is for AArch64"
#endif
#include "kernels/simd/vec_neon.h"

/* 32 registers: 24 sums + 4 weights + 2 broadcasts for 6 rows, or + 3 weights for 8 rows of panels
   of 3; 16 sums for 4 panels of one row. */
#define FL_NAME "neon"
#define FL_TABLE fl_kernels_neon
#define FL_TILE_M 6
#define FL_TILE_M3 8
#define FL_TILE_P 4
#define FL_WIDE_BYTES SIZE_MAX
#include "kernels/table.h"
