/* SPDX-License-Identifier: MIT */
/*
 * The elementwise half of PyTorch's cells and of FL_GRU_BEFORE: from the finished sums of the gates
 * to the new state, and from the gradient of the new state to those of the sums. For each cell
 * there are functions of vectors of L units, which hold the formulas, and functions that read and
 * write memory, for row r and panel p, or vector v of panel p, of an fl_step or fl_back
 * (contract.h). A prime marks the state after the step: c', h'.
 *
 * Included once for each instruction set, through table.h. Other differences between cells are not
 * here: how their weights are packed and what they need of their callers is in the fl_cell of
 * contract.h, and the files that sum a GRU's products start those of h for n from b_hn.
 */
#ifndef FL_CELLS_H
#define FL_CELLS_H

#include "kernels/contract.h"
#include "kernels/product.h"
#include "kernels/vecmath.h"

/* fl_get reads units unit .. unit + L - 1 of a row of `hidden` floats, with 0 for those past its
   end; fl_put writes them, and nothing past the end. `unit` is less than `hidden`. */
FL_INLINE vf fl_get(const float *row, size_t unit, size_t hidden)
{
    return unit + FL_LANES <= hidden ? vf_loadu(row + unit) : vf_loadn(row + unit, hidden - unit);
}

FL_INLINE void fl_put(float *row, size_t unit, size_t hidden, vf v)
{
    if (unit + FL_LANES <= hidden)
        vf_storeu(row + unit, v);
    else
        vf_storen(row + unit, v, hidden - unit);
}

/*
 * LSTM, for L units of one row:
 *
 *     c' = sigmoid(a_f) c + sigmoid(a_i) tanh(a_g)        h' = sigmoid(a_o) tanh(c')
 *
 * a holds the sums of i, f, g and o. fl_lstm_state replaces *c by c' and returns the denominator of
 * o, of which and c' fl_lstm_output makes h'.
 *
 * sigmoid and tanh are fractions, and of a product of two of them the numerators and the
 * denominators are multiplied before the one division: there are three divisions instead of five.
 * fl_sigmoid_den gives 2^-64 (1 + exp(-a)); for i and o it is multiplied by 2^64 here, as the
 * numerator 2^-64 would make subnormals of small g and c. Below a = -88.7 the denominator then
 * overflows to infinity, and the gate is 0.
 */
FL_INLINE vf fl_lstm_state(const vf a[FL_NV], vf *c)
{
    const vf unscale = vf_set1(1 / FL_SIGMOID_NUM);
    vf den_g;
    vf i_den = vf_mul(fl_sigmoid_den(a[0]), unscale);
    vf f = fl_sigmoid(a[1]);
    vf g = fl_tanh_num(a[2], &den_g);
    vf o_den = vf_mul(fl_sigmoid_den(a[3]), unscale);
    vf ig = vf_div(g, vf_mul(i_den, den_g));
    *c = vf_flush(vf_fma(f, *c, ig), vf_set1(FL_TINY));
    return o_den;
}

FL_INLINE vf fl_lstm_output(vf c, vf o_den)
{
    vf den_c, t = fl_tanh_num(c, &den_c);
    return vf_flush(vf_div(t, vf_mul(o_den, den_c)), vf_set1(FL_TINY));
}

/* Stores an activation that `back` needs. Below FL_TINY_GRADIENT it becomes 0, since the product of
   a vanishing gradient and a tiny activation would be subnormal. */
FL_INLINE void fl_keep(float *kept, vf v)
{
    vf_store(kept, vf_flush(v, vf_set1(FL_TINY_GRADIENT)));
}

/* What fl_lstm_begin, which writes c' (and kept), leaves of a row for fl_lstm_end, which writes h':
   c' and the denominator of o. */
typedef struct fl_lstm_row {
    vf c, o_den;
} fl_lstm_row;

FL_INLINE void fl_lstm_begin(const int keep, fl_lstm_row *row, const vf a[FL_NV], const fl_step *s,
                             size_t p, size_t r)
{
    const size_t unit = p * FL_LANES;
    float *cp = s->c + r * s->c_row + unit;
    if (keep) { /* three more divisions; c and h are computed as without them, to the same bits */
        float *kept = s->kept + p * s->kept_panel + r * 4 * FL_LANES;
        fl_keep(kept, fl_sigmoid(a[0]));
        fl_keep(kept + FL_LANES, fl_sigmoid(a[1]));
        fl_keep(kept + 2 * FL_LANES, fl_tanh(a[2]));
        fl_keep(kept + 3 * FL_LANES, fl_sigmoid(a[3]));
    }
    row->c = vf_load(cp);
    row->o_den = fl_lstm_state(a, &row->c);
    vf_store(cp, row->c);
    if (keep)
        vf_store(s->c_out + r * s->c_row + unit, row->c);
}

