/* SPDX-License-Identifier: MIT */
/*
 * The contract between the engine and an instruction set: which kernels every set provides, and
 * what each of them computes. panels.h draws how weights lie in memory.
 *
 * Every output element is one chain of additions in one order: the bias, then x[0] .. x[I-1], then
 * h[0] .. h[K-1], each product added by one fused multiply-add. No kernel may split a sum, however
 * many rows there are: the promise that bits do not change rests on this. A weight of a format
 * other than float32 is converted to float32 exactly before it is multiplied, so such a network has
 * the bits of a float32 network with the same numbers.
 *
 * Letters: T time, B batch, I input, H hidden, K the width of the recurrent state (H, or P with a
 * projection), k the summed index, r and m rows, p panels, L lanes of a vector, G the columns of a
 * panel. Strides are in floats unless their name says bytes.
 *
 * This folder knows kernels and the rows and panels they are given. It does not know networks,
 * calls, time or threads: run.h, which hands a kernel its work in pieces, knows only the context of
 * base/ that tells it when to stop.
 */
#ifndef FL_CONTRACT_H
#define FL_CONTRACT_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "fastlstm.h"
#include "kernels/panels.h"

#define FL_NV 4         /* the most vectors across a panel: an LSTM's four gates; a GRU has 3 */
#define FL_MAX_LANES 16 /* floats in the widest vector of any instruction set here */
#define FL_ALIGN 64     /* alignment in bytes of panels, of z and of c */

/*
 * Inputs x and states below 2^-62 (2.2e-19) in magnitude count as zero. Multiplying by subnormals
 * costs up to 40 ns each on some CPUs, and the gates' polynomials square their argument: with this
 * bound no square is subnormal. The numbers are set to zero one by one rather than by the CPU's
 * flush mode, which gives the same bits on every CPU and leaves the caller's floating-point control
 * register alone.
 */
#define FL_TINY 0x1p-62f

/* The same bound for gradients, whose scale is the loss's: 1.3e-29. */
#define FL_TINY_GRADIENT 0x1p-96f

/* What a gemm's sums start from or are added to: fl_gemm's `add`. */
enum {
    FL_ONTO = 1, /* the sums start from c's own contents */
    FL_AFTER     /* c's contents are added to the finished sums */
};

/*
 * gemm:  c[p][r][:] = init[p][:] + sum_k a[r][k * a_step] * panel[p][k][:]
 *
 *   vectors     across a panel: FL_NV or 3; G = vectors * L
 *   a           `rows` pointers, each to k floats that lie a_step floats from one another; at any
 *               alignment
 *   panel       the first panel; panel p begins p * panel_bytes further on
 *   init        [panels][G], aligned to vectors; NULL stands for zeros
 *   add         0: as above.
 *               FL_ONTO: the sums start from c's contents and init is not read. A long k may so be
 *               cut into several calls that give the bits of one.
 *               FL_AFTER: c's contents are added to the finished sums. A long k is so a chain of
 *               short chains, whose rounding errors stay small.
 *   descending  1: the panels are taken from the last to the first, see fl_step
 *   c           element (p, r) is a group of G floats at c + p * c_panel + r * c_row, aligned to
 *               vectors; c_panel and c_row are multiples of L; c overlaps nothing else
 */
typedef struct fl_gemm {
    size_t rows, vectors, panels, k;
    int descending;
    const float *const *a;
    ptrdiff_t a_step;
    const void *panel;
    size_t panel_bytes;
    const float *init;
    float *c;
    size_t c_panel, c_row;
    int add;
} fl_gemm;

/*
 * step:  one time step of `rows` rows, for the units of panels p0 .. p1 - 1. cells.h has the
 * formulas that begin at the finished sums. For an LSTM
 *
 *        (i, f, g, o) = z[p][r] + sum_k h[r][k] * panel[p][k]
 *        c[r] = f c[r] + i g            in place
 *        h_out[r] = o tanh(c[r])
 *
 *   panel       the first of all panels, as in gemm
 *   z           the product of the input, with the bias: group (p, r) at z + p * z_panel + r * G.
 *               Some cells use it as scratch: afterwards it holds nothing of use
 *   b_hn        for a GRU, [panels][L]: the bias of the recurrent half of n, which the gate r
 *               multiplies before it is added to the input's half
 *   h           `rows` pointers to k floats each: the state before this step; at any alignment
 *   h_out       `rows` pointers to `hidden` floats each: the state after it; at any alignment. No
 *               overlap with h. Exactly `hidden` floats are written
 *   c           row r at c + r * c_row, aligned to 64 bytes and padded to whole panels; the padding
 *               stays 0
 *   descending  1: the panels are taken from p1 - 1 to p0. A caller that changes direction at every
 *               step finds what it read last still in cache: panels twice the size of L2 are half
 *               served from it
 *   kept        written by `keep` only, which otherwise does what `step` does, to the same bits:
 *               the activations that `back` needs, group (p, r) of cell.kept vectors at
 *               kept + p * kept_panel + r * cell.kept * L
 *   c_out       written by `keep` only: a copy of the rows' new c, rows c_row floats apart as well
 *   variant, activation
 *               read by the cells of variants.h only: the variant, and the activations of this
 *               direction
 *   peep        their peepholes, [panels][i f o][L], or NULL
 *
 * A cell that has `reset` multiplies h by its first gate before the product of its last gate. One
 * step of it is four calls, which the caller makes:
 *
 *   1. gemm adds the product of h to z, for all gates but the last;
 *   2. `reset` writes r h to c, padded with zeros;
 *   3. gemm adds the product of the last gate, whose rows are r h, to z;
 *   4. `step`, or `keep`, makes h_out of h and the finished z.
 *
 * Here p1 counts the panels of one gate, and `panel` is not read.
 */
