/* SPDX-License-Identifier: MIT */
/* What the gemm of FL_INT8 makes of finished sums of codes: floats, with scales. Included once for
   each file with such a gemm, after the set's vec_*.h. */
#ifndef FL_INT8_END_H
#define FL_INT8_END_H

#include "kernels/contract.h"

/* start + total * (scales * scale), in one rounding after that of the scales' product. */
FL_INLINE vf fl_scaled(vi total, const float *scales, float scale, vf start)
{
    return vf_fma(vi_float(total), vf_mul(vf_load(scales), vf_set1(scale)), start);
}

/* What gemm makes of the finished sums of panel p and row r, of V vectors. They
   are functions of their own: inlined in every tile they would be much of int8's code. */
#define FL_INT8_GEMM_END(V)                                                                        \
    static FL_NOINLINE void fl_int8_gemm_end_##V(const fl_gemm *g, const vi total[FL_NV],          \
                                                 size_t p, size_t r)                               \
    {                                                                                              \
        const vf least = vf_set1(g->least), most = vf_set1(g->most), tiny = vf_set1(FL_TINY);      \
        const size_t columns = p * V * FL_LANES;                                                   \
        float *const c = g->c + p * g->c_panel + r * g->c_row;                                     \
        FL_FOR (v, V) {                                                                            \
            const size_t at = v * FL_LANES;                                                        \
            const vf before = g->add ? vf_load(c + at) : vf_set1(0.0f);                            \
            vf sum = g->add == FL_ONTO ? before                                                    \
                     : g->init         ? vf_load(g->init + columns + at)                           \
                                       : vf_set1(0.0f);                                            \
            sum = fl_scaled(total[v], g->scales + columns + at, g->codes.scale[r], sum);           \
            if (g->add == FL_AFTER)                                                                \
                sum = vf_add(sum, before);                                                         \
            if (g->clip)                                                                           \
                sum = vf_max(least, vf_min(most, vf_flush(sum, tiny)));                            \
            vf_store(c + at, sum);                                                                 \
        }                                                                                          \
    }
FL_INT8_GEMM_END(3)
FL_INT8_GEMM_END(4)

#endif
