/* SPDX-License-Identifier: MIT */
#include "forward/split_share.h"

#include <string.h>

#include "base/compiler.h"
#include "forward/encode.h"
#include "forward/split_wait.h"
#include "kernels/run.h"

/* One share. The panels of cells that reset h hold one gate each, those of all units of a gate
   after another: a share then has some of each of these sets. Otherwise there is one set. */
typedef struct share {
    size_t sets;   /* 1 or the number of gates */
    size_t p0, p1; /* its panels of each set, counted in the set */
    size_t unit;   /* the first unit of panel p0 */
    size_t z;      /* where in scratch->z its first set begins, in panels */
} share;

/* The first panel of a share. */
static size_t first_panel(const fl_job *job, const fl_span *span, size_t number)
{
    return job->net->unit_panels * number / span->shares;
}

static share share_of(const fl_job *job, const fl_span *span, size_t number)
{
    const size_t p0 = first_panel(job, span, number);
    const size_t sets = job->net->panels / job->net->unit_panels;
    return (share){.sets = sets,
                   .p0 = p0,
                   .p1 = first_panel(job, span, number + 1),
                   .unit = p0 * job->net->panel_units,
                   .z = sets > 1 ? 0 : p0};
}

/* Points a gemm to set number g of a share: to its panels among `panels`, and to its sums. */
static void point_to_set(const fl_net *net, const fl_scratch *scratch, const fl_panels *panels,
                         const share *s, size_t g, fl_gemm *gemm)
{
    const size_t first = g * net->unit_panels + s->p0;
    gemm->panels = s->p1 - s->p0;
    gemm->panel = fl_panel(panels, first);
    gemm->panel_bytes = panels->panel_bytes;
    gemm->scales = panels->scales ? panels->scales + first * net->group : NULL;
    gemm->c = scratch->z + (s->z + g * gemm->panels) * gemm->c_panel;
}

size_t fl_share_stages(const fl_net *net) { return net->cell->reset ? 2 : 1; }

int fl_share_product(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t number)
{
    const fl_net *net = job->net;
    const fl_track_weights *weights = &net->track[span->layer];
    const share s = share_of(job, span, number);
    const size_t n = span->steps * span->rows;
    int e = FL_OK;
    for (size_t m = 0; m < n; m++)
        scratch->a[m] = span->x + m * weights->in;
    fl_gemm gemm = {.rows = n,
                    .vectors = net->cell->vectors,
                    .descending = span->descending,
                    .k = weights->in,
                    .cut = 1,
                    .a = scratch->a,
                    .a_step = 1,
                    .c_panel = n * net->group,
                    .c_row = net->group,
                    .codes = fl_encode_inputs(job, scratch, weights, span->layer, n)};
    for (size_t g = 0; g < s.sets && e == FL_OK; g++) {
        point_to_set(net, scratch, &weights->w, &s, g, &gemm);
        gemm.init = weights->bias + (g * net->unit_panels + s.p0) * net->group;
        e = fl_run_gemm(&job->context, &scratch->slot, weights->w.format, gemm);
    }
    return e;
}

/* A stage of a step of a cell that resets h: as fl_step in kernels/contract.h has it, first the
   products of h and the share's units of r h, then the product of r h and h'. */
