/* SPDX-License-Identifier: MIT */
/*
 * Back through time, for one layer in one direction and some rows of the tape. At each step, from
 * the last one to the first,
 *
 *     dh = dy + dhn (at a row's last step) + dz' R     dz' belongs to the step after this one
 *     dh, dc -> dz, dc                                 elementwise: `back` in kernels/contract.h
 *     for a cell that resets h: d(r h) = dz R_last, from which `back_reset` makes the first gate's
 *     dz and adds to dc
 *
 * and for a chunk of steps at once  dx = dz W. The rows are longest first, so the rows that a step
 * has are the first few, and going back in time rows only join.
 */
#include "training/through_time.h"

#include <string.h>

#include "training/gradient_product.h"

/* Writes to dh [K] the gradient of direction dir's part of a layer's output at time t, row r of the
   tape: the caller's dy for the top layer, the dx of the layer above for the others. */
static void output_gradient(const fl_backward_job *job, size_t layer, size_t dir, size_t t,
                            size_t r, float *dh)
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

/* dh += dz R for the first `rows` rows. dz_rows [rows][gate columns] holds the gradients towards h;
   for a cell that resets h all gates but the last one are summed. */
static int add_state_gradient(fl_backward_job *job, fl_backward_scratch *scratch,
                              const fl_backward_track *weights, size_t rows, const float *dz_rows,
                              size_t step)
{
    const fl_net *net = job->net;
    const size_t gate_columns = fl_gate_columns(net), pad = fl_plain_pad(net, net->width);
    for (size_t r = 0; r < rows; r++)
        scratch->a[r] = dz_rows + r * gate_columns;
    fl_gemm g = {.rows = rows,
                 .k = gate_columns - (weights->last.data ? fl_last_gate_columns(net) : 0),
                 .a = scratch->a,
                 .c = scratch->dh,
                 .c_row = pad,
                 .descending = (int)(step & 1),
                 .add = FL_ONTO};
    return fl_gradient_product(job, scratch, &weights->r, g);
}

/* dh_full = dh W_hr: the gradient of h before the projection. dh itself is copied to delta->dh,
   from row n on, where the gradient of W_hr is made of it. */
static int project_gradient(fl_backward_job *job, fl_backward_scratch *scratch,
                            const fl_backward_track *weights, fl_delta *delta, size_t rows,
                            size_t n)
{
    const fl_net *net = job->net;
    const size_t pad = fl_plain_pad(net, net->width), full = fl_plain_pad(net, net->config.hidden);
    for (size_t r = 0; r < rows; r++) {
        scratch->a[r] = scratch->dh + r * pad;
        memcpy(delta->dh + (n + r) * net->width, scratch->a[r], net->width * sizeof(float));
    }
    fl_gemm g = {
        .rows = rows, .k = net->width, .a = scratch->a, .c = scratch->dh_full, .c_row = full};
    return fl_gradient_product(job, scratch, &weights->proj, g);
}

/* For a cell that resets h, after `back`, whose rows of dz are at dz_rows: dh_full = dz R of the
   last gate, which is the gradient of r h, and then `back_reset`. */
static int reset_gradient(fl_backward_job *job, fl_backward_scratch *scratch,
                          const fl_backward_track *weights, fl_back *s, const float *dz_rows)
{
    const fl_net *net = job->net;
    const size_t columns = fl_gate_columns(net), last = fl_last_gate_columns(net);
    const size_t pad = fl_plain_pad(net, net->width);
    for (size_t r = 0; r < s->rows; r++)
        scratch->a[r] = dz_rows + (r + 1) * columns - last;
    fl_gemm g = {.rows = s->rows, .k = last, .a = scratch->a, .c = scratch->dh_full, .c_row = pad};
    const int e = fl_gradient_product(job, scratch, &weights->last, g);
    s->dh = scratch->dh_full;
    s->dh_row = pad;
    net->cell->back_reset(s);
    return e;
}

/* dx = dz W for steps s0 .. s1 - 1 of a chunk. dz_rows holds their rows in the order in which they
   were made, from step s1 - 1 down to s0. dx goes to the caller's array if the layer is the lowest
   and has one direction, otherwise to the layer's fl_delta. */
static int input_gradient(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                          size_t dir, size_t first, size_t rows0, size_t s0, size_t s1,
                          const float *dz_rows)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const size_t in = fl_layer_in(net, layer), pad = fl_plain_pad(net, in);
    const size_t gate_columns = fl_gate_columns(net);
    const fl_delta *delta = &job->delta[layer % 2][dir];
    const int direct = layer == 0 && net->config.dirs == 1;
    const fl_panels *w = &job->weights->track[layer * net->config.dirs + dir].w;
    size_t n = 0;
    if (layer == 0 && !job->call->dx)
        return FL_OK;
    for (size_t s = s1; s-- > s0;)
        for (size_t r = 0; r < rows0 && tape->length[first + r] > s; r++, n++)
            scratch->a[n] = dz_rows + n * gate_columns;
    fl_gemm g = {.rows = n, .k = gate_columns, .a = scratch->a, .c = scratch->dx, .c_row = pad};
    const int e = fl_gradient_product(job, scratch, w, g);
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

