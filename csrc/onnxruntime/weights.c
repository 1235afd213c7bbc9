/* SPDX-License-Identifier: MIT */
/*
 * ONNX's arrays, by its operators' documentation, for G gates and D directions:
 *
 *     W (D, G H, I)    R (D, G H, H)    B (D, 2 G H): of the input, then of the state    P (D, 3 H)
 *
 * Their gates are in another order than PyTorch's: fl_ort_kind.order; P's are i, o, f.
 */
#include "onnxruntime/weights.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "onnxruntime/quantized.h"

static OrtStatus *no_memory(const fl_ort_api *api, const fl_ort_node *node)
{
    fl_message m = fl_ort_about(node);
    fl_message_add(&m, "no memory to pack its weights");
    return fl_message_status(api, ORT_FAIL, &m);
}

/* Checks the arrays' shapes, and sets the sizes of the configuration. */
static OrtStatus *check(const fl_ort_api *api, const fl_ort_node *node, const fl_ort_arrays *a,
                        fl_config *config)
{
    static const char *const name[] = {"W", "R", "B", "P"};
    const fl_ort_tensor *w = &a->at[FL_ORT_W], *r = &a->at[FL_ORT_R];
    const int turned = node->kind == &fl_ort_kinds[FL_ORT_QUANTIZED]; /* W (D, I, G H) and R */
    const int64_t dirs = (int64_t)node->dirs;
    const int64_t hidden = node->hidden ? node->hidden : r->axes == 3 ? r->size[2 - turned] : 0;
    const int64_t input = w->axes == 3 ? w->size[2 - turned] : 0;
    if (!w->data || !r->data || hidden < 1 || hidden > INT32_MAX || input < 1) {
        fl_message m = fl_ort_about(node);
        fl_message_add(&m, "W has the shape ");
        fl_ort_add_shape(&m, w);
        fl_message_add(&m, " and R ");
        fl_ort_add_shape(&m, r);
        fl_message_add(&m, ", directions, gates and input or hidden size are due, none of them 0");
        return fl_message_status(api, ORT_INVALID_ARGUMENT, &m);
    }
    const int64_t gates = (int64_t)node->kind->gates * hidden;
    const int64_t due[4][3] = {{dirs, turned ? input : gates, turned ? gates : input},
                               {dirs, turned ? hidden : gates, turned ? gates : hidden},
                               {dirs, 2 * gates},
                               {dirs, 3 * hidden}};
    OrtStatus *status = NULL;
    for (size_t i = 0; i < 4 && !status; i++)
        status = fl_ort_due(api, node, name[i], &a->at[i], due[i], i < 2 ? 3 : 2);
    config->input = (size_t)input;
    config->hidden = (size_t)hidden;
    return status;
}

static int has_numbers(const fl_ort_tensor *tensor)
{
    const char *at = tensor->data;
    const size_t size = tensor->type == ORT_TYPE_FLOAT16 ? 2 : 4;
    float number;
    for (size_t i = 0, n = fl_ort_count(tensor); i < n; i++) {
        fl_ort_to_floats(&number, at + i * size, 1, tensor->type);
        if (number != 0)
            return 1;
    }
    return 0;
}

/* Packs a direction. scratch: G H (I + H + 4) + 3 H floats. */
static void pack_direction(fl_net *net, const fl_ort_node *node, const fl_ort_arrays *a,
                           const fl_config *config, size_t d, float *scratch)
{
    static const size_t peepholes[] = {0, 2, 1};
    const size_t *order = node->kind->order, gates = node->kind->gates, hidden = config->hidden;
    const size_t rows = gates * hidden, w_size = rows * config->input, r_size = rows * hidden;
    const float *b_ih = NULL, *b_hh = NULL;
    float *vectors = scratch + w_size + r_size + 2 * rows;
    if (a->at[FL_ORT_B].data) {
        b_ih = fl_ort_in_order(vectors, &a->at[FL_ORT_B], 2 * d * rows, order, gates, hidden);
        b_hh = fl_ort_in_order(vectors + rows, &a->at[FL_ORT_B], (2 * d + 1) * rows, order, gates,
                               hidden);
    }
    if (node->kind == &fl_ort_kinds[FL_ORT_QUANTIZED])
        fl_ort_set_quantized(net, node, a, d, b_ih, b_hh, scratch);
    else
        fl_net_set(net, 0, d,
                   fl_ort_in_order(scratch, &a->at[FL_ORT_W], d * w_size, order, gates,
                                   hidden * config->input),
                   fl_ort_in_order(scratch + w_size, &a->at[FL_ORT_R], d * r_size, order, gates,
                                   hidden * hidden),
                   b_ih, b_hh, NULL);
    if (config->variant.peepholes)
        fl_net_set_peepholes(net, 0, d,
                             fl_ort_in_order(vectors + 2 * rows, &a->at[FL_ORT_P], d * 3 * hidden,
                                             peepholes, 3, hidden));
}

