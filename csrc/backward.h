/* SPDX-License-Identifier: MIT */
/*
 * One backward call, as backward.c (who works on what), unwind.c (back through time) and product.c
 * (gradients of the weights) see it.
 *
 * The layers are taken from the top. For each there are two kinds of work: lanes (block of rows x
 * direction), which go back through the steps and leave dz, the gradients of the gates' sums, and
 * what the layer below is owed; then products (direction x range of panels), which sum dz with the
 * layer's inputs and states over all N rows of the tape, in the tape's order, so the bits depend on
 * no division of the work: rows are independent in the one, panels in the other.
 */
#ifndef FL_BACKWARD_H
#define FL_BACKWARD_H

#include "tape.h"

/*
 * Weights as panels of plain columns whose k is what the forward panels had as columns; the gates'
 * k is in panel order, kk = p * G + v * lanes + l, with zero rows for the padding units; with
 * Q = FL_NV * lanes
 *
 *     [ceil(N / Q)][kk or P][Q]
 */
typedef struct fl_turned_layer {
    float *w;    /* N = in, kk = panels * G */
    float *r;    /* N = K; of cells that reset h, for all gates but the last */
    float *last; /* N = K, the last gate's, of cells that reset h */
    float *proj; /* N = H, k = P */
} fl_turned_layer;

struct fl_turned {
    size_t bytes;
    fl_turned_layer layer[];
};

/* The gradients a layer's lanes leave for its products: one set for each direction and parity of
   the layer, since a layer's products run beside the lanes of the one below. */
typedef struct fl_delta {
    float *dz;   /* [panels][N][G] */
    float *dzh;  /* GRU: the same towards h; otherwise dz itself */
    float *h;    /* with a projection: h before it, [ceil(H / Q)][N][Q] */
    float *dh;   /* with a projection: gradients of h after it, [N][K] */
    float *down; /* of the layer's input, [T][B][down_row], not if they go to dx at once. The same
                    down_row for all layers: one's block of rows may be written while another's, two
                    layers up, is still read */
    size_t down_row;
} fl_delta;

/* What one thread needs. */
typedef struct fl_bench {
    fl_desk desk;    /* for fl_stop and fl_run_gemm */
    const float **a; /* row pointers for gemm: chunk rows, or a product's rows */
    /* [2][chunk_rows][panels * G]: this chunk's dz and the one's after it in time */
    float *dz_rows, *dzh_rows;
    float *dh;             /* [rows_max][plain_pad(K)] */
    float *dh_full;        /* [rows_max][plain_pad(H)]: before a projection, or of r h */
    float *dc;             /* [rows_max][hidden_pad] */
    float *dx;             /* [chunk_rows][plain_pad(in)] */
    float *strips;         /* a product's rows, see product.c */
    const float **from[2]; /* [span] rows of the input and of the state */
    const float **h[2];    /* [rows_max] rows of h before and after a step, for cells without c */
    float *sums;           /* [panels of a part][in + 1 + K + 1][G]: of the spans so far */
} fl_bench;

typedef struct fl_back_job {
    fl_job j; /* net, poll and stopped alone, for fl_stop and fl_run_gemm */
    fl_call asks;
    const fl_turned *turned;
    const fl_back_call *call;
    const fl_tape *tape;
    size_t threads, blocks, parts;
    size_t rows_max, chunk_rows, part_panels;
    size_t span;               /* rows of the tape that a product sums in one chain */
    fl_delta delta[2][2];      /* [layer % 2][direction] */
    fl_bench *bench;           /* [threads] */
    atomic_size_t next;        /* item of the list of all work */
    atomic_size_t *lanes_done; /* [L][blocks] */
    atomic_size_t *parts_done; /* [L] */
} fl_back_job;

/* Columns of a plain matrix, in whole panels. */
static inline size_t fl_plain_pad(const fl_net *net, size_t columns)
{
    return (columns + net->plain - 1) / net->plain * net->plain;
}

static inline size_t fl_layer_in(const fl_net *net, size_t layer)
{
    return layer ? net->config.dirs * net->width : net->config.input;
}

/* Are a cell's gradients towards h others than towards x? */
static inline int fl_apart(const fl_net *net) { return net->config.cell == FL_GRU; }

/* Back through time: rows first .. first + rows - 1 of the tape, one layer and direction. */
int fl_unwind(fl_back_job *b, fl_bench *bench, size_t layer, size_t dir, size_t first, size_t rows);

/* Gradients of the weights of panels p0 .. p1 - 1, and of the projection if p0 is 0. */
int fl_product(fl_back_job *b, fl_bench *bench, size_t layer, size_t dir, size_t p0, size_t p1);

/* Floats of `strips` for a product. */
size_t fl_product_strips(const fl_net *net, size_t in, size_t span);

#endif
