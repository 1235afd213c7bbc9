/* SPDX-License-Identifier: MIT */
/*
 * THE CONTRACT: what the network asks of an instruction set.
 *
 * Weights live in panels. With L lanes, a panel of an LSTM holds L hidden units, all four gates,
 * for every k of the summed index; in memory order, each cell being one float:
 *
 *            |<---- L ---->|<---- L ---->|<---- L ---->|<---- L ---->|
 *     k = 0  [ i of L units ][ f of L units ][ g of L units ][ o of L units ]
 *     k = 1  [ i of L units ][ f of L units ][ g of L units ][ o of L units ]
 *     ...
 *
 * A row's four accumulators therefore ARE i, f, g, o of the same units, and the gates are computed
 * where the sums stand, in registers. A GRU's panel has three vectors, r, z, n. Panels follow one
 * another; the first starts on 64 bytes; units beyond the hidden size are zero columns. A plain
 * matrix of N columns is packed the same way, FL_NV * L consecutive columns to the panel: an RNN's
 * one gate, and the gates of a GRU that resets h before the product, one gate after the other.
 *
 * Every output element is ONE chain, in this order: bias, x[0] .. x[I-1], h[0] .. h[K-1], each
 * product added by one fused multiply-add. No kernel may split a sum, whatever the number of rows:
 * the promise that bits do not change rests on it.
 *
 * Letters: T time, B batch, I input, H hidden, K recurrent width (H, or P with a projection),
 * k the summed index, r and m rows, p panels. Strides are in floats.
 */
#ifndef FL_KERNELS_H
#define FL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "fastlstm.h"

#if defined(_MSC_VER) && !defined(__clang__)
#define FL_INLINE static __forceinline
#define FL_NOINLINE __declspec(noinline)
#else
#define FL_INLINE static inline __attribute__((always_inline))
#define FL_NOINLINE __attribute__((noinline))
#endif

#if defined(__GNUC__)
#define FL_KEEP(constraint, x) __asm__("" : "+" constraint(x))
#define FL_PREFETCH(p) __builtin_prefetch(p)
#else
#define FL_KEEP(constraint, x) (void)0
#define FL_PREFETCH(p) (void)(p)
#endif

#define FL_NV 4         /* vectors across a panel, at most; 3 for a GRU */
#define FL_MAX_LANES 16 /* the widest vector of any instruction set here */
#define FL_ALIGN 64     /* bytes: of panels, of z, of c */

/*
 * Inputs x and states below 2^-62 (2.2e-19) in magnitude count as zero. Subnormal factors cost up
 * to 40 ns each on some CPUs, and the gates' polynomials square their argument: from here on no
 * square is subnormal. An explicit flush, not the CPU's mode: it gives the same bits on every CPU
 * and leaves the caller's floating-point control register alone.
 */
#define FL_TINY 0x1p-62f

/* The same for gradients, whose scale is the loss's: 1.3e-29. */
#define FL_TINY_GRADIENT 0x1p-96f

enum { FL_ONTO = 1, FL_AFTER }; /* gemm's `add` */

/*
 * gemm:  c[p][r][:] = init[p][:] + sum_k a[r][k * a_step] * panel[p][k][:]
 *
 *   vectors FL_NV or 3: vectors across the panels; G = vectors * L
 *   a       rows pointers, each to K floats a_step apart; any alignment
 *   panel   [panels][k][G], 64-byte aligned
 *   init    [panels][G], aligned to vectors; NULL stands for zeros
 *   add     FL_ONTO: the sums start from c's own contents, init is not looked at; a long k may so
 *           be cut into several calls, with the bits of one. FL_AFTER: c's contents are added to
 *           the sums at their end; a long k is so a chain of short chains, whose rounding errors
 *           stay small
 *   down    take the panels from the last to the first, see step
 *   c       element (p, r) is a group of G floats at c + p * c_panel + r * c_row; aligned to
 *           vectors, and c_panel, c_row multiples of L; overlaps nothing
 */
typedef struct fl_gemm {
    size_t rows, vectors, panels, k;
    int down;
    const float *const *a;
    ptrdiff_t a_step;
    const float *panel, *init;
    float *c;
    size_t c_panel, c_row;
    int add;
} fl_gemm;

