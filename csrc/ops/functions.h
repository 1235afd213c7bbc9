/* SPDX-License-Identifier: MIT */
/*
 * Elementary functions of n floats. Each is one fixed sequence of IEEE operations in double, whose
 * result is rounded to float once, so the bits are the same on every machine; the C library's
 * functions differ from one to the next. Errors are below 0.51 ULP of the result, subnormal results
 * included, and special values are those of C's functions of these names, such as expf.
 *
 * y may be x, or a or b; other overlaps are not allowed.
 */
#ifndef FL_FUNCTIONS_H
#define FL_FUNCTIONS_H

#include <stddef.h>

void fl_exp(float *y, const float *x, size_t n);
void fl_log(float *y, const float *x, size_t n);
void fl_erf(float *y, const float *x, size_t n);
void fl_sin(float *y, const float *x, size_t n);
void fl_cos(float *y, const float *x, size_t n);
void fl_tan(float *y, const float *x, size_t n);
void fl_sinh(float *y, const float *x, size_t n);
void fl_cosh(float *y, const float *x, size_t n);
void fl_asin(float *y, const float *x, size_t n);
void fl_acos(float *y, const float *x, size_t n);
void fl_atan(float *y, const float *x, size_t n);
void fl_asinh(float *y, const float *x, size_t n);
void fl_acosh(float *y, const float *x, size_t n);
void fl_atanh(float *y, const float *x, size_t n);
/* y = a to the power b. */
void fl_pow(float *y, const float *a, const float *b, size_t n);

#endif
