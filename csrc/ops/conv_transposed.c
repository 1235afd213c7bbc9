/* SPDX-License-Identifier: MIT */
#include "ops/conv_transposed.h"

#include <string.h>

#include "base/alloc.h"
#include "kernels/contract.h"
#include "kernels/parallel.h"
#include "ops/conv_numbers.h"

/*
 * The outputs o with the same remainder of (o + begin) / stride along each axis, a phase, are an
 * ordinary convolution of stride 1 whose taps are those t with t * dilation of that remainder. As
 * taps t ascend by `period` from one to the next of a phase, i descends by dilation / gcd, so the
 * phase has its taps in reverse order. Outputs of remainders without a tap are the bias.
 */
typedef struct transposed {
    fl_operator op;
    fl_window window;
    size_t padding[2], output[2]; /* output padding; sizes that are given, or 0 */
    size_t period[2], phases[2];
    fl_convolution *c; /* [phases[0]][phases[1]] */
    float *unreached;  /* [M]: outputs without a tap */
    int all_reached;   /* there are none */
} transposed;

enum { MOST_PHASES = 1 << 20 };

static void free_transposed(fl_operator *op) { fl_free(op); }

static size_t last_tap(const transposed *layer, int axis, size_t phase)
{
    const size_t period = layer->period[axis];
    return phase + (layer->window.size[axis] - 1 - phase) / period * period;
}

static size_t gcd(size_t a, size_t b)
{
    while (b) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Padding and outputs along one axis. */
static int along(const transposed *layer, int axis, fl_windows *w)
{
    const fl_window *window = &layer->window;
    if (w->in[axis] > INT32_MAX)
        return FL_BAD_SHAPE;
    const int64_t in = (int64_t)w->in[axis], stride = (int64_t)window->stride[axis];
    const int64_t all =
        stride * (in - 1) + (int64_t)fl_window_extent(window, axis) + (int64_t)layer->padding[axis];
    const int same = window->auto_pad == FL_PAD_SAME_UPPER || window->auto_pad == FL_PAD_SAME_LOWER;
    int64_t out;
    if (same || layer->output[axis]) {
        out = layer->output[axis] ? (int64_t)layer->output[axis] : in * stride;
        const int64_t pads = all > out ? all - out : 0;
        w->begin[axis] =
            (size_t)(window->auto_pad == FL_PAD_SAME_UPPER ? pads / 2 : pads - pads / 2);
        w->end[axis] = (size_t)pads - w->begin[axis];
    } else {
        const int given = window->auto_pad == FL_PAD_GIVEN;
        w->begin[axis] = given ? window->begin[axis] : 0;
        w->end[axis] = given ? window->end[axis] : 0;
        out = all - (int64_t)w->begin[axis] - (int64_t)w->end[axis];
    }
    w->out[axis] = (size_t)out;
    return out < 0 ? FL_BAD_SHAPE : FL_OK;
}

static int transposed_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                            size_t outs)
{
    const transposed *layer = (const transposed *)op;
    fl_windows w;
    const fl_convolution *c = layer->c;
    if (ins < 1 || outs != 1 || in->type != FL_F32 || in->shape.axes != layer->window.axes + 2 ||
        !fl_conv_inputs_fit(in, ins, &layer->window, c->in, c->out / c->groups, c->out))
        return FL_BAD_SHAPE;
    fl_windows_in(&layer->window, in, &w);
    if (w.channels != layer->c->in || along(layer, 0, &w) != FL_OK || along(layer, 1, &w) != FL_OK)
        return FL_BAD_SHAPE;
    return fl_windows_out(&layer->window, &w, layer->c->out, out);
}

/* Where the outputs of one phase along an axis begin, how many they are, and where they read x. */
static void place_phase(const transposed *layer, const fl_windows *w, int axis, size_t phase,
                        fl_placement *place)
{
    const int64_t stride = (int64_t)layer->window.stride[axis], begin = (int64_t)w->begin[axis];
    const int64_t dilation = (int64_t)layer->window.dilation[axis];
    const int64_t remainder = (int64_t)phase * dilation % stride;
    const int64_t first = (remainder + stride - begin % stride) % stride;
    const int64_t out = (int64_t)w->out[axis];
    place->from[axis] = (size_t)first;
    place->step[axis] = (size_t)stride;
    place->out[axis] = first < out ? (size_t)((out - first - 1) / stride + 1) : 0;
    place->begin[axis] =
        (ptrdiff_t)(((int64_t)last_tap(layer, axis, phase) * dilation - first - begin) / stride);
}

