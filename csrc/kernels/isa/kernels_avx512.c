/* SPDX-License-Identifier: MIT */
#if !defined(__AVX512F__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__) ||                   \
    !defined(__AVX512BW__)
#error "compile this file with -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma"
#endif
#include "kernels/simd/vec_avx512.h"

/* 32 registers: 24 sums + 4 weights + 1 broadcast for 6 rows, or + 3 weights for 8 rows of panels
   of 3 (a GRU gains 5 to 14 % over 6); 8 sums for 2 panels of one row. Out of L1 two panels at a
   time gain 10 % (H = 32, 48); out of L2 one stream of 256 bytes a step saturates the cache and two
   lose 5 % (H = 64 .. 256; Sapphire Rapids, huge pages). One panel of 3 has too few chains for L2:
   two gain 27 % at H = 64, 8 % at 128, nothing from 160 on; three and four at a time are slower. */
#define FL_NAME "avx512"
#define FL_TABLE fl_kernels_avx512
#define FL_TILE_M 6
#define FL_TILE_M3 8
#define FL_TILE_P 2
#define FL_WIDE_BYTES 40960
#include "kernels/table.h"
