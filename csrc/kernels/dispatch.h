/* SPDX-License-Identifier: MIT */
/* The kernels of each instruction set, one struct of function pointers for each. A library holds
   those it was built with. fastlstm.h has the functions that choose among them: fl_isa_count and
   the like, which dispatch.c implements. */
#ifndef FL_DISPATCH_H
#define FL_DISPATCH_H

#include "kernels/contract.h"

extern const fl_kernels fl_kernels_generic;
extern const fl_kernels fl_kernels_generic_fma;
extern const fl_kernels fl_kernels_avx2;
extern const fl_kernels fl_kernels_avx512;
extern const fl_kernels fl_kernels_neon;

/* The same, with kernels of FL_INT8 for CPUs that have instructions for products of codes. */
extern const fl_kernels fl_kernels_avx2_vnni;
extern const fl_kernels fl_kernels_avx512_vnni;
extern const fl_kernels fl_kernels_neon_dot;

#endif
