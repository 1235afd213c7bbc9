/* SPDX-License-Identifier: MIT */
/*
 * Back through time, for one layer, one direction and some rows of the tape. At each step, from the
 * last to the first,
 *
 *     dh = dy + what is owed to the final state + dz' R        dz' of the step after it in time
 *     dh, dc -> dz, dc                                         elementwise: `back` in kernels.h
 *     for a cell that resets h:  d(r h) = dz R_last -> dz, dc  the first gate: `back_reset`
 *
 * and for a chunk of steps at once  dx = dz W.
 */
#include "training/through_time.h"

#include <string.h>

#include "kernels/run.h"

/* n floats of the gradient of a layer's output row (t, r), direction dir's part, to dh. */
static void upstream(const fl_backward_job *job, size_t layer, size_t dir, size_t t, size_t r,
                     float *dh)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const size_t n = net->width, first = dir * n;
    if (layer + 1 == net->config.layers) {
        if (job->call->dy)
            memcpy(dh,
                   job->call->dy + (ptrdiff_t)t * job->call->dy_t +
                       (ptrdiff_t)tape->order[r] * job->call->dy_b + first,
                   n * sizeof(float));
        else
            memset(dh, 0, n * sizeof(float));
        return;
    }
    const fl_delta *above = job->delta[(layer + 1) % 2];
    const size_t at = (t * tape->batch + r) * above[0].dx_row + first;
    if (net->config.dirs == 2)
        for (size_t i = 0; i < n; i++)
            dh[i] = above[0].dx[at + i] + above[1].dx[at + i];
    else
        memcpy(dh, above[0].dx + at, n * sizeof(float));
    if (tape->dropout > 0)
        fl_tape_dropout(tape, dh, dh, n, layer, t, tape->order[r], first);
}

/* dh += dz R for rows whose dz towards h are at dz_rows; of cells that reset h, not the last
 * gate's. */
static int through_state(fl_backward_job *job, fl_backward_scratch *scratch,
                         const fl_backward_track *y, size_t rows, const float *dz_rows, size_t step)
{
    const fl_net *net = job->net;
    const size_t kk = net->panels * net->group, pad = fl_plain_pad(net, net->width);
    for (size_t r = 0; r < rows; r++)
        scratch->a[r] = dz_rows + r * kk;
    fl_gemm g = {.rows = rows,
                 .vectors = FL_NV,
                 .panels = pad / net->plain_group,
                 .k = y->last.data ? kk - net->unit_panels * net->group : kk,
                 .a = scratch->a,
                 .a_step = 1,
                 .panel = y->r.data,
                 .panel_bytes = y->r.panel_bytes,
                 .c = scratch->dh,
                 .c_panel = net->plain_group,
                 .c_row = pad,
                 .descending = (int)(step & 1),
                 .add = FL_ONTO};
    return rows ? fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, g) : FL_OK;
}

/* The gradient before the projection, dh W_hr, and what fl_weight_gradients needs of it. */
static int through_projection(fl_backward_job *job, fl_backward_scratch *scratch,
                              const fl_backward_track *y, fl_delta *delta, size_t rows, size_t n)
{
    const fl_net *net = job->net;
    const size_t pad = fl_plain_pad(net, net->width), full = fl_plain_pad(net, net->config.hidden);
    for (size_t r = 0; r < rows; r++) {
        scratch->a[r] = scratch->dh + r * pad;
        memcpy(delta->dh + (n + r) * net->width, scratch->a[r], net->width * sizeof(float));
    }
    fl_gemm g = {.rows = rows,
                 .vectors = FL_NV,
                 .panels = full / net->plain_group,
                 .k = net->width,
                 .a = scratch->a,
                 .a_step = 1,
                 .panel = y->proj.data,
                 .panel_bytes = y->proj.panel_bytes,
                 .c = scratch->dh_full,
                 .c_panel = net->plain_group,
                 .c_row = full};
    return fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, g);
}