static size_t transposed_bytes(const fl_operator *op, const fl_array *in, size_t ins,
                               size_t threads)
{
    const transposed *layer = (const transposed *)op;
    fl_windows w;
    size_t most = 0;
    fl_windows_in(&layer->window, in, &w);
    if (along(layer, 0, &w) != FL_OK || along(layer, 1, &w) != FL_OK)
        return SIZE_MAX;
    for (size_t i = 0; i < layer->phases[0] * layer->phases[1]; i++) {
        fl_placement place = {.images = w.images, .in = {w.in[0], w.in[1]}};
        place_phase(layer, &w, 0, i / layer->phases[1], &place);
        place_phase(layer, &w, 1, i % layer->phases[1], &place);
        const size_t bytes = fl_add(ins > 1 ? fl_conv_packed_bytes(&layer->c[i]) : 0,
                                    fl_convolve_bytes(&layer->c[i], &place, threads));
        most = bytes > most ? bytes : most;
    }
    return ins > 1 ? fl_add(most, fl_whole_lines(layer->c->out * sizeof(float))) : most;
}

typedef struct fill_job {
    const float *unreached; /* [out] */
    float *y;
    size_t out;
} fill_job;

static int fill(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                size_t count)
{
    const fill_job *job = arg;
    (void)worker;
    for (size_t i = first; i < first + count; i++)
        memcpy(job->y + i * job->out, job->unreached, job->out * sizeof(float));
    return fl_should_stop(context, slot, fl_move_flop(count * job->out)) ? FL_INTERRUPTED : FL_OK;
}

/* The outputs that no input reaches. */
static void set_unreached(const fl_convolution *c, const float *bias, float *to)
{
    memset(to, 0, c->out * sizeof *to);
    if (bias)
        c->kernels->flush(to, bias, c->out);
    fl_epilogue_apply(&c->epilogue, to, c->out);
}

/* Where the numbers of W (C, M / groups, k..) are for phase i. */
static fl_filter phase_filter(const transposed *layer, size_t i, const float *w)
{
    const fl_convolution *c = layer->c;
    const size_t row = layer->window.size[1];
    const ptrdiff_t window = (ptrdiff_t)(layer->window.size[0] * row);
    const ptrdiff_t group_out = (ptrdiff_t)(c->out / c->groups);
    return (fl_filter){.w = w + last_tap(layer, 0, i / layer->phases[1]) * row +
                            last_tap(layer, 1, i % layer->phases[1]),
                       .group = (ptrdiff_t)(c->in / c->groups) * group_out * window,
                       .out = window,
                       .in = group_out * window,
                       .tap = {-(ptrdiff_t)(layer->period[0] * row), -(ptrdiff_t)layer->period[1]}};
}

static int transposed_run(const fl_operator *op, const fl_array *in, size_t ins,
                          const fl_array *out, size_t outs, void *arena, const fl_caller *caller)
{
    const transposed *layer = (const transposed *)op;
    const fl_kernels *kernels = layer->c->kernels;
    fl_windows w;
    int tiny, e = FL_OK;
    const float *unreached = layer->unreached;
    (void)outs;
    fl_windows_in(&layer->window, in, &w);
    if (along(layer, 0, &w) != FL_OK || along(layer, 1, &w) != FL_OK)
        return FL_BAD_SHAPE;
    if (fl_count(out) == 0)
        return FL_OK;
    if (ins > 1) {
        set_unreached(layer->c, fl_conv_bias(in, ins), arena);
        unreached = arena;
        arena = (char *)arena + fl_whole_lines(layer->c->out * sizeof(float));
    }
    if (!layer->all_reached) {
        fill_job job = {.unreached = unreached, .y = out->at, .out = layer->c->out};
        e = fl_parallel(kernels, caller, 1, fl_windows_count(&w), 256, fill, &job);
    }
    if (e == FL_OK && !layer->c->by_parts)
        e = fl_find_tiny(kernels, caller, in->at, fl_count(in), &tiny);
    for (size_t i = 0; i < layer->phases[0] * layer->phases[1] && e == FL_OK; i++) {
        fl_placement place = {.x = in->at,
                              .y = out->at,
                              .images = w.images,
                              .in = {w.in[0], w.in[1]},
                              .y_image = w.out[0] * w.out[1],
                              .y_row = w.out[1],
                              .tiny = tiny};
        place_phase(layer, &w, 0, i / layer->phases[1], &place);
        place_phase(layer, &w, 1, i % layer->phases[1], &place);
        fl_convolution c = layer->c[i];
        void *rest = arena;
        if (ins > 1) {
            const fl_filter filter = phase_filter(layer, i, in[1].at);
            rest = fl_conv_pack_into(arena, &c, &filter, fl_conv_bias(in, ins));
            if (!rest)
                return FL_NO_MEMORY;
        }
        e = fl_convolve(&c, &place, rest, caller);
    }
    return e;
}

