/* SPDX-License-Identifier: MIT */
/* Vectors of 8 floats: AVX2, FMA and F16C. The operations are described in vec_generic.h. */
#ifndef FL_VEC_AVX2_H
#define FL_VEC_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

#define FL_LANES 8
typedef __m256 vf;

FL_INLINE vf vf_set1(float x) { return _mm256_set1_ps(x); }
FL_INLINE vf vf_load(const float *p) { return _mm256_load_ps(p); }
FL_INLINE vf vf_loadu(const float *p) { return _mm256_loadu_ps(p); }
FL_INLINE vf vf_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(const void *)p));
}
FL_INLINE vf vf_load_even(const uint16_t *p)
{
    const __m256i pairs = _mm256_load_si256((const __m256i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}
FL_INLINE vf vf_load_odd(const uint16_t *p)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000u);
    const __m256i pairs = _mm256_load_si256((const __m256i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, upper));
}
FL_INLINE void vf_store(float *p, vf a) { _mm256_store_ps(p, a); }
FL_INLINE void vf_storeu(float *p, vf a) { _mm256_storeu_ps(p, a); }
FL_INLINE __m256i vf_first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FL_INLINE void vf_storen(float *p, vf a, size_t n) { _mm256_maskstore_ps(p, vf_first(n), a); }
FL_INLINE vf vf_loadn(const float *p, size_t n) { return _mm256_maskload_ps(p, vf_first(n)); }

FL_INLINE vf vf_keep(vf a)
{
    FL_KEEP("x", a);
    return a;
}

FL_INLINE vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
FL_INLINE vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
FL_INLINE vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
FL_INLINE vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
FL_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
FL_INLINE vf vf_mad(vf a, vf b, vf c) { return vf_fma(a, b, c); }
FL_INLINE vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
FL_INLINE vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
FL_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
FL_INLINE vf vf_le(vf a, vf b, vf x, vf y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LE_OQ));
}

FL_INLINE vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FL_INLINE vf vf_copysign(vf a, vf s)
{
    return _mm256_or_ps(a, _mm256_and_ps(s, _mm256_set1_ps(-0.0f)));
}
FL_INLINE vf vf_shl23(vf a)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), 23));
}
FL_INLINE vf vf_flush(vf a, vf tiny)
{
    return _mm256_and_ps(a, _mm256_cmp_ps(vf_abs(a), tiny, _CMP_NLT_UQ));
}
FL_INLINE int vf_has_tiny(vf a, vf tiny)
{
    __m256 small = _mm256_cmp_ps(vf_abs(a), tiny, _CMP_LT_OQ);
    __m256 some = _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NEQ_UQ);
    return _mm256_movemask_ps(_mm256_and_ps(small, some)) != 0;
}

/* A .c file that defines FL_DOT_PRODUCTS is compiled for CPUs that have vpdpbusd. */
#ifdef FL_DOT_PRODUCTS
#define FL_CODE_ZERO 128
#define FL_CODE_PLANES 1
#else
#define FL_CODE_ZERO 0
#define FL_CODE_PLANES 0
#endif
typedef __m256i vi;

FL_INLINE vi vi_load(const int8_t *p)
{
    return _mm256_load_si256((const __m256i *)(const void *)p);
}
FL_INLINE vi vi_four(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}
#ifdef FL_DOT_PRODUCTS
FL_INLINE vi vi_start(int32_t sum)
{
    return _mm256_set1_epi32((int32_t)(0u - 128u * (uint32_t)sum));
}
/* gcc 12 copies the sums around the intrinsic, and in large tiles keeps some of them in memory. */
FL_INLINE vi vi_dot(vi sum, vi w, vi a)
{
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(a));
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
    return _mm256_add_epi32(_mm256_slli_epi32(sums[0], 8), sums[1]);
}
#else
FL_INLINE vi vi_start(int32_t sum)
{
    (void)sum;
    return _mm256_setzero_si256();
}
/* |a| times w with the sign of a, in pairs: two products are at most 2 * 127 * 127, so no sum of 16
   bits is cut off. */
FL_INLINE vi vi_dot(vi sum, vi w, vi a)
{
    const vi pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(w, a));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
FL_INLINE void vi_dot_16(vi sums[2], const int8_t *w, const int8_t *row, size_t line, size_t lines)
{
    int64_t four;
    memcpy(&four, row + 8 * line, sizeof four);
    (void)lines;
    const vi a = _mm256_set1_epi64x(four);
    const vi w0 = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(const void *)(w))),
             w1 = _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(const void *)(w + 16)));
    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(w0, a));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(w1, a));
}
FL_INLINE vi vi_columns(const vi sums[2])
{
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(sums[0], sums[1]), 0xd8);
}
#endif
FL_INLINE vf vi_float(vi sum) { return _mm256_cvtepi32_ps(sum); }

#endif