static int reset_stage(fl_job *job, fl_scratch *scratch, const fl_span *span, const share *s,
                       size_t step, int last)
{
    const fl_net *net = job->net;
    const fl_panels *r = &net->track[span->layer].r;
    const size_t pad = job->plan.hidden_pad, k = net->width;
    const float *const *rows = scratch->h_in;
    float *rh = span->c[0];
    int e = FL_OK;
    for (size_t i = 0; i < span->rows && last; i++)
        scratch->a[i] = rh + i * pad;
    if (last)
        rows = scratch->a;
    fl_gemm gemm = {.rows = span->rows,
                    .vectors = net->cell->vectors,
                    .descending = (int)(step & 1) ^ span->descending,
                    .k = k,
                    .cut = 1,
                    .a = rows,
                    .a_step = 1,
                    .c_panel = span->steps * span->rows * net->group,
                    .c_row = net->group,
                    .add = FL_ONTO,
                    .codes = fl_encode_states(job, scratch, r, rows, span->rows, k)};
    for (size_t g = last ? s->sets - 1 : 0; g < s->sets - !last && e == FL_OK; g++) {
        point_to_set(net, scratch, r, s, g, &gemm);
        gemm.c += step * span->rows * net->group;
        e = fl_run_gemm(&job->context, &scratch->slot, r->format, gemm);
    }
    for (size_t i = 0; i < span->rows; i++) {
        scratch->h_in[i] += s->unit;
        scratch->h_out[i] += s->unit;
    }
    const fl_step args = {.rows = span->rows,
                          .p1 = s->p1 - s->p0,
                          .hidden = net->config.hidden - s->unit,
                          .z = scratch->z + step * span->rows * net->group,
                          .z_panel = gemm.c_panel,
                          .h = scratch->h_in,
                          .h_out = scratch->h_out,
                          .c = rh + s->unit,
                          .c_row = pad,
                          .variant = &net->config.variant,
                          .activation = net->config.variant.activation[0]};
    if (e == FL_OK)
        (last ? net->cell->step[r->format] : net->cell->reset)(&args);
    return e;
}

int fl_share_stage(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t number,
                   size_t stage)
{
    const fl_net *net = job->net;
    const fl_track_weights *weights = &net->track[span->layer];
    const share s = share_of(job, span, number);
    const size_t stages = fl_share_stages(net), step = stage / stages, pad = job->plan.hidden_pad;
    const size_t from = step % 2, to = 1 - from;
    HOOK(number ? "in step" : "caller in step");
    if (s.p0 == s.p1)
        return FL_OK;
    for (size_t r = 0; r < span->rows; r++) {
        const size_t u = r * pad + s.unit;
        scratch->h_in[r] = span->h[from] + r * pad;
        scratch->h_out[r] = span->h[to] + r * pad;
        if (net->cell->has_c)
            memcpy(span->c[to] + u, span->c[from] + u,
                   (s.p1 - s.p0) * net->panel_units * sizeof(float));
    }
    if (net->cell->reset)
        return reset_stage(job, scratch, span, &s, step, (int)(stage % stages));
    fl_step args = {
        .rows = span->rows,
        .p0 = s.p0,
        .p1 = s.p1,
        .descending = (int)(step & 1) ^ span->descending,
        .k = net->width,
        .hidden = net->config.hidden,
        .panel = weights->r.data,
        .panel_bytes = weights->r.panel_bytes,
        .z = scratch->z + step * span->rows * net->group,
        .z_panel = span->steps * span->rows * net->group,
        .b_hn = weights->b_hn,
        .h = scratch->h_in,
        .h_out = scratch->h_out,
        .c = span->c[to],
        .c_row = pad,
        .variant = &net->config.variant,
        .activation = net->config.variant.activation[0],
        .peep = weights->peep,
        .codes = fl_encode_states(job, scratch, &weights->r, scratch->h_in, span->rows, net->width),
        .scales = weights->r.scales};
    return fl_run_step(&job->context, &scratch->slot, net->cell, weights->r.format, &args);
}

void fl_share_fetch(const fl_job *job, const fl_span *span, size_t number, size_t stage)
{
    const size_t stages = fl_share_stages(job->net), pad = job->plan.hidden_pad;
    const size_t units = job->net->panel_units;
    const size_t mine = first_panel(job, span, number) * units;
    const size_t end = first_panel(job, span, number + 1) * units;
    const float *written = (stage + 1) % stages ? span->c[0] : span->h[(stage / stages + 1) % 2];
    for (size_t r = 0; r < span->rows; r++) {
        const float *row = written + r * pad;
        for (size_t u = 0; u < pad;
             u = u + 16 == mine || (u < mine && mine < u + 16) ? end : u + 16)
            FL_PREFETCH(row + u);
    }
}
