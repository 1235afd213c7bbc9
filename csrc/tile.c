/* SPDX-License-Identifier: MIT */
/*
 * One tile: a chunk of steps of one layer and direction, for one block of rows. One gemm makes the
 * input product z of all its steps, then the steps follow one another.
 */
#include <string.h>

#include "forward.h"
#include "tape.h"
#include "team.h"

/* Work between two polls, in flop: about a millisecond of AVX-512, 20 ms of the slowest target. */
static const double POLL_FLOP = 1e8;

int fl_stop(fl_job *j, fl_desk *desk, double flop)
{
    desk->flop += flop;
    if (desk->flop < POLL_FLOP)
        return 0;
    desk->flop = 0;
    if (desk->polls && j->call->poll && j->call->poll(j->call->poll_arg))
        atomic_store_explicit(&j->stopped, FL_INTERRUPTED, memory_order_relaxed);
    else if (desk->polls && j->forks != fl_team_forks())
        atomic_store_explicit(&j->stopped, FL_FORKED, memory_order_relaxed);
    return atomic_load_explicit(&j->stopped, memory_order_relaxed) != FL_OK;
}

/* What a kernel call counts for, a panel: its products, and about as much as the rest of it takes.
 */
static double panel_flop(size_t rows, size_t k, size_t group)
{
    return 2.0 * (double)rows * (double)(k + 16) * (double)group;
}

/* Panels to hand a kernel at once, so that a poll is never far off. */
static size_t panel_span(size_t panels, double flop_per_panel)
{
    double span = POLL_FLOP / flop_per_panel;
    return span >= (double)panels ? panels : (size_t)span / 4 * 4 + 4;
}

