/* SPDX-License-Identifier: MIT */
/*
 * The network, forward: layers x directions x row blocks x time. Knows no instruction set.
 *
 * Rows are taken longest first, so that the rows still running at any step are the first few, and
 * cut into blocks. A block goes through time in chunks: per chunk one gemm makes the input product
 * z of all its steps, then the steps follow one another. One-directional stacks take a chunk
 * through all layers before the next chunk, so that memory does not grow with T; bidirectional
 * ones must finish a layer first.
 *
 * Steps are counted in processing order: s = 0, 1, ...; the time a row is at is t = s forward and
 * t = length - 1 - s in reverse, so a row's reverse pass starts at its own true end.
 */
#include <string.h>

#include "alloc.h"
#include "net.h"

/* Rows of a block, and rows (steps x block rows) of a chunk. 24 rows fill every register tile and
   make the input product compute-bound; more only spread the panels' traffic thinner. The bound on
   block rows keeps z (rows x 4H floats) near the size of a core's cache whatever B is. */
enum { BLOCK_ROWS = 64, CHUNK_ROWS = 48 };

/* Work between two polls, in flop: about a millisecond of AVX-512, 20 ms of the slowest target. */
static const double POLL_FLOP = 1e8;

/* Rows in time: (t, r) at base + (t - start) * t_step + (order ? order[r] : r) * r_step. */
typedef struct seq {
    float *base;
    ptrdiff_t t_step, r_step;
    const size_t *order;
    size_t start;
} seq;

static float *seq_at(const seq *q, size_t t, size_t r)
{
    size_t row = q->order ? q->order[r] : r;
    return q->base + (ptrdiff_t)(t - q->start) * q->t_step + (ptrdiff_t)row * q->r_step;
}

/* One call: sizes derived from it, and the workspace, carved in order of declaration. */
typedef struct job {
    const fl_net *net;
    const fl_call *call;
    size_t blocks, rows_max, chunk_steps, chunk_rows;
    size_t hidden_pad, proj_pad; /* H and P in whole panels: row lengths of c, full_h, proj */

    size_t *order;      /* [B] rows, longest first; NULL without lengths */
    size_t *length;     /* [rows_max] of the block's rows, descending */
    const float **a;    /* [chunk_rows] row pointers for gemm */
    const float **h_in; /* [rows_max] */
    float **h_out;      /* [rows_max] */
    float *z;           /* [panels][chunk_rows][G] */
    float *c;           /* [L * D][rows_max][hidden_pad] */
    float *h;           /* [L * D][rows_max][K]: the state after the last chunk */
    float *full_h;      /* [rows_max][hidden_pad], with a projection: h before it */
    float *proj;        /* [rows_max][proj_pad], with a projection */
    float *flushed;     /* [chunk_rows][I]: rows of x that held tiny values */
    float *between[2];  /* D = 1: [L][chunk_steps][rows_max][K], one chunk above each layer;
                           D = 2: [T][rows_max][2 K] above the odd and the even layers */
    size_t rows, first; /* the block at work: its rows, and its first row in `order` */
    double flop;        /* since the last poll */
} job;

static size_t ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

/* The next `count` items of `size` bytes at *at, advanced by whole cache lines; counts only when
   base is NULL. */
static void *carve(char *base, size_t *at, size_t count, size_t size)
{
    void *p = base ? base + *at : NULL;
    *at = fl_sum2(*at, fl_sum2(fl_mul(count, size), 63));
    if (*at != SIZE_MAX)
        *at = *at / 64 * 64;
    return p;
}

/* Does a layer of a bidirectional stack write its output to between[which]? The top one writes to
   y and the one below it to a buffer, in turn; y takes the even turns where it is wanted. */
static int uses_between(const job *j, int which)
{
    const size_t layers = j->net->config.layers;
    if (j->net->config.dirs == 1)
        return which == 0;
    return which ? layers >= 2 : !j->call->y;
}