FL_INLINE void fl_lstm_end(fl_lstm_row row, const fl_step *s, size_t p, size_t r)
{
    fl_put(s->h_out[r], p * FL_LANES, s->hidden, fl_lstm_output(row.c, row.o_den));
}

FL_INLINE void fl_lstm_step(const int keep, const vf a[FL_NV], const fl_step *s, size_t p, size_t r)
{
    fl_lstm_row row;
    fl_lstm_begin(keep, &row, a, s, p, r);
    fl_lstm_end(row, s, p, r);
}

/*
 * LSTM, the gradients of the sums, with t = tanh(c) of the new c:
 *
 *     d = dc + dh o (1 - t^2)
 *     dz_i = d g i (1 - i)        dz_f = d c_prev f (1 - f)        dz_g = d i (1 - g^2)
 *     dz_o = dh t o (1 - o)       dc = d f
 *
 * kept holds the activations i, f, g and o. *dc is the part of the gradient of the new c that comes
 * from later steps, and is replaced by that part for c_prev. Returns h = o t, which the gradient of
 * a projection needs. (1 - i) i is computed as i - i i, in one rounding.
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

/* Stores d, vector v of the V vectors that panel p has for row r, in both copies of dz: in the
   panels at `dz`, and in the rows at `dz_rows`. */
FL_INLINE void fl_dz(float *dz, float *dz_rows, const fl_back *s, const int V, int v, size_t p,
                     size_t r, vf d)
{
    vf_store(dz + p * s->dz_panel + (r * V + v) * FL_LANES, d);
    vf_store(dz_rows + r * s->dz_row + (p * V + v) * FL_LANES, d);
}

FL_INLINE void fl_lstm_back_at(const fl_back *s, size_t p, size_t r)
{
    const size_t at = r * s->c_row + p * FL_LANES;
    const float *from = s->kept + p * s->kept_panel + r * 4 * FL_LANES;
    vf kept[FL_NV], d[FL_NV], dc = vf_load(s->dc + at);
    FL_FOR (v, FL_NV)
        kept[v] = vf_load(from + v * FL_LANES);
    vf h = fl_lstm_back(kept, vf_load(s->c + at), vf_load(s->c_prev + at),
                        vf_load(s->dh + r * s->dh_row + p * FL_LANES), &dc, d);
    vf_store(s->dc + at, dc);
    FL_FOR (v, FL_NV)
        fl_dz(s->dz, s->dz_rows, s, FL_NV, v, p, r, d[v]);
    if (s->h)
        vf_store(s->h + p / FL_NV * s->h_panel + r * FL_GROUP + p % FL_NV * FL_LANES, h);
}

/*
 * GRU:
 *
 *     n = tanh(n_x + sigmoid(a_r) a_n)        h' = (1 - sigmoid(a_z)) n + sigmoid(a_z) h
 *
 * a_r and a_z are the sums of r and z. Of the sum of n, n_x is the part of the input with b_ih, and
 * a_n the part of h with b_hn. fl_gru_mix is h' of the gates z and n.
 */
FL_INLINE vf fl_gru_mix(vf z, vf n, vf h)
{
    return vf_flush(vf_fma(z, vf_sub(h, n), n), vf_set1(FL_TINY));
}

FL_INLINE void fl_gru_step(const int keep, const vf a[3], const fl_step *s, size_t p, size_t r)
{
    const size_t unit = p * FL_LANES;
    vf n_x = vf_load(s->z + p * s->z_panel + (r * 3 + 2) * FL_LANES);
    vf reset = fl_sigmoid(a[0]), z = fl_sigmoid(a[1]), n = fl_tanh(vf_fma(reset, a[2], n_x));
    if (keep) {
        float *kept = s->kept + p * s->kept_panel + r * 4 * FL_LANES;
        fl_keep(kept, reset);
        fl_keep(kept + FL_LANES, z);
        fl_keep(kept + 2 * FL_LANES, n);
        fl_keep(kept + 3 * FL_LANES, a[2]);
    }
    fl_put(s->h_out[r], unit, s->hidden, fl_gru_mix(z, n, fl_get(s->h[r], unit, s->hidden)));
}

