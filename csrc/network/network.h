/* SPDX-License-Identifier: MIT */
/*
 * A recurrent network: its geometry and its packed weights (panels: kernels/panels.h). One layer in
 * one direction is a track; tracks are numbered layer * dirs + direction.
 *
 * This folder knows PyTorch's layout of weights and the panels that kernels read, which several
 * threads may fill. It does not know calls, rows or time.
 */
#ifndef FL_NETWORK_H
#define FL_NETWORK_H

#include <stdatomic.h>

#include "fastlstm.h"
#include "kernels/contract.h"

/* The packed weights of one track. The columns of w and r are the gates' sums, as in the panels'
   picture. Padding past the last unit is 0. */
typedef struct fl_track_weights {
    size_t in;      /* width of its input: I, or D * K above the first layer */
    fl_panels w;    /* weight_ih: k counts the input's features */
    fl_panels r;    /* weight_hh: k counts the state's features */
    fl_panels proj; /* weight_hr, plain panels: the columns are the P features of h, k counts the H
                       units; data is NULL without a projection */
    float *bias;    /* [panels][G]: b_ih + b_hh; for n of FL_GRU b_ih only */
    float *b_hn;    /* [unit_panels][L]: b_hh for n of FL_GRU; NULL for other cells */
    float *peep;    /* [panels][i f o][L]: peepholes; NULL: none */
} fl_track_weights;

struct fl_net {
    fl_config config;
    const fl_kernels *kernels; /* those of fl_net_new, or the set without tiles where the system
                                  does not permit tiles to this process */
    const fl_cell *cell;
    size_t group;       /* G = cell->vectors * L: floats in a group of a panel of gates */
    size_t plain_group; /* FL_NV * L: floats in a group of a plain panel */
    size_t panel_units; /* units in a panel */
    size_t unit_panels; /* panels that hold all units of one gate: ceil(H / panel_units) */
    size_t panels; /* panels of a track's w and of its r: unit_panels, times the gates if a panel
                      holds one gate only */
    size_t proj_panels;  /* ceil(P / plain_group), or 0 */
    size_t width;        /* K: the width of a state h and of one track's output */
    size_t tracks;       /* L * D */
    size_t bytes;        /* of this allocation */
    atomic_size_t users; /* 1 for whoever made the network, and 1 for each call whose threads may
                            still read it after the call has returned; freed when it is 0 */
    fl_track_weights track[]; /* [tracks]; the packed weights follow in the same allocation */
};

/* The column of unit u of gate g, counted through all panels of G columns each: it is column
   fl_column % G of panel fl_column / G. */
static inline size_t fl_column(const fl_net *net, size_t g, size_t u)
{
    const size_t panel = u / net->panel_units, at = u % net->panel_units;
    return net->panels == net->unit_panels ? panel * net->group + g * net->kernels->lanes + at
                                           : (g * net->unit_panels + panel) * net->group + at;
}

/* The inverse of fl_column: the row, g * H + u, that the first lane of vector v of panel p has in
   PyTorch's layout. *units becomes the number of lanes of the vector that hold units; it is 0, and
   the row of no use, if the vector lies past the last unit. */
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

/* Does a direction go from each row's last step to its first? */
static inline int fl_reverse(const fl_net *net, size_t dir) { return dir || net->config.reverse; }

/* Counts one more user. The network is freed by the call of fl_net_free that is the last of as many
   as there are users. */
void fl_net_hold(const fl_net *net);

#endif
