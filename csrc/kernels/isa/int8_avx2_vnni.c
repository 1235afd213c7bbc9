/* SPDX-License-Identifier: MIT */
#if !defined(__AVXVNNI__)
#error "compile this file with kernels_avx2.c's flags and -mavxvnni"
#endif
#define FL_DOT_PRODUCTS 1
#define FL_DOT_KERNEL(name) fl_avx2_vnni_##name
#include "kernels/simd/vec_avx2.h"

/* Three rows of a panel of four vectors are 12 sums, 3 broadcast factors and 1 vector of weights.
 */
#define FL_TILE_M 3
#define FL_TILE_M3 4
#define FL_TILE_M2 6
#define FL_TILE_M1 8
#define FL_TILE_CODES 3
#define FL_ROWS_16 1
#define FL_TILE_P 2
#define FL_WIDE_BYTES SIZE_MAX
#include "kernels/int8_kernels.h"
