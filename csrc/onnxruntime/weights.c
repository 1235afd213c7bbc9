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
#include "network/half.h"

static size_t number_bytes(int half) { return half ? sizeof(uint16_t) : sizeof(float); }

void fl_ort_to_floats(float *to, const void *from, size_t n, int half)
{
    if (!half)
        memcpy(to, from, n * sizeof(float));
    for (size_t i = 0; half && i < n; i++)
        to[i] = fl_from_half(((const uint16_t *)from)[i]);
}

void fl_ort_from_floats(void *to, const float *from, size_t n, int half)
{
    if (!half)
        memcpy(to, from, n * sizeof(float));
    for (size_t i = 0; half && i < n; i++)
        ((uint16_t *)to)[i] = fl_half(from[i]);
}

OrtStatus *fl_ort_tensor_of(const fl_ort_api *api, const OrtValue *value, fl_ort_tensor *tensor)
{
    OrtTensorTypeAndShapeInfo *shape;
    *tensor = (fl_ort_tensor){.data = NULL};
    if (!value)
        return NULL;
    OrtStatus *status = api->tensor_shape(value, &shape);
    if (status)
        return status;
    status = api->get_axes(shape, &tensor->axes);
    if (!status)
        status = api->get_sizes(shape, tensor->size,
                                tensor->axes < FL_ORT_AXES ? tensor->axes : FL_ORT_AXES);
    api->release_shape(shape);
    if (!status)
        status = api->tensor_data((OrtValue *)(uintptr_t)value, &tensor->data);
    if (!status && !tensor->data) /* of a tensor without elements: it is given all the same */
        tensor->data = tensor;
    return status;
}

OrtStatus *fl_ort_due(const fl_ort_api *api, const fl_ort_node *node, const char *what,
                      const fl_ort_tensor *tensor, const int64_t *size, size_t axes)
{
    int same = tensor->axes == axes;
    for (size_t i = 0; same && i < axes; i++)
        same = tensor->size[i] == size[i];
    if (same || !tensor->data)
        return NULL;
    fl_message m = fl_ort_about(node);
    fl_message_add(&m, what);
    fl_message_add(&m, " has the shape ");
    fl_message_shape(&m, tensor->size, tensor->axes < FL_ORT_AXES ? tensor->axes : FL_ORT_AXES);
    fl_message_add(&m, ", ");
    fl_message_shape(&m, size, axes);
    fl_message_add(&m, " is due");
    return fl_message_status(api, ORT_INVALID_ARGUMENT, &m);
}

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
    const int64_t dirs = (int64_t)node->dirs;
    const int64_t hidden = node->hidden ? node->hidden : a->r.axes == 3 ? a->r.size[2] : 0;
    const int64_t input = a->w.axes == 3 ? a->w.size[2] : 0;
    if (!a->w.data || !a->r.data || hidden < 1 || hidden > INT32_MAX || input < 1) {
        fl_message m = fl_ort_about(node);
        fl_message_add(&m, "W has the shape ");
        fl_message_shape(&m, a->w.size, a->w.axes < FL_ORT_AXES ? a->w.axes : FL_ORT_AXES);
        fl_message_add(&m, " and R ");
        fl_message_shape(&m, a->r.size, a->r.axes < FL_ORT_AXES ? a->r.axes : FL_ORT_AXES);
        fl_message_add(&m, ", (directions, gates, input size) and (directions, gates, hidden size)"
                           " are due, none of them 0");
        return fl_message_status(api, ORT_INVALID_ARGUMENT, &m);
    }
    const int64_t gates = (int64_t)node->kind->gates * hidden;
    const int64_t w[] = {dirs, gates, input}, r[] = {dirs, gates, hidden}, b[] = {dirs, 2 * gates},
                  p[] = {dirs, 3 * hidden};
    OrtStatus *status = fl_ort_due(api, node, "W", &a->w, w, 3);
    if (!status)
        status = fl_ort_due(api, node, "R", &a->r, r, 3);
    if (!status)
        status = fl_ort_due(api, node, "B", &a->b, b, 2);
    if (!status)
        status = fl_ort_due(api, node, "P", &a->p, p, 2);
    config->input = (size_t)input;
    config->hidden = (size_t)hidden;
    return status;
}

static size_t count_of(const fl_ort_tensor *tensor)
{
    size_t n = tensor->data != NULL;
    for (size_t i = 0; n && i < tensor->axes; i++)
        n = fl_mul(n, (size_t)tensor->size[i]);
    return n;
}

static int has_numbers(const fl_ort_tensor *tensor, int half)
{
    const char *at = tensor->data;
    float number;
    for (size_t i = 0, n = count_of(tensor); i < n; i++) {
        fl_ort_to_floats(&number, at + i * number_bytes(half), 1, half);
        if (number != 0)
            return 1;
    }
    return 0;
}

/* Copies `gates` pieces of n numbers, which begin with number `first` of an array, as floats to the
   order in which the kind has PyTorch's gates. */
