/* SPDX-License-Identifier: MIT */
/*
 * One call of a node, whose packed weights are known: its inputs checked, one fl_call, its outputs.
 *
 * It runs on the thread that ONNX Runtime gives it and, where it is large enough to be divided, on
 * those of the session's own pool: no thread of ours is beside them. Outputs are in memory of the
 * session's allocator.
 */
#ifndef FL_ORT_CALL_H
#define FL_ORT_CALL_H

#include "onnxruntime/op.h"
#include "onnxruntime/weights.h"

/* Input `index` of the call, which has `inputs` inputs. One that the call or the kind of node does
   not have counts as not given. */
OrtStatus *fl_ort_input(const fl_ort_op *op, OrtKernelContext *context, size_t inputs, size_t index,
                        fl_ort_tensor *tensor);

/* The call. NULL, or a status that says what is wrong with it. */
OrtStatus *fl_ort_call(const fl_ort_op *op, const fl_ort_node *node, fl_ort_packed *packed,
                       OrtKernelContext *context, size_t inputs);

#endif
