/* SPDX-License-Identifier: MIT */
/* Copies between arrays whose elements lie in regular steps. */
#ifndef FL_STRIDED_H
#define FL_STRIDED_H

#include "ops/operator.h"

/* Elements of `bytes` bytes each (1, 4 or 8), one at to + sum_i n_i * to_step[i] for each at from +
   sum_i n_i * from_step[i], for all 0 <= n_i < size[i]. Steps are in bytes. */
typedef struct fl_strided {
    size_t axes, bytes;
    size_t size[FL_MAX_AXES];
    ptrdiff_t from_step[FL_MAX_AXES], to_step[FL_MAX_AXES];
} fl_strided;

void fl_copy_strided(const fl_strided *copy, void *to, const void *from);

/* The steps of a contiguous array, in bytes; 0 if it has no elements. */
void fl_contiguous_steps(const fl_shape *shape, size_t bytes, ptrdiff_t *step);

#endif
