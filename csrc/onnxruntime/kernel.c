/* SPDX-License-Identifier: MIT */
#include "onnxruntime/kernel.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "onnxruntime/call.h"

typedef struct kernel {
    const fl_ort_op *op;
    fl_ort_node node;
    int constant; /* are the weights? */
    /* The current weights, one of whose users is this kernel; NULL: there are none yet. Where they
       are not constants, the pointer is read and exchanged under the lock. */
    fl_ort_packed *packed;
    atomic_flag lock;
} kernel;

static void lock(kernel *k)
{
    while (atomic_flag_test_and_set_explicit(&k->lock, memory_order_acquire))
        fl_pause();
}

static void unlock(kernel *k) { atomic_flag_clear_explicit(&k->lock, memory_order_release); }

/* ---- making it ---- */

/* Is an input given, and is it a constant? Its tensor then. */
static OrtStatus *constant(const kernel *k, const OrtKernelInfo *info, size_t index, int *given,
                           int *is_constant, fl_ort_tensor *tensor)
{
    const fl_ort_api *api = k->op->api;
    const OrtValue *value = NULL;
    size_t count = 0, size = 0;
    OrtStatus *status = api->node_inputs(info, &count);
    *tensor = (fl_ort_tensor){.data = NULL};
    *given = *is_constant = 0;
    if (status || index >= count || index >= k->op->kind->inputs)
        return status;
    status = api->node_input_name(info, index, NULL, &size);
    *given = size > 1; /* the name of one that is not given is "", with its 0 */
    if (status || !*given)
        return status;
    status = api->constant_input(info, index, is_constant, &value);
    return status || !*is_constant ? status : fl_ort_tensor_of(api, value, tensor);
}

OrtStatus *FL_ORT fl_ort_kernel_create(const OrtCustomOp *op, const fl_ort_api *api,
                                       const OrtKernelInfo *info, void **made)
{
    fl_ort_arrays arrays;
    kernel *k = fl_alloc(sizeof *k);
    api = fl_ort_op_of(op)->api; /* the one given may be the table of an older version */
    if (!k)
        return api->create_status(ORT_FAIL, "fastlstm: no memory for a node");
    *k = (kernel){.op = fl_ort_op_of(op), .constant = 1};
    atomic_flag_clear(&k->lock);
    OrtStatus *status = fl_ort_read_node(api, k->op->texts, k->op->kind, info, &k->node);
    k->node.kernels = k->op->kernels;
    k->node.input_bits = k->op->input_bits;
    for (size_t i = 0; i < FL_ORT_ARRAYS && !status; i++) {
        int given, is_constant;
        status = constant(k, info, fl_ort_weight_inputs[i], &given, &is_constant, &arrays.at[i]);
        k->constant &= is_constant || !given;
    }
    if (!status && k->constant)
        status = fl_ort_pack(api, &k->node, &arrays, 0, &k->packed);
    if (status) {
        fl_free(k);
        return status;
    }
    *made = k;
    return NULL;
}

void FL_ORT fl_ort_kernel_destroy(void *made)
{
    fl_ort_packed_free(((kernel *)made)->packed);
    fl_free(made);
}

/* ---- a call ---- */

/* Of weights that are not constants: sets *packed to those of this call, with one more user. */
static OrtStatus *current_weights(kernel *k, OrtKernelContext *context, size_t inputs,
                                  fl_ort_packed **packed)
{
    fl_ort_arrays arrays;
    OrtStatus *status = NULL;
    for (size_t i = 0; i < FL_ORT_ARRAYS && !status; i++)
        status = fl_ort_input(k->op, context, inputs, fl_ort_weight_inputs[i], &arrays.at[i]);
    if (status)
        return status;
    lock(k);
    fl_ort_packed *now = k->packed;
    if (now)
        atomic_fetch_add_explicit(&now->users, 1, memory_order_relaxed);
    unlock(k);
    if (now && fl_ort_is_packed(now, &arrays)) {
        *packed = now;
        return NULL;
    }
    fl_ort_packed_free(now);
    status = fl_ort_pack(k->op->api, &k->node, &arrays, 1, packed);
    if (status)
        return status;
    atomic_fetch_add_explicit(&(*packed)->users, 1, memory_order_relaxed); /* the kernel */
    lock(k);
    now = k->packed;
    k->packed = *packed;
    unlock(k);
    fl_ort_packed_free(now);
    return NULL;
}

OrtStatus *FL_ORT fl_ort_kernel_compute(void *made, OrtKernelContext *context)
{
    kernel *k = made;
    size_t inputs = 0;
    OrtStatus *status = k->op->api->input_count(context, &inputs);
    if (status)
        return status;
    if (k->constant)
        return fl_ort_call(k->op, &k->node, k->packed, context, inputs);
    fl_ort_packed *packed = NULL;
    status = current_weights(k, context, inputs, &packed);
    if (!status)
        status = fl_ort_call(k->op, &k->node, packed, context, inputs);
    fl_ort_packed_free(packed);
    return status;
}
