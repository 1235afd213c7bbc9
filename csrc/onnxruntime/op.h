/* SPDX-License-Identifier: MIT */
/* An operator as it is registered: what ONNX Runtime is told of it, and what its kernels share. */
#ifndef FL_ORT_OP_H
#define FL_ORT_OP_H

#include "onnxruntime/node.h"

/* Never changes once it is registered, and is never freed. */
typedef struct fl_ort_op {
    OrtCustomOp base; /* the first, so that a pointer to it is one to the whole */
    const fl_ort_api *api;
    int texts; /* 1: the table has attribute_texts */
    const fl_ort_kind *kind;
    const fl_kernels *kernels;
    int input_bits; /* of the codes of X, 8 or 16, where the weights are codes */
    size_t threads; /* the most that a call is divided among: those of the session's pool */
} fl_ort_op;

static inline const fl_ort_op *fl_ort_op_of(const OrtCustomOp *op) { return (const void *)op; }

#endif