/* The bytes of copies of the arrays, written one behind another to `to` unless it is NULL. */
static size_t copy_arrays(char *to, const fl_ort_arrays *arrays)
{
    size_t used = 0;
    for (size_t i = 0; i < FL_ORT_ARRAYS; i++) {
        const fl_ort_tensor *array = &arrays->at[i];
        const size_t bytes = fl_ort_bytes(array);
        if (to && bytes)
            memcpy(to + used, array->data, bytes);
        used = fl_add(used, bytes);
    }
    return used;
}

OrtStatus *fl_ort_pack(const fl_ort_api *api, const fl_ort_node *node, const fl_ort_arrays *arrays,
                       int keep, fl_ort_packed **packed)
{
    fl_config config = node->config;
    OrtStatus *status = check(api, node, arrays, &config);
    if (!status && node->kind == &fl_ort_kinds[FL_ORT_QUANTIZED])
        status = fl_ort_quantized_format(api, node, arrays, &config);
    if (status)
        return status;
    if (config.cell == FL_LSTM && has_numbers(&arrays->at[FL_ORT_P]))
        config.variant.differs = config.variant.peepholes = 1;
    const size_t rows = node->kind->gates * config.hidden;
    const size_t floats =
        fl_add(fl_mul(rows, fl_add(config.input, config.hidden + 4)), fl_mul(3, config.hidden));
    float *scratch = fl_alloc(fl_mul(floats, sizeof(float)));
    fl_ort_packed *made = fl_alloc(sizeof *made);
    if (made)
        *made = (fl_ort_packed){.net = fl_net_new(&config, node->kernels),
                                .input = config.input,
                                .hidden = config.hidden,
                                .arrays = *arrays,
                                .copy = keep ? fl_alloc(copy_arrays(NULL, arrays)) : NULL};
    if (!scratch || !made || !made->net || (keep && !made->copy)) {
        fl_free(scratch);
        fl_ort_packed_free(made);
        return no_memory(api, node);
    }
    atomic_init(&made->users, 1);
    atomic_init(&made->descending, 0);
    for (size_t d = 0; d < config.dirs; d++)
        pack_direction(made->net, node, arrays, &config, d, scratch);
    if (keep)
        copy_arrays(made->copy, arrays);
    fl_free(scratch);
    *packed = made;
    return NULL;
}

int fl_ort_is_packed(const fl_ort_packed *packed, const fl_ort_arrays *arrays)
{
    const char *copy = packed->copy;
    for (size_t i = 0; i < FL_ORT_ARRAYS; i++) {
        const fl_ort_tensor *was = &packed->arrays.at[i], *now = &arrays->at[i];
        if (!was->data != !now->data || was->type != now->type || was->axes != now->axes ||
            memcmp(was->size, now->size, sizeof was->size))
            return 0;
    }
    for (size_t i = 0; i < FL_ORT_ARRAYS; i++) {
        const fl_ort_tensor *now = &arrays->at[i];
        const size_t bytes = fl_ort_bytes(now);
        if (bytes && memcmp(copy, now->data, bytes))
            return 0;
        copy += bytes;
    }
    return 1;
}

void fl_ort_packed_free(fl_ort_packed *packed)
{
    if (!packed || atomic_fetch_sub_explicit(&packed->users, 1, memory_order_acq_rel) > 1)
        return;
    fl_net_free(packed->net);
    fl_free(packed->copy);
    fl_free(packed);
}
