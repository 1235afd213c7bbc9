/* SPDX-License-Identifier: MIT */
/*
 * The products of backward, in the format of the weights: float32, or bfloat16 parts
 * (kernels/bfloat16.h) of float32 numbers.
 *
 * In float32 a row of dz lies as the packed weights do, by panels. Of parts it lies as PyTorch's
 * weights do, [gate][unit], so that sums over the gates have the same order, and the same bits, on
 * instruction sets whose vectors have different lengths. The rows are split into parts anew for
 * each product, which is some percent of it.
 *
 * Parts below a bound are 0, so that no sum can be subnormal (bfloat16.h): 2^-72 for gradients, and
 * 2^-40 for the weights, inputs and states that they are multiplied by. Gradients have the smaller
 * one since their scale is the loss's.
 */
#ifndef FL_GRADIENT_PRODUCT_H
#define FL_GRADIENT_PRODUCT_H

#include "training/backward_job.h"

/* Are the products made of bfloat16 parts? */
static inline int fl_by_parts(const fl_net *net) { return net->config.format == FL_BFLOAT16; }

/* Parts of the numbers that gradients of weights are summed of: three instead of two if the tape
   has fewer rows than FEW_ROWS. Each product in two parts may be off by 1.2e-5 of itself, and a sum
   of few has little to even that out; nor does it take long. */
enum { FEW_ROWS = 128 };
static inline int fl_row_sum_parts(const fl_backward_job *job)
{
    const int parts = job->net->track[0].w.parts;
    return parts == 2 && job->tape->total < FEW_ROWS ? 3 : parts;
}

/* Numbers of a row of dz. */
static inline size_t fl_gate_columns(const fl_net *net)
{
    return fl_by_parts(net) ? net->cell->gates * net->config.hidden : net->panels * net->group;
}

/* So many of them belong to the last gate of a cell that resets h, the last ones of the row. */
static inline size_t fl_last_gate_columns(const fl_net *net)
{
    return fl_by_parts(net) ? net->config.hidden : net->unit_panels * net->group;
}

/* Splits n rows of k numbers into parts, as the kernels take them that run a gemm of n rows
   (fl_run_kernels): to memory of fl_most_code_bytes for each row. */
fl_codes fl_split_rows(const fl_net *net, char *to, const float *const *rows, size_t n, size_t k,
                       float bound);

/* g.c = rows times weights, or with FL_ONTO added to what g.c holds, for g.rows rows of gradients
   at g.a and the columns of all panels. The caller sets g's rows, k, a, c, add, descending, and
   c_row, which is the number of columns of all panels. FL_OK or FL_INTERRUPTED. */
int fl_gradient_product(fl_backward_job *job, fl_backward_scratch *scratch,
                        const fl_panels *weights, fl_gemm g);

/* dz of `rows` rows from the order of panels, rows of panels * G floats, to rows of
   fl_gate_columns. */
void fl_order_gates(const fl_net *net, float *to, const float *from, size_t rows);

/* Bytes that a thread needs for rows split into parts; 0 without parts. in_max: features of the
   widest input. */
size_t fl_gradient_codes(const fl_backward_job *job, size_t in_max);

#endif
