/* SPDX-License-Identifier: MIT */
/*
 * What a forward call keeps for backward: one allocation, written by fl_forward, then read-only.
 *
 * Rows are in the call's own order, longest first; `order` gives their places in the batch. The
 * gates and states of all lanes (layer, direction) are numbered alike: step s, in processing order,
 * of row r is number n = offset[s] + r, and only steps within a row's length have one: N in all.
 * Whatever the threads and blocks of the forward call were, the tape is the same.
 */
#ifndef FL_TAPE_H
#define FL_TAPE_H

#include "forward.h"

/* One layer and direction. */
typedef struct fl_kept {
    float *h0;   /* [B][K] */
    float *c;    /* [B + N][hidden_pad]: c0, then c after each (s, r). Cells that reset h: r h of
                    (s, r) where c would be; others without c: NULL */
    float *kept; /* [panels][N][cell.kept * lanes]: activations */
} fl_kept;

struct fl_tape {
    size_t steps, batch, total; /* T, B, N */
    size_t row;                 /* D * K */
    size_t hidden_pad;
    size_t bytes;
    float dropout;
    uint64_t seed;
    size_t first, all; /* for the masks: step t is step first + t of a sequence of `all` */
    int reverse;       /* the net's */
    size_t *order;     /* [B] */
    size_t *length;    /* [B], descending */
    size_t *offset;    /* [T + 1] */
    float *x;          /* [T][B][I], tiny values flushed */
    float *out;        /* [L][T][B][D K]: every layer's output, before dropout */
    float *fed;        /* [L - 1][T][B][D K]: the same after it; equal to out without dropout */
    fl_kept lane[];    /* [L][D] */
};

/* Row (t, r) of what layer `layer` takes in, and of what it gave out. */
static inline float *fl_tape_in(const fl_tape *k, size_t input, size_t layer, size_t t, size_t r)
{
    size_t at = t * k->batch + r;
    return layer ? k->fed + ((layer - 1) * k->steps * k->batch + at) * k->row : k->x + at * input;
}

static inline float *fl_tape_out(const fl_tape *k, size_t layer, size_t t, size_t r)
{
    return k->out + ((layer * k->steps + t) * k->batch + r) * k->row;
}

/* c of row 0 after s steps (s = 0: c0); the following rows are hidden_pad apart. */
static inline float *fl_tape_c(const fl_tape *k, size_t lane, size_t s)
{
    return k->lane[lane].c + (s ? k->batch + k->offset[s - 1] : 0) * k->hidden_pad;
}

/* The time at which row r is at step s. */
static inline size_t fl_tape_time(const fl_tape *k, size_t dir, size_t s, size_t r)
{
    return dir || k->reverse ? k->length[r] - 1 - s : s;
}

/* Row r of a layer's h in direction dir after s of its steps. */
static inline const float *fl_tape_h(const fl_tape *k, const fl_net *net, size_t layer, size_t dir,
                                     size_t s, size_t r)
{
    return s ? fl_tape_out(k, layer, fl_tape_time(k, dir, s - 1, r), r) + dir * net->width
             : k->lane[layer * net->config.dirs + dir].h0 + r * net->width;
}

/* Rows, and offsets from the lengths: once the call has sorted its rows. */
void fl_tape_begin(fl_tape *tape, const fl_call *call, const size_t *order);

/* A block's inputs and initial states, which it has already, flushed. In pieces if j->stopped. */
void fl_tape_start(fl_job *j, fl_desk *desk, const fl_block *block);

/* Where step s of a lane keeps its activations and c. */
void fl_tape_step(const fl_job *j, const fl_block *block, size_t lane, size_t s, fl_step *step);

/* The block's rows of a layer's input (in) or output. */
fl_seq fl_tape_seq(const fl_job *j, const fl_block *block, size_t layer, int in);

/* After a tile: dropout for the layer above, or the top layer's outputs to the caller's y. */
void fl_tape_pass(const fl_job *j, const fl_block *block, size_t layer, size_t dir, size_t s0,
                  size_t s1);

/* fl_mask for n features of row (t, b) of a layer's output, feature `first` on. */
void fl_drop(const fl_tape *tape, float *y, const float *x, size_t n, size_t layer, size_t t,
             size_t b, size_t first);

#endif
