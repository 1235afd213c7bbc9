/* SPDX-License-Identifier: MIT */
/* The transpose of a matrix. To pack a vector of columns of a float32 panel from PyTorch's layout
   is a transpose. */
#ifndef FL_TRANSPOSE_H
#define FL_TRANSPOSE_H

#include <stddef.h>

/*
 * to[j * to_row + i] = from[i * from_row + j] for i < rows, j < columns. No overlap.
 * It goes by blocks of 16 x 16 floats, a cache line in each direction, so that each line is fetched
 * once.
 */
static inline void fl_transpose(float *to, size_t to_row, const float *from, size_t from_row,
                                size_t rows, size_t columns)
{
    for (size_t i0 = 0; i0 < rows; i0 += 16)
        for (size_t j0 = 0; j0 < columns; j0 += 16) {
            const size_t i1 = rows - i0 < 16 ? rows : i0 + 16;
            const size_t j1 = columns - j0 < 16 ? columns : j0 + 16;
            if (i1 - i0 == 16 && j1 - j0 == 16)
                for (size_t j = j0; j < j0 + 16; j++)
                    for (size_t i = i0; i < i0 + 16; i++)
                        to[j * to_row + i] = from[i * from_row + j];
            else
                for (size_t j = j0; j < j1; j++)
                    for (size_t i = i0; i < i1; i++)
                        to[j * to_row + i] = from[i * from_row + j];
        }
}

#endif
