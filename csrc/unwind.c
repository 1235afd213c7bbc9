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
#include <string.h>

#include "backward.h"

/* n floats of the gradient of a layer's output row (t, r), direction dir's part, to dh. */
static void owed(const fl_back_job *b, size_t layer, size_t dir, size_t t, size_t r, float *dh)
{
    const fl_net *net = b->j.net;
    const fl_tape *k = b->tape;
    const size_t n = net->width, first = dir * n;
    if (layer + 1 == net->config.layers) {
        if (b->call->dy)
            memcpy(dh,
                   b->call->dy + (ptrdiff_t)t * b->call->dy_t +
                       (ptrdiff_t)k->order[r] * b->call->dy_b + first,
                   n * sizeof(float));
        else
            memset(dh, 0, n * sizeof(float));
        return;
    }
    const fl_delta *above = b->delta[(layer + 1) % 2];
    const size_t at = (t * k->batch + r) * above[0].down_row + first;
    if (net->config.dirs == 2)
        for (size_t i = 0; i < n; i++)
            dh[i] = above[0].down[at + i] + above[1].down[at + i];
    else
        memcpy(dh, above[0].down + at, n * sizeof(float));
    if (k->dropout > 0)
        fl_drop(k, dh, dh, n, layer, t, k->order[r], first);
}

/* dh += dz R for rows whose dz towards h are at dz_rows; of cells that reset h, not the last
 * gate's. */
static int through_state(fl_back_job *b, fl_bench *bench, const fl_turned_layer *y, size_t rows,
                         const float *dz_rows, size_t step)
{
    const fl_net *net = b->j.net;
    const size_t kk = net->panels * net->group, pad = fl_plain_pad(net, net->width);
    for (size_t r = 0; r < rows; r++)
        bench->a[r] = dz_rows + r * kk;
    fl_gemm g = {.rows = rows,
                 .vectors = FL_NV,
                 .panels = pad / net->plain,
                 .k = y->last ? kk - net->unit_panels * net->group : kk,
                 .a = bench->a,
                 .a_step = 1,
                 .panel = y->r,
                 .c = bench->dh,
                 .c_panel = net->plain,
                 .c_row = pad,
                 .down = (int)(step & 1),
                 .add = FL_ONTO};
    return rows ? fl_run_gemm(&b->j, &bench->desk, g) : FL_OK;
}

/* The gradient before the projection, dh W_hr, and what fl_product needs of it. */
static int through_projection(fl_back_job *b, fl_bench *bench, const fl_turned_layer *y,
                              fl_delta *delta, size_t rows, size_t n)
{
    const fl_net *net = b->j.net;
    const size_t pad = fl_plain_pad(net, net->width), full = fl_plain_pad(net, net->config.hidden);
    for (size_t r = 0; r < rows; r++) {
        bench->a[r] = bench->dh + r * pad;
        memcpy(delta->dh + (n + r) * net->width, bench->a[r], net->width * sizeof(float));
    }
    fl_gemm g = {.rows = rows,
                 .vectors = FL_NV,
                 .panels = full / net->plain,
                 .k = net->width,
                 .a = bench->a,
                 .a_step = 1,
                 .panel = y->proj,
                 .c = bench->dh_full,
                 .c_panel = net->plain,
                 .c_row = full};
    return fl_run_gemm(&b->j, &bench->desk, g);
}

/* The gradient of r h, dz R of the last gate, and what follows from it. */
static int through_reset(fl_back_job *b, fl_bench *bench, const fl_turned_layer *y, fl_back *s)
{
    const fl_net *net = b->j.net;
    const size_t own = net->unit_panels * net->group, pad = fl_plain_pad(net, net->width);
    for (size_t r = 0; r < s->rows; r++)
        bench->a[r] = s->dz_rows + (r + 1) * s->dz_row - own;
    fl_gemm g = {.rows = s->rows,
                 .vectors = FL_NV,
                 .panels = pad / net->plain,
                 .k = own,
                 .a = bench->a,
                 .a_step = 1,
                 .panel = y->last,
                 .c = bench->dh_full,
                 .c_panel = net->plain,
                 .c_row = pad};
    int e = fl_run_gemm(&b->j, &bench->desk, g);
    s->dh = bench->dh_full;
    s->dh_row = pad;
    net->cell->back_reset(s);
    return e;
}

/* dx = dz W for the rows of steps s1 - 1 .. s0, in that order at dz_rows. */
static int through_input(fl_back_job *b, fl_bench *bench, size_t layer, size_t dir, size_t first,
                         size_t rows0, size_t s0, size_t s1, const float *dz_rows)
{
    const fl_net *net = b->j.net;
    const fl_tape *k = b->tape;
    const size_t in = fl_layer_in(net, layer), pad = fl_plain_pad(net, in);
    const size_t kk = net->panels * net->group;
    const fl_delta *delta = &b->delta[layer % 2][dir];
    const int direct = layer == 0 && net->config.dirs == 1;
    size_t n = 0;
    if (layer == 0 && !b->call->dx)
        return FL_OK;
    for (size_t s = s1; s-- > s0;)
        for (size_t r = 0; r < rows0 && k->length[first + r] > s; r++, n++)
            bench->a[n] = dz_rows + n * kk;
    fl_gemm g = {.rows = n,
                 .vectors = FL_NV,
                 .panels = pad / net->plain,
                 .k = kk,
                 .a = bench->a,
                 .a_step = 1,
                 .panel = b->turned->layer[layer * net->config.dirs + dir].w,
                 .c = bench->dx,
                 .c_panel = net->plain,
                 .c_row = pad};
    int e = fl_run_gemm(&b->j, &bench->desk, g);
    n = 0;
    for (size_t s = s1; s-- > s0;)
        for (size_t r = 0; r < rows0 && k->length[first + r] > s; r++, n++) {
            const size_t row = first + r, t = fl_tape_time(k, dir, s, row);
            float *to = direct ? b->call->dx + (ptrdiff_t)t * b->call->dx_t +
                                     (ptrdiff_t)k->order[row] * b->call->dx_b
                               : delta->down + (t * k->batch + row) * delta->down_row;
            memcpy(to, bench->dx + n * pad, in * sizeof(float));
        }
    return e;
}

