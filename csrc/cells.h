/* SPDX-License-Identifier: MIT */
/*
 * The cells: one function each, from a unit vector's gate sums to its new state. Included once per
 * instruction set by kernels_impl.h; everything else in the engine is the same for all cells.
 */
#ifndef FL_CELLS_H
#define FL_CELLS_H

/*
 * LSTM, for L units of one row. a = sums of i, f, g, o; c = cell state, replaced.
 *
 *     c' = sigmoid(f) c + sigmoid(i) tanh(g)        h' = sigmoid(o) tanh(c')
 *
 * Three divisions instead of five: numerators and denominators of a product are multiplied first.
 * No denominator product leaves [2^-64, 2^89], so none overflows.
 */
FL_INLINE vf fl_lstm_gates(const vf a[FL_NV], vf *c)
{
    const vf num = vf_set1(FL_SIGMOID_NUM), tiny = vf_set1(FL_TINY);
    vf den_g, den_c;
    vf i_den = fl_sigmoid_den(a[0]);
    vf f = vf_div(num, fl_sigmoid_den(a[1]));
    vf g = fl_tanh_num(a[2], &den_g);
    vf o_den = fl_sigmoid_den(a[3]);
    vf ig = vf_div(vf_mul(g, num), vf_mul(i_den, den_g));
    vf state = vf_flush(vf_fma(f, *c, ig), tiny);
    vf t = fl_tanh_num(state, &den_c);
    *c = state;
    return vf_flush(vf_div(vf_mul(t, num), vf_mul(o_den, den_c)), tiny);
}

#endif
