/* SPDX-License-Identifier: MIT */
#include "forward/split_share.h"

#include <string.h>

#include "base/compiler.h"
#include "forward/encode.h"
#include "forward/split_wait.h"
#include "kernels/run.h"

/* The first panel of a share. */
static size_t first_panel(const fl_job *job, const fl_span *span, size_t share)
{
    return job->net->panels * share / span->shares;
}

int fl_share_product(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share)
{
    const fl_net *net = job->net;
    const fl_track_weights *weights = &net->track[span->layer];
    const size_t p0 = first_panel(job, span, share), p1 = first_panel(job, span, share + 1);
    const size_t group = net->group, n = span->steps * span->rows;
    for (size_t m = 0; m < n; m++)
        scratch->a[m] = span->x + m * weights->in;
    fl_gemm g = {.rows = n,
                 .vectors = net->cell->vectors,
                 .descending = span->descending,
                 .panels = p1 - p0,
                 .k = weights->in,
                 .a = scratch->a,
                 .a_step = 1,
                 .panel = fl_panel(&weights->w, p0),
                 .panel_bytes = weights->w.panel_bytes,
                 .init = weights->bias + p0 * group,
                 .c = scratch->z + p0 * n * group,
                 .c_panel = n * group,
                 .c_row = group,
                 .codes = fl_encode_inputs(job, scratch, weights, span->layer, n),
                 .scales = weights->w.scales ? weights->w.scales + p0 * group : NULL};
    return fl_run_gemm(&job->context, &scratch->slot, weights->w.format, g);
}

int fl_share_step(fl_job *job, fl_scratch *scratch, const fl_span *span, size_t share, size_t step)
{
    const fl_net *net = job->net;
    const fl_track_weights *weights = &net->track[span->layer];
    const size_t from = step % 2, to = 1 - from, pad = job->plan.hidden_pad,
                 units = net->panel_units;
    const size_t p0 = first_panel(job, span, share), p1 = first_panel(job, span, share + 1);
    for (size_t r = 0; r < span->rows; r++) {
        const size_t u = r * pad + p0 * units;
        scratch->h_in[r] = span->h[from] + r * pad;
        scratch->h_out[r] = span->h[to] + r * pad;
        if (net->cell->has_c)
            memcpy(span->c[to] + u, span->c[from] + u, (p1 - p0) * units * sizeof(float));
    }
    HOOK(share ? "in step" : "caller in step");
    fl_step args = {
        .rows = span->rows,
        .p0 = p0,
        .p1 = p1,
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

void fl_share_fetch(const fl_job *job, const fl_span *span, size_t share, size_t step)
{
    const size_t pad = job->plan.hidden_pad, units = job->net->panel_units;
    const size_t mine = first_panel(job, span, share) * units;
    const size_t end = first_panel(job, span, share + 1) * units;
    for (size_t r = 0; r < span->rows; r++) {
        const float *h = span->h[(step + 1) % 2] + r * pad;
        for (size_t u = 0; u < pad;
             u = u + 16 == mine || (u < mine && mine < u + 16) ? end : u + 16)
            FL_PREFETCH(h + u);
    }
}
