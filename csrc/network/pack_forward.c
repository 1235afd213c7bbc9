/* SPDX-License-Identifier: MIT */
/* Packs weights in PyTorch's layout into panels, for forward calls. This is done once, when weights
   are set; a call never packs. Panels are independent of one another, so threads share them out. */
#include "network/pack_forward.h"

#include <math.h>

#include "kernels/bfloat16.h"
#include "network/network.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"

/* A matrix of all gates' weights and its panels. */
typedef struct matrix {
    const fl_net *net;
    const fl_panels *panels;
    const float *w;       /* NULL for FL_INT8 */
    const fl_int8 *codes; /* for FL_INT8 */
    size_t k;
} matrix;

/* Panels first .. first + count - 1. Columns past H stay as they are: 0. */
static int pack_panels(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                       size_t count)
{
    const matrix *m = arg;
    const fl_net *net = m->net;
    const size_t vectors = net->cell->vectors, lanes = net->kernels->lanes;
    (void)worker;
    for (size_t v = first * vectors; v < (first + count) * vectors; v++) {
        size_t units;
        const size_t row = fl_gate_row(net, v / vectors, v % vectors, &units);
        if (units && m->w)
            fl_pack_vector(m->panels, net->group, v * lanes, m->w + row * m->k, m->k, units);
        else if (units)
            fl_pack_codes(m->panels, net->kernels->code_zero, net->group, v * lanes, m->codes, row,
                          m->k, units);
    }
    fl_pack_end(m->panels, first, count);
    return fl_should_stop(context, slot, fl_move_flop(count * net->group * m->k)) ? FL_INTERRUPTED
                                                                                  : FL_OK;
}

static int pack_gates(const fl_net *net, const fl_panels *panels, const float *w,
                      const fl_int8 *codes, size_t k, const fl_caller *caller)
{
    matrix m = {.net = net, .panels = panels, .w = w, .codes = codes, .k = k};
    const size_t threads = fl_pack_threads(caller, net->panels, net->panels * net->group * k);
    return fl_parallel(net->kernels, caller, threads, net->panels, 1, pack_panels, &m);
}

static void no_tiny(float *bias, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bias[i] = fabsf(bias[i]) < FL_TINY_BIAS ? 0.0f : bias[i];
}

static void set_biases(const fl_net *net, const fl_track_weights *y, const float *b_ih,
                       const float *b_hh)
{
    const size_t hidden = net->config.hidden;
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
    if (net->config.format == FL_BFLOAT16) {
        no_tiny(y->bias, net->panels * net->group);
        if (y->b_hn)
            no_tiny(y->b_hn, hidden);
    }
}

int fl_net_pack(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                const float *b_ih, const float *b_hh, const float *w_hr, const fl_caller *caller)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden, proj = net->config.proj;
    fl_track_weights *y = &net->track[layer * net->config.dirs + dir];
    int e = pack_gates(net, &y->w, w_ih, NULL, y->in, caller);
    e = e == FL_OK ? pack_gates(net, &y->r, w_hh, NULL, net->width, caller) : e;
    set_biases(net, y, b_ih, b_hh);
    if (y->proj.data)
        fl_pack_plain(&y->proj, net->plain_group, lanes, w_hr, proj, hidden);
    return e;
}

int fl_net_pack_int8(fl_net *net, size_t layer, size_t dir, fl_int8 w_ih, fl_int8 w_hh,
                     const float *b_ih, const float *b_hh, fl_int8 w_hr, const fl_caller *caller)
{
    const fl_config *config = &net->config;
    const size_t lanes = net->kernels->lanes, proj = config->proj;
    const size_t rows = net->cell->gates * config->hidden;
    fl_track_weights *y = &net->track[layer * config->dirs + dir];
    int e = pack_gates(net, &y->w, NULL, &w_ih, y->in, caller);
    e = e == FL_OK ? pack_gates(net, &y->r, NULL, &w_hh, net->width, caller) : e;
    y->w.top = fl_codes_top(&w_ih, rows, y->in, layer ? 8 : config->input_bits);
    y->r.top = fl_codes_top(&w_hh, rows, net->width, 8);
    set_biases(net, y, b_ih, b_hh);
    for (size_t row = 0; row < proj; row += lanes)
        fl_pack_codes(&y->proj, net->kernels->code_zero, net->plain_group, row, &w_hr, row,
                      config->hidden, proj - row < lanes ? proj - row : lanes);
    if (proj)
        y->proj.top = fl_codes_top(&w_hr, proj, config->hidden, 8);
    return e;
}

void fl_net_set(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                const float *b_ih, const float *b_hh, const float *w_hr)
{
    (void)fl_net_pack(net, layer, dir, w_ih, w_hh, b_ih, b_hh, w_hr, &(fl_caller){0});
}

void fl_net_set_int8(fl_net *net, size_t layer, size_t dir, fl_int8 w_ih, fl_int8 w_hh,
                     const float *b_ih, const float *b_hh, fl_int8 w_hr)
{
    (void)fl_net_pack_int8(net, layer, dir, w_ih, w_hh, b_ih, b_hh, w_hr, &(fl_caller){0});
}

void fl_net_set_peepholes(fl_net *net, size_t layer, size_t dir, const float *peepholes)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    float *peep = net->track[layer * net->config.dirs + dir].peep;
    for (size_t g = 0; g < 3; g++)
        for (size_t u = 0; u < hidden; u++)
            peep[(u / lanes * 3 + g) * lanes + u % lanes] = peepholes[g * hidden + u];
    fl_no_subnormals(peep, net->unit_panels * 3 * lanes);
}
