/* SPDX-License-Identifier: MIT */
/* PyTorch's layout -> panels. Done once, when weights are set; a call never packs. */
#include <string.h>

#include "alloc.h"
#include "net.h"
#include "pack.h"
#include "transpose.h"

/* panel[p][k][at] = w[row][k] for n <= lanes rows of w, of `k` columns in memory, that go to one
   vector: `column` of `group` columns to the panel. */
static void pack_vector(float *panels, size_t group, size_t column, const float *w, size_t k,
                        size_t n)
{
    fl_transpose(panels + column / group * k * group + column % group, group, w, k, n, k);
}

/* The rows of all gates' weights to their panels. Units past H are left as they are: 0. */
static void pack_gates(const fl_net *net, float *panels, const float *w, size_t k)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    for (size_t g = 0; g < net->cell->gates; g++)
        for (size_t u = 0; u < hidden; u += lanes)
            pack_vector(panels, net->group, fl_column(net, g, u), w + (g * hidden + u) * k, k,
                        hidden - u < lanes ? hidden - u : lanes);
    fl_no_subnormals(panels, net->panels * k * net->group);
}

static size_t align_floats(size_t n) { return fl_mul(fl_sum2(n, 15) / 16, 16); }

fl_net *fl_net_new(const fl_config *config, const fl_kernels *kernels)
{
    const fl_cell *cell = &kernels->cell[fl_cell_of(config)];
    const size_t lanes = kernels->lanes, group = cell->vectors * lanes, plain = FL_NV * lanes;
    const size_t units = cell->units * lanes;
    const size_t unit_panels = fl_sum2(config->hidden, units - 1) / units;
    const size_t panels = fl_mul(unit_panels, cell->gates * cell->units / cell->vectors);
    const size_t proj_panels = fl_sum2(config->proj, plain - 1) / plain;
    const size_t b_hn = config->cell == FL_GRU ? unit_panels * lanes : 0;
    const size_t peep =
        config->variant.any && config->variant.peepholes ? fl_mul(unit_panels, 3 * lanes) : 0;
    const size_t width = config->proj ? config->proj : config->hidden;
    const size_t count = fl_mul(config->layers, config->dirs);

    const size_t head = fl_sum2(sizeof(fl_net), fl_mul(count, sizeof(fl_layer)));
    const size_t at = align_floats(fl_sum2(head, 3) / 4);
    size_t floats = at;
    for (int upper = 0; upper < 2; upper++) {
        size_t in = upper ? fl_mul(config->dirs, width) : config->input;
        size_t k = fl_sum2(fl_sum2(in, width), 1); /* w, r, bias */
        size_t one = fl_mul(fl_mul(panels, group), k);
        one = fl_sum2(one, fl_mul(fl_mul(proj_panels, plain), config->hidden));
        one = align_floats(fl_sum2(one, fl_sum2(b_hn, peep)));
        floats = fl_sum2(floats, fl_mul(one, upper ? count - config->dirs : config->dirs));
    }
    fl_net *net = fl_alloc_lasting(fl_mul(floats, sizeof(float)));
    if (!net)
        return NULL;
    memset(net, 0, floats * sizeof(float));
    net->config = *config;
    net->kernels = kernels;
    net->cell = cell;
    net->group = group;
    net->plain = plain;
    net->units = units;
    net->unit_panels = unit_panels;
    net->panels = panels;
    net->proj_panels = proj_panels;
    net->width = width;
    net->bytes = floats * sizeof(float);
    atomic_init(&net->holders, 1);

    float *next = (float *)net + at;
    for (size_t i = 0; i < count; i++) {
        fl_layer *y = &net->layer[i];
        float *const layer = next;
        y->in = i < config->dirs ? config->input : config->dirs * width;
        y->w = next;
        next += panels * group * y->in;
        y->r = next;
        next += panels * group * width;
        y->bias = next;
        next += panels * group;
        if (proj_panels) {
            y->proj = next;
            next += proj_panels * plain * config->hidden;
        }
        if (b_hn) {
            y->b_hn = next;
            next += b_hn;
        }
        if (peep) {
            y->peep = next;
            next += peep;
        }
        next = layer + align_floats((size_t)(next - layer));
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
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden, plain = net->plain;
    const size_t proj = net->config.proj;
    fl_layer *y = &net->layer[layer * net->config.dirs + dir];
    pack_gates(net, y->w, w_ih, y->in);
    pack_gates(net, y->r, w_hh, net->width);
    for (size_t u = 0; u < hidden; u++)
        for (size_t g = 0; g < net->cell->gates; g++) {
            float b = b_ih ? b_ih[g * hidden + u] : 0.0f, b_h = b_hh ? b_hh[g * hidden + u] : 0.0f;
            if (y->b_hn && g == 2)
                y->b_hn[u] = b_h;
            else
                b = b + b_h;
            y->bias[fl_column(net, g, u)] = b;
        }
    fl_no_subnormals(y->bias, net->panels * net->group);
    if (y->b_hn)
        fl_no_subnormals(y->b_hn, hidden);
    if (!y->proj)
        return;
    for (size_t p = 0; p < proj; p += lanes)
        pack_vector(y->proj, plain, p, w_hr + p * hidden, hidden,
                    proj - p < lanes ? proj - p : lanes);
    fl_no_subnormals(y->proj, net->proj_panels * hidden * plain);
}

void fl_net_set_peepholes(fl_net *net, size_t layer, size_t dir, const float *peepholes)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    float *peep = net->layer[layer * net->config.dirs + dir].peep;
    for (size_t g = 0; g < 3; g++)
        for (size_t u = 0; u < hidden; u++)
            peep[(u / lanes * 3 + g) * lanes + u % lanes] = peepholes[g * hidden + u];
    fl_no_subnormals(peep, net->unit_panels * 3 * lanes);
}
