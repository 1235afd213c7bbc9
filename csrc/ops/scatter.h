/* SPDX-License-Identifier: MIT */
/* Operators that put elements to places, or pick them, by indices of several axes; and triangles of
   matrices. Indices are int64 and count from the end if negative; one that is out of range is
   FL_BAD_VALUE. */
#ifndef FL_SCATTER_H
#define FL_SCATTER_H

#include "ops/registry.h"

/* What becomes of an element of x for which there is an update u: u itself, or what the two make.
   Of several updates of one element each is made with what the one before it left, in their order.
 */
enum {
    FL_SCATTER_PUT,
    FL_SCATTER_ADD,
    FL_SCATTER_MUL,
    FL_SCATTER_MAX, /* NaN if one of the two is; so is the minimum */
    FL_SCATTER_MIN,
    FL_SCATTERS
};

/* Inputs: x, of any type, for all but FL_SCATTER_PUT float32 or int64; indices and updates of one
   shape, with as many axes as x, and along all but axis ints[0] at most as large. y = x, but y[i..]
   for updates[i..] with indices[i..] in place of i along axis ints[0]. ints[1] is one of the list
   above. */
int fl_make_scatter_elements(const fl_attributes *attributes, fl_operator **op);

/* Inputs: x; indices (I.., n) with n >= 1; updates (I.., the sizes of x from axis n on). y = x, but
   y[indices[i.., 0], .., indices[i.., n - 1]] for updates[i..]: rows of x, or elements if n is the
   number of its axes. ints[0] is one of the list above. */
int fl_make_scatter_nd(const fl_attributes *attributes, fl_operator **op);

/* Inputs: x, of any type; indices (B.., I.., n) with n >= 1, where B.. are the first ints[0] axes
   of x. y[b.., i..] = x[b.., indices[b.., i.., 0], .., indices[b.., i.., n - 1]]: rows of x. */
int fl_make_gather_nd(const fl_attributes *attributes, fl_operator **op);

/* y = x, of any type and two axes at least, but 0 below (ints[1] = 1: upper), or above (0: lower),
   diagonal number ints[0] of the matrices of the last two axes: element (i, j) stays if j - i is at
   least, or at most, ints[0]. */
int fl_make_trilu(const fl_attributes *attributes, fl_operator **op);

#endif
