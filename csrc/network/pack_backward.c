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

/* The same rows in parts: a row's k is its number, counted from `first`. 32 rows of a panel's
   columns at a time are copied to where the kernel may read them, with zeros for columns that there
   are not.
 */
static void pack_parts(const fl_net *net, const fl_panels *panels, const float *matrix,
                       size_t first, size_t rows, size_t columns)
{
    _Alignas(FL_ALIGN) float lines[FL_PIECE * FL_NV * FL_MAX_LANES] = {0};
    const size_t plain = net->plain_group;
    for (size_t c = 0; c < columns; c += plain) {
        char *to = (char *)panels->data + c / plain * panels->panel_bytes;
        const size_t here = columns - c < plain ? columns - c : plain;
        if (here < plain)
            memset(lines, 0, sizeof lines);
        for (size_t k = 0; k < rows; k += FL_PIECE) {
            const size_t n = rows - k < FL_PIECE ? rows - k : FL_PIECE;
            for (size_t i = 0; i < n; i++)
                memcpy(lines + i * plain, matrix + (first + k + i) * columns + c,
                       here * sizeof(float));
            net->kernels->split_lines(to, lines, plain, n, FL_NV, panels->parts,
                                      FL_TINY_FACTOR_PART);
            to += FL_PIECE * plain * 2 * (size_t)panels->parts;
        }
    }
}

/* Packs rows first .. first + rows - 1 of a matrix of `columns` columns into plain panels. If
   `gates`, the matrix holds the gates' weights, and a row's k is its column among the forward
   panels, counted from the first row's panel; otherwise a row's k is its number. Other k stay 0. */
static void pack_rows(const fl_net *net, const fl_panels *panels, const float *matrix, size_t first,
                      size_t rows, size_t columns, int gates)
{
    if (panels->format == FL_BFLOAT16) {
        pack_parts(net, panels, matrix, first, rows, columns);
        return;
    }
    const size_t plain = net->plain_group, hidden = net->config.hidden;
    const size_t before = gates ? fl_column(net, first / hidden, 0) / net->group * net->group : 0;
    for (size_t row = first; row < first + rows; row++) {
        const size_t at = gates ? fl_column(net, row / hidden, row % hidden) - before : row;
        for (size_t c = 0; c < columns; c += plain) {
            float *panel = (float *)((char *)panels->data + c / plain * panels->panel_bytes);
            const size_t left = columns - c;
            memcpy(panel + at * plain, matrix + row * columns + c,
                   (left < plain ? left : plain) * sizeof(float));
        }
    }
    fl_pack_end(panels, fl_plain_pad(net, columns) / plain);
}

void fl_backward_weights_set(fl_backward_weights *weights, const fl_net *net, size_t layer,
                             size_t dir, const float *w_ih, const float *w_hh, const float *w_hr)
{
    const fl_backward_track *y = &weights->track[layer * net->config.dirs + dir];
    const size_t rows = net->cell->gates * net->config.hidden;
    const size_t last = y->last.data ? net->config.hidden : 0;
    pack_rows(net, &y->w, w_ih, 0, rows, fl_layer_in(net, layer), 1);
    pack_rows(net, &y->r, w_hh, 0, rows - last, net->width, 1);
    if (last)
        pack_rows(net, &y->last, w_hh, rows - last, last, net->width, 1);
    if (y->proj.data)
        pack_rows(net, &y->proj, w_hr, 0, net->width, net->config.hidden, 0);
}
