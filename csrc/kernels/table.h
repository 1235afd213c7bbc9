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
 *   FL_CHAINS      chains of sums in the register tile of a panel of bfloat16: 24, or 12 or 8 if
 * there are 16 registers FL_TILE_P      panels that are taken together when there is one row only,
 * 1 .. 4; twice as many if they have 2 vectors or 1 FL_WIDE_BYTES  panels of FL_NV vectors are
 * taken together only if all panels of the call have at most so many bytes
 */
#include "kernels/codes.h"
#include "kernels/contract.h"
#include "kernels/depthwise.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/pairs.h"
#include "kernels/probes.h"
#include "kernels/step.h"

const fl_kernels FL_TABLE = {
    .name = FL_NAME,
    .lanes = FL_LANES,
    .cell = {[FL_LSTM] = {.gates = 4,
                          .vectors = 4,
                          .units = 1,
                          .kept = 4,
                          .has_c = 1,
                          .step = {[FL_FLOAT32] = fl_lstm_run,
                                   [FL_FLOAT16] = fl_lstm_float16_run,
                                   [FL_INT8] = fl_lstm_int8_run,
                                   [FL_BFLOAT16] = fl_lstm_bfloat16_run},
                          .keep = fl_lstm_keep_run,
                          .back = fl_lstm_back_run},
             [FL_GRU] = {.gates = 3,
                         .vectors = 3,
                         .units = 1,
                         .kept = 4,
                         .step = {[FL_FLOAT32] = fl_gru_run,
                                  [FL_FLOAT16] = fl_gru_float16_run,
                                  [FL_INT8] = fl_gru_int8_run,
                                  [FL_BFLOAT16] = fl_gru_bfloat16_run},
                         .keep = fl_gru_keep_run,
                         .back = fl_gru_back_run},
             [FL_GRU_BEFORE] = {.gates = 3,
                                .vectors = FL_NV,
                                .units = FL_NV,
                                .kept = FL_NV,
                                .step = {[FL_FLOAT32] = fl_gru_before_run,
                                         [FL_FLOAT16] = fl_gru_before_run,
                                         [FL_INT8] = fl_gru_before_run,
                                         [FL_BFLOAT16] = fl_gru_before_run},
                                .keep = fl_gru_before_keep_run,
                                .reset = fl_gru_before_reset_run,
                                .back = fl_gru_before_back_run,
                                .back_reset = fl_gru_before_back_reset_run},
             [FL_RNN_TANH] = {.gates = 1,
                              .vectors = FL_NV,
                              .units = FL_NV,
                              .step = {[FL_FLOAT32] = fl_rnn_tanh_run,
                                       [FL_FLOAT16] = fl_rnn_tanh_float16_run,
                                       [FL_INT8] = fl_rnn_tanh_int8_run,
                                       [FL_BFLOAT16] = fl_rnn_tanh_bfloat16_run},
                              .keep = fl_rnn_tanh_run,
                              .back = fl_rnn_tanh_back_run},
             [FL_RNN_RELU] = {.gates = 1,
                              .vectors = FL_NV,
                              .units = FL_NV,
                              .step = {[FL_FLOAT32] = fl_rnn_relu_run,
                                       [FL_FLOAT16] = fl_rnn_relu_float16_run,
                                       [FL_INT8] = fl_rnn_relu_int8_run,
                                       [FL_BFLOAT16] = fl_rnn_relu_bfloat16_run},
                              .keep = fl_rnn_relu_run,
                              .back = fl_rnn_relu_back_run},
             [FL_LSTM_VARIANT] = {.gates = 4,
                                  .vectors = FL_NV,
                                  .units = 1,
                                  .kept = FL_NV,
                                  .has_c = 1,
                                  .step = {[FL_FLOAT32] = fl_lstm_variant_run,
                                           [FL_FLOAT16] = fl_lstm_variant_float16_run,
                                           [FL_INT8] = fl_lstm_variant_int8_run,
                                           [FL_BFLOAT16] = fl_lstm_variant_bfloat16_run},
                                  .keep = fl_lstm_variant_run,
                                  .back = fl_lstm_variant_back_run},
             [FL_GRU_VARIANT] = {.gates = 3,
                                 .vectors = 3,
                                 .units = 1,
                                 .kept = 4,
                                 .needs_scratch = 1,
                                 .step = {[FL_FLOAT32] = fl_gru_variant_run,
                                          [FL_FLOAT16] = fl_gru_variant_float16_run,
                                          [FL_INT8] = fl_gru_variant_int8_run,
                                          [FL_BFLOAT16] = fl_gru_variant_bfloat16_run},
                                 .keep = fl_gru_variant_run,
                                 .back = fl_gru_variant_back_run},
             [FL_GRU_BEFORE_VARIANT] = {.gates = 3,
                                        .vectors = FL_NV,
                                        .units = FL_NV,
                                        .kept = FL_NV,
                                        .step = {[FL_FLOAT32] = fl_gru_before_variant_run,
                                                 [FL_FLOAT16] = fl_gru_before_variant_run,
                                                 [FL_INT8] = fl_gru_before_variant_run,
                                                 [FL_BFLOAT16] = fl_gru_before_variant_run},
                                        .keep = fl_gru_before_variant_run,
                                        .reset = fl_gru_before_variant_reset_run,
                                        .back = fl_gru_before_variant_back_run,
                                        .back_reset = fl_gru_before_variant_back_reset_run},
             [FL_RNN_VARIANT] = {.gates = 1,
                                 .vectors = FL_NV,
                                 .units = FL_NV,
                                 .kept = FL_NV,
                                 .step = {[FL_FLOAT32] = fl_rnn_variant_run,
                                          [FL_FLOAT16] = fl_rnn_variant_float16_run,
                                          [FL_INT8] = fl_rnn_variant_int8_run,
                                          [FL_BFLOAT16] = fl_rnn_variant_bfloat16_run},
                                 .keep = fl_rnn_variant_run,
                                 .back = fl_rnn_variant_back_run}},
    .gemm = {[FL_FLOAT32] = fl_gemm_run,
             [FL_FLOAT16] = fl_gemm_float16_run,
             [FL_INT8] = fl_gemm_int8_run,
             [FL_BFLOAT16] = fl_gemm_bfloat16_run},
    .depthwise = fl_depthwise_run,
    .encode = fl_encode,
    .round_row = fl_round_row,
    .has_tiny = fl_has_tiny,
    .flush = fl_flush_map,
    .sigmoid = fl_sigmoid_map,
    .tanh = fl_tanh_map,
    .activate = fl_activate,
    .probe_fma = fl_probe_fma,
    .probe_read = fl_probe_read,
};
