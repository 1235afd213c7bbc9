/* SPDX-License-Identifier: MIT */
/* Packs weights in PyTorch's layout into panels, for forward calls. This is done once, when weights
   are set; a call never packs. */
#include "network/pack_forward.h"

#include <math.h>

#include "kernels/bfloat16.h"
#include "network/network.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"

/* The rows of all gates' weights to their panels. Columns past H stay as they are: 0. */
static void pack_gates(const fl_net *net, const fl_panels *panels, const float *w, size_t k)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    for (size_t g = 0; g < net->cell->gates; g++)
        for (size_t u = 0; u < hidden; u += lanes)
            fl_pack_vector(panels, net->group, fl_column(net, g, u), w + (g * hidden + u) * k, k,
                           hidden - u < lanes ? hidden - u : lanes);
    fl_pack_end(panels, net->panels);
}

static void pack_gates_int8(const fl_net *net, fl_panels *panels, const fl_int8 *w, size_t k,
                            int bits)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    for (size_t g = 0; g < net->cell->gates; g++)
        for (size_t u = 0; u < hidden; u += lanes)
            fl_pack_codes(panels, net->kernels->code_zero, net->group, fl_column(net, g, u), w,
                          g * hidden + u, k, hidden - u < lanes ? hidden - u : lanes);
    panels->top = fl_codes_top(w, net->cell->gates * hidden, k, bits);
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

void fl_net_set(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                const float *b_ih, const float *b_hh, const float *w_hr)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden, proj = net->config.proj;
    fl_track_weights *y = &net->track[layer * net->config.dirs + dir];
    pack_gates(net, &y->w, w_ih, y->in);
    pack_gates(net, &y->r, w_hh, net->width);
    set_biases(net, y, b_ih, b_hh);
    if (y->proj.data)
        fl_pack_plain(&y->proj, net->plain_group, lanes, w_hr, proj, hidden);
}

void fl_net_set_int8(fl_net *net, size_t layer, size_t dir, fl_int8 w_ih, fl_int8 w_hh,
                     const float *b_ih, const float *b_hh, fl_int8 w_hr)
{
    const fl_config *config = &net->config;
    const size_t lanes = net->kernels->lanes, proj = config->proj;
    fl_track_weights *y = &net->track[layer * config->dirs + dir];
    pack_gates_int8(net, &y->w, &w_ih, y->in, layer ? 8 : config->input_bits);
    pack_gates_int8(net, &y->r, &w_hh, net->width, 8);
    set_biases(net, y, b_ih, b_hh);
    for (size_t row = 0; row < proj; row += lanes)
        fl_pack_codes(&y->proj, net->kernels->code_zero, net->plain_group, row, &w_hr, row,
                      config->hidden, proj - row < lanes ? proj - row : lanes);
    if (proj)
        y->proj.top = fl_codes_top(&w_hr, proj, config->hidden, 8);
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
