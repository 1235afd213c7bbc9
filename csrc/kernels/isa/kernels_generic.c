/* SPDX-License-Identifier: MIT */
#include "kernels/simd/vec_generic.h"

/* The sizes of the register tiles, for the 16 registers of 4 floats that every x86-64 CPU has
   (SSE2): 8 sums (6 with three vectors), and the rest for the copies that its two-operand
   instructions need. sigmoid and tanh are functions: the code is half as large as with them inlined
   in every tile. */
#define FL_NAME "generic"
#define FL_TABLE fl_kernels_generic
#define FL_TILE_M 2
#define FL_TILE_M3 2
#define FL_TILE_M2 4
#define FL_TILE_M1 4
#define FL_TILE_CODES 1
#define FL_ROWS_16 1
#define FL_CHAINS 8
#define FL_TILE_P 2
#define FL_WIDE_BYTES SIZE_MAX
#define FL_MATH static FL_NOINLINE
#include "kernels/table.h"
