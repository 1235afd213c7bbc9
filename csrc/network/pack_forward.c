/* SPDX-License-Identifier: MIT */
/* PyTorch's layout to panels, for forward calls. This is done once, when weights are set; a call
   never packs. */
#include "network/pack_forward.h"

#include "network/half.h"
#include "network/network.h"
#include "network/subnormals.h"
#include "network/transpose.h"

/* Writes n <= L rows of w, of `k` columns each, as one vector of a panel's groups: for each of the
   `k`, number `column` % group of the groups of panel `column` / group. */
static void pack_vector(const fl_panels *panels, size_t group, size_t column, const float *w,
                        size_t k, size_t n)
{
    char *panel = (char *)panels->data + column / group * panels->panel_bytes;
    if (panels->format == FL_FLOAT32) {
        fl_transpose((float *)panel + column % group, group, w, k, n, k);
        return;
    }
    uint16_t *to = (uint16_t *)panel + column % group;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < n; j++)
            to[i * group + j] = fl_half(w[j * k + i]);
}

/* Sets the subnormal numbers among packed float32 weights to zero. Binary16's are normal numbers
   once they are float32. */
static void flush_panels(const fl_panels *panels, size_t count)
{
    if (panels->format == FL_FLOAT32)
        fl_no_subnormals(panels->data, count * panels->panel_bytes / sizeof(float));
}

/* The rows of all gates' weights to their panels. Columns past H stay as they are: 0. */
static void pack_gates(const fl_net *net, const fl_panels *panels, const float *w, size_t k)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    for (size_t g = 0; g < net->cell->gates; g++)
        for (size_t u = 0; u < hidden; u += lanes)
            pack_vector(panels, net->group, fl_column(net, g, u), w + (g * hidden + u) * k, k,
                        hidden - u < lanes ? hidden - u : lanes);
    flush_panels(panels, net->panels);
}

void fl_net_set(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                const float *b_ih, const float *b_hh, const float *w_hr)
{
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden, proj = net->config.proj;
    fl_track_weights *y = &net->track[layer * net->config.dirs + dir];
    pack_gates(net, &y->w, w_ih, y->in);
    pack_gates(net, &y->r, w_hh, net->width);
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
    if (!y->proj.data)
        return;
    for (size_t p = 0; p < proj; p += lanes)
        pack_vector(&y->proj, net->plain_group, p, w_hr + p * hidden, hidden,
                    proj - p < lanes ? proj - p : lanes);
    flush_panels(&y->proj, net->proj_panels);
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
