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

/* And with kernels of FL_INT8 and FL_BFLOAT16 for CPUs with AMX, whose products are of tiles. */
extern const fl_kernels fl_kernels_avx512_amx;

/* The kernels to make a network or an operator with: `kernels`, or, if they have tiles that the
   system does not permit to this process, those without. `tiles` is 0 if the format needs no tiles:
   then it returns `kernels` and does not ask the system. */
const fl_kernels *fl_permitted_kernels(const fl_kernels *kernels, int tiles);

#endif
