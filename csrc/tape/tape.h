/* SPDX-License-Identifier: MIT */
/*
 * The tape: what a forward call keeps for backward, in one allocation. The forward call writes it
 * (forward/record.c), and everybody else only reads it. Its contents do not depend on the threads
 * and blocks of the forward call.
 *
 * Rows are sorted longest first, and a row r of the tape is row order[r] of the batch. A track is
 * one layer in one direction. Its steps are counted in the order in which it processes them, so
 * step s of a row is at time s in a forward track, and at time length - 1 - s in a reverse one. The
 * steps of all rows, those within a row's length only, are numbered n = 0 .. N - 1, alike in all
 * tracks:
 *
 *     n = offset[s] + r          step s of row r
 *
 *     s = 0    n = 0 1 2 3       four rows of lengths 3, 3, 2 and 1: N = 9
 *     s = 1    n = 4 5 6
 *     s = 2    n = 7 8
 *
 * This folder knows networks. It does not know threads, nor how a call is divided.
 */
#ifndef FL_TAPE_H
#define FL_TAPE_H

#include "network/network.h"

/* What is kept of one track. */
typedef struct fl_tape_track {
    float *h0; /* [B][K] */
    float *c;  /* [B + N][hidden_pad]: c0 of the B rows, then c after step n. For cells that reset h
                  the first B are unused, and the others are r * h of step n. NULL for other
                  cells */
    float *kept; /* [panels][N][cell.kept * L]: what `keep` of kernels/contract.h writes */
} fl_tape_track;

struct fl_tape {
    size_t steps, batch, total; /* T, B, N */
    size_t row;                 /* D * K: the width of a layer's output */
    size_t hidden_pad;          /* H rounded up to whole panels */
    size_t bytes;               /* of this allocation */
    float dropout;
    uint64_t seed;
    size_t first, all; /* for dropout: time t is time first + t of a sequence of `all` steps */
    int reverse;       /* as in fl_config */
    size_t *order;     /* [B] */
    size_t *length;    /* [B], descending */
    size_t *offset;    /* [T + 1]; the last one is N */
    /* The next three are by time t and row r of the tape. Past a row's length they are not
       written. */
    float *x;       /* [T][B][I]: the call's x, with values below FL_TINY set to 0 */
    float *outputs; /* [L][T][B][D K]: every layer's output, before dropout */
    float *inputs;  /* [L - 1][T][B][D K]: the outputs of all layers but the last after dropout,
                       which are the inputs of the layers above. Without dropout it is the
                       same memory as `outputs` */
    fl_tape_track track[]; /* [L][D] */
};

/* Row r at time t of a layer's input. `input` is I; it is not used above layer 0. */
static inline float *fl_tape_input(const fl_tape *tape, size_t input, size_t layer, size_t t,
                                   size_t r)
{
    size_t at = t * tape->batch + r;
    return layer ? tape->inputs + ((layer - 1) * tape->steps * tape->batch + at) * tape->row
                 : tape->x + at * input;
}

/* Row r at time t of a layer's output, before dropout. */
static inline float *fl_tape_output(const fl_tape *tape, size_t layer, size_t t, size_t r)
{
    return tape->outputs + ((layer * tape->steps + t) * tape->batch + r) * tape->row;
}

/* c of row 0 after s steps, which for s = 0 is c0; for cells that reset h and s > 0, r * h of step
   s - 1. The other rows follow, hidden_pad floats apart. */
static inline float *fl_tape_c(const fl_tape *tape, size_t track, size_t s)
{
    return tape->track[track].c + (s ? tape->batch + tape->offset[s - 1] : 0) * tape->hidden_pad;
}

/* The time at which row r has its step s. */
static inline size_t fl_tape_time(const fl_tape *tape, size_t dir, size_t s, size_t r)
{
    return dir || tape->reverse ? tape->length[r] - 1 - s : s;
}

/* h [K] of row r after s steps, of a layer in direction dir; for s = 0 it is h0. */
static inline const float *fl_tape_h(const fl_tape *tape, const fl_net *net, size_t layer,
                                     size_t dir, size_t s, size_t r)
{
    return s ? fl_tape_output(tape, layer, fl_tape_time(tape, dir, s - 1, r), r) + dir * net->width
             : tape->track[layer * net->config.dirs + dir].h0 + r * net->width;
}

/* Fills in order, length and offset, once the call has sorted its rows. `order` [B] is the rows of
   the batch, longest first; NULL: the batch's order, for calls without lengths. */
void fl_tape_begin(fl_tape *tape, const fl_call *call, const size_t *order);

/* y = dropout of x, for n features from feature `first` on of a layer's output at time t; b is the
   number of the row in the batch. y may be x. */
void fl_tape_dropout(const fl_tape *tape, float *y, const float *x, size_t n, size_t layer,
                     size_t t, size_t b, size_t first);

#endif
