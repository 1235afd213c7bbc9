/* SPDX-License-Identifier: MIT */
/* The tape's layout, and what the forward call writes to it besides the gates. */
#include "tape.h"

#include <string.h>

#include "alloc.h"

static size_t carve(size_t *at, size_t count, size_t size)
{
    size_t here = *at;
    *at = fl_sum2(*at, fl_sum2(fl_mul(count, size), 63));
    if (*at != SIZE_MAX)
        *at = *at / 64 * 64;
    return here;
}

fl_tape *fl_tape_new(const fl_net *net, const fl_call *call, float dropout, uint64_t seed,
                     size_t steps_before, size_t all)
{
    const fl_config *f = &net->config;
    const size_t B = call->batch, T = call->steps, lanes = f->layers * f->dirs, fs = sizeof(float);
    const size_t row = f->dirs * net->width, pad = net->unit_panels * net->units;
    const int has_c = net->cell->has_c || net->cell->reset;
    size_t total = 0, at = 0;
    if (call->lengths)
        for (size_t b = 0; b < B; b++)
            total = fl_sum2(total, (size_t)call->lengths[b]);
    else
        total = fl_mul(B, T);
    carve(&at, 1, fl_sum2(sizeof(fl_tape), fl_mul(lanes, sizeof(fl_kept))));
    const size_t order = carve(&at, B, sizeof(size_t)), length = carve(&at, B, sizeof(size_t));
    const size_t offset = carve(&at, fl_sum2(T, 1), sizeof(size_t));
    const size_t x = carve(&at, fl_mul(fl_mul(B, T), f->input), fs);
    const size_t out = carve(&at, fl_mul(fl_mul(fl_mul(B, T), row), f->layers), fs);
    const size_t fed =
        dropout > 0 ? carve(&at, fl_mul(fl_mul(fl_mul(B, T), row), f->layers - 1), fs) : out;
    const size_t first = at;
    carve(&at, fl_mul(B, net->width), fs);
    carve(&at, has_c ? fl_mul(fl_sum2(B, total), pad) : 0, fs);
    carve(&at, fl_mul(fl_mul(net->panels, net->cell->kept * net->kernels->lanes), total), fs);
    const size_t each = at - first;
    at = fl_sum2(first, fl_mul(lanes, each));

    char *base = fl_alloc_lasting(at);
    if (!base)
        return NULL;
    fl_tape *k = (fl_tape *)base;
    *k = (fl_tape){.steps = T,
                   .batch = B,
                   .total = total,
                   .row = row,
                   .hidden_pad = pad,
                   .bytes = at,
                   .dropout = dropout,
                   .seed = seed,
                   .first = steps_before,
                   .all = all,
                   .reverse = f->reverse,
                   .order = (size_t *)(base + order),
                   .length = (size_t *)(base + length),
                   .offset = (size_t *)(base + offset),
                   .x = (float *)(base + x),
                   .out = (float *)(base + out),
                   .fed = (float *)(base + fed)};
    for (size_t i = 0; i < lanes; i++) {
        size_t here = first + i * each;
        k->lane[i].h0 = (float *)(base + carve(&here, fl_mul(B, net->width), fs));
        k->lane[i].c = (float *)(base + carve(&here, has_c ? fl_mul(B + total, pad) : 0, fs));
        k->lane[i].kept = (float *)(base + here);
        if (!has_c)
            k->lane[i].c = NULL;
    }
    return k;
}

void fl_tape_free(fl_tape *tape) { fl_free(tape); }

size_t fl_tape_bytes(const fl_tape *tape) { return tape->bytes; }

void fl_tape_begin(fl_tape *k, const fl_call *call, const size_t *order)
{
    size_t rows = k->batch;
    for (size_t r = 0; r < rows; r++) {
        k->order[r] = order ? order[r] : r;
        k->length[r] = call->lengths ? (size_t)call->lengths[k->order[r]] : k->steps;
    }
    k->offset[0] = 0;
    for (size_t s = 0; s < k->steps; s++) {
        while (rows && k->length[rows - 1] <= s)
            rows--;
        k->offset[s + 1] = k->offset[s] + rows;
    }
}

