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

/*
 * The same, to the same bits, with the activations i, f, g, o kept in `kept`. Three divisions more
 * than above; they are used by nothing that the state depends on.
 */
FL_INLINE vf fl_lstm_keep(const vf a[FL_NV], vf *c, vf kept[FL_NV])
{
    const vf tiny = vf_set1(FL_TINY_GRADIENT);
    kept[0] = vf_flush(fl_sigmoid(a[0]), tiny);
    kept[1] = vf_flush(fl_sigmoid(a[1]), tiny);
    kept[2] = vf_flush(fl_tanh(a[2]), tiny);
    kept[3] = vf_flush(fl_sigmoid(a[3]), tiny);
    return fl_lstm_gates(a, c);
}

/*
 * The gradients of fl_lstm_gates' sums, for L units of one row: formulas at `back` in kernels.h.
 * Returns h. What falls below FL_TINY_GRADIENT becomes 0: vanishing gradients must not run into
 * subnormal factors. (1 - i) i is i - i i in one rounding.
 */
FL_INLINE vf fl_lstm_back(const vf kept[FL_NV], vf c, vf c_prev, vf dh, vf *dc, vf dz[FL_NV])
{
    const vf one = vf_set1(1.0f), tiny = vf_set1(FL_TINY_GRADIENT);
    const vf i = kept[0], f = kept[1], g = kept[2], o = kept[3];
    vf t = fl_tanh(c);
    vf dho = vf_mul(dh, o);
    vf d = vf_fma(dho, vf_fnma(t, t, one), *dc);
    dz[0] = vf_flush(vf_mul(vf_mul(d, g), vf_fnma(i, i, i)), tiny);
    dz[1] = vf_flush(vf_mul(vf_mul(d, c_prev), vf_fnma(f, f, f)), tiny);
    dz[2] = vf_flush(vf_mul(vf_mul(d, i), vf_fnma(g, g, one)), tiny);
    dz[3] = vf_flush(vf_mul(vf_mul(dho, t), vf_sub(one, o)), tiny);
    *dc = vf_flush(vf_mul(d, f), tiny);
    return vf_mul(o, t);
}

#endif
