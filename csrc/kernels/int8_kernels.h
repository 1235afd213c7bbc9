/* SPDX-License-Identifier: MIT */
/*
 * The kernels of FL_INT8 for CPUs that have instructions for products of codes, under names that
 * other files can refer to. A file isa/int8_<name>.c defines FL_DOT_PRODUCTS and FL_DOT_KERNEL(k),
 * includes the set's simd/vec_<name>.h, defines the sizes of tiles that table.h lists, and then
 * includes this file.
 */
#include "kernels/int8.h"

#undef FL_INT8_KERNEL
#define FL_INT8_KERNEL FL_DOT_KERNEL
FL_DECLARE_INT8_KERNELS

float FL_DOT_KERNEL(encode)(void *codes, const float *x, size_t n, int bits, float least, float top,
                            int32_t *sum)
{
    return fl_int8_encode_run(codes, x, n, bits, least, top, sum);
}
double FL_DOT_KERNEL(probe)(size_t n) { return fl_int8_probe_run(n); }
void FL_DOT_KERNEL(gemm)(const fl_gemm *g) { fl_int8_gemm_run(g); }
void FL_DOT_KERNEL(lstm)(const fl_step *s) { fl_int8_lstm_run(s); }
void FL_DOT_KERNEL(gru)(const fl_step *s) { fl_int8_gru_run(s); }
