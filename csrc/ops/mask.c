/* SPDX-License-Identifier: MIT */
#include "ops/mask.h"

#include <string.h>

#include "ops/numbers.h"

/* Are the inputs x (B, T, ..) and mask (B, T)? */
static int inputs_fit(const fl_array *in, size_t ins)
{
    return ins == 2 && in[0].type != FL_TYPES && in[0].shape.axes >= 2 &&
           fl_array_is(&in[1], FL_BOOL, 2, in[0].shape.size);
}

static size_t step_bytes(const fl_array *x)
{
    return fl_shape_span(&x->shape, 2, x->shape.axes) * fl_type_bytes(x->type);
}

static int mask_pack_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                           size_t outs)
{
    (void)op;
    if (!inputs_fit(in, ins) || outs < 1 || outs > 2)
        return FL_BAD_SHAPE;
    const fl_shape rows = {.axes = 1, .size = {in->shape.size[0]}};
    if (outs == 2 && fl_shape_made(&out[1], FL_I64, rows) != FL_OK)
        return FL_BAD_SHAPE; /* rows without elements may be more than memory holds numbers */
    return fl_shape_made(out, in->type, in->shape);
}

static int mask_pack_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                         size_t outs, void *arena, const fl_caller *caller)
{
    (void)op, (void)ins, (void)arena, (void)caller;
    const size_t rows = in->shape.size[0], steps = in->shape.size[1], bytes = step_bytes(in);
    const unsigned char *mask = in[1].at;
    const char *x = in[0].at;
    char *y = out[0].at;
    if (fl_count(&in[1]) == 0) { /* rows without steps may be more than anybody counts */
        if (outs > 1 && out[1].at)
            memset(out[1].at, 0, fl_array_bytes(&out[1]));
        return FL_OK;
    }
    for (size_t b = 0; b < rows; b++, mask += steps, x += steps * bytes, y += steps * bytes) {
        size_t count = 0;
        for (size_t t = 0; t < steps; t++) {
            if (mask[t] && y)
                memcpy(y + count * bytes, x + t * bytes, bytes);
            count += mask[t] != 0;
        }
        if (y)
            memset(y + count * bytes, 0, (steps - count) * bytes);
        if (outs > 1 && out[1].at)
            ((int64_t *)out[1].at)[b] = (int64_t)count;
    }
    return FL_OK;
}

static int mask_unpack_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                             size_t outs)
{
    (void)op;
    if (!inputs_fit(in, ins) || outs != 1)
        return FL_BAD_SHAPE;
    return fl_shape_made(out, in->type, in->shape);
}

static int mask_unpack_run(const fl_operator *op, const fl_array *in, size_t ins,
                           const fl_array *out, size_t outs, void *arena, const fl_caller *caller)
{
    (void)ins, (void)outs, (void)arena, (void)caller;
    const int zeros = ((const fl_numbers *)op)->ints[0] != 0;
    const int reverse = ((const fl_numbers *)op)->ints[1] != 0;
    const size_t rows = in->shape.size[0], steps = in->shape.size[1], bytes = step_bytes(in);
    const unsigned char *mask = in[1].at;
    const char *y = in[0].at;
    char *to = out->at;
    if (fl_count(&in[1]) == 0)
        return FL_OK;
    for (size_t b = 0; b < rows; b++, mask += steps, y += steps * bytes) {
        size_t count = 0, before = 0; /* steps that count: of the row, and before step t */
        for (size_t t = 0; t < steps; t++)
            count += mask[t] != 0;
        for (size_t t = 0; t < steps; t++, to += bytes) {
            before += !reverse && mask[t];
            /* without reverse `before` includes step t, so the packed step is the one before it */
            const size_t place = reverse ? before : before - 1;
            if (place < count && (mask[t] || !zeros))
                memcpy(to, y + place * bytes, bytes);
            else
                memset(to, 0, bytes);
            before += reverse && mask[t];
        }
    }
    return FL_OK;
}

FL_NUMBERS_MAKER(mask_pack, 0)
FL_NUMBERS_MAKER(mask_unpack, 2)
