/* SPDX-License-Identifier: MIT */
#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile this file with -mavx2 -mfma"
#endif
#include "kernels.h"
#include "vec_avx2.h"

/* 16 registers: 12 sums + 3 broadcasts + 1 weight for 3 rows; 12 sums for 3 panels of one row. */
#define FL_NAME "avx2"
#define FL_TABLE fl_kernels_avx2
#define FL_TILE_M 3
#define FL_TILE_P 3
#include "kernels_impl.h"
