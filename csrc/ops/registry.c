/* SPDX-License-Identifier: MIT */
#include "ops/registry.h"

#include <string.h>

#include "ops/conv.h"
#include "ops/linear.h"
#include "ops/reshape.h"

static const struct {
    const char *name;
    int (*make)(const fl_attributes *attributes, fl_operator **op);
} makers[] = {
    {"conv", fl_make_conv},           {"conv_transposed", fl_make_conv_transposed},
    {"flatten", fl_make_flatten},     {"linear", fl_make_linear},
    {"reshape", fl_make_reshape},     {"shape", fl_make_shape},
    {"size", fl_make_size},           {"squeeze", fl_make_squeeze},
    {"unsqueeze", fl_make_unsqueeze},
};

int fl_operator_new(const char *name, const fl_attributes *attributes, fl_operator **op)
{
    *op = NULL;
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (strcmp(makers[i].name, name) == 0)
            return makers[i].make(attributes, op);
    return FL_BAD_SHAPE;
}
