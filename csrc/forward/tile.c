/* SPDX-License-Identifier: MIT */
/*
 *     z = b + W x      for all steps of the tile, in one gemm
 *     h = step(z, h)   for one step after the other
 */
#include "forward/tile.h"

#include <string.h>

#include "forward/encode.h"
#include "forward/record.h"
#include "kernels/run.h"

/* A lone row whose layer has more bytes of weights takes panels of both matrices by turns. */
enum { TOGETHER_BYTES = 1 << 20 };

/* scratch->z = b + W x for n rows, to which scratch->a points, in panels p0 .. p1 - 1. */
static int input_product(fl_job *job, fl_scratch *scratch, const fl_track_weights *weights,
                         size_t layer, size_t n, int descending, size_t p0, size_t p1)
{
    const fl_net *net = job->net;
    fl_gemm g = {.rows = n,
                 .descending = descending,
                 .vectors = net->cell->vectors,
                 .panels = p1 - p0,
                 .k = weights->in,
                 .cut = 1,
                 .a = scratch->a,
                 .a_step = 1,
                 .panel = fl_panel(&weights->w, p0),
                 .panel_bytes = weights->w.panel_bytes,
                 .init = weights->bias + p0 * net->group,
                 .c = scratch->z + p0 * n * net->group,
                 .c_panel = n * net->group,
                 .c_row = net->group,
                 .codes = fl_encode_inputs(job, scratch, weights, layer, n),
                 .scales = weights->w.scales};
    return fl_run_gemm(&job->context, &scratch->slot, weights->w.format, g);
}

/* Does a lone row take panels of both matrices by turns? */
static int by_turns(const fl_net *net, const fl_track_weights *w)
{
    return !net->cell->reset && !fl_format_encoded(w->w.format) &&
           net->panels * (w->w.panel_bytes + w->r.panel_bytes) > TOGETHER_BYTES;
}

/*
 * One step of one row, z = b + W x with it, panel by panel of both matrices. Calls take the panels
 * up and down in turn, so this one finds in L2 what the last one read of a layer at its end. With
 * all of W before all of R, one matrix would have pushed the other out: steps of H = 256, 512 and
 * 1024 took 1.12, 1.24 and 1.04 times as long, two layers of 200 units 1.24 (2 MiB of L2).
 */
static int lone_step(fl_job *job, fl_scratch *scratch, const fl_track_weights *weights,
                     size_t layer, fl_step *s)
{
    int e = FL_OK;
    for (size_t i = 0, n = job->net->panels; i < n && e == FL_OK; i++) {
        s->p0 = s->descending ? n - 1 - i : i;
        s->p1 = s->p0 + 1;
        e = input_product(job, scratch, weights, layer, 1, 0, s->p0, s->p1);
        if (e == FL_OK)
            e = fl_run_step(&job->context, &scratch->slot, job->net->cell, weights->r.format, s);
    }
    return e;
}

/* One step of a cell that resets h before the product of its last gate: the four calls that fl_step
   in kernels/contract.h names. */
static int reset_step(fl_job *job, fl_scratch *scratch, const fl_track_weights *weights,
                      const fl_step *s)
{
    const fl_net *net = job->net;
    const size_t last = net->panels - net->unit_panels; /* the first panel of the last gate */
    const int format = weights->r.format;
    fl_gemm g = {.rows = s->rows,
                 .vectors = net->cell->vectors,
                 .panels = last,
                 .descending = s->descending,
                 .k = s->k,
                 .cut = 1,
                 .a = s->h,
                 .a_step = 1,
                 .panel = s->panel,
                 .panel_bytes = s->panel_bytes,
                 .c = (float *)(uintptr_t)s->z,
                 .c_panel = s->z_panel,
                 .c_row = net->group,
                 .add = FL_ONTO,
                 .codes = s->codes,
                 .scales = s->scales};
    int e = fl_run_gemm(&job->context, &scratch->slot, format, g);
    net->cell->reset(s);
    for (size_t r = 0; r < s->rows; r++)
        scratch->a[r] = s->c + r * s->c_row;
    g.panels = net->unit_panels;
    g.a = scratch->a;
    g.codes = fl_encode_states(job, scratch, &weights->r, g.a, s->rows, s->k);
    g.scales = g.scales ? g.scales + last * net->group : NULL;
    g.panel = fl_panel(&weights->r, last);
    g.c += last * s->z_panel;
    e = e == FL_OK ? fl_run_gemm(&job->context, &scratch->slot, format, g) : e;
    (s->kept ? net->cell->keep : net->cell->step[format])(s);
    return e;
}

/* h = W_hr full_h for the first `rows` rows, to scratch->h_out. Values below FL_TINY become 0. */
static int project(fl_job *job, fl_scratch *scratch, const fl_track_weights *weights, size_t rows)
{
    const fl_net *net = job->net;
    const size_t hidden_pad = job->plan.hidden_pad, proj_pad = job->plan.proj_pad;
    for (size_t r = 0; r < rows; r++)
        scratch->a[r] = scratch->full_h + r * hidden_pad;
    fl_gemm g = {.rows = rows,
                 .vectors = FL_NV,
                 .panels = net->proj_panels,
                 .k = net->config.hidden,
                 .cut = 1,
                 .a = scratch->a,
                 .a_step = 1,
                 .panel = weights->proj.data,
                 .panel_bytes = weights->proj.panel_bytes,
                 .c = scratch->proj,
                 .c_panel = net->plain_group,
                 .c_row = proj_pad,
                 .codes = fl_encode_states(job, scratch, &weights->proj, scratch->a, rows,
                                           net->config.hidden),
                 .scales = weights->proj.scales};
    int e = fl_run_gemm(&job->context, &scratch->slot, weights->proj.format, g);
    for (size_t r = 0; r < rows; r++) {
        float *h = scratch->proj + r * proj_pad;
        net->kernels->flush(h, h, net->width);
        memcpy(scratch->h_out[r], h, net->width * sizeof(float));
    }
    return e;
}