static size_t lay_out(job *j, const fl_net *net, const fl_call *call, char *base)
{
    const fl_config *f = &net->config;
    const size_t lanes = net->kernels->lanes, count = f->layers * f->dirs;
    j->net = net;
    j->call = call;
    j->blocks = ceil_div(call->batch, BLOCK_ROWS);
    j->rows_max = ceil_div(call->batch, j->blocks);
    j->chunk_steps = ceil_div(CHUNK_ROWS, j->rows_max);
    if (j->chunk_steps > call->steps)
        j->chunk_steps = call->steps;
    j->chunk_rows = j->chunk_steps * j->rows_max;
    j->hidden_pad = net->panels * lanes;
    j->proj_pad = net->proj_panels * net->group;
    j->flop = 0;

    size_t at = 0;
    const size_t fs = sizeof(float);
    j->order = carve(base, &at, call->lengths ? call->batch : 0, sizeof(size_t));
    if (!call->lengths)
        j->order = NULL;
    j->length = carve(base, &at, j->rows_max, sizeof(size_t));
    j->a = carve(base, &at, j->chunk_rows, sizeof(float *));
    j->h_in = carve(base, &at, j->rows_max, sizeof(float *));
    j->h_out = carve(base, &at, j->rows_max, sizeof(float *));
    j->z = carve(base, &at, fl_mul(fl_mul(net->panels, j->chunk_rows), net->group), fs);
    j->c = carve(base, &at, fl_mul(fl_mul(count, j->rows_max), j->hidden_pad), fs);
    j->h = carve(base, &at, fl_mul(fl_mul(count, j->rows_max), net->width), fs);
    j->full_h = carve(base, &at, f->proj ? fl_mul(j->rows_max, j->hidden_pad) : 0, fs);
    j->proj = carve(base, &at, f->proj ? fl_mul(j->rows_max, j->proj_pad) : 0, fs);
    j->flushed = carve(base, &at, fl_mul(j->chunk_rows, f->input), fs);
    size_t between = fl_mul(j->rows_max, fl_mul(f->dirs, net->width));
    between = f->dirs == 1 ? fl_mul(between, fl_mul(j->chunk_steps, f->layers))
                           : fl_mul(between, call->steps);
    for (int i = 0; i < 2; i++)
        j->between[i] = carve(base, &at, uses_between(j, i) ? between : 0, fs);
    return at;
}

size_t fl_forward_workspace(const fl_net *net, const fl_call *call)
{
    job j;
    return lay_out(&j, net, call, NULL);
}

/* Is it time to ask, and was the answer to stop? */
static int stop(job *j, double flop)
{
    j->flop += flop;
    if (j->flop < POLL_FLOP || !j->call->poll)
        return 0;
    j->flop = 0;
    return j->call->poll(j->call->poll_arg);
}

/* Panels to hand a kernel at once, so that a poll is never far off. */
static size_t panel_span(const job *j, double flop_per_panel)
{
    double span = POLL_FLOP / flop_per_panel;
    return span >= (double)j->net->panels ? j->net->panels : (size_t)span / 4 * 4 + 4;
}

