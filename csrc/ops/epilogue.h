/* SPDX-License-Identifier: MIT */
/* What operators that multiply by weights do to their sums before they are outputs: an activation,
   while the sums are still in a near cache, and tiny results become 0. */
#ifndef FL_EPILOGUE_H
#define FL_EPILOGUE_H

#include "ops/registry.h"

/* The activation's number: one of fl_activation's functions (fastlstm.h), or one of these. */
enum {
    FL_NO_ACTIVATION = -1,
    FL_CLIP = FL_FUNCTIONS, /* max(alpha, min(beta, x)); NaN stays NaN */
    FL_HARD_SWISH,          /* x max(0, min(1, alpha x + beta)) */
    FL_LAST_ACTIVATION = FL_HARD_SWISH
};

typedef struct fl_epilogue {
    const fl_kernels *kernels;
    fl_activation activation;
} fl_epilogue;

/* The epilogue of an operator whose ints hold the activation's number at `at`, and whose floats are
   alpha and beta; without floats both are 0, and without an int at `at` there is no activation.
   FL_OK or FL_BAD_SHAPE. */
int fl_epilogue_read(const fl_attributes *attributes, size_t at, fl_epilogue *epilogue);

/* Is f max(*least, min(*most, x)) for some limits? Sets both: to -inf and inf if there is no
   activation, and also if the answer is 0. A limit below FL_TINY in magnitude becomes 0. */
int fl_epilogue_limits(const fl_epilogue *epilogue, float *least, float *most);

/* y = f(y) for n floats that are 0 or at least FL_TINY in magnitude, and so are those it leaves. */
void fl_epilogue_apply(const fl_epilogue *epilogue, float *y, size_t n);

#endif