/* Points scratch->a to the input rows of steps s0 .. s1 - 1, step after step, and returns how many
   there are. Of the call's x, rows that hold values below FL_TINY are copied without them; the
   outputs of layers hold none, those of x on a tape are gone already, and of FL_BFLOAT16 they
   vanish when rows are split. */
static size_t point_to_inputs(fl_job *job, fl_scratch *scratch, const fl_block *block, size_t layer,
                              size_t features, const fl_sequence *in, int reverse, size_t s0,
                              size_t s1)
{
    const fl_kernels *kernels = job->net->kernels;
    const int flushed = layer == 0 && !job->call->tape && job->net->config.format != FL_BFLOAT16;
    size_t n = 0;
    for (size_t s = s0, rows = block->rows; s < s1; s++) {
        rows = fl_running_rows(block, rows, s);
        for (size_t r = 0; r < rows; r++, n++) {
            scratch->a[n] = fl_sequence_row(in, fl_sequence_time(block, reverse, r, s), r);
            if (flushed && kernels->has_tiny(scratch->a[n], features)) {
                float *copy = scratch->flushed + n * features;
                kernels->flush(copy, scratch->a[n], features);
                scratch->a[n] = copy;
            }
        }
    }
    return n;
}

int fl_tile_run(fl_job *job, fl_scratch *scratch, const fl_block *block, size_t layer, size_t dir,
                const fl_sequence *in, const fl_sequence *out, size_t s0, size_t s1)
{
    const fl_net *net = job->net;
    const fl_call *call = job->call;
    const fl_plan *plan = &job->plan;
    const size_t track = layer * net->config.dirs + dir, width = net->width;
    const ptrdiff_t across = (ptrdiff_t)dir * (call->y && call->y_d ? call->y_d : (ptrdiff_t)width);
    const fl_track_weights *weights = &net->track[track];
    float *h = block->memory.h + track * plan->rows_max * width;
    const size_t rows0 = fl_running_rows(block, block->rows, s0);
    const int reverse = fl_reverse(net, dir);
    const int in_reverse = reverse && !in->by_step, out_reverse = reverse && !out->by_step;

    const size_t n =
        point_to_inputs(job, scratch, block, layer, weights->in, in, in_reverse, s0, s1);
    const int lone = n == 1 && by_turns(net, weights);
    const int down = (int)(s0 / plan->chunk_steps & 1) ^ call->descending;
    int e = lone ? FL_OK : input_product(job, scratch, weights, layer, n, down, 0, net->panels);
    fl_step step = {.p1 = net->unit_panels,
                    .k = width,
                    .hidden = net->config.hidden,
                    .panel = weights->r.data,
                    .panel_bytes = weights->r.panel_bytes,
                    .z = scratch->z,
                    .z_panel = n * net->group,
                    .b_hn = weights->b_hn,
                    .h = scratch->h_in,
                    .h_out = scratch->h_out,
                    .c = net->cell->has_c
                             ? block->memory.c + track * plan->rows_max * plan->hidden_pad
                             : scratch->full_h,
                    .c_row = plan->hidden_pad,
                    .variant = &net->config.variant,
                    .activation = net->config.variant.activation[dir],
                    .peep = weights->peep,
                    .scales = weights->r.scales};
    for (size_t r = 0; r < rows0; r++)
        scratch->h_in[r] = h + r * width;
    for (size_t s = s0, rows = rows0; s < s1 && e == FL_OK; s++) {
        rows = fl_running_rows(block, rows, s);
        for (size_t r = 0; r < rows; r++)
            scratch->h_out[r] =
                net->proj_panels
                    ? scratch->full_h + r * plan->hidden_pad
                    : fl_sequence_row(out, fl_sequence_time(block, out_reverse, r, s), r) + across;
        step.rows = rows;
        step.descending = (int)(s & 1) ^ call->descending;
        if (fl_format_encoded(weights->r.format))
            step.codes = fl_encode_states(job, scratch, &weights->r, step.h, rows, width);
        if (call->tape)
            fl_record_step(job, block, track, s, &step);
        e = lone ? lone_step(job, scratch, weights, layer, &step)
            : net->cell->reset
                ? reset_step(job, scratch, weights, &step)
                : fl_run_step(&job->context, &scratch->slot, net->cell, weights->r.format, &step);
        step.z += rows * net->group;
        if (net->proj_panels && e == FL_OK) {
            for (size_t r = 0; r < rows; r++)
                scratch->h_out[r] =
                    fl_sequence_row(out, fl_sequence_time(block, out_reverse, r, s), r) + across;
            e = project(job, scratch, weights, rows);
        }
        for (size_t r = 0; r < rows; r++)
            scratch->h_in[r] = scratch->h_out[r];
    }
    for (size_t r = 0; r < rows0 && e == FL_OK; r++)
        memcpy(h + r * width, scratch->h_in[r], width * sizeof(float));
    if (call->tape && e == FL_OK)
        fl_record_tile(job, block, layer, dir, s0, s1);
    return e;
}