typedef struct fl_step {
    size_t rows, p0, p1, k, hidden;
    int descending;
    const void *panel;
    size_t panel_bytes;
    const float *z;
    size_t z_panel;
    const float *b_hn;
    const float *const *h;
    float *const *h_out;
    float *c;
    size_t c_row;
    float *kept;
    size_t kept_panel;
    float *c_out;
    const fl_variant *variant;
    const fl_activation *activation;
    const float *peep;
} fl_step;

/*
 * back:  the gradients of the gates' sums at one time step, element by element; cells.h has the
 *        formulas
 *
 *   panels      the number of panels that hold all units (of one gate)
 *   kept        what keep wrote
 *   before, after
 *               for cells without c: `rows` pointers to h before and after the step, each to
 *               `hidden` floats
 *   c, c_prev, dc
 *               row r at + r * c_row, aligned to 64 bytes, padded to whole panels. For cells
 *               without c, dc is the part of dh that goes from h after the step to h before it
 *               without passing a product, and the step's own gradient is dh + dc
 *   dh          row r at dh + r * dh_row, padded likewise, 0 in the padding
 *   dz          group (p, r) at dz + p * dz_panel + r * G. Over all steps dz is thus a packed panel
 *               whose k counts the rows
 *   dz_rows     the same numbers once more, row r at dz_rows + r * dz_row: the rows of a gemm
 *   dzh, dzh_rows
 *               for a GRU: the gradients towards h and b_hh, in which n's part is r times that of
 *               dz, which is the gradient towards x and b_ih
 *   h           NULL, or where the h before a projection is written: a plain packed matrix whose k
 *               counts the rows, column u at
 *               h + u / (FL_NV * L) * h_panel + r * FL_NV * L + u % (FL_NV * L)
 *   variant, activation, peep
 *               as in fl_step
 *
 * back_reset:  the second half, for cells with `reset`: dh is then the gradient of r h. It writes
 * the first gate's dz and adds to dc.
 */
typedef struct fl_back {
    size_t rows, panels, hidden;
    const float *kept;
    size_t kept_panel;
    const float *const *before, *const *after;
    const float *c, *c_prev;
    float *dc;
    size_t c_row;
    const float *dh;
    size_t dh_row;
    float *dz, *dzh;
    size_t dz_panel;
    float *dz_rows, *dzh_rows;
    size_t dz_row;
    float *h;
    size_t h_panel;
    const fl_variant *variant;
    const fl_activation *activation;
    const float *peep;
} fl_back;

/* The cells beyond PyTorch's: each of them runs every variant (fl_variant in fastlstm.h) of one or
   two of PyTorch's cells. They are numbered after those. */
enum {
    FL_LSTM_VARIANT = FL_CELLS,
    FL_GRU_VARIANT,
    FL_GRU_BEFORE_VARIANT,
    FL_RNN_VARIANT,
    FL_ALL_CELLS
};

/* The cell that runs a configuration. */
static inline int fl_cell_of(const fl_config *config)
{
    static const int variant[FL_CELLS] = {[FL_LSTM] = FL_LSTM_VARIANT,
                                          [FL_GRU] = FL_GRU_VARIANT,
                                          [FL_GRU_BEFORE] = FL_GRU_BEFORE_VARIANT,
                                          [FL_RNN_TANH] = FL_RNN_VARIANT,
                                          [FL_RNN_RELU] = FL_RNN_VARIANT};
    return config->variant.differs ? variant[config->cell] : config->cell;
}

/* One cell on one instruction set. */
typedef struct fl_cell {
    size_t gates;   /* PyTorch's weights have gates * H rows */
    size_t vectors; /* across a panel */
    size_t units;   /* unit vectors in a panel: 1, or FL_NV if the panel is plain */
    size_t kept;    /* vectors in a group of what keep writes; 0: back needs h only */
    int has_c;
    int needs_scratch; /* it has no c, but its step needs scratch of c's shape */
    /* By the format of the panels; NULL: this set has no such kernel. keep is for training, whose
       panels are float32. */
    void (*step[FL_FORMATS])(const fl_step *);
    void (*keep)(const fl_step *);
    void (*reset)(const fl_step *); /* or NULL */
    void (*back)(const fl_back *);
    void (*back_reset)(const fl_back *); /* or NULL */
} fl_cell;

/*
 * All kernels of one instruction set. Capability is what is not NULL here, and fl_isa_can_run reads
 * it off. Policy, which of the formats a network uses, is decided where networks are made
 * (network/network.c).
 */
struct fl_kernels {
    const char *name;
    size_t lanes;
    fl_cell cell[FL_ALL_CELLS];
    void (*gemm[FL_FORMATS])(const fl_gemm *);
    /* Called by each thread that works on a call, before its first kernel and after its last, in
       pairs: for sets that have state of the thread to set up. NULL: there is nothing to do. */
    void (*enter)(void), (*leave)(void);
    /* Is any of n floats strictly between 0 and FL_TINY in magnitude? */
    int (*has_tiny)(const float *x, size_t n);
    /* y = x with those floats set to 0; n floats; y may be x. */
    void (*flush)(float *y, const float *x, size_t n);
    /* The gates' functions over n floats, for tests; y may be x. */
    void (*sigmoid)(float *y, const float *x, size_t n);
    void (*tanh)(float *y, const float *x, size_t n);
    /* The functions of variants over n floats, for tests: f(x), and f'(x) to slope. */
    void (*activate)(const fl_activation *f, float *y, float *slope, const float *x, size_t n);
    /* Measurements of the machine: operations done by n rounds of independent fused multiply-adds,
       and the sum of n floats read in order. */
    double (*probe_fma)(size_t n);
    float (*probe_read)(const float *x, size_t n);
};

#endif