/* The gradient of r h, dz R of the last gate, and what follows from it. */
static int through_reset(fl_backward_job *job, fl_backward_scratch *scratch,
                         const fl_backward_track *y, fl_back *s)
{
    const fl_net *net = job->net;
    const size_t own = net->unit_panels * net->group, pad = fl_plain_pad(net, net->width);
    for (size_t r = 0; r < s->rows; r++)
        scratch->a[r] = s->dz_rows + (r + 1) * s->dz_row - own;
    fl_gemm g = {.rows = s->rows,
                 .vectors = FL_NV,
                 .panels = pad / net->plain_group,
                 .k = own,
                 .a = scratch->a,
                 .a_step = 1,
                 .panel = y->last.data,
                 .panel_bytes = y->last.panel_bytes,
                 .c = scratch->dh_full,
                 .c_panel = net->plain_group,
                 .c_row = pad};
    int e = fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, g);
    s->dh = scratch->dh_full;
    s->dh_row = pad;
    net->cell->back_reset(s);
    return e;
}

/* dx = dz W for the rows of steps s1 - 1 .. s0, in that order at dz_rows. */
static int through_input(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                         size_t dir, size_t first, size_t rows0, size_t s0, size_t s1,
                         const float *dz_rows)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const size_t in = fl_layer_in(net, layer), pad = fl_plain_pad(net, in);
    const size_t kk = net->panels * net->group;
    const fl_delta *delta = &job->delta[layer % 2][dir];
    const int direct = layer == 0 && net->config.dirs == 1;
    const fl_panels *w = &job->weights->track[layer * net->config.dirs + dir].w;
    size_t n = 0;
    if (layer == 0 && !job->call->dx)
        return FL_OK;
    for (size_t s = s1; s-- > s0;)
        for (size_t r = 0; r < rows0 && tape->length[first + r] > s; r++, n++)
            scratch->a[n] = dz_rows + n * kk;
    fl_gemm g = {.rows = n,
                 .vectors = FL_NV,
                 .panels = pad / net->plain_group,
                 .k = kk,
                 .a = scratch->a,
                 .a_step = 1,
                 .panel = w->data,
                 .panel_bytes = w->panel_bytes,
                 .c = scratch->dx,
                 .c_panel = net->plain_group,
                 .c_row = pad};
    int e = fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, g);
    n = 0;
    for (size_t s = s1; s-- > s0;)
        for (size_t r = 0; r < rows0 && tape->length[first + r] > s; r++, n++) {
            const size_t row = first + r, t = fl_tape_time(tape, dir, s, row);
            float *to = direct ? job->call->dx + (ptrdiff_t)t * job->call->dx_t +
                                     (ptrdiff_t)tape->order[row] * job->call->dx_b
                               : delta->dx + (t * tape->batch + row) * delta->dx_row;
            memcpy(to, scratch->dx + n * pad, in * sizeof(float));
        }
    return e;
}