static int transposed_pack(fl_operator *op, const fl_array *weights, size_t count)
{
    transposed *layer = (transposed *)op;
    const fl_convolution *c = layer->c;
    if (!fl_conv_packed_fit(weights, count, &layer->window, c->in, c->out / c->groups, c->out))
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < layer->phases[0] * layer->phases[1]; i++) {
        const fl_filter filter = phase_filter(layer, i, weights[0].at);
        const int e = fl_convolution_pack(&layer->c[i], &filter, weights[1].at);
        if (e != FL_OK)
            return e;
    }
    set_unreached(c, weights[1].at, layer->unreached);
    return FL_OK;
}

static transposed *carve_transposed(fl_carver *carver, const transposed *sizes,
                                    const fl_convolution *like)
{
    transposed *layer = fl_carve(carver, 1, sizeof *layer);
    const size_t phases = sizes->phases[0] * sizes->phases[1];
    fl_convolution *all = fl_carve(carver, phases, sizeof *all);
    float *unreached = fl_carve(carver, like->out, sizeof *unreached);
    for (size_t i = 0; i < phases; i++) {
        const size_t phase[] = {i / sizes->phases[1], i % sizes->phases[1]};
        fl_convolution c = *like;
        for (int axis = 0; axis < 2; axis++) {
            const fl_window *w = &sizes->window;
            c.taps[axis] = (w->size[axis] - 1 - phase[axis]) / sizes->period[axis] + 1;
            c.stride[axis] = 1;
            c.dilation[axis] = w->dilation[axis] * sizes->period[axis] / w->stride[axis];
        }
        fl_convolution_carve(carver, &c);
        if (all)
            all[i] = c;
    }
    if (layer) {
        *layer = *sizes;
        layer->c = all;
        layer->unreached = unreached;
    }
    return layer;
}

int fl_make_conv_transposed(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "conv_transposed",
                                          .pack = transposed_pack,
                                          .shape = transposed_shape,
                                          .bytes = transposed_bytes,
                                          .run = transposed_run,
                                          .free = free_transposed};
    transposed sizes = {.op = {&type}};
    fl_convolution like;
    if (fl_conv_read(attributes, 2, &sizes.window, &like) != FL_OK)
        return FL_BAD_SHAPE;
    const fl_window *w = &sizes.window;
    const int64_t *more = attributes->ints + FL_CONV_INTS + FL_WINDOW_INTS * w->axes;
    for (size_t i = 0; i < w->axes; i++) {
        const int64_t padding = more[i], output = more[w->axes + i];
        if (padding < 0 || padding > INT32_MAX || output < 0 || output > INT32_MAX)
            return FL_BAD_SHAPE;
        sizes.padding[2 - w->axes + i] = (size_t)padding;
        sizes.output[2 - w->axes + i] = (size_t)output;
    }
    sizes.all_reached = 1;
    for (int axis = 0; axis < 2; axis++) {
        const size_t stride = w->stride[axis], size = w->size[axis];
        sizes.period[axis] = stride / gcd(stride, w->dilation[axis]);
        sizes.phases[axis] = size < sizes.period[axis] ? size : sizes.period[axis];
        sizes.all_reached &= sizes.phases[axis] == stride;
    }
    if (sizes.phases[0] * sizes.phases[1] > MOST_PHASES)
        return FL_BAD_SHAPE;
    fl_carver carver = {0};
    carve_transposed(&carver, &sizes, &like);
    void *base = fl_alloc_lasting(carver.used);
    if (!base)
        return FL_NO_MEMORY;
    memset(base, 0, carver.used);
    carver = (fl_carver){.base = base};
    *op = &carve_transposed(&carver, &sizes, &like)->op;
    return FL_OK;
}
