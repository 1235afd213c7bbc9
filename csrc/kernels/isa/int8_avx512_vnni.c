/* SPDX-License-Identifier: MIT */
#if !defined(__AVX512VNNI__)
#error "compile this file with kernels_avx512.c's flags and -mavx512vnni"
#endif
#define FL_DOT_PRODUCTS 1
#define FL_DOT_KERNEL(name) fl_avx512_vnni_##name
#include "kernels/simd/vec_avx512.h"

/* Six rows of a panel of four vectors are 24 sums, 4 vectors of weights and 1 broadcast factor. One
   row of two panels at a time gains 20 % at H = 128 and nothing from H = 256 on. Two rows of codes
   of 16 bits at a time gain 13 % at I = 1024, whose panel is larger than L1, and nothing at 256
   (Zen 5). */
#define FL_TILE_M 6
#define FL_TILE_M3 8
#define FL_TILE_M2 8
#define FL_TILE_M1 8
#define FL_TILE_CODES 6
#define FL_ROWS_16 2
#define FL_TILE_P 2
#define FL_WIDE_BYTES 131072
#include "kernels/int8_kernels.h"

/* What makes floats of the sums of codes, for tiled_avx512_amx.c too. */
#ifdef FL_BUILD_AVX512_AMX
void fl_avx512_vnni_gemm_end(const fl_gemm *g, const vi total[FL_NV], size_t p, size_t r);
void fl_avx512_vnni_gemm_end(const fl_gemm *g, const vi total[FL_NV], size_t p, size_t r)
{
    (g->vectors == 4 ? fl_int8_gemm_end_4 : fl_int8_gemm_end_3)(g, total, p, r);
}
#endif
