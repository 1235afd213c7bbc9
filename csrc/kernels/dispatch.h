/* SPDX-License-Identifier: MIT */
/* The tables of kernels that this library may hold. fastlstm.h has the functions that choose among
   them. */
#ifndef FL_DISPATCH_H
#define FL_DISPATCH_H

#include "kernels/contract.h"

extern const fl_kernels fl_kernels_generic;
extern const fl_kernels fl_kernels_generic_fma;
extern const fl_kernels fl_kernels_avx2;
extern const fl_kernels fl_kernels_avx512;
extern const fl_kernels fl_kernels_neon;

#endif
