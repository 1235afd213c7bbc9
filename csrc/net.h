/* SPDX-License-Identifier: MIT */
/* The packed network, shared by pack.c (which fills it) and lstm.c (which runs it). */
#ifndef FL_NET_H
#define FL_NET_H

#include <stdatomic.h>

#include "fastlstm.h"
#include "kernels.h"

/* One layer in one direction. Panels as drawn in kernels.h; G = FL_NV * lanes. */
typedef struct fl_layer {
    size_t in;   /* I, or D * K above the first layer */
    float *w;    /* input weights      [panels][in][G] */
    float *r;    /* recurrent weights  [panels][K][G] */
    float *bias; /* b_ih + b_hh        [panels][G] */
    float *proj; /* w_hr, a plain matrix of P columns   [proj_panels][H][G], or NULL */
} fl_layer;

struct fl_net {
    fl_config config;
    const fl_kernels *kernels;
    size_t group;       /* G */
    size_t panels;      /* ceil(H / lanes) */
    size_t proj_panels; /* ceil(P / G), or 0 */
    size_t width;       /* K */
    size_t bytes;
    atomic_size_t holders; /* the owner, and calls that may outlive it */
    fl_layer layer[];      /* [layers][dirs], then the panels themselves */
};

/* Puts off fl_net_free's freeing until one more fl_net_free. */
void fl_net_hold(const fl_net *net);

#endif
