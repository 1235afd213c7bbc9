/* SPDX-License-Identifier: MIT */
#include "ops/conv.h"

#include <string.h>

#include "base/alloc.h"
#include "kernels/parallel.h"
#include "ops/conv_numbers.h"

typedef struct conv {
    fl_operator op;
    fl_window window;
    fl_convolution c;
} conv;

static void free_conv(fl_operator *op) { fl_free(op); }

static int conv_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                      size_t outs)
{
    const conv *layer = (const conv *)op;
    fl_windows w;
    if (ins < 1 || outs != 1 || fl_windows_of(&layer->window, in, &w) != FL_OK ||
        w.channels != layer->c.in ||
        !fl_conv_inputs_fit(in, ins, &layer->window, layer->c.out, layer->c.in / layer->c.groups,
                            layer->c.out))
        return FL_BAD_SHAPE;
    return fl_windows_out(&layer->window, &w, layer->c.out, out);
}

static fl_placement place_of(const conv *layer, const fl_array *in, float *y)
{
    fl_windows w;
    fl_windows_of(&layer->window, in, &w);
    return (fl_placement){.x = in->at,
                          .y = y,
                          .images = w.images,
                          .in = {w.in[0], w.in[1]},
                          .out = {w.out[0], w.out[1]},
                          .begin = {(ptrdiff_t)w.begin[0], (ptrdiff_t)w.begin[1]},
                          .y_image = w.out[0] * w.out[1],
                          .y_row = w.out[1],
                          .step = {1, 1}};
}

static size_t conv_bytes(const fl_operator *op, const fl_array *in, size_t ins, size_t threads)
{
    const conv *layer = (const conv *)op;
    const fl_placement place = place_of(layer, in, NULL);
    return fl_add(ins > 1 ? fl_conv_packed_bytes(&layer->c) : 0,
                  fl_convolve_bytes(&layer->c, &place, threads));
}

/* Where the numbers of W (M, C / groups, k..) are. */
static fl_filter conv_filter(const fl_convolution *c, const float *w)
{
    const ptrdiff_t window = (ptrdiff_t)(c->taps[0] * c->taps[1]);
    const ptrdiff_t group_in = (ptrdiff_t)(c->in / c->groups);
    return (fl_filter){.w = w,
                       .group = (ptrdiff_t)(c->out / c->groups) * group_in * window,
                       .out = group_in * window,
                       .in = window,
                       .tap = {(ptrdiff_t)c->taps[1], 1}};
}

static int conv_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                    size_t outs, void *arena, const fl_caller *caller)
{
    const conv *layer = (const conv *)op;
    fl_convolution c = layer->c;
    fl_placement place = place_of(layer, in, out->at);
    (void)outs;
    if (fl_count(out) == 0)
        return FL_OK;
    if (ins > 1) {
        const fl_filter filter = conv_filter(&c, in[1].at);
        arena = fl_conv_pack_into(arena, &c, &filter, fl_conv_bias(in, ins));
        if (!arena)
            return FL_NO_MEMORY;
    }
    if (!layer->c.by_parts &&
        fl_find_tiny(layer->c.kernels, caller, in->at, fl_count(in), &place.tiny) != FL_OK)
        return FL_INTERRUPTED;
    return fl_convolve(&c, &place, arena, caller);
}

static int conv_pack(fl_operator *op, const fl_array *weights, size_t count)
{
    conv *layer = (conv *)op;
    fl_convolution *c = &layer->c;
    if (!fl_conv_packed_fit(weights, count, &layer->window, c->out, c->in / c->groups, c->out))
        return FL_BAD_SHAPE;
    const fl_filter filter = conv_filter(c, weights[0].at);
    return fl_convolution_pack(c, &filter, weights[1].at);
}

static conv *carve_conv(fl_carver *carver, const conv *sizes)
{
    conv *layer = fl_carve(carver, 1, sizeof *layer);
    conv made = *sizes;
    fl_convolution_carve(carver, &made.c);
    if (layer)
        *layer = made;
    return layer;
}

int fl_make_conv(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "conv",
                                          .pack = conv_pack,
                                          .shape = conv_shape,
                                          .bytes = conv_bytes,
                                          .run = conv_run,
                                          .free = free_conv};
    conv sizes = {.op = {&type}};
    if (fl_conv_read(attributes, 0, &sizes.window, &sizes.c) != FL_OK)
        return FL_BAD_SHAPE;
    for (int axis = 0; axis < 2; axis++) {
        sizes.c.taps[axis] = sizes.window.size[axis];
        sizes.c.stride[axis] = sizes.window.stride[axis];
        sizes.c.dilation[axis] = sizes.window.dilation[axis];
    }
    fl_carver carver = {0};
    carve_conv(&carver, &sizes);
    void *base = fl_alloc_lasting(carver.used);
    if (!base)
        return FL_NO_MEMORY;
    memset(base, 0, carver.used);
    carver = (fl_carver){.base = base};
    *op = &carve_conv(&carver, &sizes)->op;
    return FL_OK;
}