/*
 * GRU, the gradients of the sums, where d is the whole gradient of h', and dc the part of the
 * gradient of a state that reaches it through z h alone, without a product (fl_back):
 *
 *     d = dh + dc                     dz = d (h - n) z (1 - z)        dc = d z
 *     dn = d (1 - z) (1 - n^2)        dr = dn a_n r (1 - r)           d a_n = dn r
 *
 * dz is the gradient of the sum of the gate z, dn that of n's, and d a_n that of a_n. fl_gru_back
 * returns dn, and writes dz to *dz.
 */
FL_INLINE vf fl_gru_back(vf d, vf z, vf n, vf h, vf *dz)
{
    const vf one = vf_set1(1.0f);
    *dz = vf_flush(vf_mul(vf_mul(d, vf_sub(h, n)), vf_fnma(z, z, z)), vf_set1(FL_TINY_GRADIENT));
    return vf_flush(vf_mul(vf_mul(d, vf_sub(one, z)), vf_fnma(n, n, one)),
                    vf_set1(FL_TINY_GRADIENT));
}

/* Stores the gradients of the three gates' sums: towards the input as (dr, dz, dn) in dz, and
   towards the state as (dr, dz, dn_h), with dn_h = r dn, in dzh. */
FL_INLINE void fl_gru_dz(const fl_back *s, size_t p, size_t r, vf dr, vf dz, vf dn, vf dn_h)
{
    fl_dz(s->dz, s->dz_rows, s, 3, 0, p, r, dr);
    fl_dz(s->dz, s->dz_rows, s, 3, 1, p, r, dz);
    fl_dz(s->dz, s->dz_rows, s, 3, 2, p, r, dn);
    fl_dz(s->dzh, s->dzh_rows, s, 3, 0, p, r, dr);
    fl_dz(s->dzh, s->dzh_rows, s, 3, 1, p, r, dz);
    fl_dz(s->dzh, s->dzh_rows, s, 3, 2, p, r, dn_h);
}

FL_INLINE void fl_gru_back_at(const fl_back *s, size_t p, size_t r)
{
    const vf tiny = vf_set1(FL_TINY_GRADIENT);
    const size_t unit = p * FL_LANES;
    const float *kept = s->kept + p * s->kept_panel + r * 4 * FL_LANES;
    float *dc = s->dc + r * s->c_row + unit;
    vf d = vf_add(vf_load(s->dh + r * s->dh_row + unit), vf_load(dc)), dz;
    vf reset = vf_load(kept), z = vf_load(kept + FL_LANES), n = vf_load(kept + 2 * FL_LANES);
    vf dn = fl_gru_back(d, z, n, fl_get(s->before[r], unit, s->hidden), &dz);
    vf dr = vf_mul(vf_mul(dn, vf_load(kept + 3 * FL_LANES)), vf_fnma(reset, reset, reset));
    vf_store(dc, vf_flush(vf_mul(d, z), tiny));
    dr = vf_flush(dr, tiny);
    fl_gru_dz(s, p, r, dr, dz, dn, vf_flush(vf_mul(dn, reset), tiny));
}

/*
 * The GRU that resets h before the product of n:
 *
 *     n = tanh(a_n), where a_n is the sum over x and r h        h' as above
 *
 * Its panels are plain: first those of r, then those of z, then those of n, each p1 panels in an
 * fl_step and `panels` panels in an fl_back. So the units of panel p of r are in panel p1 + p for z
 * and in panel 2 * p1 + p for n. The sums of all three gates are in s->z. fl_gru_before_reset
 * writes r h to s->c. The caller then adds the product of r h to a_n, after which
 * fl_gru_before_step makes h'.
 */
FL_INLINE void fl_gru_before_reset(const int keep, const fl_step *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    vf reset = fl_sigmoid(vf_load(s->z + p * s->z_panel + at));
    vf h = unit < s->hidden ? fl_get(s->h[r], unit, s->hidden) : vf_set1(0.0f);
    vf_store(s->c + r * s->c_row + unit, vf_flush(vf_mul(reset, h), vf_set1(FL_TINY)));
    if (keep)
        fl_keep(s->kept + p * s->kept_panel + at, reset);
}

