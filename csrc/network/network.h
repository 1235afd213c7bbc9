/* SPDX-License-Identifier: MIT */
/*
 * A recurrent network: its geometry and its packed weights. One layer in one direction is a track;
 * tracks are numbered layer * dirs + direction.
 *
 * This folder knows PyTorch's layout of weights and the panels that kernels read. It does not know
 * calls, rows, time or threads.
 */
#ifndef FL_NETWORK_H
#define FL_NETWORK_H

#include <stdatomic.h>

#include "fastlstm.h"
#include "kernels/contract.h"

/* The packed weights of one track. */
typedef struct fl_track_weights {
    size_t in;      /* width of its input: I, or D * K above the first layer */
    fl_panels w;    /* weight_ih, k = the input's features */
    fl_panels r;    /* weight_hh, k = the state's features */
    fl_panels proj; /* weight_hr, plain panels of P columns, k = the units; data NULL: none */
    float *bias;    /* [panels][G]: b_ih + b_hh; for n of a GRU b_ih only */
    float *b_hn;    /* [unit_panels][L]: b_hh for n of a GRU; NULL for other cells */
    float *peep;    /* [panels][i f o][L]: peepholes; NULL: none */
} fl_track_weights;

struct fl_net {
    fl_config config;
    const fl_kernels *kernels;
    const fl_cell *cell;
    size_t group;       /* G = cell->vectors * L: floats in a group of a panel of gates */
    size_t plain_group; /* FL_NV * L: floats in a group of a plain panel */
    size_t panel_units; /* units in a panel */
    size_t unit_panels; /* panels that hold all units of one gate: ceil(H / panel_units) */
    size_t panels;      /* unit_panels, times the gates if these follow one another */
    size_t proj_panels; /* ceil(P / plain_group), or 0 */
    size_t width;       /* K: the width of a state h and of one track's output */
    size_t tracks;      /* L * D */
    size_t bytes;
    atomic_size_t users;      /* the owner, and calls that may go on after it has let go */
    fl_track_weights track[]; /* [tracks]; the packed weights follow in the same allocation */
};

/* Where unit u of gate g is: at float fl_column % G of the groups of panel fl_column / G. */
static inline size_t fl_column(const fl_net *net, size_t g, size_t u)
{
    const size_t panel = u / net->panel_units, at = u % net->panel_units;
    return net->panels == net->unit_panels ? panel * net->group + g * net->kernels->lanes + at
                                           : (g * net->unit_panels + panel) * net->group + at;
}

/* The inverse: vector v of panel p begins at the returned row, g * H + u, of PyTorch's layout.
   How many of its lanes hold units, 0 past the last one, goes to `units`. */
static inline size_t fl_gate_row(const fl_net *net, size_t p, size_t v, size_t *units)
{
    const size_t hidden = net->config.hidden, lanes = net->kernels->lanes,
                 vectors = net->panel_units / lanes;
    const size_t g = v / vectors + p / net->unit_panels;
    const size_t u = p % net->unit_panels * net->panel_units + v % vectors * lanes;
    *units = u >= hidden ? 0 : hidden - u < lanes ? hidden - u : lanes;
    return g * hidden + u;
}

/* The width of a layer's input. */
static inline size_t fl_layer_in(const fl_net *net, size_t layer)
{
    return layer ? net->config.dirs * net->width : net->config.input;
}

/* `columns` rounded up to whole plain panels. */
static inline size_t fl_plain_pad(const fl_net *net, size_t columns)
{
    return (columns + net->plain_group - 1) / net->plain_group * net->plain_group;
}

/* Does a direction go from the end of each row to its beginning? */
static inline int fl_reverse(const fl_net *net, size_t dir) { return dir || net->config.reverse; }

/* Counts one more user: the network is freed when fl_net_free has been called by each. */
void fl_net_hold(const fl_net *net);

#endif
