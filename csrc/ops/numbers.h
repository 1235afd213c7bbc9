/* SPDX-License-Identifier: MIT */
/* What operators without weights have in common: they are a few whole numbers and at most one
   float. */
#ifndef FL_NUMBERS_H
#define FL_NUMBERS_H

#include "ops/registry.h"

typedef struct fl_numbers {
    fl_operator op;
    size_t count;
    int64_t ints[FL_MAX_AXES];
    float real; /* floats[0], or 0 */
} fl_numbers;

/* Makes the operator of `type`, which keeps the attributes' ints, `least` .. FL_MAX_AXES of them;
   for the makers of registry.h, which has the results. The type's `free` is fl_numbers_free. */
int fl_numbers_make(const fl_operator_type *type, size_t least, const fl_attributes *attributes,
                    fl_operator **op);
void fl_numbers_free(fl_operator *op);

/* The axis that a number names, of an array with `axes` of them; SIZE_MAX if there is none.
   Negative ones count from the end. */
size_t fl_axis_of(int64_t axis, size_t axes);

/* Is optional input i given? Is it an int64 vector whose values are known? */
int fl_given(const fl_array *in, size_t ins, size_t i);
int fl_is_vector(const fl_array *in, size_t ins, size_t i);

/* Gives y its type and shape: FL_BAD_SHAPE if it has more bytes than a size_t counts. */
int fl_shape_made(fl_array *y, int type, fl_shape shape);

/* fl_make_<what>, of an operator with the functions <what>_shape and <what>_run in its file. */
#define FL_NUMBERS_MAKER(what, least)                                                              \
    int fl_make_##what(const fl_attributes *attributes, fl_operator **op)                          \
    {                                                                                              \
        static const fl_operator_type type = {                                                     \
            .name = #what, .shape = what##_shape, .run = what##_run, .free = fl_numbers_free};     \
        return fl_numbers_make(&type, least, attributes, op);                                      \
    }

#endif
