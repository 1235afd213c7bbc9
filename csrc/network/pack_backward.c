/* SPDX-License-Identifier: MIT */
/* Packs weights for backward calls. The numbers that a panel of pack_backward.h has for one k are
   consecutive numbers of one row of the weights in PyTorch's layout, so packing copies rows, a
   panel's width at a time. */
#include "network/pack_backward.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "kernels/bfloat16.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"

/* Carves plain panels for `columns` columns and `k` rows, in the network's format. */
static fl_panels carve_panels(fl_carver *carver, const fl_net *net, size_t columns, size_t k)
{
    const size_t panels = fl_plain_pad(net, columns) / net->plain_group;
    return fl_panels_carve(carver, net->config.format, net->config.parts, net->kernels, panels,
                           net->plain_group, k);
}

static fl_backward_track carve_track(fl_carver *carver, const fl_net *net, size_t layer)
{
    const int by_parts = net->config.format == FL_BFLOAT16;
    const size_t one = by_parts ? net->config.hidden : net->unit_panels * net->group;
    const size_t kk = by_parts ? net->cell->gates * one : net->panels * net->group;
    const size_t last = net->cell->reset ? one : 0;
    fl_backward_track y = {.w = carve_panels(carver, net, fl_layer_in(net, layer), kk),
                           .r = carve_panels(carver, net, net->width, kk - last)};
    if (last)
        y.last = carve_panels(carver, net, net->width, last);
    if (net->config.proj)
        y.proj = carve_panels(carver, net, net->config.hidden, net->config.proj);
    return y;
}

/* Carves all of it, or only counts it if the carver has no base. */
static void carve_all(fl_carver *carver, const fl_net *net, fl_backward_weights *weights)
{
    fl_carve(carver, 1,
             fl_add(sizeof(fl_backward_weights), fl_mul(net->tracks, sizeof(fl_backward_track))));
    for (size_t i = 0; i < net->tracks; i++) {
        fl_backward_track y = carve_track(carver, net, i / net->config.dirs);
        if (weights)
            weights->track[i] = y;
    }
}

fl_backward_weights *fl_backward_weights_new(const fl_net *net)
{
    fl_carver carver = {0};
    carve_all(&carver, net, NULL);
    fl_backward_weights *weights = fl_alloc_lasting(carver.used);
    if (!weights)
        return NULL;
    memset(weights, 0, carver.used);
    weights->bytes = carver.used;
    carver = (fl_carver){.base = (char *)weights};
    carve_all(&carver, net, weights);
    return weights;
}

void fl_backward_weights_free(fl_backward_weights *weights) { fl_free(weights); }

size_t fl_backward_weights_bytes(const fl_backward_weights *weights) { return weights->bytes; }

/* Rows first .. first + rows - 1 of a matrix of `columns` columns, and their plain panels. If
   `gates`, the matrix holds the gates' weights, and a row's k is its column among the forward
   panels, counted from the first row's panel; otherwise a row's k is its number. Other k stay 0. */
typedef struct matrix_rows {
    const fl_net *net;
    const fl_panels *panels;
    const float *matrix;
    size_t first, rows, columns;
    int gates;
} matrix_rows;

/* The panels from .. from + count - 1 in bfloat16 parts: a row's k is its number, counted from
   `first`. 32 rows of a panel's columns at a time are copied to where the kernel may read them,
   with zeros for columns that there are not. */
static int pack_some_parts(void *arg, fl_context *context, fl_slot *slot, size_t worker,
                           size_t from, size_t count)
{
    const matrix_rows *m = arg;
    _Alignas(FL_ALIGN) float lines[FL_PIECE * FL_NV * FL_MAX_LANES] = {0};
    const size_t plain = m->net->plain_group, columns = m->columns, rows = m->rows;
    (void)worker;
    for (size_t p = from; p < from + count; p++) {
        char *to = (char *)m->panels->data + p * m->panels->panel_bytes;
        const size_t c = p * plain, here = columns - c < plain ? columns - c : plain;
        if (here < plain)
            memset(lines, 0, sizeof lines);
        for (size_t k = 0; k < rows; k += FL_PIECE) {
            const size_t n = rows - k < FL_PIECE ? rows - k : FL_PIECE;
            for (size_t i = 0; i < n; i++)
                memcpy(lines + i * plain, m->matrix + (m->first + k + i) * columns + c,
                       here * sizeof(float));
            m->net->kernels->split_lines(to, lines, plain, n, FL_NV, m->panels->parts,
                                         FL_TINY_FACTOR_PART);
            to += FL_PIECE * plain * 2 * (size_t)m->panels->parts;
        }
    }
    return fl_should_stop(context, slot, fl_move_flop(count * plain * rows)) ? FL_INTERRUPTED
                                                                             : FL_OK;
}

/* Rows from .. from + count - 1 of floats. */
static int pack_some_rows(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t from,
                          size_t count)
{
    const matrix_rows *m = arg;
    const fl_net *net = m->net;
    const size_t plain = net->plain_group, hidden = net->config.hidden, columns = m->columns;
    const size_t before =
        m->gates ? fl_column(net, m->first / hidden, 0) / net->group * net->group : 0;
    (void)worker;
    for (size_t row = m->first + from; row < m->first + from + count; row++) {
        const size_t at = m->gates ? fl_column(net, row / hidden, row % hidden) - before : row;
        for (size_t c = 0; c < columns; c += plain) {
            float *to = (float *)(uintptr_t)fl_panel(m->panels, c / plain) + at * plain;
            const size_t left = columns - c, n = left < plain ? left : plain;
            memcpy(to, m->matrix + row * columns + c, n * sizeof(float));
            fl_no_subnormals(to, n);
        }
    }
    return fl_should_stop(context, slot, fl_move_flop(count * columns)) ? FL_INTERRUPTED : FL_OK;
}

static int pack_rows(matrix_rows m, const fl_caller *caller)
{
    const int by_panel = m.panels->format == FL_BFLOAT16;
    const size_t items = by_panel ? fl_ceil_div(m.columns, m.net->plain_group) : m.rows;
    const size_t block = by_panel ? 1 : 16;
    const size_t threads = fl_pack_threads(caller, items / block, m.rows * m.columns);
    return fl_parallel(m.net->kernels, caller, threads, items, block,
                       by_panel ? pack_some_parts : pack_some_rows, &m);
}

int fl_backward_weights_pack(fl_backward_weights *weights, const fl_net *net, size_t layer,
                             size_t dir, const float *w_ih, const float *w_hh, const float *w_hr,
                             const fl_caller *caller)
{
    const fl_backward_track *y = &weights->track[layer * net->config.dirs + dir];
    const size_t rows = net->cell->gates * net->config.hidden;
    const size_t last = y->last.data ? net->config.hidden : 0;
    const matrix_rows parts[] = {
        {net, &y->w, w_ih, 0, rows, fl_layer_in(net, layer), 1},
        {net, &y->r, w_hh, 0, rows - last, net->width, 1},
        {net, &y->last, w_hh, rows - last, last, net->width, 1},
        {net, &y->proj, w_hr, 0, net->width, net->config.hidden, 0},
    };
    int e = FL_OK;
    for (int i = 0; i < 4 && e == FL_OK; i++)
        e = parts[i].panels->data ? pack_rows(parts[i], caller) : FL_OK;
    return e;
}

void fl_backward_weights_set(fl_backward_weights *weights, const fl_net *net, size_t layer,
                             size_t dir, const float *w_ih, const float *w_hh, const float *w_hr)
{
    (void)fl_backward_weights_pack(weights, net, layer, dir, w_ih, w_hh, w_hr, &(fl_caller){0});
}
