/* SPDX-License-Identifier: MIT */
/* Makes and frees a network: geometry, and memory for the packed weights, which are zeros until
   pack_forward.c packs some. */
#include "network/network.h"

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "kernels/dispatch.h"
#include "network/pack_matrix.h"

/* The policy: which format the panels of a network have. It is what the configuration asks for.
   fl_isa_can_run says what an instruction set is capable of. */
static int choose_format(const fl_config *config) { return config->format; }

/* Carves the weights of a track of a layer; without a base of the carver they are only counted. */
static fl_track_weights carve_track(fl_carver *carver, const fl_net *net, size_t layer)
{
    const fl_config *config = &net->config;
    const size_t lanes = net->kernels->lanes, padded = fl_mul(net->unit_panels, lanes);
    const int format = choose_format(config), parts = config->parts;
    const fl_kernels *kernels = net->kernels;
    const int peepholes = config->variant.differs && config->variant.peepholes;
    fl_track_weights y = {.in = fl_layer_in(net, layer)};
    y.w = fl_panels_carve(carver, format, parts, kernels, net->panels, net->group, y.in);
    y.r = fl_panels_carve(carver, format, parts, kernels, net->panels, net->group, net->width);
    y.bias = fl_carve(carver, fl_mul(net->panels, net->group), sizeof(float));
    if (net->proj_panels)
        y.proj = fl_panels_carve(carver, format, parts, kernels, net->proj_panels, net->plain_group,
                                 config->hidden);
    if (config->cell == FL_GRU)
        y.b_hn = fl_carve(carver, padded, sizeof(float));
    if (peepholes)
        y.peep = fl_carve(carver, fl_mul(3, padded), sizeof(float));
    return y;
}

fl_net *fl_net_new(const fl_config *config, const fl_kernels *kernels)
{
    kernels = fl_permitted_kernels(kernels, fl_format_encoded(choose_format(config)));
    const fl_cell *cell = &kernels->cell[fl_cell_of(config)];
    const size_t lanes = kernels->lanes, plain_group = FL_NV * lanes, units = cell->units * lanes;
    const size_t unit_panels = fl_add(config->hidden, units - 1) / units;
    fl_net sizes = {
        .config = *config,
        .kernels = kernels,
        .cell = cell,
        .group = cell->vectors * lanes,
        .plain_group = plain_group,
        .panel_units = units,
        .unit_panels = unit_panels,
        .panels = fl_mul(unit_panels, cell->gates * cell->units / cell->vectors),
        .proj_panels = fl_add(config->proj, plain_group - 1) / plain_group,
        .width = config->proj ? config->proj : config->hidden,
        .tracks = fl_mul(config->layers, config->dirs),
    };
    fl_carver upper = {0}, carver = {0};
    if (!fl_isa_can_run(kernels, config) || config->dirs > SIZE_MAX / sizes.width)
        return NULL;
    carve_track(&upper, &sizes, 1);
    fl_carve(&carver, 1, fl_add(sizeof(fl_net), fl_mul(sizes.tracks, sizeof(fl_track_weights))));
    for (size_t d = 0; d < config->dirs; d++)
        carve_track(&carver, &sizes, 0);
    const size_t bytes = fl_add(carver.used, fl_mul(sizes.tracks - config->dirs, upper.used));

    fl_net *net = fl_alloc_lasting(bytes);
    if (!net)
        return NULL;
    memset(net, 0, bytes);
    sizes.bytes = bytes;
    memcpy(net, &sizes, sizeof sizes);
    atomic_init(&net->users, 1);
    carver = (fl_carver){.base = (char *)net};
    fl_carve(&carver, 1, sizeof(fl_net) + net->tracks * sizeof(fl_track_weights));
    for (size_t i = 0; i < net->tracks; i++)
        net->track[i] = carve_track(&carver, net, i / config->dirs);
    return net;
}

void fl_net_hold(const fl_net *net)
{
    atomic_fetch_add_explicit(&((fl_net *)(uintptr_t)net)->users, 1, memory_order_relaxed);
}

void fl_net_free(fl_net *net)
{
    if (net && atomic_fetch_sub_explicit(&net->users, 1, memory_order_acq_rel) == 1)
        fl_free(net);
}

size_t fl_net_bytes(const fl_net *net) { return net->bytes; }
