/* SPDX-License-Identifier: MIT */
#include "onnxruntime/message.h"

#include <string.h>

void fl_message_add(fl_message *message, const char *text)
{
    const size_t left = sizeof message->text - 1 - message->length, all = strlen(text);
    const size_t n = all < left ? all : left;
    memcpy(message->text + message->length, text, n);
    message->length += n;
    message->text[message->length] = 0;
}

void fl_message_number(fl_message *message, int64_t number)
{
    char digits[24], *at = digits + sizeof digits - 1;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    *at = 0;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (number < 0)
        *--at = '-';
    fl_message_add(message, at);
}

void fl_message_shape(fl_message *message, const int64_t *size, size_t axes)
{
    fl_message_add(message, "(");
    for (size_t i = 0; i < axes; i++) {
        fl_message_add(message, i ? ", " : "");
        fl_message_number(message, size[i]);
    }
    fl_message_add(message, axes == 1 ? ",)" : ")");
}

OrtStatus *fl_message_status(const fl_ort_api *api, int code, const fl_message *message)
{
    return api->create_status(code, message->text);
}
