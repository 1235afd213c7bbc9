/* SPDX-License-Identifier: MIT */
/* What int8_avx512_vnni.c makes of the sums of codes that tiled_avx512_amx.c computes. Include
   simd/vec_avx512.h first, which defines vi. */
#ifndef FL_INT8_AVX512_VNNI_H
#define FL_INT8_AVX512_VNNI_H

#include "kernels/contract.h"

enum { FL_TILED_ROWS = 16 /* of a tile */ };

/* Makes floats or new states of finished sums. total[m] is the sums of row r + m and panel p as the
   tiles leave them: -128 times the sum of the row's codes, which is due because the panel holds
   code + 128 (codes.h), is added here. With codes of 16 bits total[m] is those of the first bytes,
   and total[FL_TILED_ROWS + m] those of the second. There are at most FL_TILED_ROWS rows. args: the
   fl_gemm or fl_step. */
typedef void fl_tiled_end(const void *args, const vi (*total)[FL_NV], size_t p, size_t r,
                          size_t rows);
fl_tiled_end fl_avx512_vnni_gemm_ends, fl_avx512_vnni_lstm_ends, fl_avx512_vnni_gru_ends;

#endif
