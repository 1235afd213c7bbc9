/* SPDX-License-Identifier: MIT */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile this file with -mavx2 -mfma -mf16c"
#endif
#include "kernels/simd/vec_avx2.h"

/*
 * The sizes of the register tiles, for 16 registers:
 *
 *   3 rows of a panel of four vectors     12 sums, 3 broadcast factors, 1 vector of weights
 *   4 rows of a panel of three vectors    12 sums, 1 broadcast factor, 3 vectors of weights: a GRU
 *                                         gains 13 % over 3 rows
 *   one row of 2 panels                   8 sums: at H = 256 2 panels beat 1 by 22 %, 3 by 6 % and
 *                                         4 by 16 %
 */
#define FL_NAME "avx2"
#define FL_TABLE fl_kernels_avx2
#define FL_TILE_M 3
#define FL_TILE_M3 4
#define FL_TILE_M2 6
#define FL_TILE_M1 8
#define FL_TILE_CODES 2
#define FL_ROWS_16 1
#define FL_CHAINS 12
#define FL_TILE_P 2
#define FL_WIDE_BYTES SIZE_MAX
#ifdef FL_BUILD_AVX2_VNNI
#define FL_DOT_NAME "avx2-vnni"
#define FL_DOT_TABLE fl_kernels_avx2_vnni
#define FL_DOT_KERNEL(name) fl_avx2_vnni_##name
#define FL_DOT_CODE_ZERO 128
#endif
#include "kernels/table.h"
