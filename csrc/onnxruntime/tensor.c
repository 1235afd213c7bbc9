/* SPDX-License-Identifier: MIT */
#include "onnxruntime/tensor.h"

#include <string.h>

#include "base/size.h"
#include "network/half.h"

const size_t fl_ort_weight_inputs[FL_ORT_ARRAYS] = {FL_W,       FL_R,      FL_B,       FL_P,
                                                    FL_W_SCALE, FL_W_ZERO, FL_R_SCALE, FL_R_ZERO};

static size_t type_bytes(int type)
{
    return type == ORT_TYPE_FLOAT ? 4 : type == ORT_TYPE_FLOAT16 ? 2 : 1;
}

void fl_ort_to_floats(float *to, const void *from, size_t n, int type)
{
    if (type == ORT_TYPE_FLOAT)
        memcpy(to, from, n * sizeof(float));
    else
        for (size_t i = 0; i < n; i++)
            to[i] = fl_from_half(((const uint16_t *)from)[i]);
}

void fl_ort_from_floats(void *to, const float *from, size_t n, int type)
{
    if (type == ORT_TYPE_FLOAT)
        memcpy(to, from, n * sizeof(float));
    else
        for (size_t i = 0; i < n; i++)
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
        status = api->get_type(shape, &tensor->type);
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

void fl_ort_add_shape(fl_message *message, const fl_ort_tensor *tensor)
{
    const int more = tensor->axes > FL_ORT_AXES;
    fl_message_shape(message, tensor->size, more ? FL_ORT_AXES : tensor->axes);
    fl_message_add(message, more ? " and more axes" : "");
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
    fl_ort_add_shape(&m, tensor);
    fl_message_add(&m, ", ");
    fl_message_shape(&m, size, axes);
    fl_message_add(&m, " is due");
    return fl_message_status(api, ORT_INVALID_ARGUMENT, &m);
}

size_t fl_ort_count(const fl_ort_tensor *tensor)
{
    size_t n = tensor->data != NULL;
    for (size_t i = 0; n && i < tensor->axes; i++)
        n = fl_mul(n, (size_t)tensor->size[i]);
    return n;
}

size_t fl_ort_bytes(const fl_ort_tensor *tensor)
{
    return fl_mul(fl_ort_count(tensor), type_bytes(tensor->type));
}

const float *fl_ort_in_order(float *to, const fl_ort_tensor *from, size_t first,
                             const size_t *order, size_t gates, size_t n)
{
    const char *at = from->data;
    for (size_t g = 0; g < gates; g++)
        fl_ort_to_floats(to + g * n, at + (first + order[g] * n) * type_bytes(from->type), n,
                         from->type);
    return to;
}
