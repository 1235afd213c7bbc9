/* SPDX-License-Identifier: MIT */
/* Vectors of 16 floats: AVX-512 F, BW, DQ, VL. The operations are described in vec_generic.h. */
#ifndef FL_VEC_AVX512_H
#define FL_VEC_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

#define FL_LANES 16
typedef __m512 vf;

FL_INLINE vf vf_set1(float x) { return _mm512_set1_ps(x); }
FL_INLINE vf vf_load(const float *p) { return _mm512_load_ps(p); }
FL_INLINE vf vf_loadu(const float *p) { return _mm512_loadu_ps(p); }
FL_INLINE vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(const void *)p));
}
FL_INLINE vf vf_load_even(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_load_si512(p), 16));
}
FL_INLINE vf vf_load_odd(const uint16_t *p)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000u);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_load_si512(p), upper));
}
FL_INLINE void vf_store(float *p, vf a) { _mm512_store_ps(p, a); }
FL_INLINE void vf_storeu(float *p, vf a) { _mm512_storeu_ps(p, a); }
FL_INLINE void vf_storen(float *p, vf a, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), a);
}
FL_INLINE vf vf_loadn(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}

FL_INLINE vf vf_keep(vf a)
{
    FL_KEEP("v", a);
    return a;
}

FL_INLINE vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
FL_INLINE vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
FL_INLINE vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
FL_INLINE vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
FL_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
FL_INLINE vf vf_mad(vf a, vf b, vf c) { return vf_fma(a, b, c); }
FL_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
FL_INLINE vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
FL_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
FL_INLINE vf vf_le(vf a, vf b, vf x, vf y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LE_OQ), y, x);
}

FL_INLINE vf vf_abs(vf a) { return _mm512_abs_ps(a); }
FL_INLINE vf vf_copysign(vf a, vf s)
{
    return _mm512_or_ps(a, _mm512_and_ps(s, _mm512_set1_ps(-0.0f)));
}
FL_INLINE vf vf_shl23(vf a)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), 23));
}
FL_INLINE vf vf_flush(vf a, vf tiny)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(vf_abs(a), tiny, _CMP_NLT_UQ), a);
}
FL_INLINE int vf_has_tiny(vf a, vf tiny)
{
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(vf_abs(a), tiny, _CMP_LT_OQ), a,
                                   _mm512_setzero_ps(), _CMP_NEQ_UQ) != 0;
}

/* A .c file that defines FL_DOT_PRODUCTS is compiled for CPUs that have vpdpbusd. */
#ifdef FL_DOT_PRODUCTS
#define FL_CODE_ZERO 128
#define FL_CODE_PLANES 1
#else
#define FL_CODE_ZERO 0
#define FL_CODE_PLANES 0
#endif
typedef __m512i vi;

FL_INLINE vi vi_load(const int8_t *p) { return _mm512_load_si512(p); }
FL_INLINE vi vi_four(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}
/* For products of tiles: writes the upper 16 bits of each lane to p, which is aligned to 32 bytes.
 */
FL_INLINE void vf_store_upper(uint16_t *p, vf a)
{
    const __m512i upper = _mm512_srli_epi32(_mm512_castps_si512(a), 16);
    _mm256_store_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(upper));
}
/* fl_take_part of kernels/bfloat16.h in a third of its time, for vectors whose lanes are all of a
   magnitude below 0x7f7f0000, the largest bfloat16, as vf_all_usual says. `least` is its bound. */
FL_INLINE int vf_all_usual(vf x)
{
    return !_mm512_cmpge_epu32_mask(_mm512_slli_epi32(_mm512_castps_si512(x), 1),
                                    _mm512_set1_epi32((int)0xfefe0000u));
}
FL_INLINE vf vf_take_usual(vf *x, vf least)
{
    const __m512i u = _mm512_castps_si512(*x);
    const __m512i last = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), last);
    const vf near = _mm512_castsi512_ps(_mm512_and_si512(sum, _mm512_set1_epi32((int)0xffff0000u)));
    const __mmask16 counts = _mm512_cmp_ps_mask(_mm512_abs_ps(near), least, _CMP_GE_OQ);
    const vf part = _mm512_maskz_mov_ps(counts, near);
    *x = _mm512_sub_ps(*x, part);
    return part;
}
FL_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
#ifdef FL_DOT_PRODUCTS
FL_INLINE vi vi_start(int32_t sum)
{
    return _mm512_set1_epi32((int32_t)(0u - 128u * (uint32_t)sum));
}
/* gcc 12 copies the sums around the intrinsic, and in large tiles keeps some of them in memory. */
FL_INLINE vi vi_dot(vi sum, vi w, vi a)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(a));
    return sum;
}
FL_INLINE void vi_dot_16(vi sums[2], const int8_t *w, const int8_t *row, size_t line, size_t lines)
{
    const vi weights = vi_load(w);
    sums[0] = vi_dot(sums[0], weights, vi_four(row + 4 * line));
    sums[1] = vi_dot(sums[1], weights, vi_four(row + 4 * (lines + line)));
}
FL_INLINE vi vi_columns(const vi sums[2])
{
    return _mm512_add_epi32(_mm512_slli_epi32(sums[0], 8), sums[1]);
}
#else
FL_INLINE vi vi_start(int32_t sum)
{
    (void)sum;
    return _mm512_setzero_si512();
}
/* |a| times w with the sign of a, in pairs: two products are at most 2 * 127 * 127, so no sum of 16
   bits is cut off. */
FL_INLINE vi vi_dot(vi sum, vi w, vi a)
{
    const vi negated = _mm512_mask_sub_epi8(w, _mm512_movepi8_mask(a), _mm512_setzero_si512(), w);
    const vi pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(a), negated);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
FL_INLINE void vi_dot_16(vi sums[2], const int8_t *w, const int8_t *row, size_t line, size_t lines)
{
    int64_t four;
    memcpy(&four, row + 8 * line, sizeof four);
    (void)lines;
    const vi a = _mm512_set1_epi64(four);
    const vi w0 = _mm512_cvtepi8_epi16(_mm256_load_si256((const __m256i *)(const void *)(w))),
             w1 = _mm512_cvtepi8_epi16(_mm256_load_si256((const __m256i *)(const void *)(w + 32)));
    sums[0] = _mm512_add_epi32(sums[0], _mm512_madd_epi16(w0, a));
    sums[1] = _mm512_add_epi32(sums[1], _mm512_madd_epi16(w1, a));
}
FL_INLINE vi vi_columns(const vi sums[2])
{
    const vi even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const vi odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_add_epi32(_mm512_permutex2var_epi32(sums[0], even, sums[1]),
                            _mm512_permutex2var_epi32(sums[0], odd, sums[1]));
}
#endif
FL_INLINE vf vi_float(vi sum) { return _mm512_cvtepi32_ps(sum); }

#endif
