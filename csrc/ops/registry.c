/* SPDX-License-Identifier: MIT */
#include "ops/registry.h"

#include <string.h>

#include "ops/conv.h"
#include "ops/linear.h"
#include "ops/matmul.h"
#include "ops/pool.h"
#include "ops/reshape.h"

static const struct {
    const char *name;
    int (*make)(const fl_attributes *attributes, fl_operator **op);
} makers[] = {
    {"average_pool", fl_make_average_pool},
    {"conv", fl_make_conv},
    {"conv_transposed", fl_make_conv_transposed},
    {"flatten", fl_make_flatten},
    {"linear", fl_make_linear},
    {"lp_pool", fl_make_lp_pool},
    {"matmul", fl_make_matmul},
    {"max_pool", fl_make_max_pool},
    {"reshape", fl_make_reshape},
    {"shape", fl_make_shape},
    {"size", fl_make_size},
    {"squeeze", fl_make_squeeze},
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
