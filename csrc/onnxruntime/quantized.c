/* SPDX-License-Identifier: MIT */
#include "onnxruntime/quantized.h"

#include <math.h>

#include "network/network.h"

/* One of the two matrices, with its scales and zero points. */
typedef struct matrix {
    const fl_ort_tensor *codes, *scale, *zero;
    size_t dirs, k, columns; /* D, I or H, 4 H */
} matrix;

static matrix matrix_of(const fl_ort_arrays *arrays, int which)
{
    const fl_ort_tensor *at = arrays->at;
    matrix m = {.codes = &at[which ? FL_ORT_R : FL_ORT_W],
                .scale = &at[which ? FL_ORT_R_SCALE : FL_ORT_W_SCALE],
                .zero = &at[which ? FL_ORT_R_ZERO : FL_ORT_W_ZERO]};
    m.dirs = (size_t)m.codes->size[0];
    m.k = (size_t)m.codes->size[1];
    m.columns = (size_t)m.codes->size[2];
    return m;
}

/* How many numbers of scales or zero points a direction has: 0 if one is for all. */
static size_t each(const fl_ort_tensor *tensor)
{
    return tensor->axes == 2 ? (size_t)tensor->size[1] : tensor->axes == 1 ? 1 : 0;
}

/* The index of the scale or zero point of a column. */
static size_t index_of(const fl_ort_tensor *tensor, size_t d, size_t column)
{
    const size_t n = tensor->axes == 1 && tensor->size[0] == 1 ? 0 : each(tensor);
    return d * n + (n > 1 ? column : 0);
}

static float scale_of(const matrix *m, size_t d, size_t column)
{
    return ((const float *)m->scale->data)[index_of(m->scale, d, column)];
}

static int code_at(const fl_ort_tensor *tensor, size_t i)
{
    return tensor->type == ORT_TYPE_INT8 ? ((const int8_t *)tensor->data)[i]
                                         : ((const uint8_t *)tensor->data)[i];
}

static int zero_of(const matrix *m, size_t d, size_t column)
{
    return m->zero->data ? code_at(m->zero, index_of(m->zero, d, column)) : 0;
}

/* May a tensor be scales or zero points: one in all, one a direction or one a column? */
static int fits(const matrix *m, const fl_ort_tensor *tensor, int type)
{
    const int64_t dirs = (int64_t)m->dirs, columns = (int64_t)m->columns;
    return tensor->data && tensor->type == type &&
           (tensor->axes == 0 ||
            (tensor->axes == 1 && (tensor->size[0] == dirs || tensor->size[0] == 1)) ||
            (tensor->axes == 2 && tensor->size[0] == dirs && tensor->size[1] == columns));
}

/* Are a matrix's codes those of the engine? */
static int is_engines(const matrix *m)
{
    if (m->codes->type != ORT_TYPE_INT8)
        return 0;
    for (size_t d = 0; d < m->dirs; d++)
        for (size_t column = 0; column < m->columns; column++) {
            const float scale = scale_of(m, d, column);
            if (zero_of(m, d, column) || !(scale >= 0) || scale == INFINITY)
                return 0;
        }
    for (size_t i = 0, n = m->dirs * m->k * m->columns; i < n; i++)
        if (((const int8_t *)m->codes->data)[i] == -128)
            return 0;
    return 1;
}

OrtStatus *fl_ort_quantized_format(const fl_ort_api *api, const fl_ort_node *node,
                                   const fl_ort_arrays *arrays, fl_config *config)
{
    int engines = 1;
    for (int which = 0; which < 2; which++) {
        const matrix m = matrix_of(arrays, which);
        if ((m.codes->type != ORT_TYPE_INT8 && m.codes->type != ORT_TYPE_UINT8) ||
            !fits(&m, m.scale, ORT_TYPE_FLOAT) ||
            (m.zero->data && !fits(&m, m.zero, m.codes->type))) {
            fl_message message = fl_ort_about(node);
            fl_message_add(&message, which ? "R" : "W");
            fl_message_add(&message, ", its scale and zero point do not fit together");
            return fl_message_status(api, ORT_INVALID_ARGUMENT, &message);
        }
        engines &= is_engines(&m);
    }
    config->format = engines ? FL_INT8 : FL_FLOAT32;
    config->input_bits = node->input_bits;
    return NULL;
}

/* Writes rows of the engine's order, of m->k numbers each: codes and scales, or floats. */
static void turn(const matrix *m, const fl_ort_node *node, size_t d, int8_t *codes, float *scales,
                 float *floats)
{
    const size_t hidden = m->columns / node->kind->gates, first = d * m->k * m->columns;
    for (size_t row = 0; row < m->columns; row++) {
        const size_t column = node->kind->order[row / hidden] * hidden + row % hidden;
        const float scale = scale_of(m, d, column);
        const int zero = zero_of(m, d, column);
        if (codes)
            scales[row] = scale;
        for (size_t k = 0; k < m->k; k++) {
            const int code = code_at(m->codes, first + k * m->columns + column);
            if (codes)
                codes[row * m->k + k] = (int8_t)code;
            else
                floats[row * m->k + k] = (float)(code - zero) * scale;
        }
    }
}

void fl_ort_set_quantized(fl_net *net, const fl_ort_node *node, const fl_ort_arrays *arrays,
                          size_t d, const float *b_ih, const float *b_hh, float *scratch)
{
    const matrix w = matrix_of(arrays, 0), r = matrix_of(arrays, 1);
    float *r_floats = scratch + w.columns * w.k;
    if (net->config.format == FL_FLOAT32) {
        turn(&w, node, d, NULL, NULL, scratch);
        turn(&r, node, d, NULL, NULL, r_floats);
        fl_net_set(net, 0, d, scratch, r_floats, b_ih, b_hh, NULL);
        return;
    }
    /* 8 H floats of scales, then 4 H (I + H) bytes of codes. */
    float *scales = scratch;
    int8_t *codes = (int8_t *)(scratch + 2 * w.columns);
    turn(&w, node, d, codes, scales, NULL);
    turn(&r, node, d, codes + w.columns * w.k, scales + w.columns, NULL);
    fl_net_set_int8(net, 0, d, (fl_int8){codes, scales},
                    (fl_int8){codes + w.columns * w.k, scales + w.columns}, b_ih, b_hh,
                    (fl_int8){NULL, NULL});
}
