/* SPDX-License-Identifier: MIT */
/* Vectors of 4 floats: AArch64 Advanced SIMD. The operations are described in vec_generic.h. */
#ifndef FL_VEC_NEON_H
#define FL_VEC_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

#define FL_LANES 4
typedef float32x4_t vf;

FL_INLINE vf vf_set1(float x) { return vdupq_n_f32(x); }
FL_INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
FL_INLINE vf vf_loadu(const float *p) { return vld1q_f32(p); }
FL_INLINE vf vf_load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
FL_INLINE vf vf_load_even(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(p)), 16));
}
FL_INLINE vf vf_load_odd(const uint16_t *p)
{
    const uint32x4_t lower = vdupq_n_u32(0xffffu);
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_u16(vld1q_u16(p)), lower));
}
FL_INLINE void vf_store(float *p, vf a) { vst1q_f32(p, a); }
FL_INLINE void vf_storeu(float *p, vf a) { vst1q_f32(p, a); }
FL_INLINE void vf_storen(float *p, vf a, size_t n)
{
    float lane[4];
    vst1q_f32(lane, a);
    for (size_t i = 0; i < n; i++)
        p[i] = lane[i];
}
FL_INLINE vf vf_loadn(const float *p, size_t n)
{
    float lane[4] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i] = p[i];
    return vld1q_f32(lane);
}

FL_INLINE vf vf_keep(vf a)
{
    FL_KEEP("w", a);
    return a;
}

FL_INLINE vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
FL_INLINE vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
FL_INLINE vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
FL_INLINE vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
FL_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
FL_INLINE vf vf_mad(vf a, vf b, vf c) { return vf_fma(a, b, c); }
FL_INLINE vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
FL_INLINE vf vf_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
FL_INLINE vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FL_INLINE vf vf_le(vf a, vf b, vf x, vf y) { return vbslq_f32(vcleq_f32(a, b), x, y); }

FL_INLINE vf vf_abs(vf a) { return vabsq_f32(a); }
FL_INLINE vf vf_copysign(vf a, vf s) { return vbslq_f32(vdupq_n_u32(0x80000000u), s, a); }
FL_INLINE vf vf_shl23(vf a)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a), 23));
}
FL_INLINE vf vf_flush(vf a, vf tiny)
{
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(a), vcaltq_f32(a, tiny)));
}
FL_INLINE int vf_has_tiny(vf a, vf tiny)
{
    uint32x4_t some = vmvnq_u32(vceqzq_f32(a));
    return vmaxvq_u32(vandq_u32(vcaltq_f32(a, tiny), some)) != 0;
}

/* A .c file that defines FL_DOT_PRODUCTS is compiled for CPUs that have sdot. */
#define FL_CODE_ZERO 0
#define FL_CODE_PLANES 0
typedef int32x4_t vi;

FL_INLINE vi vi_start(int32_t sum)
{
    (void)sum;
    return vdupq_n_s32(0);
}
FL_INLINE vi vi_load(const int8_t *p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }
FL_INLINE vi vi_four(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vdupq_n_s32(four);
}
FL_INLINE vi vi_dot(vi sum, vi w, vi a)
{
    const int8x16_t x = vreinterpretq_s8_s32(w), y = vreinterpretq_s8_s32(a);
#ifdef FL_DOT_PRODUCTS
    return vdotq_s32(sum, x, y);
#else
    /* Two products are at most 2 * 127 * 127, so pairs of them are exact in 16 bits. */
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y));
    const int16x8_t high = vmull_s8(vget_high_s8(x), vget_high_s8(y));
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
}
FL_INLINE void vi_dot_16(vi sums[2], const int8_t *w, const int8_t *row, size_t line, size_t lines)
{
    int16x4_t x;
    memcpy(&x, row + 8 * line, sizeof x);
    (void)lines;
    const int16x8_t w0 = vmovl_s8(vld1_s8(w)), w1 = vmovl_s8(vld1_s8(w + 8));
    sums[0] = vaddq_s32(
        sums[0], vpaddq_s32(vmull_s16(vget_low_s16(w0), x), vmull_s16(vget_high_s16(w0), x)));
    sums[1] = vaddq_s32(
        sums[1], vpaddq_s32(vmull_s16(vget_low_s16(w1), x), vmull_s16(vget_high_s16(w1), x)));
}
FL_INLINE vi vi_columns(const vi sums[2]) { return vpaddq_s32(sums[0], sums[1]); }
FL_INLINE vf vi_float(vi sum) { return vcvtq_f32_s32(sum); }

#endif