static int run_gemm(job *j, fl_gemm g)
{
    const size_t panels = g.panels, group = j->net->group;
    const double each = 2.0 * (double)g.rows * (double)g.k * (double)group;
    const size_t span = panel_span(j, each);
    for (size_t p = 0; p < panels; p += g.panels) {
        g.panels = panels - p < span ? panels - p : span;
        j->net->kernels->gemm(&g);
        g.panel += g.panels * g.k * group;
        g.init = g.init ? g.init + g.panels * group : NULL;
        g.c += g.panels * g.c_panel;
        if (stop(j, each * (double)g.panels))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

static int run_step(job *j, fl_step s)
{
    const double each = 2.0 * (double)s.rows * (double)s.k * (double)j->net->group;
    const size_t span = panel_span(j, each);
    for (s.p0 = 0; s.p0 < j->net->panels; s.p0 = s.p1) {
        s.p1 = j->net->panels - s.p0 < span ? j->net->panels : s.p0 + span;
        j->net->kernels->lstm_step(&s);
        if (stop(j, each * (double)(s.p1 - s.p0)))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

/* h = w_hr . full_h for the first `rows` rows, to h_out[]. */
static int project(job *j, const fl_layer *y, size_t rows, float *const *h_out)
{
    const fl_net *net = j->net;
    for (size_t r = 0; r < rows; r++)
        j->a[r] = j->full_h + r * j->hidden_pad;
    fl_gemm g = {rows, net->proj_panels, net->config.hidden, j->a,       1, y->proj,
                 NULL, j->proj,          net->group,         j->proj_pad};
    int e = run_gemm(j, g);
    for (size_t r = 0; r < rows; r++) {
        net->kernels->flush(j->proj + r * j->proj_pad, j->proj + r * j->proj_pad, net->width);
        memcpy(h_out[r], j->proj + r * j->proj_pad, net->width * sizeof(float));
    }
    return e;
}

/* The rows still running at step s, given how many ran before. */
static size_t active(const job *j, size_t rows, size_t s)
{
    while (rows && j->length[rows - 1] <= s)
        rows--;
    return rows;
}

static size_t time_of(const job *j, size_t dir, size_t r, size_t s)
{
    return dir ? j->length[r] - 1 - s : s;
}

/* Steps s0 .. s1 - 1 of one layer and direction: from `in` to `out`, both whole-row sequences. */
static int run_chunk(job *j, size_t layer, size_t dir, const seq *in, const seq *out, size_t s0,
                     size_t s1)
{
    const fl_net *net = j->net;
    const size_t lane = layer * net->config.dirs + dir, width = net->width;
    const fl_layer *y = &net->layer[lane];
    float *c = j->c + lane * j->rows_max * j->hidden_pad;
    float *h = j->h + lane * j->rows_max * width;
    const size_t rows0 = active(j, j->rows, s0);

    size_t n = 0;
    for (size_t s = s0, rows = rows0; s < s1; s++) {
        rows = active(j, rows, s);
        for (size_t r = 0; r < rows; r++, n++) {
            j->a[n] = seq_at(in, time_of(j, dir, r, s), r);
            if (layer == 0 && net->kernels->any_tiny(j->a[n], y->in)) {
                float *copy = j->flushed + n * y->in;
                net->kernels->flush(copy, j->a[n], y->in);
                j->a[n] = copy;
            }
        }
    }
    if (n == 0)
        return FL_OK;
    fl_gemm g = {n, net->panels, y->in, j->a, 1, y->w, y->bias, j->z, n * net->group, net->group};
    int e = run_gemm(j, g);

    fl_step step = {.k = width,
                    .hidden = net->config.hidden,
                    .panel = y->r,
                    .z = j->z,
                    .z_panel = n * net->group,
                    .h = j->h_in,
                    .hout = j->h_out,
                    .c = c,
                    .c_row = j->hidden_pad};
    for (size_t r = 0; r < rows0; r++)
        j->h_in[r] = h + r * width;
    for (size_t s = s0, rows = rows0; s < s1 && e == FL_OK; s++) {
        rows = active(j, rows, s);
        for (size_t r = 0; r < rows; r++)
            j->h_out[r] = net->proj_panels ? j->full_h + r * j->hidden_pad
                                           : seq_at(out, time_of(j, dir, r, s), r) + dir * width;
        step.rows = rows;
        e = run_step(j, step);
        step.z += rows * net->group;
        if (net->proj_panels && e == FL_OK) {
            for (size_t r = 0; r < rows; r++)
                j->h_out[r] = seq_at(out, time_of(j, dir, r, s), r) + dir * width;
            e = project(j, y, rows, j->h_out);
        }
        for (size_t r = 0; r < rows; r++)
            j->h_in[r] = j->h_out[r];
    }
    for (size_t r = 0; r < rows0 && e == FL_OK; r++)
        memcpy(h + r * width, j->h_in[r], width * sizeof(float));
    return e;
}

/* Initial states of the block's rows into j->c and j->h. */
static void load_states(job *j)
{
    const fl_net *net = j->net;
    const fl_call *call = j->call;
    const size_t hidden = net->config.hidden, lanes = net->config.layers * net->config.dirs;
    for (size_t i = 0; i < lanes; i++)
        for (size_t r = 0; r < j->rows; r++) {
            size_t b = i * call->batch + (j->order ? j->order[j->first + r] : j->first + r);
            float *c = j->c + (i * j->rows_max + r) * j->hidden_pad;
            float *h = j->h + (i * j->rows_max + r) * net->width;
            memset(c, 0, j->hidden_pad * sizeof(float));
            memset(h, 0, net->width * sizeof(float));
            if (call->c0)
                net->kernels->flush(c, call->c0 + b * hidden, hidden);
            if (call->h0)
                net->kernels->flush(h, call->h0 + b * net->width, net->width);
        }
}

static void store_states(const job *j)
{
    const fl_net *net = j->net;
    const fl_call *call = j->call;
    const size_t hidden = net->config.hidden, lanes = net->config.layers * net->config.dirs;
    for (size_t i = 0; i < lanes; i++)
        for (size_t r = 0; r < j->rows; r++) {
            size_t b = i * call->batch + (j->order ? j->order[j->first + r] : j->first + r);
            if (call->cn)
                memcpy(call->cn + b * hidden, j->c + (i * j->rows_max + r) * j->hidden_pad,
                       hidden * sizeof(float));
            if (call->hn)
                memcpy(call->hn + b * net->width, j->h + (i * j->rows_max + r) * net->width,
                       net->width * sizeof(float));
        }
}

/* Rows past their length are zeros. Last, since y may have served between two layers. */
static void clear_padding(const job *j, const seq *y)
{
    const size_t width = j->net->config.dirs * j->net->width;
    for (size_t r = 0; j->order && r < j->rows; r++)
        for (size_t t = j->length[r]; t < j->call->steps; t++)
            memset(seq_at(y, t, r), 0, width * sizeof(float));
}

static int run_block(job *j)
{
    const fl_net *net = j->net;
    const fl_call *call = j->call;
    const size_t layers = net->config.layers, dirs = net->config.dirs;
    const size_t *order = j->order ? j->order + j->first : NULL;
    const ptrdiff_t shift = j->order ? 0 : (ptrdiff_t)j->first;
    seq x = {(float *)(uintptr_t)call->x + shift * call->x_b, call->x_t, call->x_b, order, 0};
    seq y = {call->y ? call->y + shift * call->y_b : NULL, call->y_t, call->y_b, order, 0};

    for (size_t r = 0; r < j->rows; r++)
        j->length[r] = order ? (size_t)call->lengths[order[r]] : call->steps;
    load_states(j);
    const size_t steps = j->length[0], row = dirs * net->width;

    if (dirs == 1) {
        seq mid = {NULL, (ptrdiff_t)(j->rows_max * row), (ptrdiff_t)row, NULL, 0};
        for (size_t s0 = 0, s1; s0 < steps; s0 = s1) {
            s1 = steps - s0 < j->chunk_steps ? steps : s0 + j->chunk_steps;
            seq in = x;
            for (size_t l = 0; l < layers; l++) {
                seq out = mid;
                out.base = j->between[0] + l * j->chunk_steps * j->rows_max * row;
                out.start = s0;
                if (l == layers - 1 && call->y)
                    out = y;
                int e = run_chunk(j, l, 0, &in, &out, s0, s1);
                if (e != FL_OK)
                    return e;
                in = out;
            }
        }
    } else {
        seq in = x;
        for (size_t l = 0; l < layers; l++) {
            const int odd = (layers - 1 - l) & 1;
            seq out = {j->between[odd], (ptrdiff_t)(j->rows_max * row), (ptrdiff_t)row, NULL, 0};
            if (!odd && call->y)
                out = y;
            for (size_t d = 0; d < dirs; d++)
                for (size_t s0 = 0, s1; s0 < steps; s0 = s1) {
                    s1 = steps - s0 < j->chunk_steps ? steps : s0 + j->chunk_steps;
                    int e = run_chunk(j, l, d, &in, &out, s0, s1);
                    if (e != FL_OK)
                        return e;
                }
            in = out;
        }
    }
    if (call->y)
        clear_padding(j, &y);
    store_states(j);
    return FL_OK;
}

/* Rows by length, longest first, equal lengths in their own order (Shell's sort: no memory). */
static void sort_rows(job *j)
{
    const int64_t *len = j->call->lengths;
    const size_t n = j->call->batch;
    size_t gap = 1;
    for (size_t i = 0; i < n; i++)
        j->order[i] = i;
    while (gap < n / 3)
        gap = 3 * gap + 1;
    for (; gap; gap /= 3)
        for (size_t i = gap; i < n; i++) {
            size_t b = j->order[i], k = i;
            for (; k >= gap; k -= gap) {
                size_t a = j->order[k - gap];
                if (len[a] > len[b] || (len[a] == len[b] && a < b))
                    break;
                j->order[k] = a;
            }
            j->order[k] = b;
        }
}

int fl_forward(const fl_net *net, const fl_call *call)
{
    job j;
    size_t bytes = lay_out(&j, net, call, NULL);
    char *workspace = fl_alloc(bytes);
    if (!workspace)
        return FL_NO_MEMORY;
    lay_out(&j, net, call, workspace);
    if (j.order)
        sort_rows(&j);

    int e = FL_OK;
    for (size_t i = 0; i < j.blocks && e == FL_OK; i++) {
        j.first = i * call->batch / j.blocks;
        j.rows = (i + 1) * call->batch / j.blocks - j.first;
        e = run_block(&j);
    }
    fl_free(workspace);
    return e;
}
