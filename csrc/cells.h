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
 * The denominators of i and o are brought back to 1 + exp(-a), since scaling the numerators down
 * would make subnormals of small g and c. Past a = -88.7 they overflow, and the gate is 0.
 */
FL_INLINE vf fl_lstm_gates(const vf a[FL_NV], vf *c)
{
    const vf back = vf_set1(1 / FL_SIGMOID_NUM), tiny = vf_set1(FL_TINY);
    vf den_g, den_c;
    vf i_den = vf_mul(fl_sigmoid_den(a[0]), back);
    vf f = fl_sigmoid(a[1]);
    vf g = fl_tanh_num(a[2], &den_g);
    vf o_den = vf_mul(fl_sigmoid_den(a[3]), back);
    vf ig = vf_div(g, vf_mul(i_den, den_g));
    vf state = vf_flush(vf_fma(f, *c, ig), tiny);
    vf t = fl_tanh_num(state, &den_c);
    *c = state;
    return vf_flush(vf_div(t, vf_mul(o_den, den_c)), tiny);
}

#endif