/* What the steps of one call of fl_through_time have in common. */
typedef struct fl_pass {
    fl_backward_job *job;
    fl_backward_scratch *scratch;
    const fl_backward_track *weights;
    fl_delta *delta;
    size_t layer, dir, track;
    size_t first, rows; /* rows first .. first + rows - 1 of the tape */
    size_t running;     /* so many of them have the step that was last worked on */
} fl_pass;

/* Row `first + r` of one track in an array of the caller's, [L D][B][width]. */
static size_t state_row(const fl_pass *pass, size_t r)
{
    const fl_tape *tape = pass->job->tape;
    return pass->track * tape->batch + tape->order[pass->first + r];
}

/* dh of step s, for all rows that have it. `after` is dz of the step after, towards h, for the rows
   that have that step too. FL_OK or FL_INTERRUPTED. */
static int gather_dh(fl_pass *pass, size_t s, const float *after)
{
    fl_backward_job *job = pass->job;
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const float *dhn = job->call->dhn;
    float *dh = pass->scratch->dh;
    const size_t width = net->width, pad = fl_plain_pad(net, width), had_next = pass->running;
    while (pass->running < pass->rows && tape->length[pass->first + pass->running] > s)
        pass->running++;
    for (size_t r = 0; r < pass->running; r++) {
        const size_t row = pass->first + r;
        output_gradient(job, pass->layer, pass->dir, fl_tape_time(tape, pass->dir, s, row), row,
                        dh + r * pad);
    }
    for (size_t r = had_next; r < pass->running && dhn; r++)
        for (size_t i = 0; i < width; i++)
            dh[r * pad + i] += dhn[state_row(pass, r) * width + i];
    return add_state_gradient(job, pass->scratch, pass->weights, had_next, after, s);
}

/* Clears the last whole panel of delta->h for the rows of a step, since `back` writes the units
   only, and makes dh_full. FL_OK or FL_INTERRUPTED. */
static int before_projection(fl_pass *pass, size_t n)
{
    const fl_net *net = pass->job->net;
    const size_t group = net->plain_group;
    const size_t last = fl_plain_pad(net, net->config.hidden) / group - 1;
    memset(pass->delta->h + (last * pass->job->tape->total + n) * group, 0,
           pass->running * group * sizeof(float));
    return project_gradient(pass->job, pass->scratch, pass->weights, pass->delta, pass->running, n);
}

/* Copies what `back` has written of a step to its rows, where their order is another one. */
static void order_step(const fl_pass *pass, const fl_back *g, float *dz, float *dzh)
{
    const fl_net *net = pass->job->net;
    if (!fl_by_parts(net))
        return;
    fl_order_gates(net, dz, g->dz_rows, g->rows);
    if (fl_has_dzh(net))
        fl_order_gates(net, dzh, g->dzh_rows, g->rows);
}

/* Step s, whose rows have the numbers n .. on the tape: dz and dc of dh. `at` is where the step's
   rows begin in dz_rows. FL_OK or FL_INTERRUPTED. */
static int step_back(fl_pass *pass, size_t s, size_t n, size_t at)
{
    fl_backward_job *job = pass->job;
    fl_backward_scratch *scratch = pass->scratch;
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const fl_delta *delta = pass->delta;
    const size_t kept = net->cell->kept * net->kernels->lanes, first = pass->first;
    const int has_c = net->cell->has_c, has_proj = net->config.proj != 0;
    for (size_t r = 0; r < pass->running && !has_c; r++)
        for (size_t i = 0; i < 2; i++)
            scratch->h[i][r] = fl_tape_h(tape, net, pass->layer, pass->dir, s + i, first + r);
    float *const dz = scratch->dz_rows + at, *const dzh = scratch->dzh_rows + at;
    const int by_parts = fl_by_parts(net);
    const size_t step = job->rows_max * net->panels * net->group;
    fl_back g = {.rows = pass->running,
                 .panels = net->unit_panels,
                 .hidden = net->config.hidden,
                 .kept = tape->track[pass->track].kept + n * kept,
                 .kept_panel = tape->total * kept,
                 .before = scratch->h[0],
                 .after = scratch->h[1],
                 .c = has_c ? fl_tape_c(tape, pass->track, s + 1) + first * tape->hidden_pad : NULL,
                 .c_prev =
                     has_c ? fl_tape_c(tape, pass->track, s) + first * tape->hidden_pad : NULL,
                 .dc = scratch->dc,
                 .c_row = tape->hidden_pad,
                 .dh = has_proj ? scratch->dh_full : scratch->dh,
                 .dh_row = fl_plain_pad(net, has_proj ? net->config.hidden : net->width),
                 .dz = delta->dz + n * net->group,
                 .dzh = delta->dzh + n * net->group,
                 .dz_panel = tape->total * net->group,
                 .dz_rows = by_parts ? scratch->step_rows : dz,
                 .dzh_rows = by_parts ? scratch->step_rows + step : dzh,
                 .dz_row = net->panels * net->group,
                 .h = has_proj ? delta->h + n * net->plain_group : NULL,
                 .h_panel = tape->total * net->plain_group,
                 .variant = &net->config.variant,
                 .activation = net->config.variant.activation[pass->dir],
                 .peep = net->track[pass->track].peep};
    net->cell->back(&g);
    order_step(pass, &g, dz, dzh);
    if (!net->cell->reset)
        return FL_OK;
    const int e = reset_gradient(job, scratch, pass->weights, &g, dz);
    order_step(pass, &g, dz, dzh);
    return e;
}