static const float *in_order(float *to, const fl_ort_tensor *from, size_t first, int half,
                             const size_t *order, size_t gates, size_t n)
{
    const char *at = from->data;
    for (size_t g = 0; g < gates; g++)
        fl_ort_to_floats(to + g * n, at + (first + order[g] * n) * number_bytes(half), n, half);
    return to;
}

/* Packs a direction. room: G H (I + H + 2) + 3 H floats. */
static void pack_direction(fl_net *net, const fl_ort_node *node, const fl_ort_arrays *a,
                           const fl_config *config, size_t d, float *room)
{
    static const size_t peepholes[] = {0, 2, 1};
    const fl_ort_kind *kind = node->kind;
    const size_t hidden = config->hidden, rows = kind->gates * hidden;
    const size_t w_size = rows * config->input, r_size = rows * hidden;
    const float *w = in_order(room, &a->w, d * w_size, node->half, kind->order, kind->gates,
                              hidden * config->input);
    const float *r = in_order(room + w_size, &a->r, d * r_size, node->half, kind->order,
                              kind->gates, hidden * hidden);
    const float *b_ih = NULL, *b_hh = NULL;
    room += w_size + r_size;
    if (a->b.data) {
        const size_t b = d * 2 * rows;
        b_ih = in_order(room, &a->b, b, node->half, kind->order, kind->gates, hidden);
        b_hh = in_order(room + rows, &a->b, b + rows, node->half, kind->order, kind->gates, hidden);
    }
    fl_net_set(net, 0, d, w, r, b_ih, b_hh, NULL);
    if (config->variant.peepholes)
        fl_net_set_peepholes(
            net, 0, d,
            in_order(room + 2 * rows, &a->p, d * 3 * hidden, node->half, peepholes, 3, hidden));
}

/* The bytes of copies of the arrays, written one behind another to `to` unless it is NULL. */
static size_t copy_arrays(char *to, const fl_ort_arrays *arrays, int half)
{
    const fl_ort_tensor *const all[] = {&arrays->w, &arrays->r, &arrays->b, &arrays->p};
    size_t used = 0;
    for (size_t i = 0; i < 4; i++) {
        const size_t bytes = fl_mul(count_of(all[i]), number_bytes(half));
        if (to && bytes)
            memcpy(to + used, all[i]->data, bytes);
        used = fl_add(used, bytes);
    }
    return used;
}

OrtStatus *fl_ort_pack(const fl_ort_api *api, const fl_ort_node *node, const fl_ort_arrays *arrays,
                       int keep, fl_ort_packed **packed)
{
    fl_config config = node->config;
    OrtStatus *status = check(api, node, arrays, &config);
    if (status)
        return status;
    if (config.cell == FL_LSTM && has_numbers(&arrays->p, node->half))
        config.variant.differs = config.variant.peepholes = 1;
    const size_t rows = node->kind->gates * config.hidden;
    const size_t room =
        fl_add(fl_mul(rows, fl_add(config.input, config.hidden + 2)), fl_mul(3, config.hidden));
    float *ordered = fl_alloc(fl_mul(room, sizeof(float)));
    fl_ort_packed *made = fl_alloc(sizeof *made);
    if (made)
        *made =
            (fl_ort_packed){.net = fl_net_new(&config, node->kernels),
                            .input = config.input,
                            .hidden = config.hidden,
                            .arrays = *arrays,
                            .copy = keep ? fl_alloc(copy_arrays(NULL, arrays, node->half)) : NULL};
    if (!ordered || !made || !made->net || (keep && !made->copy)) {
        fl_free(ordered);
        fl_ort_packed_free(made);
        return no_memory(api, node);
    }
    atomic_init(&made->users, 1);
    atomic_init(&made->descending, 0);
    for (size_t d = 0; d < config.dirs; d++)
        pack_direction(made->net, node, arrays, &config, d, ordered);
    if (keep)
        copy_arrays(made->copy, arrays, node->half);
    fl_free(ordered);
    *packed = made;
    return NULL;
}

static int same_shape(const fl_ort_tensor *one, const fl_ort_tensor *other)
{
    return !one->data == !other->data && one->axes == other->axes &&
           memcmp(one->size, other->size, sizeof one->size) == 0;
}

int fl_ort_is_packed(const fl_ort_node *node, const fl_ort_packed *packed,
                     const fl_ort_arrays *arrays)
{
    const fl_ort_arrays *was = &packed->arrays;
    const fl_ort_tensor *const now[] = {&arrays->w, &arrays->r, &arrays->b, &arrays->p};
    const char *copy = packed->copy;
    if (!same_shape(&was->w, now[0]) || !same_shape(&was->r, now[1]) ||
        !same_shape(&was->b, now[2]) || !same_shape(&was->p, now[3]))
        return 0;
    for (size_t i = 0; i < 4; i++) {
        const size_t bytes = count_of(now[i]) * number_bytes(node->half);
        if (bytes && memcmp(copy, now[i]->data, bytes))
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
