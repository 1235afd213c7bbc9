/* SPDX-License-Identifier: MIT */
/* PyTorch's layout -> panels. Done once, when weights are set; a call never packs. */
#include <string.h>

#include "alloc.h"
#include "net.h"
#include "pack.h"
#include "transpose.h"

/*
 * panel[p][k][v * lanes + l] = w[column(p, v, l)][k], w having `k` columns in memory.
 * Gates: vector v holds gate v of units p * lanes + l, rows v * n + unit of w, n = H.
 * Plain: vector v continues vector v - 1: row (p * FL_NV + v) * lanes + l of w, n = N.
 * Units past n are left as they are: 0 from the start.
 */
static void pack(float *panel, const float *w, size_t n, size_t k, size_t lanes, size_t panels,
                 int gates)
{
    const size_t group = FL_NV * lanes;
    for (size_t p = 0; p < panels; p++, panel += k * group) {
        for (size_t v = 0; v < FL_NV; v++) {
            const size_t unit = gates ? p * lanes : (p * FL_NV + v) * lanes;
            if (unit < n)
                fl_transpose(panel + v * lanes, group, w + (gates ? v * n + unit : unit) * k, k,
                             n - unit < lanes ? n - unit : lanes, k);
        }
        fl_no_subnormals(panel, k * group);
    }
}

static size_t align_floats(size_t n) { return fl_mul(fl_sum2(n, 15) / 16, 16); }

fl_net *fl_net_new(const fl_config *config, const fl_kernels *kernels)
{
    const size_t group = FL_NV * kernels->lanes;
    const size_t panels = fl_sum2(config->hidden, kernels->lanes - 1) / kernels->lanes;
    const size_t proj_panels = fl_sum2(config->proj, group - 1) / group;
    const size_t width = config->proj ? config->proj : config->hidden;
    const size_t count = fl_mul(config->layers, config->dirs);

    const size_t head = fl_sum2(sizeof(fl_net), fl_mul(count, sizeof(fl_layer)));
    const size_t at = align_floats(fl_sum2(head, 3) / 4);
    size_t floats = at;
    for (int upper = 0; upper < 2; upper++) {
        size_t in = upper ? fl_mul(config->dirs, width) : config->input;
        size_t k = fl_sum2(fl_sum2(in, width), 1); /* w, r, bias */
        size_t one = fl_mul(fl_mul(panels, group), k);
        one = fl_sum2(one, fl_mul(fl_mul(proj_panels, group), config->hidden));
        floats = fl_sum2(floats, fl_mul(one, upper ? count - config->dirs : config->dirs));
    }
    fl_net *net = fl_alloc_lasting(fl_mul(floats, sizeof(float)));
    if (!net)
        return NULL;
    memset(net, 0, floats * sizeof(float));
    net->config = *config;
    net->kernels = kernels;
    net->group = group;
    net->panels = panels;
    net->proj_panels = proj_panels;
    net->width = width;
    net->bytes = floats * sizeof(float);
    atomic_init(&net->holders, 1);

    float *next = (float *)net + at;
    for (size_t i = 0; i < count; i++) {
        fl_layer *y = &net->layer[i];
        y->in = i < config->dirs ? config->input : config->dirs * width;
        y->w = next;
        next += panels * group * y->in;
        y->r = next;
        next += panels * group * width;
        y->bias = next;
        next += panels * group;
        if (proj_panels) {
            y->proj = next;
            next += proj_panels * group * config->hidden;
        }
    }
    return net;
}

void fl_net_hold(const fl_net *net)
{
    atomic_fetch_add_explicit(&((fl_net *)(uintptr_t)net)->holders, 1, memory_order_relaxed);
}

void fl_net_free(fl_net *net)
{
    if (net && atomic_fetch_sub_explicit(&net->holders, 1, memory_order_acq_rel) == 1)
        fl_free(net);
}

size_t fl_net_bytes(const fl_net *net) { return net->bytes; }

void fl_net_set(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                const float *b_ih, const float *b_hh, const float *w_hr)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    fl_layer *y = &net->layer[layer * net->config.dirs + dir];
    pack(y->w, w_ih, hidden, y->in, lanes, net->panels, 1);
    pack(y->r, w_hh, hidden, net->width, lanes, net->panels, 1);
    for (size_t u = 0; u < hidden; u++)
        for (size_t g = 0; g < FL_NV; g++) {
            float b = (b_ih ? b_ih[g * hidden + u] : 0.0f) + (b_hh ? b_hh[g * hidden + u] : 0.0f);
            y->bias[u / lanes * net->group + g * lanes + u % lanes] = b;
        }
    fl_no_subnormals(y->bias, net->panels * net->group);
    if (y->proj)
        pack(y->proj, w_hr, net->config.proj, hidden, lanes, net->proj_panels, 0);
}
