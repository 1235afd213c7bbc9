/* SPDX-License-Identifier: MIT */
/*
 * A node's kernel: made with its session, run by any number of threads at the same time.
 *
 * Weights that are constants are packed when the kernel is made. Others are packed at the first
 * call, and again whenever a call brings others; each call compares them bit by bit.
 */
#ifndef FL_ORT_KERNEL_H
#define FL_ORT_KERNEL_H

#include "onnxruntime/op.h"

/* The functions of the same names in OrtCustomOp. */
OrtStatus *FL_ORT fl_ort_kernel_create(const OrtCustomOp *op, const fl_ort_api *api,
                                       const OrtKernelInfo *info, void **kernel);
OrtStatus *FL_ORT fl_ort_kernel_compute(void *kernel, OrtKernelContext *context);
void FL_ORT fl_ort_kernel_destroy(void *kernel);

#endif
