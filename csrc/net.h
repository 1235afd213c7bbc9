/* SPDX-License-Identifier: MIT */
/* The packed network, shared by pack.c (which fills it) and what runs it. */
#ifndef FL_NET_H
#define FL_NET_H

#include <stdatomic.h>

#include "fastlstm.h"
#include "kernels.h"

/* One layer in one direction. Panels as drawn in kernels.h. */
typedef struct fl_layer {
    size_t in;   /* I, or D * K above the first layer */
    float *w;    /* input weights      [panels][in][G] */
    float *r;    /* recurrent weights  [panels][K][G] */
    float *bias; /* b_ih + b_hh        [panels][G]; of a GRU's n b_ih alone */
    float *b_hn; /* a GRU's n: b_hh    [panels][lanes]; NULL for other cells */
    float *peep; /* peepholes          [panels][i f o][lanes], or NULL */
    float *proj; /* w_hr, a plain matrix of P columns   [proj_panels][H][plain], or NULL */
} fl_layer;

struct fl_net {
    fl_config config;
    const fl_kernels *kernels;
    const fl_cell *cell;
    size_t group;       /* G = cell->vectors * lanes: floats across a panel of gates */
    size_t plain;       /* FL_NV * lanes: across a panel of a plain matrix */
    size_t units;       /* of a panel */
    size_t unit_panels; /* ceil(H / units) */
    size_t panels;      /* as many, or once for each gate if the gates follow one another */
    size_t proj_panels; /* ceil(P / plain), or 0 */
    size_t width;       /* K */
    size_t bytes;
    atomic_size_t holders; /* the owner, and calls that may outlive it */
    fl_layer layer[];      /* [layers][dirs], then the panels themselves */
};

/* Unit u of gate g is float fl_column % group of the groups of panel fl_column / group. */
static inline size_t fl_column(const fl_net *net, size_t g, size_t u)
{
    const size_t panel = u / net->units, at = u % net->units;
    return net->panels == net->unit_panels ? panel * net->group + g * net->kernels->lanes + at
                                           : (g * net->unit_panels + panel) * net->group + at;
}

/* The other way round: row g * H + u of PyTorch's layout where vector v of panel p begins, *left:
   how many of its units there are. 0 past the last. */
static inline size_t fl_gate_row(const fl_net *net, size_t p, size_t v, size_t *left)
{
    const size_t hidden = net->config.hidden, lanes = net->kernels->lanes,
                 across = net->units / lanes;
    const size_t g = v / across + p / net->unit_panels;
    const size_t u = p % net->unit_panels * net->units + v % across * lanes;
    *left = u >= hidden ? 0 : hidden - u < lanes ? hidden - u : lanes;
    return g * hidden + u;
}

/* Puts off fl_net_free's freeing until one more fl_net_free. */
void fl_net_hold(const fl_net *net);

#endif
