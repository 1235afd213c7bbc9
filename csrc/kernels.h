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
 * where the sums stand, in registers. Panels follow one another; each starts on 64 bytes; units
 * beyond the hidden size are zero columns. A plain matrix of N columns is packed the same way,
 * FL_NV * L consecutive columns to the panel.
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

#if defined(_MSC_VER) && !defined(__clang__)
#define FL_INLINE static __forceinline
#else
#define FL_INLINE static inline __attribute__((always_inline))
#endif

#if defined(__GNUC__)
#define FL_KEEP(constraint, x) __asm__("" : "+" constraint(x))
#define FL_PREFETCH(p) __builtin_prefetch(p)
#else
#define FL_KEEP(constraint, x) (void)0
#define FL_PREFETCH(p) (void)(p)
#endif

#define FL_NV 4         /* vectors across a panel */
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

/*
 * gemm:  c[p][r][:] = init[p][:] + sum_k a[r][k * a_step] * panel[p][k][:]
 *
 *   a       rows pointers, each to K floats a_step apart; any alignment
 *   panel   [panels][k][FL_NV * L], 64-byte aligned
 *   init    [panels][FL_NV * L], 64-byte aligned; NULL stands for zeros
 *   add     nonzero: the sums start from c's own contents, init is not looked at; a long k may so
 * be cut into several calls, with the bits of one down    take the panels from the last to the
 * first, see step c       element (p, r) is a vector group of FL_NV * L floats at c + p * c_panel +
 * r * c_row; 64-byte aligned, and c_panel, c_row multiples of L; overlaps nothing
 */
typedef struct fl_gemm {
    size_t rows, panels, k;
    int down;
    const float *const *a;
    ptrdiff_t a_step;
    const float *panel, *init;
    float *c;
    size_t c_panel, c_row;
    int add;
} fl_gemm;

/*
 * step:  one time step of `rows` rows for the units of panels p0 .. p1 - 1
 *
 *        (i, f, g, o) = z[p][r] + sum_k h[r][k] * panel[p][k]
 *        c[r] = f c[r] + i g            in place
 *        hout[r] = o tanh(c[r])
 *
 *   z       the input product with the bias: group (p, r) at z + p * z_panel + r * FL_NV * L
 *   h       rows pointers to k floats each: the state before this step; any alignment
 *   hout    rows pointers, `hidden` floats each: the state after it; any alignment, no overlap with
 *           h; exactly `hidden` floats are written
 *   c       row r at c + r * c_row; 64-byte aligned, padded to whole panels; the padding stays 0
 *   down    take the panels from p1 - 1 to p0. A caller that turns round at every step finds what
 *           it read last still in cache: panels twice the size of L2 are half served from it
 */
typedef struct fl_step {
    size_t rows, p0, p1, k, hidden;
    int down;
    const float *panel;
    const float *z;
    size_t z_panel;
    const float *const *h;
    float *const *hout;
    float *c;
    size_t c_row;
} fl_step;

/*
 * keep:  the gates of one time step from complete sums, for training: what step does after its
 *        product, to the same bits, with the activations kept
 *
 *   z       sums: group (p, r) at z + p * z_panel + r * FL_NV * L
 *   gates   activations i, f, g, o, the same picture with gates_panel
 *   c       as in step, in place;  c_out: a copy of the rows' new c, c_row floats apart too
 *   hout    as in step
 */
typedef struct fl_keep {
    size_t rows, panels, hidden;
    const float *z;
    size_t z_panel;
    float *gates;
    size_t gates_panel;
    float *c, *c_out;
    size_t c_row;
    float *const *hout;
} fl_keep;

/*
 * back:  the gates' gradients of one time step, elementwise; t = tanh(c)
 *
 *        dc' = dc + dh o (1 - t^2)
 *        dz_i = dc' g i (1 - i)      dz_f = dc' c_prev f (1 - f)      dz_g = dc' i (1 - g^2)
 *        dz_o = dh t o (1 - o)       dc = dc' f                       h = o t
 *
 *   gates   as keep left them
 *   c, c_prev, dc   row r at + r * c_row, 64-byte aligned, padded to whole panels
 *   dh      row r at dh + r * dh_row, padded likewise, 0 in the padding
 *   dz      group (p, r) at dz + p * dz_panel + r * FL_NV * L: over all steps, a packed panel whose
 *           k is the row
 *   dz_row  the same values, row r at dz_rows + r * panels * FL_NV * L: a gemm's rows
 *   h       NULL, or where the h before a projection goes: a packed plain matrix whose k is the
 * row, column u at h + u / (FL_NV * L) * h_panel + r * FL_NV * L + u % (FL_NV * L)
 */
typedef struct fl_back {
    size_t rows, panels;
    const float *gates;
    size_t gates_panel;
    const float *c, *c_prev;
    float *dc;
    size_t c_row;
    const float *dh;
    size_t dh_row;
    float *dz;
    size_t dz_panel;
    float *dz_rows;
    float *h;
    size_t h_panel;
} fl_back;

typedef struct fl_kernels {
    const char *name;
    size_t lanes;
    void (*gemm)(const fl_gemm *);
    void (*lstm_step)(const fl_step *);
    void (*lstm_keep)(const fl_keep *);
    void (*lstm_back)(const fl_back *);
    /* Does any of n floats lie strictly between 0 and FL_TINY in magnitude? */
    int (*any_tiny)(const float *x, size_t n);
    /* y = x with those floats made 0; n floats; y may be x */
    void (*flush)(float *y, const float *x, size_t n);
    /* The gates' functions over n floats, for tests; y may be x */
    void (*sigmoid)(float *y, const float *x, size_t n);
    void (*tanh)(float *y, const float *x, size_t n);
    /* Roofline probes: flop done by n rounds of independent fma; sum of n floats read in order */
    double (*probe_fma)(size_t n);
    float (*probe_read)(const float *x, size_t n);
} fl_kernels;

#endif
