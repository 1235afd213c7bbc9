/* SPDX-License-Identifier: MIT */
/* The weights of a node: ONNX's arrays, checked and packed. */
#ifndef FL_ORT_WEIGHTS_H
#define FL_ORT_WEIGHTS_H

#include <stdatomic.h>

#include "onnxruntime/node.h"

enum { FL_ORT_AXES = 4 };

/* An input of a node. */
typedef struct fl_ort_tensor {
    void *data; /* NULL: not given */
    size_t axes;
    int64_t size[FL_ORT_AXES]; /* of the first axes */
} fl_ort_tensor;

/* Copies n numbers of a node, which are float16 if half, as floats, and floats as numbers of a
 * node.
 */
void fl_ort_to_floats(float *to, const void *from, size_t n, int half);
void fl_ort_from_floats(void *to, const float *from, size_t n, int half);

/* What a value holds; `value` may be NULL. */
OrtStatus *fl_ort_tensor_of(const fl_ort_api *api, const OrtValue *value, fl_ort_tensor *tensor);

/* NULL if a tensor has these sizes or is not given, else a status with both shapes. */
OrtStatus *fl_ort_due(const fl_ort_api *api, const fl_ort_node *node, const char *what,
                      const fl_ort_tensor *tensor, const int64_t *size, size_t axes);

/* W, R, B and P: inputs FL_W, FL_R, FL_B and FL_P of the node, those after FL_R perhaps not given.
 */
typedef struct fl_ort_arrays {
    fl_ort_tensor w, r, b, p;
} fl_ort_arrays;

/* Packed weights, which any number of calls may use at a time. */
typedef struct fl_ort_packed {
    atomic_size_t users;   /* freed when it is 0 */
    atomic_int descending; /* fl_call's, for the next call: only a hint */
    fl_net *net;
    size_t input, hidden; /* I, H */
    /* Of weights that are computed as the model runs: copies of the arrays that were packed, by
       which it is known whether the next call's are the same; NULL of constants. */
    char *copy;
    fl_ort_arrays arrays; /* their shapes; the data may be gone */
} fl_ort_packed;

/* Checks the shapes of the arrays and packs them. keep: whether to keep copies. On success *packed
   has one user. */
OrtStatus *fl_ort_pack(const fl_ort_api *api, const fl_ort_node *node, const fl_ort_arrays *arrays,
                       int keep, fl_ort_packed **packed);

/* Are these arrays, bit by bit, those that were packed, of which copies have been kept? */
int fl_ort_is_packed(const fl_ort_node *node, const fl_ort_packed *packed,
                     const fl_ort_arrays *arrays);

/* One user less; NULL may be given. */
void fl_ort_packed_free(fl_ort_packed *packed);

#endif