int fl_run_gemm(fl_job *j, fl_desk *desk, fl_gemm g)
{
    const size_t panels = g.panels, group = g.vectors * j->net->kernels->lanes;
    const double each = panel_flop(g.rows, g.k, group);
    const size_t span = panel_span(panels, each);
    for (size_t p = 0; p < panels; p += g.panels) {
        g.panels = panels - p < span ? panels - p : span;
        j->net->kernels->gemm(&g);
        g.panel += g.panels * g.k * group;
        g.init = g.init ? g.init + g.panels * group : NULL;
        g.c += g.panels * g.c_panel;
        if (fl_stop(j, desk, each * (double)g.panels))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

int fl_run_step(fl_job *j, fl_desk *desk, fl_step *s)
{
    const size_t first = s->p0, end = s->p1;
    const double each = panel_flop(s->rows, s->k, j->net->group);
    const size_t span = panel_span(end - first, each);
    /* s alone says so: a lone stream's partner may be here when the call is over */
    void (*const run)(const fl_step *) = s->kept ? j->net->cell->keep : j->net->cell->step;
    int e = FL_OK;
    for (; s->p0 < end && e == FL_OK; s->p0 = s->p1) {
        s->p1 = end - s->p0 < span ? end : s->p0 + span;
        run(s);
        if (fl_stop(j, desk, each * (double)(s->p1 - s->p0)))
            e = FL_INTERRUPTED;
    }
    s->p0 = first;
    s->p1 = end;
    return e;
}

/* A step of a cell that resets h before its last gate's product. */
static int run_reset(fl_job *j, fl_desk *desk, const fl_step *s)
{
    const fl_net *net = j->net;
    const size_t last = net->panels - net->unit_panels; /* its first panel */
    fl_gemm g = {.rows = s->rows,
                 .vectors = net->cell->vectors,
                 .panels = last,
                 .down = s->down,
                 .k = s->k,
                 .a = s->h,
                 .a_step = 1,
                 .panel = s->panel,
                 .c = (float *)(uintptr_t)s->z,
                 .c_panel = s->z_panel,
                 .c_row = net->group,
                 .add = FL_ONTO};
    int e = fl_run_gemm(j, desk, g);
    net->cell->reset(s);
    for (size_t r = 0; r < s->rows; r++)
        desk->a[r] = s->c + r * s->c_row;
    g.panels = net->unit_panels;
    g.a = desk->a;
    g.panel += last * s->k * net->group;
    g.c += last * s->z_panel;
    e = e == FL_OK ? fl_run_gemm(j, desk, g) : e;
    (s->kept ? net->cell->keep : net->cell->step)(s);
    return e;
}

/* h = w_hr . full_h for the first `rows` rows, to h_out[]. */
static int project(fl_job *j, fl_desk *desk, const fl_layer *y, size_t rows)
{
    const fl_net *net = j->net;
    for (size_t r = 0; r < rows; r++)
        desk->a[r] = desk->full_h + r * j->hidden_pad;
    fl_gemm g = {.rows = rows,
                 .vectors = FL_NV,
                 .panels = net->proj_panels,
                 .k = net->config.hidden,
                 .a = desk->a,
                 .a_step = 1,
                 .panel = y->proj,
                 .c = desk->proj,
                 .c_panel = net->plain,
                 .c_row = j->proj_pad};
    int e = fl_run_gemm(j, desk, g);
    for (size_t r = 0; r < rows; r++) {
        net->kernels->flush(desk->proj + r * j->proj_pad, desk->proj + r * j->proj_pad, net->width);
        memcpy(desk->h_out[r], desk->proj + r * j->proj_pad, net->width * sizeof(float));
    }
    return e;
}

size_t fl_active(const fl_block *block, size_t rows, size_t s)
{
    while (rows && block->length[rows - 1] <= s)
        rows--;
    return rows;
}

int fl_tile(fl_job *j, fl_desk *desk, const fl_block *block, size_t layer, size_t dir,
            const fl_seq *in, const fl_seq *out, size_t s0, size_t s1)
{
    const fl_net *net = j->net;
    const size_t lane = layer * net->config.dirs + dir, width = net->width;
    const fl_layer *y = &net->layer[lane];
    float *h = block->h + lane * j->rows_max * width;
    const size_t rows0 = fl_active(block, block->rows, s0);
    const int reverse = fl_reverse(net, dir);
    const int in_back = reverse && !in->by_step, out_back = reverse && !out->by_step;

    size_t n = 0;
    for (size_t s = s0, rows = rows0; s < s1; s++) {
        rows = fl_active(block, rows, s);
        for (size_t r = 0; r < rows; r++, n++) {
            desk->a[n] = fl_seq_at(in, fl_seq_time(block, in_back, r, s), r);
            if (layer == 0 && !j->call->tape && net->kernels->any_tiny(desk->a[n], y->in)) {
                float *copy = desk->flushed + n * y->in;
                net->kernels->flush(copy, desk->a[n], y->in);
                desk->a[n] = copy;
            }
        }
    }
    fl_gemm g = {.rows = n,
                 .down = (int)(s0 / j->chunk_steps & 1) ^ j->call->turn,
                 .vectors = net->cell->vectors,
                 .panels = net->panels,
                 .k = y->in,
                 .a = desk->a,
                 .a_step = 1,
                 .panel = y->w,
                 .init = y->bias,
                 .c = desk->z,
                 .c_panel = n * net->group,
                 .c_row = net->group};
    int e = fl_run_gemm(j, desk, g);

    fl_step step = {.p1 = net->unit_panels,
                    .k = width,
                    .hidden = net->config.hidden,
                    .panel = y->r,
                    .z = desk->z,
                    .z_panel = n * net->group,
                    .b_hn = y->b_hn,
                    .h = desk->h_in,
                    .hout = desk->h_out,
                    .c = net->cell->has_c ? block->c + lane * j->rows_max * j->hidden_pad
                                          : desk->full_h,
                    .c_row = j->hidden_pad,
                    .variant = &net->config.variant,
                    .act = net->config.variant.act[dir],
                    .peep = y->peep};
    for (size_t r = 0; r < rows0; r++)
        desk->h_in[r] = h + r * width;
    for (size_t s = s0, rows = rows0; s < s1 && e == FL_OK; s++) {
        rows = fl_active(block, rows, s);
        for (size_t r = 0; r < rows; r++)
            desk->h_out[r] =
                net->proj_panels
                    ? desk->full_h + r * j->hidden_pad
                    : fl_seq_at(out, fl_seq_time(block, out_back, r, s), r) + dir * width;
        step.rows = rows;
        step.down = (int)(s & 1) ^ j->call->turn;
        if (j->call->tape)
            fl_tape_step(j, block, lane, s, &step);
        e = net->cell->reset ? run_reset(j, desk, &step) : fl_run_step(j, desk, &step);
        step.z += rows * net->group;
        if (net->proj_panels && e == FL_OK) {
            for (size_t r = 0; r < rows; r++)
                desk->h_out[r] =
                    fl_seq_at(out, fl_seq_time(block, out_back, r, s), r) + dir * width;
            e = project(j, desk, y, rows);
        }
        for (size_t r = 0; r < rows; r++)
            desk->h_in[r] = desk->h_out[r];
    }
    for (size_t r = 0; r < rows0 && e == FL_OK; r++)
        memcpy(h + r * width, desk->h_in[r], width * sizeof(float));
    if (j->call->tape && e == FL_OK)
        fl_tape_pass(j, block, layer, dir, s0, s1);
    return e;
}
