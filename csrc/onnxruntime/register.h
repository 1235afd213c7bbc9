/* SPDX-License-Identifier: MIT */
/*
 * The library as ONNX Runtime loads it. session_options.register_custom_ops_library(path) calls
 * RegisterCustomOps, which puts LSTM, GRU and, from ONNX Runtime 1.25 on, RNN in the place of ONNX
 * Runtime's own.
 *
 * Entries of the session's configuration that are read, by add_session_config_entry:
 *
 *     fastlstm.threads     how many threads the session has; without it as many as there are CPUs
 *     fastlstm.isa         an instruction set by name; without it the best. A status for one that
 *                          does not run here
 *     fastlstm.quantized   8 or 16: ONNX Runtime's DynamicQuantizeLSTM too, with codes of X of so
 *                          many bits; anything else: it is left to ONNX Runtime
 */
#ifndef FL_ORT_REGISTER_H
#define FL_ORT_REGISTER_H

#include "onnxruntime/api.h"

#if defined(_WIN32)
#define FL_ORT_EXPORT __declspec(dllexport)
#else
#define FL_ORT_EXPORT __attribute__((visibility("default")))
#endif

/* The name is ONNX Runtime's. */
FL_ORT_EXPORT OrtStatus *FL_ORT RegisterCustomOps(OrtSessionOptions *options,
                                                  const OrtApiBase *base);

#endif