int fl_unwind(fl_back_job *b, fl_bench *bench, size_t layer, size_t dir, size_t first, size_t rows)
{
    const fl_net *net = b->j.net;
    const fl_back_call *call = b->call;
    const fl_tape *k = b->tape;
    const size_t lane = layer * net->config.dirs + dir, width = net->width,
                 hidden = net->config.hidden;
    const size_t kk = net->panels * net->group, pad = fl_plain_pad(net, width),
                 full = fl_plain_pad(net, hidden);
    const size_t *length = k->length + first;
    const fl_turned_layer *y = &b->turned->layer[lane];
    fl_delta *delta = &b->delta[layer % 2][dir];
    const size_t chunk_steps = b->chunk_rows / rows;
    const float *after = bench->dzh_rows; /* dz of the step after, for `live` rows */
    const int has_c = net->cell->has_c;
    size_t live = 0, half = 0;
    int e = FL_OK;

    memset(bench->dc, 0, rows * k->hidden_pad * sizeof(float));
    memset(bench->dh, 0, rows * pad * sizeof(float)); /* the padding stays 0 */
    for (size_t r = 0; r < rows && has_c && call->dcn; r++)
        memcpy(bench->dc + r * k->hidden_pad,
               call->dcn + (lane * k->batch + k->order[first + r]) * hidden,
               hidden * sizeof(float));

    for (size_t s1 = length[0], s0; s1 && e == FL_OK; s1 = s0, half ^= 1) {
        s0 = s1 > chunk_steps ? s1 - chunk_steps : 0;
        size_t next = half * b->chunk_rows * kk;
        const float *const chunk = bench->dz_rows + next;
        for (size_t s = s1; s-- > s0 && e == FL_OK;) {
            const size_t ended = live, n = k->offset[s] + first;
            while (live < rows && length[live] > s)
                live++;
            for (size_t r = 0; r < live; r++)
                owed(b, layer, dir, fl_tape_time(k, dir, s, first + r), first + r,
                     bench->dh + r * pad);
            for (size_t r = ended; r < live && call->dhn; r++) {
                const float *dhn = call->dhn + (lane * k->batch + k->order[first + r]) * width;
                for (size_t i = 0; i < width; i++)
                    bench->dh[r * pad + i] += dhn[i];
            }
            if (net->config.proj) /* whole panels of h: what is past the units is not written */
                memset(delta->h + ((full / net->plain - 1) * k->total + n) * net->plain, 0,
                       live * net->plain * sizeof(float));
            e = through_state(b, bench, y, ended, after, s);
            if (e == FL_OK && net->config.proj)
                e = through_projection(b, bench, y, delta, live, n);
            if (e != FL_OK)
                return e;
            for (size_t r = 0; r < live && !has_c; r++)
                for (size_t i = 0; i < 2; i++)
                    bench->h[i][r] = fl_tape_h(k, net, layer, dir, s + i, first + r);
            const size_t kept = net->cell->kept * net->kernels->lanes;
            fl_back g = {.rows = live,
                         .panels = net->unit_panels,
                         .hidden = hidden,
                         .kept = k->lane[lane].kept + n * kept,
                         .kept_panel = k->total * kept,
                         .before = bench->h[0],
                         .after = bench->h[1],
                         .c = has_c ? fl_tape_c(k, lane, s + 1) + first * k->hidden_pad : NULL,
                         .c_prev = has_c ? fl_tape_c(k, lane, s) + first * k->hidden_pad : NULL,
                         .dc = bench->dc,
                         .c_row = k->hidden_pad,
                         .dh = net->config.proj ? bench->dh_full : bench->dh,
                         .dh_row = net->config.proj ? full : pad,
                         .dz = delta->dz + n * net->group,
                         .dzh = delta->dzh + n * net->group,
                         .dz_panel = k->total * net->group,
                         .dz_rows = bench->dz_rows + next,
                         .dzh_rows = bench->dzh_rows + next,
                         .dz_row = kk,
                         .h = net->config.proj ? delta->h + n * net->plain : NULL,
                         .h_panel = k->total * net->plain,
                         .variant = &net->config.variant,
                         .act = net->config.variant.act[dir],
                         .peep = net->layer[lane].peep};
            net->cell->back(&g);
            if (net->cell->reset)
                e = through_reset(b, bench, y, &g);
            after = g.dzh_rows;
            next += live * kk;
        }
        e = through_input(b, bench, layer, dir, first, live, s0, s1, chunk);
    }
    if (e != FL_OK)
        return e;

    /* What is owed to the initial state; rows of no steps pass on what their final one is owed. */
    memset(bench->dh, 0, rows * pad * sizeof(float));
    e = call->dh0 ? through_state(b, bench, y, live, after, 1) : FL_OK;
    for (size_t r = 0; r < rows; r++) {
        const size_t at = lane * k->batch + k->order[first + r];
        float *past = bench->dc + r * k->hidden_pad;
        const float *dh = bench->dh + r * pad;
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
