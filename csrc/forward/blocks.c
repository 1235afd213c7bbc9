/* SPDX-License-Identifier: MIT */
#include "forward/blocks.h"

#include <string.h>

#include "forward/record.h"

/*
 * Does a layer write its output to between[which]? In a bidirectional stack the layers use two
 * places in turn, since each needs the whole output of the one below:
 *
 *     top layer       y, or between[0] if the caller does not want y
 *     the one below   between[1]
 *     the next one    y or between[0] again, and so on
 */
static int uses_between(const fl_job *job, int which)
{
    if (job->call->tape)
        return 0; /* all outputs go to the tape */
    if (job->net->config.dirs == 1)
        return which == 0;
    return which ? job->net->config.layers >= 2 : !job->call->y;
}

fl_block_memory fl_block_memory_carve(fl_carver *carver, const fl_job *job)
{
    const fl_net *net = job->net;
    const fl_config *config = &net->config;
    const fl_plan *plan = &job->plan;
    const size_t fs = sizeof(float), rows = fl_mul(net->tracks, plan->rows_max);
    size_t between = fl_mul(plan->rows_max, fl_mul(config->dirs, net->width));
    between = config->dirs == 1
                  ? fl_mul(between, fl_mul(plan->chunk_steps, fl_mul(config->layers, plan->ring)))
                  : fl_mul(between, job->call->steps);
    fl_block_memory m;
    m.length = fl_carve(carver, plan->rows_max, sizeof(size_t));
    m.c = fl_carve(carver, net->cell->has_c ? fl_mul(rows, plan->hidden_pad) : 0, fs);
    m.h = fl_carve(carver, fl_mul(rows, net->width), fs);
    for (int which = 0; which < 2; which++)
        m.between[which] = fl_carve(carver, uses_between(job, which) ? between : 0, fs);
    return m;
}

fl_sequence fl_caller_rows(const fl_job *job, const fl_block *block, const float *base,
                           ptrdiff_t t_step, ptrdiff_t b_step)
{
    const ptrdiff_t shift = job->order ? 0 : (ptrdiff_t)block->first * b_step;
    return (fl_sequence){.base = base ? (float *)(uintptr_t)base + shift : NULL,
                         .t_step = t_step,
                         .r_step = b_step,
                         .order = job->order ? job->order + block->first : NULL};
}

fl_sequence fl_layer_output(const fl_job *job, const fl_block *block, size_t layer, size_t chunk)
{
    const fl_call *call = job->call;
    const fl_config *config = &job->net->config;
    const fl_plan *plan = &job->plan;
    if (call->tape)
        return fl_record_rows(job, block, layer, 0);
    const size_t row = config->dirs * job->net->width, above = config->layers - 1 - layer;
    if (call->y && (config->dirs == 1 ? above == 0 : above % 2 == 0))
        return fl_caller_rows(job, block, call->y, call->y_t, call->y_b);
    fl_sequence q = {.base = block->memory.between[0],
                     .t_step = (ptrdiff_t)(plan->rows_max * row),
                     .r_step = (ptrdiff_t)row};
    if (config->dirs == 1) {
        q.base +=
            (layer * plan->ring + chunk % plan->ring) * plan->chunk_steps * plan->rows_max * row;
        q.start = chunk * plan->chunk_steps;
        q.by_step = 1;
    } else {
        q.base = block->memory.between[above % 2];
    }
    return q;
}

fl_sequence fl_layer_input(const fl_job *job, const fl_block *block, size_t layer, size_t chunk)
{
    const fl_call *call = job->call;
    if (call->tape)
        return fl_record_rows(job, block, layer, 1);
    return layer ? fl_layer_output(job, block, layer - 1, chunk)
                 : fl_caller_rows(job, block, call->x, call->x_t, call->x_b);
}

/* The number in the caller's batch of row r of a block. */
static size_t batch_row(const fl_job *job, const fl_block *block, size_t r)
{
    return job->order ? job->order[block->first + r] : block->first + r;
}

void fl_block_start(fl_job *job, fl_slot *slot, size_t number, const fl_block_memory *memory)
{
    const fl_net *net = job->net;
    const fl_call *call = job->call;
    const fl_plan *plan = &job->plan;
    const size_t hidden = net->config.hidden;
    fl_block *block = &job->block[number];
    block->first = fl_block_first(number, plan->blocks, call->batch);
    block->rows = fl_block_first(number + 1, plan->blocks, call->batch) - block->first;
    block->memory = *memory;
    for (size_t r = 0; r < block->rows; r++)
        block->memory.length[r] =
            call->lengths ? (size_t)call->lengths[batch_row(job, block, r)] : call->steps;
    block->chunks = fl_ceil_div(block->memory.length[0], plan->chunk_steps);
    for (size_t i = 0; i < net->tracks; i++)
        for (size_t r = 0; r < block->rows; r++) {
            const size_t b = i * call->batch + batch_row(job, block, r);
            float *c = block->memory.c + (i * plan->rows_max + r) * plan->hidden_pad;
            float *h = block->memory.h + (i * plan->rows_max + r) * net->width;
            if (net->cell->has_c)
                memset(c, 0, plan->hidden_pad * sizeof(float));
            memset(h, 0, net->width * sizeof(float));
            if (net->cell->has_c && call->c0)
                net->kernels->flush(c, call->c0 + b * hidden, hidden);
            if (call->h0)
                net->kernels->flush(h, call->h0 + b * net->width, net->width);
        }
    if (call->tape)
        fl_record_start(job, slot, block);
}

void fl_block_end(fl_job *job, fl_slot *slot, const fl_block *block)
{
    const fl_net *net = job->net;
    const fl_call *call = job->call;
    const fl_plan *plan = &job->plan;
    const size_t hidden = net->config.hidden;
    for (size_t i = 0; i < net->tracks; i++)
        for (size_t r = 0; r < block->rows; r++) {
            const size_t b = i * call->batch + batch_row(job, block, r),
                         at = i * plan->rows_max + r;
            if (call->cn && net->cell->has_c)
                memcpy(call->cn + b * hidden, block->memory.c + at * plan->hidden_pad,
                       hidden * sizeof(float));
            if (call->hn)
                memcpy(call->hn + b * net->width, block->memory.h + at * net->width,
                       net->width * sizeof(float));
        }
    if (!call->y || !job->order)
        return;
    const fl_sequence y = fl_caller_rows(job, block, call->y, call->y_t, call->y_b);
    const size_t dirs = net->config.dirs, row = dirs * net->width;
    const ptrdiff_t across = call->y_d ? call->y_d : (ptrdiff_t)net->width;
    for (size_t r = 0; r < block->rows; r++)
        for (size_t t = block->memory.length[r]; t < call->steps; t++) {
            for (size_t d = 0; d < dirs; d++)
                memset(fl_sequence_row(&y, t, r) + (ptrdiff_t)d * across, 0,
                       net->width * sizeof(float));
            if (fl_should_stop(&job->context, slot, fl_move_flop(row)))
                return;
        }
}