/*
 * step:  one time step of `rows` rows for the units of panels p0 .. p1 - 1; cells.h has the
 *        formulas from the sums on. For an LSTM
 *
 *        (i, f, g, o) = z[p][r] + sum_k h[r][k] * panel[p][k]
 *        c[r] = f c[r] + i g            in place
 *        hout[r] = o tanh(c[r])
 *
 *   z       the input product with the bias: group (p, r) at z + p * z_panel + r * G
 *   b_hn    GRU: [panels][L], where the recurrent half of n starts from, since r multiplies it
 *           before it meets the input half
 *   h       rows pointers to k floats each: the state before this step; any alignment
 *   hout    rows pointers, `hidden` floats each: the state after it; any alignment, no overlap with
 *           h; exactly `hidden` floats are written
 *   c       row r at c + r * c_row; 64-byte aligned, padded to whole panels; the padding stays 0
 *   down    take the panels from p1 - 1 to p0. A caller that turns round at every step finds what
 *           it read last still in cache: panels twice the size of L2 are half served from it
 *   kept    for `keep` alone, which does the same to the same bits: activations for back, group
 *           (p, r) of cell.kept vectors at kept + p * kept_panel + r * cell.kept * L
 *   c_out   for `keep` alone: a copy of the rows' new c, c_row floats apart too
 *   variant, act    of the cells of variants.h alone, which write to z: what they are, and the
 *           activations of this direction
 *   peep    their peepholes, [panels][i f o][L], or NULL
 *
 * Where a cell has `reset`, h goes into the last gate's sums only after the first gate: the caller
 * adds the product to z for all gates but the last, `reset` makes r h of h and z, the caller adds
 * the last gate's product, whose rows are r h, and `step` or `keep` makes hout of h and the
 * complete z. p1 counts the panels of one gate, c takes r h, padded with zeros; panel is not looked
 * at.
 */
typedef struct fl_step {
    size_t rows, p0, p1, k, hidden;
    int down;
    const float *panel;
    const float *z;
    size_t z_panel;
    const float *b_hn;
    const float *const *h;
    float *const *hout;
    float *c;
    size_t c_row;
    float *kept;
    size_t kept_panel;
    float *c_out;
    const fl_variant *variant;
    const fl_activation *act;
    const float *peep;
} fl_step;

/*
 * back:  the gates' gradients of one time step, elementwise; cells.h has the formulas
 *
 *   panels  of all units (of one gate)
 *   kept    as keep left them
 *   before, after   rows pointers to h before and after the step, `hidden` floats each; for cells
 *           without c
 *   c, c_prev, dc   row r at + r * c_row, 64-byte aligned, padded to whole panels. For cells
 *           without c, dc is what goes from h after the step to h before it past all products, and
 *           the step's own gradient is dh + dc
 *   dh      row r at dh + r * dh_row, padded likewise, 0 in the padding
 *   dz      group (p, r) at dz + p * dz_panel + r * G: over all steps, a packed panel whose
 *           k is the row
 *   dz_rows the same values, row r at dz_rows + r * dz_row: a gemm's rows
 *   dzh, dzh_rows   GRU: the same towards h and b_hh, where n's part is r times as large; dz is
 *           towards x and b_ih
 *   h       NULL, or where the h before a projection goes: a packed plain matrix whose k is the
 *           row, column u at h + u / (FL_NV * L) * h_panel + r * FL_NV * L + u % (FL_NV * L)
 *   variant, act, peep   as in fl_step
 *
 * back_reset:  the rest of it for cells with `reset`: dh is the gradient of r h; dz of the first
 * gate, and dc added to
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
    const fl_activation *act;
    const float *peep;
} fl_back;

/* The cells of the table beyond PyTorch's: each for any variant of one of those. */
enum { FL_LSTM_ANY = FL_CELLS, FL_GRU_ANY, FL_GRU_BEFORE_ANY, FL_RNN_ANY, FL_ALL_CELLS };

static inline int fl_cell_of(const fl_config *f)
{
    return !f->variant.any ? f->cell : f->cell < FL_RNN_TANH ? FL_CELLS + f->cell : FL_RNN_ANY;
}

typedef struct fl_cell {
    size_t gates;   /* PyTorch's weights have gates * H rows */
    size_t vectors; /* across a panel */
    size_t units;   /* unit vectors in a panel: 1, or FL_NV if it is a plain one */
    size_t kept;    /* vectors in a group of what keep keeps; 0: back needs h alone */
    int has_c;
    int aside; /* no c, but step needs memory of its shape */
    void (*step)(const fl_step *), (*keep)(const fl_step *);
    void (*reset)(const fl_step *); /* or NULL */
    void (*back)(const fl_back *);
    void (*back_reset)(const fl_back *); /* or NULL */
} fl_cell;

typedef struct fl_kernels {
    const char *name;
    size_t lanes;
    fl_cell cell[FL_ALL_CELLS];
    void (*gemm)(const fl_gemm *);
    /* Does any of n floats lie strictly between 0 and FL_TINY in magnitude? */
    int (*any_tiny)(const float *x, size_t n);
    /* y = x with those floats made 0; n floats; y may be x */
    void (*flush)(float *y, const float *x, size_t n);
    /* The gates' functions over n floats, for tests; y may be x */
    void (*sigmoid)(float *y, const float *x, size_t n);
    void (*tanh)(float *y, const float *x, size_t n);
    /* The same for variants: f(x), and f'(x) to slope */
    void (*activate)(const fl_activation *f, float *y, float *slope, const float *x, size_t n);
    /* Roofline probes: flop done by n rounds of independent fma; sum of n floats read in order */
    double (*probe_fma)(size_t n);
    float (*probe_read)(const float *x, size_t n);
} fl_kernels;

#endif
