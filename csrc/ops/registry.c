/* SPDX-License-Identifier: MIT */
#include "ops/registry.h"

#include <string.h>

#include "ops/conv.h"
#include "ops/conv_transposed.h"
#include "ops/copy.h"
#include "ops/gather.h"
#include "ops/linear.h"
#include "ops/mask.h"
#include "ops/matmul.h"
#include "ops/norm.h"
#include "ops/order.h"
#include "ops/pad.h"
#include "ops/pointwise.h"
#include "ops/pool.h"
#include "ops/reduce.h"
#include "ops/reshape.h"
#include "ops/resize.h"
#include "ops/scatter.h"
#include "ops/softmax.h"

static const struct {
    const char *name;
    int (*make)(const fl_attributes *attributes, fl_operator **op);
} makers[] = {
    {"argmax", fl_make_argmax},
    {"argmin", fl_make_argmin},
    {"average_pool", fl_make_average_pool},
    {"concat", fl_make_concat},
    {"conv", fl_make_conv},
    {"conv_transposed", fl_make_conv_transposed},
    {"cumprod", fl_make_cumprod},
    {"cumsum", fl_make_cumsum},
    {"expand", fl_make_expand},
    {"fill", fl_make_fill},
    {"flatten", fl_make_flatten},
    {"gather", fl_make_gather},
    {"gather_elements", fl_make_gather_elements},
    {"gather_nd", fl_make_gather_nd},
    {"group_norm", fl_make_group_norm},
    {"layer_norm", fl_make_layer_norm},
    {"linear", fl_make_linear},
    {"log_softmax", fl_make_log_softmax},
    {"lp_pool", fl_make_lp_pool},
    {"mask_pack", fl_make_mask_pack},
    {"mask_unpack", fl_make_mask_unpack},
    {"matmul", fl_make_matmul},
    {"max_pool", fl_make_max_pool},
    {"one_hot", fl_make_one_hot},
    {"pad", fl_make_pad},
    {"pointwise", fl_make_pointwise},
    {"range", fl_make_range},
    {"reduce", fl_make_reduce},
    {"reshape", fl_make_reshape},
    {"resize", fl_make_resize},
    {"rms_norm", fl_make_rms_norm},
    {"scatter_elements", fl_make_scatter_elements},
    {"scatter_nd", fl_make_scatter_nd},
    {"shape", fl_make_shape},
    {"size", fl_make_size},
    {"slice", fl_make_slice},
    {"softmax", fl_make_softmax},
    {"split", fl_make_split},
    {"squeeze", fl_make_squeeze},
    {"tile", fl_make_tile},
    {"topk", fl_make_topk},
    {"transpose", fl_make_transpose},
    {"trilu", fl_make_trilu},
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
