/* SPDX-License-Identifier: MIT */
/* Sentences that say what is wrong with a node or a call, and statuses made of them. */
#ifndef FL_ORT_MESSAGE_H
#define FL_ORT_MESSAGE_H

#include "onnxruntime/api.h"

/* A text that is put together from pieces; what does not fit any more is left out. */
typedef struct fl_message {
    char text[512]; /* ends with 0 */
    size_t length;
} fl_message;

void fl_message_add(fl_message *message, const char *text);
void fl_message_number(fl_message *message, int64_t number);
/* Adds sizes as Python writes a shape: (3, 4), (3,) or (). */
void fl_message_shape(fl_message *message, const int64_t *size, size_t axes);

/* The status of a code of ONNX Runtime's with this text. */
OrtStatus *fl_message_status(const fl_ort_api *api, int code, const fl_message *message);

#endif
