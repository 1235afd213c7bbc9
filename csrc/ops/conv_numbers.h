/* SPDX-License-Identifier: MIT */
/* What the two convolution operators (conv.h) share: how they read their numbers, and weights that
   are packed once or are inputs of each run. */
#ifndef FL_CONV_NUMBERS_H
#define FL_CONV_NUMBERS_H

#include "ops/convolve.h"
#include "ops/window.h"

enum { FL_CONV_INTS = 7 }; /* before the window's */

/* Reads the ints and floats that both operators have, where `more` ints for each axis follow the
   window's: the window, and of c what comes before the fields of fl_convolution_carve, but for
   taps, stride and dilation. FL_OK or FL_BAD_SHAPE. */
int fl_conv_read(const fl_attributes *a, int64_t more, fl_window *window, fl_convolution *c);

/* Are these the weights of a pack: W (first, second, k..), and b (out) or an array without memory?
 */
int fl_conv_packed_fit(const fl_array *weights, size_t count, const fl_window *window, size_t first,
                       size_t second, size_t out);

/* Are inputs 1 and 2 of a run, if they are given, W (first, second, k..) and b (out)? */
int fl_conv_inputs_fit(const fl_array *in, size_t ins, const fl_window *window, size_t first,
                       size_t second, size_t out);

/* The memory of b among the inputs, or NULL. */
const float *fl_conv_bias(const fl_array *in, size_t ins);

/* Bytes of the arena that a run packs weights of c into. */
size_t fl_conv_packed_bytes(const fl_convolution *c);

/* Packs weights into the arena and sets c to use them: c is the run's own copy of the operator's
   convolution. Returns where the rest of the arena begins; NULL when memory is short. */
char *fl_conv_pack_into(void *arena, fl_convolution *c, const fl_filter *filter, const float *bias);

#endif
