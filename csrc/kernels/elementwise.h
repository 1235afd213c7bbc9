/* SPDX-License-Identifier: MIT */
/*
 * Two sorts of kernels, included once for each instruction set by table.h:
 *
 *     kernels that apply a function of cells.h or variants.h to every panel p and row r: back and
 *     reset of all cells, and the step of FL_GRU_BEFORE. They read no weights, so one of each
 *     serves all formats.
 *
 *     steps that are a gemm and then such a function: those of variants, and of RNNs with weights
 *     that are not float32 or with k above FL_UNCUT. The gemm is that of the weights' format, so
 *     they too serve all formats.
 */
#ifndef FL_ELEMENTWISE_H
#define FL_ELEMENTWISE_H

#include "kernels/cells.h"
#include "kernels/gemm.h"
#include "kernels/variants.h"

/* FL_GROUPS defines a kernel on an `args` s, which evaluates `expr` for every panel p from `first`
   to before s->panels_ and every row r; FL_UNITS for every vector v of a panel too. */
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

/* An RNN's step from finished sums in z. With weights that are not float32, or with k above
   FL_UNCUT, a step is a gemm and then this. Register tiles that do both, as in float32, would be a
   third of all code that float16 adds. */
FL_INLINE void fl_rnn_gates(const int relu, const fl_step *s, size_t p, size_t r)
{
    vf a[FL_NV];
    FL_FOR (v, FL_NV)
        a[v] = vf_load(s->z + p * s->z_panel + r * FL_GROUP + v * FL_LANES);
    fl_rnn_step(relu, a, s, p, r);
}
FL_GROUPS(fl_rnn_tanh_gates, fl_step, s->p0, p1, fl_rnn_gates(0, s, p, r))
FL_GROUPS(fl_rnn_relu_gates, fl_step, s->p0, p1, fl_rnn_gates(1, s, p, r))

/* A step that adds the product of h to z by fl_step's gemm, and then computes the gates. */
#define FL_PRODUCT_STEP(name, vectors, gates)                                                      \
    static void name(const fl_step *s)                                                             \
    {                                                                                              \
        fl_add_product(s, vectors);                                                                \
        gates(s);                                                                                  \
    }
FL_PRODUCT_STEP(fl_rnn_tanh_product_run, FL_NV, fl_rnn_tanh_gates)
FL_PRODUCT_STEP(fl_rnn_relu_product_run, FL_NV, fl_rnn_relu_gates)
FL_PRODUCT_STEP(fl_lstm_variant_run, FL_NV, fl_lstm_variant_gates)
FL_PRODUCT_STEP(fl_rnn_variant_run, FL_NV, fl_rnn_variant_gates)
static void fl_gru_variant_run(const fl_step *s)
{
    fl_gru_variant_set_aside_run(s);
    fl_add_product(s, 3);
    fl_gru_variant_gates(s);
}

#endif
