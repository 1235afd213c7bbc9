/* SPDX-License-Identifier: MIT */
#include "ops/registry.h"

#include <string.h>

#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/order.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/reshape.h"
#include "ops/softmax.h"

static const struct {
    const char *name;
    int (*make)(const fl_attributes *attributes, fl_operator **op);
} makers[] = {
    {"argmax", fl_make_argmax},
    {"argmin", fl_make_argmin},
    {"cumsum", fl_make_cumsum},
    {"flatten", fl_make_flatten},
    {"group_norm", fl_make_group_norm},
    {"layer_norm", fl_make_layer_norm},
    {"linear", fl_make_linear},
    {"log_softmax", fl_make_log_softmax},
    {"pointwise", fl_make_pointwise},
    {"reduce", fl_make_reduce},
    {"reshape", fl_make_reshape},
    {"rms_norm", fl_make_rms_norm},
    {"shape", fl_make_shape},
    {"size", fl_make_size},
    {"softmax", fl_make_softmax},
    {"squeeze", fl_make_squeeze},
    {"topk", fl_make_topk},
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
