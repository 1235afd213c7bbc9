/* SPDX-License-Identifier: MIT */
#if !defined(__AVX512F__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__) ||                   \
    !defined(__AVX512BW__)
#error "compile this file with -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma"
#endif
#include "kernels.h"
#include "vec_avx512.h"

/* 32 registers: 24 sums + 4 weights + 1 broadcast for 6 rows; 16 sums for 4 panels of one row. */
#define FL_NAME "avx512"
#define FL_TABLE fl_kernels_avx512
#define FL_TILE_M 6
#define FL_TILE_P 4
#include "kernels_impl.h"
