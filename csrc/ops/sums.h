/* SPDX-License-Identifier: MIT */
/*
 * The order of every sum over elements of an array, in reductions, softmax and norms. The elements
 * are numbered in the array's order, along all axes that are summed, and element j is added to
 * partial sum j mod 8. Then the partial sums p are added:
 *
 *     ((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7))
 *
 * So the bits do not depend on where the summed axes are among the others. Products, maxima and
 * minima are taken in the same order.
 */
#ifndef FL_SUMS_H
#define FL_SUMS_H

#include "ops/operator.h"

enum { FL_PARTS = 8 };

/* The axes of an array around one: as if it had three, (outer, n, inner). */
typedef struct fl_split {
    size_t outer, n, inner;
} fl_split;

/* `axis` counts from the end if it is negative. FL_OK or FL_BAD_SHAPE. */
int fl_split_at(const fl_shape *shape, int64_t axis, fl_split *split);

/* Adds n elements to partial sums; the first of them is element j of the sum. */
void fl_sum_part(float *parts, const float *x, size_t n, size_t j);
/* The sum of partial sums; the r-th of them is at parts[r * step]. */
float fl_sum_parts(const float *parts, size_t step);
/* x[0] + .. + x[n - 1], and the sum of (x[i] - mean)^2. */
float fl_sum(const float *x, size_t n);
float fl_sum_squares(const float *x, size_t n, float mean);

/*
 * Defines functions of partial results p0 .. p7 of type T: name_row passes n elements x to them,
 * the first of which is element j, and name_tree combines them. `value` is what an element x counts
 * as, and `combine` is made of p and q, two results.
 */
#define FL_FOLD(name, T, value, combine)                                                           \
    static inline T name##_one(T p, T x)                                                           \
    {                                                                                              \
        const T q = (T)(value);                                                                    \
        return (T)(combine);                                                                       \
    }                                                                                              \
    static void name##_row(void *to, const void *from, size_t n, size_t j)                         \
    {                                                                                              \
        T parts[FL_PARTS];                                                                         \
        const T *x = from;                                                                         \
        memcpy(parts, to, sizeof parts);                                                           \
        for (; n && j % FL_PARTS; n--, j++, x++)                                                   \
            parts[j % FL_PARTS] = name##_one(parts[j % FL_PARTS], *x);                             \
        for (; n >= FL_PARTS; n -= FL_PARTS, x += FL_PARTS)                                        \
            for (size_t r = 0; r < FL_PARTS; r++)                                                  \
                parts[r] = name##_one(parts[r], x[r]);                                             \
        for (size_t r = 0; r < n; r++)                                                             \
            parts[r] = name##_one(parts[r], x[r]);                                                 \
        memcpy(to, parts, sizeof parts);                                                           \
    }                                                                                              \
    static inline T name##_two(T p, T q) { return (T)(combine); }                                  \
    static inline T name##_tree(const T *p, size_t s)                                              \
    {                                                                                              \
        return name##_two(name##_two(name##_two(p[0], p[4 * s]), name##_two(p[2 * s], p[6 * s])),  \
                          name##_two(name##_two(p[s], p[5 * s]), name##_two(p[3 * s], p[7 * s]))); \
    }

#endif
