/* SPDX-License-Identifier: MIT */
/*
 * The matrices of ONNX Runtime's DynamicQuantizeLSTM, for gates of 4 H columns:
 *
 *     W (D, I, 4 H) and R (D, H, 4 H) of int8 or uint8; w = (code - zero point) * scale
 *     scales and zero points: one in all, one a direction (D) or one a column (D, 4 H)
 *
 * If both matrices have codes of int8 of which none is -128, zero points of 0, and scales that are
 * finite and not negative, the codes are packed as they are (FL_INT8). Otherwise the weights become
 * float32 numbers.
 */
#ifndef FL_ORT_QUANTIZED_H
#define FL_ORT_QUANTIZED_H

#include "onnxruntime/tensor.h"

/* Checks types, scales and zero points, and sets the format that the arrays, whose shapes have been
   checked, can be packed in. */
OrtStatus *fl_ort_quantized_format(const fl_ort_api *api, const fl_ort_node *node,
                                   const fl_ort_arrays *arrays, fl_config *config);

/* Packs direction d into a network of that format. scratch: 4 H (I + H + 2) floats. */
void fl_ort_set_quantized(fl_net *net, const fl_ort_node *node, const fl_ort_arrays *arrays,
                          size_t d, const float *b_ih, const float *b_hh, float *scratch);

#endif
