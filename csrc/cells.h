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

/*
 * The same, to the same bits, with the activations i, f, g, o kept in `kept`. Three divisions more
 * than above; they are used by nothing that the state depends on.
 */
FL_INLINE vf fl_lstm_keep(const vf a[FL_NV], vf *c, vf kept[FL_NV])
{
    const vf num = vf_set1(FL_SIGMOID_NUM);
    vf den_g, g = fl_tanh_num(a[2], &den_g);
    kept[0] = vf_div(num, fl_sigmoid_den(a[0]));
    kept[1] = vf_div(num, fl_sigmoid_den(a[1]));
    kept[2] = vf_div(g, den_g);
    kept[3] = vf_div(num, fl_sigmoid_den(a[3]));
    return fl_lstm_gates(a, c);
}

/*
 * The gradients of fl_lstm_gates' sums, for L units of one row: formulas at `back` in kernels.h.
 * Returns h. What falls below FL_TINY becomes 0, as states do: vanishing gradients must not run
 * into subnormal factors. (1 - i) i is i - i i in one rounding.
 */
FL_INLINE vf fl_lstm_back(const vf kept[FL_NV], vf c, vf c_prev, vf dh, vf *dc, vf dz[FL_NV])
{
    const vf one = vf_set1(1.0f), tiny = vf_set1(FL_TINY);
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
