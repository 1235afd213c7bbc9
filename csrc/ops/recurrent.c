/* SPDX-License-Identifier: MIT */
#include "ops/recurrent.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "network/network.h"

enum { MOST_INS = 4, MOST_OUTS = 3 }; /* x, lengths, h0, c0 and y, hn, cn */

typedef struct recurrent {
    fl_operator op;
    fl_net *net;
    atomic_int descending; /* fl_call's, for the next run: only a hint */
} recurrent;

/* The array of h0 and hn, or of c0 and cn: `width` is K or H. */
static fl_array state_of(const fl_net *net, size_t batch, size_t width)
{
    return (fl_array){.type = FL_F32, .shape = {.axes = 3, .size = {net->tracks, batch, width}}};
}

static int given(const fl_array *array) { return array->type != FL_TYPES; }

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    const fl_net *net = ((const recurrent *)op)->net;
    const fl_config *f = &net->config;
    const size_t states = net->cell->has_c ? 2 : 1;
    if (ins < 1 || ins > 2 + states || outs < 1 || outs > 1 + states || in->type != FL_F32 ||
        in->shape.axes != 3 || in->shape.size[2] != f->input)
        return FL_BAD_SHAPE;
    const size_t steps = in->shape.size[0], batch = in->shape.size[1];
    const fl_array state[] = {state_of(net, batch, net->width), state_of(net, batch, f->hidden)};
    if (ins > 1 && given(&in[1]) && !fl_array_is(&in[1], FL_I64, 1, &batch))
        return FL_BAD_SHAPE;
    for (size_t i = 2; i < ins; i++)
        if (given(&in[i]) && !fl_array_is(&in[i], FL_F32, 3, state[i - 2].shape.size))
            return FL_BAD_SHAPE;
    out[0].type = FL_F32;
    out[0].shape = (fl_shape){.axes = 3, .size = {steps, batch, f->dirs * net->width}};
    for (size_t i = 1; i < outs; i++) {
        out[i].type = FL_F32;
        out[i].shape = state[i - 1].shape;
    }
    for (size_t i = 0; i < outs; i++)
        if (fl_array_bytes(&out[i]) == SIZE_MAX)
            return FL_BAD_SHAPE;
    return FL_OK;
}

/* Does a weight have these sizes, one axis if columns is 0, and memory unless it may be missing? */
static int fits(const fl_array *w, size_t rows, size_t columns, int may_be_missing)
{
    const size_t sizes[] = {rows, columns};
    return w->at ? fl_array_is(w, FL_F32, columns ? 2 : 1, sizes) : may_be_missing;
}

static int pack(fl_operator *op, const fl_array *weights, size_t count)
{
    fl_net *net = ((recurrent *)op)->net;
    const fl_config *f = &net->config;
    const size_t hidden = f->hidden, rows = net->cell->gates * hidden;
    const size_t proj = f->proj != 0, peep = f->variant.differs && f->variant.peepholes;
    const size_t each = 4 + proj + peep;
    if (f->format == FL_INT8 || count != net->tracks * each) /* codes are not given here */
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

/* Without a step the final state is the initial one. */
static int no_steps(const fl_array *in, size_t ins, const fl_array *out, size_t outs)
{
    for (size_t i = 1; i < outs; i++) {
        if (!out[i].at)
            continue;
        if (ins > i + 1 && in[i + 1].at)
            memcpy(out[i].at, in[i + 1].at, fl_array_bytes(&out[i]));
        else
            memset(out[i].at, 0, fl_array_bytes(&out[i]));
    }
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    recurrent *layer = (recurrent *)(uintptr_t)op; /* not const, for `descending` */
    const size_t steps = in->shape.size[0], batch = in->shape.size[1], x_row = in->shape.size[2];
    const size_t y_row = out->shape.size[2];
    const int64_t *lengths = ins > 1 ? in[1].at : NULL;
    (void)arena;
    for (size_t b = 0; lengths && b < batch; b++)
        if (lengths[b] < 0 || (uint64_t)lengths[b] > steps)
            return FL_BAD_VALUE;
    if (steps == 0 || batch == 0)
        return no_steps(in, ins, out, outs);
    const fl_call call = {
        .steps = steps,
        .batch = batch,
        .x = in[0].at,
        .x_t = (ptrdiff_t)(batch * x_row),
        .x_b = (ptrdiff_t)x_row,
        .y = out[0].at,
        .y_t = (ptrdiff_t)(batch * y_row),
        .y_b = (ptrdiff_t)y_row,
        .lengths = lengths,
        .h0 = ins > 2 ? in[2].at : NULL,
        .c0 = ins > 3 ? in[3].at : NULL,
        .hn = outs > 1 ? out[1].at : NULL,
        .cn = outs > 2 ? out[2].at : NULL,
        .descending = atomic_fetch_xor_explicit(&layer->descending, 1, memory_order_relaxed),
        .threads = caller->threads,
        .poll = caller->poll,
        .poll_arg = caller->poll_arg};
    return fl_forward(layer->net, &call);
}

static void free_recurrent(fl_operator *op)
{
    fl_net_free(((recurrent *)op)->net);
    fl_free(op);
}

/* The operator of a network, which becomes the operator's; NULL, and the network is freed, when
   memory is short. */
static fl_operator *made_of(fl_net *net)
{
    static const fl_operator_type type = {
        .name = "recurrent", .pack = pack, .shape = shape, .run = run, .free = free_recurrent};
    recurrent *layer = net ? fl_alloc(sizeof *layer) : NULL;
    if (!layer) {
        fl_net_free(net);
        return NULL;
    }
    layer->op.type = &type;
    layer->net = net;
    atomic_init(&layer->descending, 0);
    return &layer->op;
}

fl_operator *fl_recurrent_new(const fl_config *config, const fl_kernels *kernels)
{
    return made_of(fl_net_new(config, kernels));
}

fl_operator *fl_recurrent_of(fl_net *net)
{
    fl_net_hold(net);
    return made_of(net);
}
