/* SPDX-License-Identifier: MIT */
/* The transpose of a matrix. To pack a vector of columns of a float32 panel from PyTorch's layout
   is a transpose. */
#ifndef FL_TRANSPOSE_H
#define FL_TRANSPOSE_H

#include <stddef.h>
#include <string.h>

#if defined(__GNUC__) && defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FL_TRANSPOSE_VECTORS
typedef float fl_four_floats __attribute__((vector_size(16)));

/* A block of 4 x 4 floats by the compiler's vectors, which every CPU has. Each vector has a name:
   an array of them would stay in memory at -O2. */
static inline void fl_transpose_4x4(float *to, size_t to_row, const float *from, size_t from_row)
{
    fl_four_floats a, b, c, d;
    memcpy(&a, from, sizeof a);
    memcpy(&b, from + from_row, sizeof b);
    memcpy(&c, from + 2 * from_row, sizeof c);
    memcpy(&d, from + 3 * from_row, sizeof d);
    const fl_four_floats ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const fl_four_floats ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const fl_four_floats cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const fl_four_floats cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
    memcpy(to, &a, sizeof a);
    memcpy(to + to_row, &b, sizeof b);
    memcpy(to + 2 * to_row, &c, sizeof c);
    memcpy(to + 3 * to_row, &d, sizeof d);
}
#endif
#endif

/*
 * to[j * to_row + i] = from[i * from_row + j] for i < rows, j < columns. No overlap.
 * It goes by blocks of 16 x 16 floats, a cache line in each direction, so that each line is fetched
 * once, and in a block by blocks of 4 x 4 where the compiler has vectors.
 */
static inline void fl_transpose(float *to, size_t to_row, const float *from, size_t from_row,
                                size_t rows, size_t columns)
{
    for (size_t i0 = 0; i0 < rows; i0 += 16)
        for (size_t j0 = 0; j0 < columns; j0 += 16) {
            const size_t i1 = rows - i0 < 16 ? rows : i0 + 16;
            const size_t j1 = columns - j0 < 16 ? columns : j0 + 16;
            size_t i4 = i0, j4 = j0; /* the block is done to i4 and j4 */
#if defined(FL_TRANSPOSE_VECTORS)
            i4 = i1 - (i1 - i0) % 4;
            j4 = j1 - (j1 - j0) % 4;
            for (size_t i = i0; i < i4; i += 4)
                for (size_t j = j0; j < j4; j += 4)
                    fl_transpose_4x4(to + j * to_row + i, to_row, from + i * from_row + j,
                                     from_row);
#endif
            for (size_t j = j0; j < j1; j++)
                for (size_t i = j < j4 ? i4 : i0; i < i1; i++)
                    to[j * to_row + i] = from[i * from_row + j];
        }
}

#endif
