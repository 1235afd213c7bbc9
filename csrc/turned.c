/* SPDX-License-Identifier: MIT */
/* PyTorch's layout -> the panels of backward.h. Their rows are rows of the weights as they are, so
   packing copies a panel's width at a time. */
#include <string.h>

#include "alloc.h"
#include "backward.h"
#include "pack.h"

/* `from` (rows, columns), gates' weights from row `first` on, or a plain matrix's, to plain panels
   [q][k][Q]. A row's k is its column of the forward panels, counted from the first row's panel, or
   its own number; other k stay 0. */
static void pack_rows(const fl_net *net, float *panels, size_t k, const float *from, size_t first,
                      size_t rows, size_t columns, int gates)
{
    const size_t plain = net->plain, hidden = net->config.hidden;
    const size_t before = gates ? fl_column(net, first / hidden, 0) / net->group * net->group : 0;
    for (size_t row = first; row < first + rows; row++) {
        const size_t at = gates ? fl_column(net, row / hidden, row % hidden) - before : row;
        for (size_t c = 0; c < columns; c += plain) {
            const size_t left = columns - c;
            memcpy(panels + (c / plain * k + at) * plain, from + row * columns + c,
                   (left < plain ? left : plain) * sizeof(float));
        }
    }
    fl_no_subnormals(panels, fl_plain_pad(net, columns) * k);
}

fl_turned *fl_turned_new(const fl_net *net)
{
    const fl_config *f = &net->config;
    const size_t count = f->layers * f->dirs, kk = net->panels * net->group;
    const size_t at = (sizeof(fl_turned) + count * sizeof(fl_turned_layer) + 63) / 64 * 16;
    size_t floats = at;
    for (size_t i = 0; i < count; i++) {
        size_t columns = fl_sum2(fl_plain_pad(net, fl_layer_in(net, i / f->dirs)),
                                 fl_plain_pad(net, net->width));
        floats = fl_sum2(floats, fl_mul(columns, kk));
        floats = fl_sum2(floats, f->proj ? fl_mul(fl_plain_pad(net, f->hidden), f->proj) : 0);
    }
    fl_turned *turned = fl_alloc_lasting(fl_mul(floats, sizeof(float)));
    if (!turned)
        return NULL;
    memset(turned, 0, floats * sizeof(float));
    turned->bytes = floats * sizeof(float);
    float *next = (float *)turned + at;
    for (size_t i = 0; i < count; i++) {
        fl_turned_layer *y = &turned->layer[i];
        y->w = next;
        next += fl_plain_pad(net, fl_layer_in(net, i / f->dirs)) * kk;
        y->r = next;
        next += fl_plain_pad(net, net->width) * kk;
        if (net->cell->reset)
            y->last = next - fl_plain_pad(net, net->width) * net->unit_panels * net->group;
        if (f->proj) {
            y->proj = next;
            next += fl_plain_pad(net, f->hidden) * f->proj;
        }
    }
    return turned;
}

void fl_turned_free(fl_turned *turned) { fl_free(turned); }

size_t fl_turned_bytes(const fl_turned *turned) { return turned->bytes; }

void fl_turned_set(fl_turned *turned, const fl_net *net, size_t layer, size_t dir,
                   const float *w_ih, const float *w_hh, const float *w_hr)
{
    const fl_turned_layer *y = &turned->layer[layer * net->config.dirs + dir];
    const size_t kk = net->panels * net->group, gates = net->cell->gates * net->config.hidden;
    const size_t own = net->cell->reset ? net->unit_panels * net->group : 0; /* the last gate's */
    const size_t last = own ? net->config.hidden : 0;
    pack_rows(net, y->w, kk, w_ih, 0, gates, fl_layer_in(net, layer), 1);
    pack_rows(net, y->r, kk - own, w_hh, 0, gates - last, net->width, 1);
    if (y->last)
        pack_rows(net, y->last, own, w_hh, gates - last, last, net->width, 1);
    if (y->proj)
        pack_rows(net, y->proj, net->width, w_hr, 0, net->width, net->config.hidden, 0);
}
