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

/* A block of 4 x 4 floats by the compiler's vectors, which every CPU has. */
static inline void fl_transpose_4x4(float *to, size_t to_row, const float *from, size_t from_row)
{
    fl_four_floats row[4], pairs[4];
    for (int i = 0; i < 4; i++)
        memcpy(&row[i], from + (size_t)i * from_row, sizeof row[i]);
    for (int i = 0; i < 2; i++) {
        pairs[i] = __builtin_shufflevector(row[2 * i], row[2 * i + 1], 0, 4, 1, 5);
        pairs[i + 2] = __builtin_shufflevector(row[2 * i], row[2 * i + 1], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        row[2 * i] = __builtin_shufflevector(pairs[2 * i], pairs[2 * i + 1], 0, 1, 4, 5);
        row[2 * i + 1] = __builtin_shufflevector(pairs[2 * i], pairs[2 * i + 1], 2, 3, 6, 7);
    }
    for (int j = 0; j < 4; j++)
        memcpy(to + (size_t)j * to_row, &row[j], sizeof row[j]);
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
