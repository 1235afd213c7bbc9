/* SPDX-License-Identifier: MIT */
#if !defined(__AVX512F__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__) ||                   \
    !defined(__AVX512BW__)
#error "compile this file with -mavx512f -mavx512dq -mavx512vl -mavx512bw -mavx2 -mfma"
#endif
#include "kernels/simd/vec_avx512.h"

/*
 * The sizes of the register tiles, for 32 registers:
 *
 *   6 rows of a panel of four vectors     24 sums, 4 vectors of weights, 1 broadcast factor
 *   8 rows of a panel of three vectors    24 sums, 3 vectors of weights, 1 broadcast factor: a GRU
 *                                         gains 5 to 14 % over 6 rows
 *   one row of 2 panels                   8 sums
 *
 * One row of two panels of four vectors at a time gains 10 % over one panel where the panels are
 * read from L1 (H = 32, 48). Where they are read from L2, one panel's stream of 256 bytes for each
 * k saturates the cache, and two panels lose 5 % (H = 64 .. 256; Sapphire Rapids, huge pages):
 * hence FL_WIDE_BYTES. One panel of three vectors has too few chains of sums for L2: two gain 27 %
 * at H = 64, 8 % at 128 and nothing from 160 on; three and four at a time are slower. All of it was
 * measured with float32 weights.
 */
#define FL_NAME "avx512"
#define FL_TABLE fl_kernels_avx512
#define FL_TILE_M 6
#define FL_TILE_M3 8
#define FL_TILE_M2 8
#define FL_TILE_M1 8
#define FL_TILE_CODES 4
#define FL_ROWS_16 1
#define FL_CHAINS 24
#define FL_TILE_P 2
#define FL_WIDE_BYTES 40960
#ifdef FL_BUILD_AVX512_VNNI
#define FL_DOT_NAME "avx512-vnni"
#define FL_DOT_TABLE fl_kernels_avx512_vnni
#define FL_DOT_KERNEL(name) fl_avx512_vnni_##name
#define FL_DOT_CODE_ZERO 128
#endif
#ifdef FL_BUILD_AVX512_AMX
#define FL_TILED_NAME "avx512-amx"
#define FL_TILED_TABLE fl_kernels_avx512_amx
#define FL_TILED_KERNEL(name) fl_avx512_amx_##name
#endif
#include "kernels/table.h"