void fl_tape_start(fl_job *j, fl_desk *desk, const fl_block *block)
{
    const fl_net *net = j->net;
    const fl_call *call = j->call;
    const fl_tape *k = call->tape;
    const size_t lanes = net->config.layers * net->config.dirs, input = net->config.input;
    for (size_t r = 0; r < block->rows; r++) {
        const size_t row = block->first + r;
        for (size_t i = 0; i < lanes; i++) {
            memcpy(k->lane[i].h0 + row * net->width, block->h + (i * j->rows_max + r) * net->width,
                   net->width * sizeof(float));
            if (net->cell->has_c)
                memcpy(k->lane[i].c + row * k->hidden_pad,
                       block->c + (i * j->rows_max + r) * k->hidden_pad,
                       k->hidden_pad * sizeof(float));
        }
    }
    for (size_t t = 0; t < block->length[0]; t++)
        for (size_t r = 0; r < block->rows && block->length[r] > t; r++) {
            const size_t row = block->first + r;
            net->kernels->flush(
                fl_tape_in(k, input, 0, t, row),
                call->x + (ptrdiff_t)t * call->x_t + (ptrdiff_t)k->order[row] * call->x_b, input);
            if (fl_stop(j, desk, fl_moved(2 * input)))
                return;
        }
}

void fl_tape_step(const fl_job *j, const fl_block *block, size_t lane, size_t s, fl_step *step)
{
    const fl_tape *k = j->call->tape;
    const fl_cell *cell = j->net->cell;
    const size_t group = cell->kept * j->net->kernels->lanes;
    step->kept = k->lane[lane].kept + (k->offset[s] + block->first) * group;
    step->kept_panel = k->total * group;
    if (cell->has_c || cell->reset) {
        float *c = fl_tape_c(k, lane, s + 1) + block->first * k->hidden_pad;
        *(cell->reset ? &step->c : &step->c_out) = c;
    }
}

fl_seq fl_tape_seq(const fl_job *j, const fl_block *block, size_t layer, int in)
{
    const fl_tape *k = j->call->tape;
    const size_t input = j->net->config.input, row = in && !layer ? input : k->row;
    float *base =
        in ? fl_tape_in(k, input, layer, 0, block->first) : fl_tape_out(k, layer, 0, block->first);
    return (fl_seq){base, (ptrdiff_t)(k->batch * row), (ptrdiff_t)row, NULL, 0, 0};
}

void fl_tape_pass(const fl_job *j, const fl_block *block, size_t layer, size_t dir, size_t s0,
                  size_t s1)
{
    const fl_call *call = j->call;
    const fl_tape *k = call->tape;
    const size_t width = j->net->width, first = dir * width;
    const int top = layer + 1 == j->net->config.layers;
    if (top ? !call->y : k->dropout <= 0)
        return;
    for (size_t s = s0; s < s1; s++)
        for (size_t r = 0; r < block->rows && block->length[r] > s; r++) {
            const size_t row = block->first + r, t = fl_tape_time(k, dir, s, row),
                         b = k->order[row];
            const float *h = fl_tape_out(k, layer, t, row) + first;
            if (top)
                memcpy(call->y + (ptrdiff_t)t * call->y_t + (ptrdiff_t)b * call->y_b + first, h,
                       width * sizeof(float));
            else
                fl_drop(k, fl_tape_in(k, 0, layer + 1, t, row) + first, h, width, layer, t, b,
                        first);
        }
}

/* The finaliser of MurmurHash3 (Appleby, 2011), a bijection of 32 bits. */
static inline uint32_t mix32(uint32_t h)
{
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

/* splitmix64's output function (Steele, Lea, Flood 2014). */
static inline uint64_t mix64(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void fl_mask(float *y, const float *x, size_t n, float rate, uint64_t seed, uint64_t row,
             size_t first)
{
    /* two words for the row from a 64-bit hash, then one 32-bit hash for each feature */
    const uint64_t key = mix64(mix64(seed + 0x9e3779b97f4a7c15u) ^ (row + 1));
    const uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32) | 1u;
    /* of 24 bits: exact as a threshold */
    const uint32_t limit = (uint32_t)((double)rate * 16777216.0 + 0.5);
    const float scale = rate < 1.0f ? 1.0f / (1.0f - rate) : 0.0f;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = mix32((uint32_t)(first + i) * high + low) >> 8;
        y[i] = u < limit ? 0.0f : x[i] * scale;
    }
}

void fl_drop(const fl_tape *k, float *y, const float *x, size_t n, size_t layer, size_t t, size_t b,
             size_t first)
{
    fl_mask(y, x, n, k->dropout, k->seed, (layer * k->all + k->first + t) * k->batch + b, first);
}
