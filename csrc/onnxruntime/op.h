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
    /*
     * Of the numbers: ORT_TYPE_FLOAT. An operator with ORT_TYPE_FLOAT16 is never run: it stands
     * under the name of a provider that there is not, and only makes the operator's schema allow
     * float16. ONNX Runtime then finds no kernel for a node of float16, and makes it one of float32
     * with casts around it, as it does with its own operators.
     */
    int type;
    const fl_kernels *kernels;
    size_t threads; /* the most that a call is divided among: those of the session's pool */
} fl_ort_op;

static inline const fl_ort_op *fl_ort_op_of(const OrtCustomOp *op) { return (const void *)op; }

#endif