FL_INLINE void fl_gru_before_step(const int keep, const fl_step *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    vf z = fl_sigmoid(vf_load(s->z + (s->p1 + p) * s->z_panel + at));
    vf n = fl_tanh(vf_load(s->z + (2 * s->p1 + p) * s->z_panel + at));
    if (keep) {
        fl_keep(s->kept + (s->p1 + p) * s->kept_panel + at, z);
        fl_keep(s->kept + (2 * s->p1 + p) * s->kept_panel + at, n);
    }
    if (unit < s->hidden)
        fl_put(s->h_out[r], unit, s->hidden, fl_gru_mix(z, n, fl_get(s->h[r], unit, s->hidden)));
}

FL_INLINE void fl_gru_before_back_at(const fl_back *s, size_t p, size_t v, size_t r)
{
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    const size_t pz = s->panels + p, pn = 2 * s->panels + p;
    float *dc = s->dc + r * s->c_row + unit;
    vf d = vf_add(vf_load(s->dh + r * s->dh_row + unit), vf_load(dc)), dz;
    vf z = vf_load(s->kept + pz * s->kept_panel + at);
    vf n = vf_load(s->kept + pn * s->kept_panel + at);
    vf h = unit < s->hidden ? fl_get(s->before[r], unit, s->hidden) : vf_set1(0.0f);
    vf dn = fl_gru_back(d, z, n, h, &dz);
    vf_store(dc, vf_flush(vf_mul(d, z), vf_set1(FL_TINY_GRADIENT)));
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, pz, r, dz);
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, pn, r, dn);
}

/* With d the gradient of the product r h: the gradient of r's sum is dr = d h r (1 - r), and d r is
   added to dc. */
FL_INLINE void fl_gru_before_back_reset(const fl_back *s, size_t p, size_t v, size_t r)
{
    const vf tiny = vf_set1(FL_TINY_GRADIENT);
    const size_t at = r * FL_GROUP + v * FL_LANES, unit = (p * FL_NV + v) * FL_LANES;
    float *dc = s->dc + r * s->c_row + unit;
    vf d = vf_load(s->dh + r * s->dh_row + unit);
    vf reset = vf_load(s->kept + p * s->kept_panel + at);
    vf h = unit < s->hidden ? fl_get(s->before[r], unit, s->hidden) : vf_set1(0.0f);
    vf dr = vf_mul(vf_mul(d, h), vf_fnma(reset, reset, reset));
    vf_store(dc, vf_flush(vf_fma(d, reset, vf_load(dc)), tiny));
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, p, r, vf_flush(dr, tiny));
}

/* RNN: h' = tanh(a) or max(a, 0). A panel holds FL_NV vectors of units. */
FL_INLINE void fl_rnn_step(const int relu, const vf a[FL_NV], const fl_step *s, size_t p, size_t r)
{
    const vf zero = vf_set1(0.0f), tiny = vf_set1(FL_TINY);
    FL_FOR (v, FL_NV) {
        const size_t unit = (p * FL_NV + v) * FL_LANES;
        if (unit < s->hidden)
            fl_put(s->h_out[r], unit, s->hidden,
                   vf_flush(relu ? vf_max(zero, a[v]) : fl_tanh(a[v]), tiny));
    }
}

/* RNN: dz = dh (1 - h^2) for tanh; dh where h > 0, else 0, for relu, whose h is 0 or at least
   FL_TINY. */
FL_INLINE void fl_rnn_back_at(const int relu, const fl_back *s, size_t p, size_t v, size_t r)
{
    const vf one = vf_set1(1.0f), up = vf_set1(1 / FL_TINY);
    const size_t unit = (p * FL_NV + v) * FL_LANES;
    vf h = unit < s->hidden ? fl_get(s->after[r], unit, s->hidden) : vf_set1(0.0f);
    vf slope = relu ? vf_min(one, vf_mul(h, up)) : vf_fnma(h, h, one);
    vf d = vf_mul(vf_load(s->dh + r * s->dh_row + unit), slope);
    fl_dz(s->dz, s->dz_rows, s, FL_NV, (int)v, p, r, vf_flush(d, vf_set1(FL_TINY_GRADIENT)));
}

#endif