/* The gradients of the initial states, after the first step, whose dz towards h is `after`. A row
   of no steps passes on the gradient of its final state. FL_OK or FL_INTERRUPTED. */
static int initial_state_gradient(fl_pass *pass, const float *after)
{
    fl_backward_job *job = pass->job;
    fl_backward_scratch *scratch = pass->scratch;
    const fl_net *net = job->net;
    const fl_backward_call *call = job->call;
    const size_t width = net->width, hidden = net->config.hidden, pad = fl_plain_pad(net, width);
    const int has_c = net->cell->has_c;
    memset(scratch->dh, 0, pass->rows * pad * sizeof(float));
    const int e = call->dh0
                      ? add_state_gradient(job, scratch, pass->weights, pass->running, after, 1)
                      : FL_OK;
    for (size_t r = 0; r < pass->rows; r++) {
        float *dc = scratch->dc + r * job->tape->hidden_pad;
        const float *dh = scratch->dh + r * pad;
        if (!has_c) { /* dc holds the part of dh that passes no product */
            for (size_t i = 0; i < width; i++)
                dc[i] += dh[i];
            dh = dc;
        }
        if (r >= pass->running && call->dhn)
            dh = call->dhn + state_row(pass, r) * width;
        if (call->dh0)
            memcpy(call->dh0 + state_row(pass, r) * width, dh, width * sizeof(float));
        if (has_c && call->dc0)
            memcpy(call->dc0 + state_row(pass, r) * hidden, dc, hidden * sizeof(float));
    }
    return e;
}

int fl_through_time(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer, size_t dir,
                    size_t first, size_t rows)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const size_t hidden = net->config.hidden, track = layer * net->config.dirs + dir;
    const size_t chunk_steps = job->chunk_rows / rows, gate_columns = fl_gate_columns(net);
    const float *dcn = job->call->dcn;
    const float *after = scratch->dzh_rows;
    fl_pass pass = {.job = job,
                    .scratch = scratch,
                    .weights = &job->weights->track[track],
                    .delta = &job->delta[layer % 2][dir],
                    .layer = layer,
                    .dir = dir,
                    .track = track,
                    .first = first,
                    .rows = rows};
    memset(scratch->dc, 0, rows * tape->hidden_pad * sizeof(float));
    memset(scratch->dh, 0, rows * fl_plain_pad(net, net->width) * sizeof(float));
    for (size_t r = 0; r < rows && net->cell->has_c && dcn; r++)
        memcpy(scratch->dc + r * tape->hidden_pad, dcn + state_row(&pass, r) * hidden,
               hidden * sizeof(float));

    /* The chunks write to the two halves of dz_rows in turn, because a chunk's first step still
       reads dz of the last one of the chunk before. */
    size_t half = 0;
    for (size_t s1 = tape->length[first], s0; s1; s1 = s0, half ^= 1) {
        s0 = s1 > chunk_steps ? s1 - chunk_steps : 0;
        size_t at = half * job->chunk_rows * gate_columns;
        const float *const chunk = scratch->dz_rows + at;
        for (size_t s = s1; s-- > s0;) {
            const size_t n = tape->offset[s] + first;
            int e = gather_dh(&pass, s, after);
            if (e == FL_OK && net->config.proj)
                e = before_projection(&pass, n);
            if (e == FL_OK)
                e = step_back(&pass, s, n, at);
            if (e != FL_OK)
                return e;
            after = scratch->dzh_rows + at;
            at += pass.running * gate_columns;
        }
        const int e = input_gradient(job, scratch, layer, dir, first, pass.running, s0, s1, chunk);
        if (e != FL_OK)
            return e;
    }
    return initial_state_gradient(&pass, after);
}
