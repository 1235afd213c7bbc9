/* SPDX-License-Identifier: MIT */
/* Inputs of a node as arrays, and those of them that are weights. */
#ifndef FL_ORT_TENSOR_H
#define FL_ORT_TENSOR_H

#include "onnxruntime/node.h"

enum { FL_ORT_AXES = 4 };

/* An input of a node. */
typedef struct fl_ort_tensor {
    void *data; /* the value's memory; NULL: not given. Without elements it is not NULL either */
    int type;   /* of its elements, as ONNX numbers them */
    size_t axes;
    int64_t size[FL_ORT_AXES]; /* of the first FL_ORT_AXES axes; `axes` may be more */
} fl_ort_tensor;

/* Copies n numbers of the type ORT_TYPE_FLOAT or ORT_TYPE_FLOAT16 as floats, and floats as numbers.
 */
void fl_ort_to_floats(float *to, const void *from, size_t n, int type);
void fl_ort_from_floats(void *to, const float *from, size_t n, int type);

/* What a value holds; `value` may be NULL. */
OrtStatus *fl_ort_tensor_of(const fl_ort_api *api, const OrtValue *value, fl_ort_tensor *tensor);

/* Adds the shape of a tensor to a message, of more than FL_ORT_AXES axes the first. */
void fl_ort_add_shape(fl_message *message, const fl_ort_tensor *tensor);

/* NULL if a tensor has these sizes or is not given, else a status with both shapes, in which `what`
   is the tensor's name. */
OrtStatus *fl_ort_due(const fl_ort_api *api, const fl_ort_node *node, const char *what,
                      const fl_ort_tensor *tensor, const int64_t *size, size_t axes);

/* The inputs of a node that are weights: W, R, B and P, and of a quantised LSTM the scales and zero
   points of W and R. Those after R may be missing. */
enum {
    FL_ORT_W,
    FL_ORT_R,
    FL_ORT_B,
    FL_ORT_P,
    FL_ORT_W_SCALE,
    FL_ORT_W_ZERO,
    FL_ORT_R_SCALE,
    FL_ORT_R_ZERO,
    FL_ORT_ARRAYS
};

/* Which inputs they are. */
extern const size_t fl_ort_weight_inputs[FL_ORT_ARRAYS];

typedef struct fl_ort_arrays {
    fl_ort_tensor at[FL_ORT_ARRAYS];
} fl_ort_arrays;

/* Copies `gates` pieces of n numbers each, which begin with number `first` of an array, as floats
   and in another order: piece g is piece order[g] of the array. Returns `to`. */
const float *fl_ort_in_order(float *to, const fl_ort_tensor *from, size_t first,
                             const size_t *order, size_t gates, size_t n);

/* How many elements a tensor has, 0 if it is not given, and how many bytes they are. SIZE_MAX if
   that is more than a size_t counts. */
size_t fl_ort_count(const fl_ort_tensor *tensor);
size_t fl_ort_bytes(const fl_ort_tensor *tensor);

#endif
