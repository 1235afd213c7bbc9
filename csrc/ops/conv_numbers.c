/* SPDX-License-Identifier: MIT */
#include "ops/conv_numbers.h"

#include <string.h>

#include "kernels/dispatch.h"

enum { FORMAT, AXES, IN, OUT, GROUPS, AUTO_PAD, ACTIVATION }; /* places in ints */

int fl_conv_read(const fl_attributes *a, int64_t more, fl_window *window, fl_convolution *c)
{
    const int64_t *ints = a->ints, by_parts = a->int_count && ints[FORMAT] == FL_BFLOAT16;
    if (a->int_count < FL_CONV_INTS || ints[AXES] < 1 || ints[AXES] > 2 ||
        a->int_count != (size_t)(FL_CONV_INTS + ints[AXES] * (FL_WINDOW_INTS + more) + by_parts))
        return FL_BAD_SHAPE;
    const int64_t bits = by_parts ? ints[a->int_count - 1] : 0;
    const fl_kernels *kernels = fl_permitted_kernels(a->kernels, (int)by_parts);
    if (ints[FORMAT] < 0 || (ints[FORMAT] > FL_FLOAT16 && !by_parts) || bits % 16 || bits < 0 ||
        bits > 48 || (by_parts && !bits) || !kernels->gemm[ints[FORMAT]] || ints[IN] < 1 ||
        ints[OUT] < 1 || ints[GROUPS] < 1 || ints[IN] > INT32_MAX || ints[OUT] > INT32_MAX ||
        ints[IN] % ints[GROUPS] || ints[OUT] % ints[GROUPS])
        return FL_BAD_SHAPE;
    *c = (fl_convolution){.kernels = kernels,
                          .format = (int)ints[FORMAT],
                          .bits = (int)bits,
                          .in = (size_t)ints[IN],
                          .out = (size_t)ints[OUT],
                          .groups = (size_t)ints[GROUPS]};
    if (fl_epilogue_read(a, ACTIVATION, &c->epilogue) != FL_OK)
        return FL_BAD_SHAPE;
    return fl_window_read(ints + FL_CONV_INTS, ints[AXES], ints[AUTO_PAD], window);
}

/* Is w an array (first, second, k..), and b (out), or not given? */
static int weights_fit(const fl_array *w, const fl_array *b, const fl_window *window, size_t first,
                       size_t second, size_t out)
{
    const size_t sizes[] = {first, second, window->size[2 - window->axes], window->size[1]};
    return fl_array_is(w, FL_F32, 2 + window->axes, sizes) &&
           (!b || b->type == FL_TYPES || fl_array_is(b, FL_F32, 1, &out));
}

int fl_conv_packed_fit(const fl_array *weights, size_t count, const fl_window *window, size_t first,
                       size_t second, size_t out)
{
    return count == 2 && weights[0].at &&
           weights_fit(weights, weights[1].at ? &weights[1] : NULL, window, first, second, out);
}

int fl_conv_inputs_fit(const fl_array *in, size_t ins, const fl_window *window, size_t first,
                       size_t second, size_t out)
{
    return ins == 1 || ((ins == 2 || ins == 3) &&
                        weights_fit(&in[1], ins == 3 ? &in[2] : NULL, window, first, second, out));
}

const float *fl_conv_bias(const fl_array *in, size_t ins)
{
    return ins == 3 && in[2].type != FL_TYPES ? in[2].at : NULL;
}

size_t fl_conv_packed_bytes(const fl_convolution *c)
{
    fl_carver carver = {0};
    fl_convolution copy = *c;
    fl_convolution_carve(&carver, &copy);
    return carver.used;
}

char *fl_conv_pack_into(void *arena, fl_convolution *c, const fl_filter *filter, const float *bias)
{
    fl_carver carver = {.base = arena};
    memset(arena, 0, fl_conv_packed_bytes(c));
    fl_convolution_carve(&carver, c);
    return fl_convolution_pack(c, filter, bias) == FL_OK ? (char *)arena + carver.used : NULL;
}
