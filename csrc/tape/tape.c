/* SPDX-License-Identifier: MIT */
#include "tape/tape.h"

#include "base/alloc.h"
#include "base/size.h"

/* Carves the tape, or only counts it if the carver has no base. */
static fl_tape *carve_tape(fl_carver *carver, const fl_net *net, const fl_tape *sizes)
{
    const fl_config *config = &net->config;
    const size_t B = sizes->batch, T = sizes->steps, fs = sizeof(float);
    const size_t cells = fl_mul(fl_mul(B, T), sizes->row);
    const int has_c = net->cell->has_c || net->cell->reset;
    fl_tape *tape =
        fl_carve(carver, 1, fl_add(sizeof(fl_tape), fl_mul(net->tracks, sizeof(fl_tape_track))));
    fl_tape laid = *sizes;
    laid.order = fl_carve(carver, B, sizeof(size_t));
    laid.length = fl_carve(carver, B, sizeof(size_t));
    laid.offset = fl_carve(carver, fl_add(T, 1), sizeof(size_t));
    laid.x = fl_carve(carver, fl_mul(fl_mul(B, T), config->input), fs);
    laid.outputs = fl_carve(carver, fl_mul(cells, config->layers), fs);
    laid.inputs =
        sizes->dropout > 0 ? fl_carve(carver, fl_mul(cells, config->layers - 1), fs) : laid.outputs;
    if (tape)
        *tape = laid;
    const size_t c = has_c ? fl_mul(fl_add(B, sizes->total), sizes->hidden_pad) : 0;
    const size_t kept =
        fl_mul(fl_mul(net->panels, net->cell->kept * net->kernels->lanes), sizes->total);
    for (size_t i = 0; i < net->tracks; i++) {
        fl_tape_track track = {.h0 = fl_carve(carver, fl_mul(B, net->width), fs),
                               .c = fl_carve(carver, c, fs),
                               .kept = fl_carve(carver, kept, fs)};
        if (!has_c)
            track.c = NULL;
        if (tape)
            tape->track[i] = track;
    }
    return tape;
}

fl_tape *fl_tape_new(const fl_net *net, const fl_call *call, float dropout, uint64_t seed,
                     size_t first, size_t all)
{
    size_t total = 0;
    if (call->lengths)
        for (size_t b = 0; b < call->batch; b++)
            total = fl_add(total, (size_t)call->lengths[b]);
    else
        total = fl_mul(call->batch, call->steps);
    fl_tape sizes = {.steps = call->steps,
                     .batch = call->batch,
                     .total = total,
                     .row = net->config.dirs * net->width,
                     .hidden_pad = net->unit_panels * net->panel_units,
                     .dropout = dropout,
                     .seed = seed,
                     .first = first,
                     .all = all,
                     .reverse = net->config.reverse};
    fl_carver carver = {0};
    carve_tape(&carver, net, &sizes);
    sizes.bytes = carver.used;
    carver = (fl_carver){.base = fl_alloc_lasting(sizes.bytes)};
    return carver.base ? carve_tape(&carver, net, &sizes) : NULL;
}

void fl_tape_free(fl_tape *tape) { fl_free(tape); }

size_t fl_tape_bytes(const fl_tape *tape) { return tape->bytes; }

void fl_tape_begin(fl_tape *tape, const fl_call *call, const size_t *order)
{
    size_t rows = tape->batch;
    for (size_t r = 0; r < rows; r++) {
        tape->order[r] = order ? order[r] : r;
        tape->length[r] = call->lengths ? (size_t)call->lengths[tape->order[r]] : tape->steps;
    }
    tape->offset[0] = 0;
    for (size_t s = 0; s < tape->steps; s++) {
        while (rows && tape->length[rows - 1] <= s)
            rows--;
        tape->offset[s + 1] = tape->offset[s] + rows;
    }
}

void fl_tape_dropout(const fl_tape *tape, float *y, const float *x, size_t n, size_t layer,
                     size_t t, size_t b, size_t first)
{
    const size_t row = (layer * tape->all + tape->first + t) * tape->batch + b;
    fl_dropout(y, x, n, tape->dropout, tape->seed, row, first);
}
