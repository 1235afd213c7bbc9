/* SPDX-License-Identifier: MIT */
/*
 * What all threads of one backward call share.
 *
 * The layers are taken from the top. Each has two kinds of work. Through time (through_time.c), for
 * a block of rows in one direction: back through the steps, leaving dz, the gradients of the gates'
 * sums, and dx for the layer below. Then the gradients of the weights (weight_gradients.c), for a
 * range of panels in one direction: sums of dz times the layer's inputs and states over all N rows
 * of the tape, in the tape's order. The rows are independent in the first kind and the panels in
 * the second, so the bits depend on no division of the work.
 */
#ifndef FL_BACKWARD_JOB_H
#define FL_BACKWARD_JOB_H

#include "base/context.h"
#include "network/pack_backward.h"
#include "tape/tape.h"

/* The gradients that a layer's way through time leaves for those of its weights, in one direction.
   There are two sets, for even and odd layers, since a layer's weights are worked on while the
   layer below goes through time. */
typedef struct fl_delta {
    float *dz;  /* [panels][N][G] */
    float *dzh; /* the same towards h: its own array for a GRU, otherwise dz itself */
    float *h;  /* with a projection: h before it, plain panels [ceil(H / Q)][N][Q], Q = FL_NV * L */
    float *dh; /* with a projection: gradients of h after it, [N][K] */
    float *dx; /* gradients of the layer's input, [T][B][dx_row], unless they go to the caller's dx
                  at once. All layers have the same dx_row, since a block of rows of one layer may
                  be written while another's, two layers up, is still read */
    size_t dx_row;
} fl_delta;

/* Memory of one thread. */
typedef struct fl_backward_scratch {
    fl_slot slot;
    const float **a; /* row pointers for gemm: of a chunk's rows, or of a weight's columns */
    /* [2][chunk_rows][panels * G]: dz of this chunk and of the chunk after it in time, row by row
     */
    float *dz_rows, *dzh_rows;
    float *dh;             /* [rows_max][plain_pad(K)] */
    float *dh_full;        /* [rows_max][plain_pad(H)]: before a projection, or of r * h */
    float *dc;             /* [rows_max][hidden_pad] */
    float *dx;             /* [chunk_rows][plain_pad(in)] */
    float *strips;         /* columns of inputs and states, see weight_gradients.c */
    const float **from[2]; /* [span] rows of the input and of the state */
    const float **h[2];    /* [rows_max] rows of h before and after a step, for cells without c */
    float *sums;           /* [panels of a part][in + 1 + K + 1][G]: of the spans so far */
} fl_backward_scratch;

typedef struct fl_backward_job {
    fl_context context;
    const fl_net *net;
    const fl_backward_weights *weights;
    const fl_back_call *call;
    const fl_tape *tape;
    size_t threads;
    size_t blocks, rows_max, chunk_rows; /* of rows, for through time */
    size_t parts, part_panels;           /* of panels, for the gradients of the weights */
    size_t span;                  /* rows of the tape whose products are summed in one chain */
    fl_delta delta[2][2];         /* [layer % 2][direction] */
    fl_backward_scratch *scratch; /* [threads] */
    atomic_size_t next_item;      /* of the list of all work */
    atomic_size_t *tracks_done;   /* [L][blocks]: directions that are through time */
    atomic_size_t *parts_done;    /* [L] */
} fl_backward_job;

/* Does a cell have other gradients towards h than towards x? */
static inline int fl_has_dzh(const fl_net *net) { return net->config.cell == FL_GRU; }

#endif
