/* SPDX-License-Identifier: MIT */
#if !defined(__AVX2__) || (!defined(_MSC_VER) && (!defined(__FMA__) || !defined(__F16C__)))
#error "compile this file with -mavx2 -mfma -mf16c"
#endif
#include "kernels/simd/vec_avx2.h"

/* 16 registers: 12 sums + 3 broadcasts + 1 weight for 3 rows; 12 + 3 weights + 1 broadcast for 4
   rows of panels of 3 (a GRU gains 13 % over 3 rows); 8 sums for 2 panels of one row: 2 beat 1 by
   22 %, 3 by 6 % and 4 by 16 % at H = 256. */
#define FL_NAME "avx2"
#define FL_TABLE fl_kernels_avx2
#define FL_TILE_M 3
#define FL_TILE_M3 4
#define FL_TILE_P 2
#define FL_WIDE_BYTES SIZE_MAX
#include "kernels/table.h"
