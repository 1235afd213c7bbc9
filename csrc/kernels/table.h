/* SPDX-License-Identifier: MIT */
/*
 * The struct fl_kernels of one instruction set, and all its kernels, which are written once for all
 * sets. A file isa/kernels_<name>.c includes the set's simd/vec_<name>.h, defines what follows, and
 * then includes this file:
 *
 *   FL_NAME        a string, the instruction set's name
 *   FL_TABLE       the name of the struct
 *   FL_TILE_M      rows in the register tile of a panel of FL_NV vectors, 1 .. 8
 *   FL_TILE_M3, FL_TILE_M2, FL_TILE_M1
 *                  the same for panels of 3, 2 and 1 vectors
 *   FL_TILE_CODES  rows in the register tile of a panel of codes
 *   FL_ROWS_16     rows that are multiplied together if their codes have 16 bits: 1 or 2
 *   FL_CHAINS      chains of sums in the register tile of a panel of bfloat16: 24, or 12 or 8 if
 *                  there are 16 registers
 *   FL_TILE_P      panels that are taken together when there is one row only, 1 .. 4; twice as many
 *                  if they have 2 vectors or 1
 *   FL_WIDE_BYTES  panels of FL_NV vectors are taken together only if all panels of the call have
 *                  at most so many bytes
 *
 * and, where the library also has kernels for products of codes by instructions of their own,
 *
 *   FL_DOT_NAME, FL_DOT_TABLE
 *                  the name and the struct of the set with these instructions
 *   FL_DOT_KERNEL(k), FL_DOT_CODE_ZERO
 *                  their names (int8.h), and FL_CODE_ZERO for them (codes.h)
 *
 * and, where it has kernels whose products are of tiles beside both,
 *
 *   FL_TILED_NAME, FL_TILED_TABLE, FL_TILED_KERNEL(k)
 *                  the name and the struct of the set with tiles, and the names of its kernels
 *                  (tiled.h)
 */
#include "kernels/contract.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/int8.h"
#include "kernels/pairs.h"
#include "kernels/probes.h"
#include "kernels/step.h"
#include "kernels/step_by_product.h"

FL_TILES(gemm_2, fl_gemm_tile, FL_FLOAT32, 2, 2)
FL_TILES(gemm_1, fl_gemm_tile, FL_FLOAT32, 1, 1)
FL_GEMM(gemm, fl_gemm_tile, FL_FLOAT32, fl_gemm_1_tiles, fl_gemm_2_tiles)
FL_GEMM(gemm_float16, fl_gemm_tile, FL_FLOAT16, NULL, NULL)

/* The step of a cell with weights that are floats: its sums are one chain, or for k above FL_UNCUT
   the function `in_chains` cuts them. */
#define FL_FLOAT_STEP(name, format, what, in_chains)                                               \
    FL_STEP(name##_one_chain, fl_step_tile, format, what)                                          \
    static void fl_##name##_run(const fl_step *s)                                                  \
    {                                                                                              \
        if (s->k > FL_UNCUT)                                                                       \
            in_chains(s);                                                                          \
        else                                                                                       \
            fl_##name##_one_chain_run(s);                                                          \
    }

FL_FLOAT_STEP(lstm, FL_FLOAT32, FL_LSTM, fl_lstm_in_chains)
FL_FLOAT_STEP(lstm_keep, FL_FLOAT32, FL_LSTM + FL_KEPT, fl_lstm_in_chains)
FL_FLOAT_STEP(gru, FL_FLOAT32, FL_GRU, fl_gru_in_chains)
FL_FLOAT_STEP(gru_keep, FL_FLOAT32, FL_GRU + FL_KEPT, fl_gru_in_chains)
FL_FLOAT_STEP(rnn_tanh, FL_FLOAT32, FL_RNN_TANH, fl_rnn_tanh_product_run)
FL_FLOAT_STEP(rnn_relu, FL_FLOAT32, FL_RNN_RELU, fl_rnn_relu_product_run)
FL_FLOAT_STEP(lstm_float16, FL_FLOAT16, FL_LSTM, fl_lstm_in_chains)
FL_FLOAT_STEP(gru_float16, FL_FLOAT16, FL_GRU, fl_gru_in_chains)

#define FL_TABLE_LEAVE NULL
#define FL_TABLE_WITHOUT_TILES NULL

const fl_kernels FL_TABLE = {
#include "kernels/table_entries.h"
};

/* The same for CPUs that also have instructions for products of codes. Their file int8_<name>.c
   makes the kernels of FL_INT8; all others are those above. */
#ifdef FL_DOT_TABLE
#undef FL_NAME
#undef FL_INT8_KERNEL
#undef FL_TABLE_CODE_ZERO
#define FL_NAME FL_DOT_NAME
#define FL_INT8_KERNEL FL_DOT_KERNEL
#define FL_TABLE_CODE_ZERO FL_DOT_CODE_ZERO
FL_DECLARE_INT8_KERNELS

const fl_kernels FL_DOT_TABLE = {
#include "kernels/table_entries.h"
};
#endif

/* The same for CPUs that multiply tiles too. tiled.h lists the kernels of their file
   tiled_<name>.c, and makes the steps of FL_BFLOAT16. */
#ifdef FL_TILED_TABLE
#include "kernels/tiled.h"
#undef FL_NAME
#undef FL_INT8_KERNEL
#undef FL_BFLOAT16_KERNEL
#undef FL_TABLE_LEAVE
#undef FL_TABLE_WITHOUT_TILES
#define FL_NAME FL_TILED_NAME
#define FL_INT8_KERNEL(name) FL_TILED_INT8_##name
#define FL_BFLOAT16_KERNEL(name) FL_TILED_BFLOAT16_##name
#define FL_TABLE_LEAVE FL_TILED_KERNEL(leave)
#define FL_TABLE_WITHOUT_TILES &FL_DOT_TABLE

const fl_kernels FL_TILED_TABLE = {
#include "kernels/table_entries.h"
};
#endif
