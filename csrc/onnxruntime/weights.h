/* SPDX-License-Identifier: MIT */
/* The weights of a node: ONNX's arrays, checked and packed. */
#ifndef FL_ORT_WEIGHTS_H
#define FL_ORT_WEIGHTS_H

#include <stdatomic.h>

#include "onnxruntime/tensor.h"

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
int fl_ort_is_packed(const fl_ort_packed *packed, const fl_ort_arrays *arrays);

/* One user less; NULL may be given. */
void fl_ort_packed_free(fl_ort_packed *packed);

#endif
