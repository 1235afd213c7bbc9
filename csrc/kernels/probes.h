/* SPDX-License-Identifier: MIT */
/* The kernels of fl_kernels (contract.h) that work on plain arrays, and those that serve
   measurements of the machine. Included once for each instruction set by table.h. */
#ifndef FL_PROBES_H
#define FL_PROBES_H

#include "kernels/activations.h"
#include "kernels/cells.h"

/* The value is that of the step: `back` may compute a more accurate one (fl_gelu_near_0). */
static void fl_activate(const fl_activation *f, float *y, float *slope, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i += FL_LANES) {
        vf v = fl_get(x, i, n), d;
        fl_put(y, i, n, fl_activation_of(f, v, NULL));
        fl_activation_of(f, v, &d);
        fl_put(slope, i, n, d);
    }
}

static int fl_has_tiny(const float *x, size_t n)
{
    const vf tiny = vf_set1(FL_TINY);
    size_t i = 0;
    for (; i + FL_LANES <= n; i += FL_LANES)
        if (vf_has_tiny(vf_loadu(x + i), tiny))
            return 1;
    return i < n && vf_has_tiny(vf_loadn(x + i, n - i), tiny);
}

/* FL_MAP defines a kernel that applies `expr`, a function of one vector v, to n floats. */
#define FL_MAP(fn, expr)                                                                           \
    static void fn(float *y, const float *x, size_t n)                                             \
    {                                                                                              \
        size_t i = 0;                                                                              \
        for (; i + FL_LANES <= n; i += FL_LANES) {                                                 \
            vf v = vf_loadu(x + i);                                                                \
            vf_storeu(y + i, expr);                                                                \
        }                                                                                          \
        if (i < n) {                                                                               \
            vf v = vf_loadn(x + i, n - i);                                                         \
            vf_storen(y + i, expr, n - i);                                                         \
        }                                                                                          \
    }
FL_MAP(fl_flush_map, vf_flush(v, vf_set1(FL_TINY)))
FL_MAP(fl_sigmoid_map, fl_sigmoid(v))
FL_MAP(fl_tanh_map, fl_tanh(v))

/* Twelve independent chains hide the latency of a fused multiply-add on every machine met so far,
   which need 8 or 10: the latency is 4 or 5 cycles, and 2 of them start in each cycle. The factors
   are volatile, so that the compiler cannot compute the result itself. */
static double fl_probe_fma(size_t n)
{
    volatile float one = 1.0f, small = 0x1p-30f;
    vf a = vf_set1(one), b = vf_set1(small), acc[12];
    FL_FOR (i, 12)
        acc[i] = vf_set1(one);
    for (size_t k = 0; k < n; k++) {
        FL_FOR (i, 12)
            acc[i] = vf_mad(a, b, acc[i]);
    }
    for (int i = 1; i < 12; i++)
        acc[0] = vf_add(acc[0], acc[i]);
    float sink[FL_LANES];
    vf_storeu(sink, acc[0]);
    one = sink[0];
    return (double)n * 12 * FL_LANES * 2;
}

static float fl_probe_read(const float *x, size_t n)
{
    vf acc[8];
    FL_FOR (i, 8)
        acc[i] = vf_set1(0.0f);
    for (size_t k = 0; k + 8 * FL_LANES <= n; k += 8 * FL_LANES) {
        FL_FOR (i, 8)
            acc[i] = vf_add(acc[i], vf_loadu(x + k + i * FL_LANES));
    }
    for (int i = 1; i < 8; i++)
        acc[0] = vf_add(acc[0], acc[i]);
    float sink[FL_LANES];
    vf_storeu(sink, acc[0]);
    return sink[0];
}

#endif