int fl_through_time(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer, size_t dir,
                    size_t first, size_t rows)
{
    const fl_net *net = job->net;
    const fl_back_call *call = job->call;
    const fl_tape *tape = job->tape;
    const size_t track = layer * net->config.dirs + dir, width = net->width,
                 hidden = net->config.hidden;
    const size_t kk = net->panels * net->group, pad = fl_plain_pad(net, width),
                 full = fl_plain_pad(net, hidden);
    const size_t *length = tape->length + first;
    const fl_backward_track *y = &job->weights->track[track];
    fl_delta *delta = &job->delta[layer % 2][dir];
    const size_t chunk_steps = job->chunk_rows / rows;
    const float *after = scratch->dzh_rows; /* dz of the step after, for `live` rows */
    const int has_c = net->cell->has_c;
    size_t live = 0, half = 0;
    int e = FL_OK;

    memset(scratch->dc, 0, rows * tape->hidden_pad * sizeof(float));
    memset(scratch->dh, 0, rows * pad * sizeof(float)); /* the padding stays 0 */
    for (size_t r = 0; r < rows && has_c && call->dcn; r++)
        memcpy(scratch->dc + r * tape->hidden_pad,
               call->dcn + (track * tape->batch + tape->order[first + r]) * hidden,
               hidden * sizeof(float));

    for (size_t s1 = length[0], s0; s1 && e == FL_OK; s1 = s0, half ^= 1) {
        s0 = s1 > chunk_steps ? s1 - chunk_steps : 0;
        size_t next = half * job->chunk_rows * kk;
        const float *const chunk = scratch->dz_rows + next;
        for (size_t s = s1; s-- > s0 && e == FL_OK;) {
            const size_t ended = live, n = tape->offset[s] + first;
            while (live < rows && length[live] > s)
                live++;
            for (size_t r = 0; r < live; r++)
                upstream(job, layer, dir, fl_tape_time(tape, dir, s, first + r), first + r,
                         scratch->dh + r * pad);
            for (size_t r = ended; r < live && call->dhn; r++) {
                const float *dhn =
                    call->dhn + (track * tape->batch + tape->order[first + r]) * width;
                for (size_t i = 0; i < width; i++)
                    scratch->dh[r * pad + i] += dhn[i];
            }
            if (net->config.proj) /* whole panels of h: what is past the units is not written */
                memset(delta->h +
                           ((full / net->plain_group - 1) * tape->total + n) * net->plain_group,
                       0, live * net->plain_group * sizeof(float));
            e = through_state(job, scratch, y, ended, after, s);
            if (e == FL_OK && net->config.proj)
                e = through_projection(job, scratch, y, delta, live, n);
            if (e != FL_OK)
                return e;
            for (size_t r = 0; r < live && !has_c; r++)
                for (size_t i = 0; i < 2; i++)
                    scratch->h[i][r] = fl_tape_h(tape, net, layer, dir, s + i, first + r);
            const size_t kept = net->cell->kept * net->kernels->lanes;
            fl_back g = {
                .rows = live,
                .panels = net->unit_panels,
                .hidden = hidden,
                .kept = tape->track[track].kept + n * kept,
                .kept_panel = tape->total * kept,
                .before = scratch->h[0],
                .after = scratch->h[1],
                .c = has_c ? fl_tape_c(tape, track, s + 1) + first * tape->hidden_pad : NULL,
                .c_prev = has_c ? fl_tape_c(tape, track, s) + first * tape->hidden_pad : NULL,
                .dc = scratch->dc,
                .c_row = tape->hidden_pad,
                .dh = net->config.proj ? scratch->dh_full : scratch->dh,
                .dh_row = net->config.proj ? full : pad,
                .dz = delta->dz + n * net->group,
                .dzh = delta->dzh + n * net->group,
                .dz_panel = tape->total * net->group,
                .dz_rows = scratch->dz_rows + next,
                .dzh_rows = scratch->dzh_rows + next,
                .dz_row = kk,
                .h = net->config.proj ? delta->h + n * net->plain_group : NULL,
                .h_panel = tape->total * net->plain_group,
                .variant = &net->config.variant,
                .activation = net->config.variant.activation[dir],
                .peep = net->track[track].peep};
            net->cell->back(&g);
            if (net->cell->reset)
                e = through_reset(job, scratch, y, &g);
            after = g.dzh_rows;
            next += live * kk;
        }
        e = through_input(job, scratch, layer, dir, first, live, s0, s1, chunk);
    }
    if (e != FL_OK)
        return e;

    /* What is owed to the initial state; rows of no steps pass on what their final one is owed. */
    memset(scratch->dh, 0, rows * pad * sizeof(float));
    e = call->dh0 ? through_state(job, scratch, y, live, after, 1) : FL_OK;
    for (size_t r = 0; r < rows; r++) {
        const size_t at = track * tape->batch + tape->order[first + r];
        float *past = scratch->dc + r * tape->hidden_pad;
        const float *dh = scratch->dh + r * pad;
        if (!has_c) /* what is owed past the products */
            for (size_t i = 0; i < width; i++)
                past[i] += dh[i];
        if (!has_c)
            dh = past;
        if (r >= live && call->dhn)
            dh = call->dhn + at * width;
        if (call->dh0)
            memcpy(call->dh0 + at * width, dh, width * sizeof(float));
        if (has_c && call->dc0)
            memcpy(call->dc0 + at * hidden, past, hidden * sizeof(float));
    }
    return e;
}
