/* SPDX-License-Identifier: MIT */
/*
 * The tape: what a forward call keeps for backward, in one allocation. It is written by the forward
 * call (forward/record.c), and only read after that. It knows networks, and nothing of threads or
 * of how a call is divided.
 *
 * Rows are in the call's own order, longest first; `order` gives their places in the batch. Step s,
 * in the order in which a track processes its steps, of row r has the number n = offset[s] + r, the
 * same for all tracks. Only steps within a row's length have a number; N of them there are.
 * Whatever the threads and blocks of the forward call were, the tape is the same.
 */
#ifndef FL_TAPE_H
#define FL_TAPE_H

#include "network/network.h"

/* One layer in one direction. */
typedef struct fl_tape_track {
    float *h0; /* [B][K] */
    float *c;  /* [B + N][hidden_pad]: c0, then c after each step and row. For cells that reset h, r
                  h  of each step and row is where c would be. NULL for other cells without c */
    float *kept; /* [panels][N][cell.kept * L]: activations */
} fl_tape_track;

struct fl_tape {
    size_t steps, batch, total; /* T, B, N */
    size_t row;                 /* D * K */
    size_t hidden_pad;          /* H rounded up to whole panels */
    size_t bytes;
    float dropout;
    uint64_t seed;
    size_t first, all; /* for the masks: step t is step first + t of a sequence of `all` steps */
    int reverse;       /* the network's */
    size_t *order;     /* [B] */
    size_t *length;    /* [B], descending */
    size_t *offset;    /* [T + 1] */
    float *x;          /* [T][B][I], tiny values set to 0 */
    float *outputs;    /* [L][T][B][D K]: every layer's output, before dropout */
    float *inputs;     /* [L - 1][T][B][D K]: the same after dropout, which is what the layer above
                          takes in; equal to `outputs` without dropout */
    fl_tape_track track[]; /* [L][D] */
};

/* Row (t, r) of what layer `layer` takes in, and of what it gives out. `input` is I. */
static inline float *fl_tape_input(const fl_tape *tape, size_t input, size_t layer, size_t t,
                                   size_t r)
{
    size_t at = t * tape->batch + r;
    return layer ? tape->inputs + ((layer - 1) * tape->steps * tape->batch + at) * tape->row
                 : tape->x + at * input;
}

static inline float *fl_tape_output(const fl_tape *tape, size_t layer, size_t t, size_t r)
{
    return tape->outputs + ((layer * tape->steps + t) * tape->batch + r) * tape->row;
}

/* c of row 0 after s steps (for s = 0 c0); the following rows are hidden_pad floats apart. */
static inline float *fl_tape_c(const fl_tape *tape, size_t track, size_t s)
{
    return tape->track[track].c + (s ? tape->batch + tape->offset[s - 1] : 0) * tape->hidden_pad;
}

/* The time at which row r is at step s. */
static inline size_t fl_tape_time(const fl_tape *tape, size_t dir, size_t s, size_t r)
{
    return dir || tape->reverse ? tape->length[r] - 1 - s : s;
}

/* Row r of a layer's h in direction dir after s of its steps. */
static inline const float *fl_tape_h(const fl_tape *tape, const fl_net *net, size_t layer,
                                     size_t dir, size_t s, size_t r)
{
    return s ? fl_tape_output(tape, layer, fl_tape_time(tape, dir, s - 1, r), r) + dir * net->width
             : tape->track[layer * net->config.dirs + dir].h0 + r * net->width;
}

/* Fills in order, length and offset, once the call has sorted its rows. order: NULL for the
 * batch's. */
void fl_tape_begin(fl_tape *tape, const fl_call *call, const size_t *order);

/* fl_dropout for n features, from feature `first` on, of row (t, b) of a layer's output; b is the
   row's place in the batch. */
void fl_tape_dropout(const fl_tape *tape, float *y, const float *x, size_t n, size_t layer,
                     size_t t, size_t b, size_t first);

#endif
