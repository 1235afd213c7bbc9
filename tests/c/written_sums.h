/* SPDX-License-Identifier: MIT */
/* What the layers of operators_driver.c compute, as loops over one number after the other. */
#ifndef FL_WRITTEN_SUMS_H
#define FL_WRITTEN_SUMS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fastlstm.h"
#include "kernels/contract.h"
#include "check.h"
#include "halves.h"

static int fused; /* the instruction set adds a product in one rounding */

static float flush(float x) { return fabsf(x) < FL_TINY ? 0.0f : x; }

static float chain(float sum, const float *x, const float *w, size_t n, int format)
{
    for (size_t k = 0; k < n; k++) {
        const float factor = format == FL_FLOAT16 ? half_rounded(w[k]) : w[k];
        sum = fused ? fmaf(flush(x[k]), factor, sum) : flush(x[k]) * factor + sum;
    }
    return sum;
}

/* Sums of codes of the row x, whose largest code is `top`, as kernels/codes.h says. */
static float sum_of_codes(float b, const float *x, const int8_t *w, float scale, size_t n,
                          float top)
{
    float most = 0;
    int64_t sum = 0;
    for (size_t k = 0; k < n; k++)
        most = fmaxf(most, fabsf(flush(x[k])));
    if (most == 0)
        return b;
    const float by = top / most;
    for (size_t k = 0; k < n; k++)
        sum += (int64_t)rintf(flush(x[k]) * by) * w[k];
    CHECK(sum >= -INT32_MAX && sum <= INT32_MAX);
    return fmaf((float)sum, scale * (most / top), b); /* fused on every set */
}

/* x as bfloat16 holds it, of 8 bits of precision, and below 2^-56 zero. */
static float bfloat16_rounded(float x)
{
    int exponent;
    const float part = frexpf(x, &exponent);
    const float y = isfinite(x) ? ldexpf(rintf(ldexpf(part, 8)), exponent - 8) : x;
    return fabsf(y) < 0x1p-56f ? 0.0f : y;
}

/* The parts of n numbers: each is what the ones before it leave, rounded. [parts][n] */
static float *bfloat16_parts(const float *x, size_t n, int parts)
{
    float *const to = malloc(((size_t)parts * n + 1) * sizeof *to);
    CHECK(to);
    for (size_t i = 0; i < n; i++) {
        float rest = x[i];
        for (size_t part = 0; part < (size_t)parts; part++) {
            to[part * n + i] = bfloat16_rounded(rest);
            rest -= to[part * n + i];
        }
    }
    return to;
}

/* A sum in pieces of 32, as kernels/bfloat16.h says, of numbers whose parts lie x_part and w_part
   floats apart. Products are exact: fused on every set. */
static float in_pieces(float sum, const float *x, size_t x_part, const float *w, size_t w_part,
                       size_t n, int parts)
{
    for (size_t k = 0; k < n; k += 32)
        for (int j = parts - 1; j >= 0; j--)
            for (int m = parts - 1 - j; m >= 0; m--) {
                const float *a = x + (size_t)m * x_part, *b = w + (size_t)j * w_part;
                float half[2] = {0, 0};
                for (size_t i = k; i < n && i < k + 32; i++)
                    half[i % 2] = fmaf(a[i], b[i], half[i % 2]);
                sum = sum + (half[0] + half[1]);
            }
    return sum;
}

static float largest_code(const int8_t *w, size_t out, size_t in, float limit)
{
    int64_t most = 1;
    for (size_t o = 0; o < out; o++) {
        int64_t sum = 0;
        for (size_t k = 0; k < in; k++)
            sum += abs(w[o * in + k]);
        most = sum > most ? sum : most;
    }
    return fminf(limit, (float)(INT32_MAX / most));
}

/* One layer of h' = max(0, b_ih + b_hh + W x + R h), from h in `h`, which ends as the last one.
   Rows of y end with zeros after their lengths. */
static void rnn(const fl_array *weights, const float *x, float *y, float *h, const int64_t *lengths,
                size_t steps, size_t batch, size_t in, size_t hidden, int format)
{
    const float *w = weights[0].at, *r = weights[1].at, *b_ih = weights[2].at;
    const float *b_hh = weights[3].at;
    memset(y, 0, steps * batch * hidden * sizeof *y);
    for (size_t b = 0; b < batch; b++) {
        const size_t length = lengths ? (size_t)lengths[b] : steps;
        for (size_t t = 0; t < length; t++) {
            float *to = y + (t * batch + b) * hidden;
            const float *from = t ? to - batch * hidden : h + b * hidden;
            for (size_t u = 0; u < hidden; u++) {
                float sum = b_ih[u] + b_hh[u];
                sum = chain(sum, x + (t * batch + b) * in, w + u * in, in, format);
                sum = chain(sum, from, r + u * hidden, hidden, format);
                to[u] = flush(sum > 0 ? sum : 0.0f);
            }
        }
        if (length)
            memcpy(h + b * hidden, y + ((length - 1) * batch + b) * hidden, hidden * sizeof *h);
    }
}

#endif
