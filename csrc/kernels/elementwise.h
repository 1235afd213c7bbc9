/* SPDX-License-Identifier: MIT */
/*
 * Two sorts of kernels, included once for each instruction set by table.h:
 *
 *     kernels that apply a function of cells.h or variants.h to every panel p and row r: back and
 *     reset of all cells, and the step of FL_GRU_BEFORE. They read no weights, so one of each
 *     serves all formats.
 *
 *     steps that are a gemm and then such a function: those of variants, and of RNNs with weights
 *     that are not float32. There is one for each format.
 */
#ifndef FL_ELEMENTWISE_H
#define FL_ELEMENTWISE_H

#include "kernels/cells.h"
#include "kernels/gemm.h"
#include "kernels/pairs.h"
#include "kernels/variants.h"

/* FL_GROUPS defines a kernel that evaluates `expr` for every panel p, from `first` on, and every
   row r; FL_UNITS for every vector v of them too. */
#define FL_GROUPS(name, args, first, panels_, expr)                                                \
    static void name(const args *s)                                                                \
    {                                                                                              \
        for (size_t p = first; p < s->panels_; p++)                                                \
            for (size_t r = 0; r < s->rows; r++)                                                   \
                expr;                                                                              \
    }
#define FL_UNITS(name, args, first, panels_, expr)                                                 \
    FL_GROUPS(name, args, first, panels_, for (size_t v = 0; v < FL_NV; v++) expr)

FL_GROUPS(fl_lstm_back_run, fl_back, 0, panels, fl_lstm_back_at(s, p, r))
FL_GROUPS(fl_gru_back_run, fl_back, 0, panels, fl_gru_back_at(s, p, r))
FL_UNITS(fl_rnn_tanh_back_run, fl_back, 0, panels, fl_rnn_back_at(0, s, p, v, r))
FL_UNITS(fl_rnn_relu_back_run, fl_back, 0, panels, fl_rnn_back_at(1, s, p, v, r))
FL_UNITS(fl_gru_before_reset_run, fl_step, 0, p1, fl_gru_before_reset(s->kept != NULL, s, p, v, r))
FL_UNITS(fl_gru_before_run, fl_step, 0, p1, fl_gru_before_step(0, s, p, v, r))
FL_UNITS(fl_gru_before_keep_run, fl_step, 0, p1, fl_gru_before_step(1, s, p, v, r))
FL_UNITS(fl_gru_before_back_run, fl_back, 0, panels, fl_gru_before_back_at(s, p, v, r))
FL_UNITS(fl_gru_before_back_reset_run, fl_back, 0, panels, fl_gru_before_back_reset(s, p, v, r))

FL_GROUPS(fl_lstm_variant_gates, fl_step, s->p0, p1, fl_lstm_variant(s, p, r))
FL_GROUPS(fl_lstm_variant_back_run, fl_back, 0, panels, fl_lstm_variant_back(s, p, r))
FL_GROUPS(fl_gru_variant_set_aside_run, fl_step, s->p0, p1, fl_gru_variant_set_aside(s, p, r))
FL_GROUPS(fl_gru_variant_gates, fl_step, s->p0, p1, fl_gru_variant(s, p, r))
FL_GROUPS(fl_gru_variant_back_run, fl_back, 0, panels, fl_gru_variant_back(s, p, r))
FL_UNITS(fl_gru_before_variant_reset_run, fl_step, 0, p1, fl_gru_before_variant_reset(s, p, v, r))
FL_UNITS(fl_gru_before_variant_run, fl_step, 0, p1, fl_gru_before_variant(s, p, v, r))
FL_UNITS(fl_gru_before_variant_back_run, fl_back, 0, panels, fl_gru_before_variant_back(s, p, v, r))
FL_UNITS(fl_gru_before_variant_back_reset_run, fl_back, 0, panels,
         fl_gru_before_variant_back_reset(s, p, v, r))
FL_UNITS(fl_rnn_variant_gates, fl_step, s->p0, p1, fl_rnn_variant(s, p, v, r))
FL_UNITS(fl_rnn_variant_back_run, fl_back, 0, panels, fl_rnn_variant_back(s, p, v, r))

/* The steps of the variants of the LSTM, the GRU and the RNN in one format: `gemm`, the kernel of
   that format, adds the product of h to z, then the gates are computed. */
#define FL_VARIANT_STEPS(suffix, gemm)                                                             \
    static void fl_lstm_variant##suffix##_run(const fl_step *s)                                    \
    {                                                                                              \
        fl_variant_product(s, FL_NV, gemm);                                                        \
        fl_lstm_variant_gates(s);                                                                  \
    }                                                                                              \
    static void fl_gru_variant##suffix##_run(const fl_step *s)                                     \
    {                                                                                              \
        fl_gru_variant_set_aside_run(s);                                                           \
        fl_variant_product(s, 3, gemm);                                                            \
        fl_gru_variant_gates(s);                                                                   \
    }                                                                                              \
    static void fl_rnn_variant##suffix##_run(const fl_step *s)                                     \
    {                                                                                              \
        fl_variant_product(s, FL_NV, gemm);                                                        \
        fl_rnn_variant_gates(s);                                                                   \
    }
/* An RNN's step from finished sums in z. With weights that are not float32 a step is a gemm and
   then this, instead of register tiles that do both as with float32: these would be a third of all
   code that float16 adds. */
FL_INLINE void fl_rnn_gates(const int relu, const fl_step *s, size_t p, size_t r)
{
    vf a[FL_NV];
    FL_FOR (v, FL_NV)
        a[v] = vf_load(s->z + p * s->z_panel + r * FL_GROUP + v * FL_LANES);
    fl_rnn_step(relu, a, s, p, r);
}
FL_GROUPS(fl_rnn_tanh_gates, fl_step, s->p0, p1, fl_rnn_gates(0, s, p, r))
FL_GROUPS(fl_rnn_relu_gates, fl_step, s->p0, p1, fl_rnn_gates(1, s, p, r))

#define FL_RNN_STEPS(suffix, gemm)                                                                 \
    static void fl_rnn_tanh##suffix##_run(const fl_step *s)                                        \
    {                                                                                              \
        fl_variant_product(s, FL_NV, gemm);                                                        \
        fl_rnn_tanh_gates(s);                                                                      \
    }                                                                                              \
    static void fl_rnn_relu##suffix##_run(const fl_step *s)                                        \
    {                                                                                              \
        fl_variant_product(s, FL_NV, gemm);                                                        \
        fl_rnn_relu_gates(s);                                                                      \
    }

FL_RNN_STEPS(_float16, fl_gemm_float16_run)
FL_RNN_STEPS(_int8, fl_gemm_int8_run)
FL_RNN_STEPS(_bfloat16, fl_gemm_bfloat16_run)
FL_VARIANT_STEPS(, fl_gemm_run)
FL_VARIANT_STEPS(_float16, fl_gemm_float16_run)
FL_VARIANT_STEPS(_int8, fl_gemm_int8_run)
FL_VARIANT_STEPS(_bfloat16, fl_gemm_bfloat16_run)

#endif
