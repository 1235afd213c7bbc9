/* SPDX-License-Identifier: MIT */
#include "forward/record.h"

#include <string.h>

void fl_record_start(fl_job *job, fl_slot *slot, const fl_block *block)
{
    const fl_net *net = job->net;
    const fl_call *call = job->call;
    const fl_tape *tape = call->tape;
    const size_t input = net->config.input;
    for (size_t r = 0; r < block->rows; r++) {
        const size_t row = block->first + r;
        for (size_t i = 0; i < net->tracks; i++) {
            const size_t at = i * job->plan.rows_max + r;
            memcpy(tape->track[i].h0 + row * net->width, block->memory.h + at * net->width,
                   net->width * sizeof(float));
            if (net->cell->has_c)
                memcpy(tape->track[i].c + row * tape->hidden_pad,
                       block->memory.c + at * tape->hidden_pad, tape->hidden_pad * sizeof(float));
        }
    }
    for (size_t t = 0; t < block->memory.length[0]; t++)
        for (size_t r = 0; r < block->rows && block->memory.length[r] > t; r++) {
            const size_t row = block->first + r;
            const ptrdiff_t b = (ptrdiff_t)tape->order[row];
            net->kernels->flush(fl_tape_input(tape, input, 0, t, row),
                                call->x + (ptrdiff_t)t * call->x_t + b * call->x_b, input);
            if (fl_should_stop(&job->context, slot, fl_move_flop(2 * input)))
                return;
        }
}

void fl_record_step(const fl_job *job, const fl_block *block, size_t track, size_t s, fl_step *step)
{
    const fl_tape *tape = job->call->tape;
    const fl_cell *cell = job->net->cell;
    const size_t group = cell->kept * job->net->kernels->lanes;
    step->kept = tape->track[track].kept + (tape->offset[s] + block->first) * group;
    step->kept_panel = tape->total * group;
    if (cell->has_c || cell->reset) {
        float *c = fl_tape_c(tape, track, s + 1) + block->first * tape->hidden_pad;
        *(cell->reset ? &step->c : &step->c_out) = c;
    }
}

fl_sequence fl_record_rows(const fl_job *job, const fl_block *block, size_t layer, int input)
{
    const fl_tape *tape = job->call->tape;
    const size_t features = job->net->config.input, row = input && !layer ? features : tape->row;
    return (fl_sequence){.base = input ? fl_tape_input(tape, features, layer, 0, block->first)
                                       : fl_tape_output(tape, layer, 0, block->first),
                         .t_step = (ptrdiff_t)(tape->batch * row),
                         .r_step = (ptrdiff_t)row};
}

void fl_record_tile(const fl_job *job, const fl_block *block, size_t layer, size_t dir, size_t s0,
                    size_t s1)
{
    const fl_call *call = job->call;
    const fl_tape *tape = call->tape;
    const size_t width = job->net->width, first = dir * width;
    const int top = layer + 1 == job->net->config.layers;
    if (top ? !call->y : tape->dropout <= 0)
        return;
    for (size_t s = s0; s < s1; s++)
        for (size_t r = 0; r < block->rows && block->memory.length[r] > s; r++) {
            const size_t row = block->first + r, t = fl_tape_time(tape, dir, s, row);
            const size_t b = tape->order[row];
            const float *h = fl_tape_output(tape, layer, t, row) + first;
            if (top)
                memcpy(call->y + (ptrdiff_t)t * call->y_t + (ptrdiff_t)b * call->y_b + first, h,
                       width * sizeof(float));
            else
                fl_tape_dropout(tape, fl_tape_input(tape, 0, layer + 1, t, row) + first, h, width,
                                layer, t, b, first);
        }
}
