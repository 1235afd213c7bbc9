/* SPDX-License-Identifier: MIT */
#include "ops/recurrent.h"

#include "base/alloc.h"
#include "network/network.h"

enum { MOST_ARRAYS = 3 }; /* x, h0, c0 and y, hn, cn */

typedef struct recurrent {
    fl_operator op;
    fl_net *net;
} recurrent;

/* The shapes of h0 and hn, or of c0 and cn: `width` is K or H. */
static fl_shape state_shape(const fl_net *net, size_t batch, size_t width)
{
    return (fl_shape){.axes = 3, .size = {net->tracks, batch, width}};
}

static int shape(const fl_operator *op, const fl_shape *in, size_t ins, fl_shape *out, size_t outs)
{
    const fl_net *net = ((const recurrent *)op)->net;
    const fl_config *f = &net->config;
    const size_t most = net->cell->has_c ? MOST_ARRAYS : MOST_ARRAYS - 1;
    if (ins < 1 || ins > most || outs < 1 || outs > most || in->axes != 3 || in->size[0] == 0 ||
        in->size[1] == 0 || in->size[2] != f->input)
        return FL_BAD_SHAPE;
    const size_t steps = in->size[0], batch = in->size[1];
    const fl_shape state[] = {state_shape(net, batch, net->width),
                              state_shape(net, batch, f->hidden)};
    const fl_shape y = {.axes = 3, .size = {steps, batch, f->dirs * net->width}};
    for (size_t i = 1; i < ins; i++)
        if (!fl_shape_is(&in[i], 3, state[i - 1].size))
            return FL_BAD_SHAPE;
    const fl_shape *sizes[] = {in, &y, &state[0], &state[1]};
    for (size_t i = 0; i < 4; i++)
        if (fl_shape_count(sizes[i], 3) > SIZE_MAX / sizeof(float))
            return FL_BAD_SHAPE;
    out[0] = y;
    for (size_t i = 1; i < outs; i++)
        out[i] = state[i - 1];
    return FL_OK;
}

/* Does a weight have these sizes, one axis if columns is 0, and memory unless it may be missing? */
static int fits(const fl_array *w, size_t rows, size_t columns, int may_be_missing)
{
    const size_t sizes[] = {rows, columns};
    return w->at ? fl_shape_is(&w->shape, columns ? 2 : 1, sizes) : may_be_missing;
}

static int pack(fl_operator *op, const fl_array *weights, size_t count)
{
    fl_net *net = ((recurrent *)op)->net;
    const fl_config *f = &net->config;
    const size_t hidden = f->hidden, rows = net->cell->gates * hidden;
    const size_t proj = f->proj != 0, peep = f->variant.differs && f->variant.peepholes;
    const size_t each = 4 + proj + peep;
    if (count != net->tracks * each)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < net->tracks; i++) {
        const fl_array *w = weights + i * each;
        if (!fits(w, rows, fl_layer_in(net, i / f->dirs), 0) || !fits(w + 1, rows, net->width, 0) ||
            !fits(w + 2, rows, 0, 1) || !fits(w + 3, rows, 0, 1) ||
            (proj && !fits(w + 4, f->proj, hidden, 0)) ||
            (peep && !fits(w + 4 + proj, 3 * hidden, 0, 0)))
            return FL_BAD_SHAPE;
    }
    for (size_t i = 0; i < net->tracks; i++) {
        const fl_array *w = weights + i * each;
        const size_t layer = i / f->dirs, dir = i % f->dirs;
        fl_net_set(net, layer, dir, w[0].at, w[1].at, w[2].at, w[3].at, proj ? w[4].at : NULL);
        if (peep)
            fl_net_set_peepholes(net, layer, dir, w[4 + proj].at);
    }
    return FL_OK;
}

static size_t bytes(const fl_operator *op, const fl_shape *in, size_t ins, size_t threads)
{
    (void)op, (void)in, (void)ins, (void)threads;
    return 0;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const fl_net *net = ((const recurrent *)op)->net;
    fl_shape given[MOST_ARRAYS], expected[MOST_ARRAYS];
    (void)arena;
    if (ins > MOST_ARRAYS || outs > MOST_ARRAYS)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < ins; i++)
        given[i] = in[i].shape;
    if (shape(op, given, ins, expected, outs) != FL_OK || !in[0].at)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < outs; i++)
        if (!fl_shape_is(&out[i].shape, 3, expected[i].size))
            return FL_BAD_SHAPE;
    const size_t batch = given[0].size[1], x_row = given[0].size[2], y_row = expected[0].size[2];
    const fl_call call = {.steps = given[0].size[0],
                          .batch = batch,
                          .x = in[0].at,
                          .x_t = (ptrdiff_t)(batch * x_row),
                          .x_b = (ptrdiff_t)x_row,
                          .y = out[0].at,
                          .y_t = (ptrdiff_t)(batch * y_row),
                          .y_b = (ptrdiff_t)y_row,
                          .h0 = ins > 1 ? in[1].at : NULL,
                          .c0 = ins > 2 ? in[2].at : NULL,
                          .hn = outs > 1 ? out[1].at : NULL,
                          .cn = outs > 2 ? out[2].at : NULL,
                          .threads = caller->threads,
                          .poll = caller->poll,
                          .poll_arg = caller->poll_arg};
    return fl_forward(net, &call);
}

static void free_recurrent(fl_operator *op)
{
    fl_net_free(((recurrent *)op)->net);
    fl_free(op);
}

fl_operator *fl_recurrent_new(const fl_config *config, const fl_kernels *kernels)
{
    static const fl_operator_type type = {.name = "recurrent",
                                          .shape = shape,
                                          .pack = pack,
                                          .bytes = bytes,
                                          .run = run,
                                          .free = free_recurrent};
    recurrent *y = fl_alloc(sizeof *y);
    fl_net *net = y ? fl_net_new(config, kernels) : NULL;
    if (!net) {
        fl_free(y);
        return NULL;
    }
    *y = (recurrent){.op = {&type}, .net = net};
    return &y->op;
}
