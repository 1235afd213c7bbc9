/* SPDX-License-Identifier: MIT */
/*
 * What all threads of one backward call share.
 *
 * The layers are taken from the top one down. Each of them takes two stages in each direction:
 *
 *     through time (through_time.c), for a block of rows:   dh -> dz, the gradients of the gates'
 *         sums, and dx for the layer below, from the last step to the first
 *     weights (weight_gradients.c), for a range of panels:  dW = sum_n dz[n] x[n] and the like,
 *         over all N rows of the tape, in the tape's order
 *
 * Rows do not depend on one another in the first stage, nor panels in the second, so the bits are
 * the same however the work is divided.
 *
 * This folder knows tapes and packed weights. It does not know how the forward call that wrote the
 * tape was divided, nor any instruction set.
 */
#ifndef FL_BACKWARD_JOB_H
#define FL_BACKWARD_JOB_H

#include "base/context.h"
#include "network/pack_backward.h"
#include "tape/tape.h"

/* What the first stage of a layer leaves for its second stage and for the layer below, in one
   direction. There are two sets, for layers of even and of odd number, since a layer may be in its
   second stage while the layer below is in its first. */
typedef struct fl_delta {
    float *dz;  /* [panels][N][G] */
    float *dzh; /* the same towards h and b_hh: an array of its own for a GRU, otherwise dz */
    float *h;  /* with a projection: h before it, plain panels [ceil(H / Q)][N][Q], Q = FL_NV * L */
    float *dh; /* with a projection: gradients of h after it, [N][K] */
    float *dx; /* gradients of the layer's input, [T][B][dx_row], unless they go to the caller's dx
                  directly. All layers of a set have the same dx_row, since one block of rows may
                  be written for a layer while another is still read for the layer two above */
    size_t dx_row;
} fl_delta;

/* Memory of one thread. */
typedef struct fl_backward_scratch {
    fl_slot slot;
    const float **a; /* a gemm's row pointers: to a chunk's rows, or to the columns of strips */
    /* [2][chunk_rows][fl_gate_columns]: dz of this chunk, and of the chunk after it in time, by
       rows */
    float *dz_rows, *dzh_rows;
    float *step_rows; /* [2][rows_max][panels * G]: dz and dzh of one step, as `back` writes them,
                         where dz_rows has another order */
    char *codes;      /* rows split into bfloat16 parts: fl_gradient_codes bytes */
    float *before;    /* with bfloat16 parts: the sums of the chains before the one that `sums` is
                         in, as many as `sums`; weight_gradients.c says how long chains are */
    char *lines;      /* with bfloat16 parts: [span] rows of one panel of dz, split */
    float *dh;        /* [rows_max][plain_pad(K)] */
    float *dh_full;   /* [rows_max][plain_pad(H)]: before a projection, or of r * h */
    float *dc;        /* [rows_max][hidden_pad] */
    float *dx;        /* [chunk_rows][plain_pad(in)] */
    float *strips;    /* columns of inputs and states of a span: [strip][span][16], each strip 16
                         columns */
    const float **from[2]; /* [span]: pointers to rows of the input and of the state */
    const float **h[2];    /* [rows_max]: pointers to h before and after a step, for cells without
                              c */
    float *sums; /* [part_panels][in + 1 + K + 1][G]: sums over the spans so far, of dW_ih,
                    db_ih, dW_hh and db_hh; the last one only with dzh */
} fl_backward_scratch;

typedef struct fl_backward_job {
    fl_context context;
    const fl_net *net;
    const fl_backward_weights *weights;
    const fl_backward_call *call;
    const fl_tape *tape;
    size_t threads;
    size_t blocks, rows_max, chunk_rows; /* of rows, for through time */
    size_t parts, part_panels;    /* into how many parts the panels are divided for the gradients of
                                     the weights, and panels of a part */
    size_t span;                  /* rows of the tape whose products are summed together: in float32
                                     in one chain, with bfloat16 parts after those of the spans
                                     before */
    fl_delta delta[2][2];         /* [layer % 2][direction] */
    fl_backward_scratch *scratch; /* [threads] */
    atomic_size_t next_item;      /* the next one of the list in backward.c that nobody has taken */
    atomic_size_t *tracks_done;   /* [L][blocks]: directions whose first stage is done */
    atomic_size_t *parts_done;    /* [L]: parts, of all directions, whose second stage is done */
} fl_backward_job;

/* Are a cell's gradients towards h and b_hh other numbers than those towards x and b_ih? */
static inline int fl_has_dzh(const fl_net *net) { return net->config.cell == FL_GRU; }

#endif
