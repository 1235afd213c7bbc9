/* SPDX-License-Identifier: MIT */
#ifndef __ARM_FEATURE_DOTPROD
#error "compile this file with -march=armv8.2-a+dotprod"
#endif
#define FL_DOT_PRODUCTS 1
#define FL_DOT_KERNEL(name) fl_neon_dot_##name
#include "kernels/simd/vec_neon.h"

#define FL_TILE_M 6
#define FL_TILE_M3 8
#define FL_TILE_M2 8
#define FL_TILE_M1 8
#define FL_TILE_CODES 4
#define FL_ROWS_16 1
#define FL_TILE_P 2
#define FL_WIDE_BYTES SIZE_MAX
#include "kernels/int8_kernels.h"
