/* SPDX-License-Identifier: MIT */
/*
 * The contract between an instruction set and the code that calls its kernels: which kernels every
 * set provides, and what each of them computes. panels.h draws how weights lie in memory.
 *
 * Every gate's sum is one chain of additions in one order: the bias, then the products of x[0] ..
 * x[I-1], then those of h[0] .. h[K-1], each product added by one fused multiply-add (by a multiply
 * and an add where a set has no such instruction). Of a GRU's gate n the products of h are a second
 * chain, which starts from b_hn. Where x, or h, has more than FL_UNCUT numbers, its products
 * are cut into chains of FL_CUT, which start from 0 and are added in order to the sum before them:
 *
 *     s = start;  s = s + (products 0 .. 255);  s = s + (products 256 .. 511);  ...
 *
 * No kernel may split a sum elsewhere, however many rows there are: so a row's results have the
 * same bits with any other rows, on any number of threads and on every set with fused multiply-add.
 * All this holds for panels of floats, which are those of FL_FLOAT32 and FL_FLOAT16. A weight of
 * FL_FLOAT16 is converted to float32 exactly before it is multiplied, so such a network has the
 * bits of a float32 network with the same numbers. FL_INT8 and FL_BFLOAT16 are other arithmetics:
 * see fl_gemm, codes.h and bfloat16.h.
 *
 * Letters: T time, B batch, I input, H hidden, K the width of the recurrent state (H, or P with a
 * projection), k the summed index or the number of its values, r rows, p panels, L lanes of a
 * vector, G the columns of a panel. Strides are in floats unless their name says bytes. "Aligned to
 * vectors" means to the 4 L bytes of a vector of L floats.
 *
 * This folder knows kernels and the rows and panels they are given. It does not know networks,
 * calls or time. run.h hands a kernel its work in pieces, and parallel.h divides independent items
 * among threads; both know fl_context of base/context.h, which tells them when to stop.
 */
#ifndef FL_CONTRACT_H
#define FL_CONTRACT_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/size.h"
#include "fastlstm.h"
#include "kernels/panels.h"

#define FL_NV 4         /* the most vectors across a panel: an LSTM's four gates; a GRU has 3 */
#define FL_MAX_LANES 16 /* floats in the widest vector of any instruction set here */
#define FL_ALIGN 64     /* bytes that allocations are aligned to: those of the widest vector */

/* In recurrent layers and in the gradients of x and h, with panels of floats: a sum of up to
   FL_UNCUT products is one chain, one of more is cut into chains of FL_CUT. The rounding errors of
   n chains that start from 0 are those of one chain divided by about sqrt(n). */
#define FL_UNCUT 512
#define FL_CUT 256

/*
 * Inputs x and states below 2^-62 (2.2e-19) in magnitude count as zero. Multiplying by subnormals
 * costs up to 40 ns each on some CPUs, and the gates' polynomials square their argument: with this
 * bound no square is subnormal. The numbers are set to zero one by one rather than by the CPU's
 * flush mode, which gives the same bits on every CPU and leaves the caller's floating-point control
 * register alone.
 */
#define FL_TINY 0x1p-62f

/* The same bound for gradients, whose size depends on how the loss is scaled: 1.3e-29. */
#define FL_TINY_GRADIENT 0x1p-96f

/* What a gemm does with the numbers that c holds before it: fl_gemm's `add`. With 0 it overwrites
   them. */
enum {
    FL_ONTO = 1, /* the sums start from what c holds */
    FL_AFTER     /* what c holds is added to the finished sums */
};

/*
 * Rows of numbers as codes, for panels of format FL_INT8: number k of row r is scale[r] times its
 * code. The codes of row r begin at `at` + r * row, and end in zeros from k to a multiple of 4.
 * codes.h says how they are made of floats, and how codes of 16 bits lie.
 *
 * For panels of FL_BFLOAT16: the parts of rows of floats, one after the other, themselves as
 * floats, with a zero behind each part if k is odd; for sets with tiles in the 2 bytes a number
 * that tiles take (fl_code_bytes). bits is 16 for each part, and scale is not read.
 */
typedef struct fl_codes {
    const void *at;     /* int8_t, int16_t, float or bfloat16, aligned to one of them */
    size_t row;         /* in bytes */
    int bits;           /* of a number: 8 or 16; FL_BFLOAT16: 16, 32 or 48 */
    const float *scale; /* [rows] */
    const int32_t *sum; /* [rows], of a row's codes, for sets with a code_zero of 128 */
} fl_codes;

/* FL_BFLOAT16: into how many parts the numbers of rows and panels are split. */
static inline int fl_parts(const fl_codes *codes) { return codes->bits / 16; }

/*
 * gemm:  c[p][r][:] = init[p][:] + sum_k a[r][k * a_step] * panel[p][k][:]
 *
 *   vectors     across a panel: 3 or FL_NV, in float32 also 1 or 2; G = vectors * L
 *   a           `rows` pointers, each to k floats that lie a_step floats from one another, a_step
 *               not being 0; at any alignment
 *   pieces      0 or 1: as above. More: a row consists of so many pieces of k floats, which follow
 *               one another in the sum and in the panel; a is then [pieces][rows] pointers, and
 *               `from` is 0
 *   panel       the first panel (panels.h); panel p begins p * panel_bytes further on
 *   init        [panels][G], aligned to vectors; NULL stands for zeros
 *   add         0: as above.
 *               FL_ONTO: the sums start from what c holds, and init is not used. So a long k may be
 *               cut into several calls that give the same bits as one.
 *               FL_AFTER: what c holds is added to the finished sums; init is NULL. So a long k may
 *               be cut into several short chains, whose rounding errors are smaller than those of
 *               one.
 *   descending  1: the panels are taken from the last to the first; fl_step says why
 *   far         1: the panels are not in L2; they are fetched into it ahead of time
 *   cut         0: each sum is one chain. 1, for panels of floats alone: if k is more than
 *               FL_UNCUT the sums are cut into chains of FL_CUT products, the last of fewer, which
 *               are added in order to what the sums start from, or with FL_AFTER to what c holds.
 *               pieces is then 0. In other formats sums have orders of their own
 *   from        the number of the first product: rows are read from a[r][from * a_step] on, while
 *               the first line of `panel` belongs to this number. gemm sets it in calls of itself,
 *               for `cut`; other callers leave it 0
 *   clip        1: the numbers that are written are not the sums s but
 *               max(least, min(most, s)), where s counts as 0 below FL_TINY in magnitude, and a NaN
 *               stays
 *   codes, scales
 *               read instead of a with panels of FL_INT8, for which pieces is 0: the rows, and the
 *               panels' scales, [panels][G], aligned to vectors. The sum over k is one of integers,
 *               exact in 32 bits. It is rounded to float and added to what the sums start from by
 *               one fused multiply-add: fma(sum, scales[p][:] * codes.scale[r], start)
 *               (codes of 16 bits are for gemm alone). With panels of FL_BFLOAT16 codes are read
 *               likewise, and the sum has the order of bfloat16.h; vectors is then 3 or 4, add is
 *               not FL_AFTER, and clip is 0
 *   c           the output: the sums (p, r) are G floats, also past the last unit, at
 *               c + p * c_panel + r * c_row, aligned to vectors; c_panel and c_row are multiples of
 *               L; c overlaps nothing else
 */
typedef struct fl_gemm {
    size_t rows, vectors, panels, k, pieces;
    int descending, far, clip, cut;
    size_t from;
    float least, most;
    const float *const *a;
    ptrdiff_t a_step;
    const void *panel;
    size_t panel_bytes;
    const float *init;
    float *c;
    size_t c_panel, c_row;
    int add;
    fl_codes codes;
    const float *scales;
} fl_gemm;

/*
 * depthwise:  y[r][c] = max(least, min(most, bias[c] + sum_t a[t][r][c] * w[t][c]))
 *
 * where the sum counts as 0 below FL_TINY in magnitude, and a NaN stays. t counts the taps.
 *
 *   a           [taps][rows] pointers, each to `channels` floats, at any alignment
 *   w           [taps], w_tap floats apart, a multiple of L; aligned to vectors
 *   bias        aligned to vectors, as many floats as a tap has
 *   y           row r at y + r * y_row, at any alignment; exactly `channels` floats are written. No
 *               overlap with a
 */
typedef struct fl_depthwise {
    size_t rows, taps, channels;
    const float *const *a;
    const float *w;
    size_t w_tap;
    const float *bias;
    float least, most;
    float *y;
    size_t y_row;
} fl_depthwise;

/*
 * step:  one time step of `rows` rows, for the units of panels p0 .. p1 - 1. The formulas from the
 * finished sums on are in cells.h. For an LSTM
 *
 *        (i, f, g, o) = z[p][r] + sum_k h[r][k] * panel[p][k]
 *        c[r] = f c[r] + i g            in place
 *        h_out[r] = o tanh(c[r])
 *
 *   panel       panel 0, also where p0 is not 0; panel p begins p * panel_bytes further on
 *   z           the product of the input, with the bias: the G floats of (p, r) are at
 *               z + p * z_panel + r * G, aligned to vectors. Some cells write their sums here, so
 *               z must be memory that may be written, and what it holds afterwards is of no use
 *   b_hn        for a GRU, [panels][L]: the bias of the recurrent half of n, which the gate r
 *               multiplies before it is added to the input's half; not read for other cells
 *   h           `rows` pointers to k floats each: the state before this step; at any alignment
 *   h_out       `rows` pointers to `hidden` floats each: the state after it; at any alignment. No
 *               overlap with h. Exactly the floats of the panels' units are written, none past
 *               `hidden`
 *   c           the cell state: row r at c + r * c_row, aligned to vectors and padded to whole
 *               panels; the padding stays 0. Cells without a cell state that have `reset` or
 *               `needs_scratch` (fl_cell) write memory of this shape, whatever it holds before;
 *               others do not touch it. After `reset` it holds r h, which training keeps
 *   descending  1: the panels are taken from p1 - 1 to p0. A caller that alternates between 0 and 1
 *               from step to step begins each step with the panels it read last, which are still
 *               in cache: of panels twice the size of L2 half are served from L2
 *   kept        NULL, or, in training, where `keep`, or `step` (see fl_cell), writes what `back`
 *               needs of this step: cell.kept vectors for (p, r), at kept + p * kept_panel +
 *               r * cell.kept * L. All else is as without it, to the same bits
 *   c_out       where kept is not NULL, for cells with a cell state: a copy of the rows' new c is
 *               written here, rows c_row floats apart as well
 *   variant, activation
 *               read by the cells of variants.h only: the variant, and the three activations of
 *               this direction
 *   peep        read by variants with peepholes only: [panels][i f o][L]
 *   codes, scales
 *               with panels of FL_INT8, as in fl_gemm: h once more, as codes, and the scales of all
 *               panels from panel 0 on. With panels of FL_BFLOAT16 the codes alone
 *   gemm        the kernel gemm of the panels' format, for cells whose step is a gemm and then
 *               their gates, and for k above FL_UNCUT. fl_run_step of run.h sets it
 *
 * A cell that has `reset` multiplies h by its first gate before the product of its last gate. One
 * step of it is four calls, which the caller makes:
 *
 *   1. gemm adds the product of h to z, for all gates but the last;
 *   2. `reset` writes r h to c, padded with zeros, where r is the first gate;
 *   3. gemm adds the product of the last gate, whose rows are r h, to z;
 *   4. `step`, or `keep`, makes h_out of h and the finished z.
 *
 * In calls 2 and 4 p1 is the number of panels of one gate, all of them are taken, and neither p0
 * nor `panel` is read.
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
    fl_codes codes;
    const float *scales;
    void (*gemm)(const fl_gemm *);
} fl_step;

/*
 * back:  the gradients of the gates' sums at one time step, element by element, for `rows` rows and
 *        all units; cells.h and variants.h have the formulas. It reads dh, dc and what the forward
 *        step left, writes dz (and dzh, h), and replaces dc. All arrays are aligned to vectors, but
 *        for the rows of `before` and `after`.
 *
 *   panels      the number of panels that hold all units of one gate
 *   kept        what keep wrote, laid out as in fl_step
 *   before, after
 *               for cells without c: `rows` pointers to h before and after the step, each to
 *               `hidden` floats
 *   c, c_prev   for cells with c: the cell state after the step and before it, row r at
 *               + r * c_row, padded to whole panels
 *   dc          the same layout. For cells with c, in: the gradient of c that comes from the steps
 *               after this one; out: that of c_prev. For a GRU, in: the part of h's gradient that
 *               reached it as z h, without a product, so that the whole gradient of the step's h is
 *               dh + dc; out: the same part for the h before the step. RNNs do not touch it
 *   dh          the gradient of the step's h, row r at dh + r * dh_row, padded to whole panels,
 *               0 in the padding
 *   dz          the G gradients of (p, r) are written at dz + p * dz_panel + r * G. With the rows
 *               of all steps one after the other, dz is a packed panel whose k counts these rows
 *   dz_rows     the same numbers once more, row r at dz_rows + r * dz_row: the rows of a gemm
 *   dzh, dzh_rows
 *               for a GRU, laid out likewise: the gradients towards h and b_hh, in which n's part
 *               is r times that of dz. dz itself is then the gradient towards x and b_ih
 *   h           NULL, or, for an LSTM with a projection, where the h that is projected is written:
 *               a plain packed matrix whose k counts the rows, unit u at
 *               h + u / (FL_NV * L) * h_panel + r * FL_NV * L + u % (FL_NV * L). Of the last plain
 *               panel the columns past the `panels` panels of units are left as they are
 *   variant, activation, peep
 *               as in fl_step
 *
 * back_reset:  the second half of back, for cells with `reset`. Here dh is the gradient of r h, r
 * being the first gate. It writes the first gate's dz, and adds to dc.
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

/* The cells that run variants (fl_variant in fastlstm.h), one for each kind of cell; FL_RNN_VARIANT
   is for both RNNs. They are numbered after the cells of fastlstm.h. */
enum {
    FL_LSTM_VARIANT = FL_CELLS,
    FL_GRU_VARIANT,
    FL_GRU_BEFORE_VARIANT,
    FL_RNN_VARIANT,
    FL_ALL_CELLS
};

/* The number of the cell that runs a configuration: an index of fl_kernels.cell. */
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
    size_t vectors; /* across a panel of gates, G / L: FL_NV, or 3 for FL_GRU and its variant */
    size_t units;   /* a panel holds units * L units: 1 if it holds all their gates, FL_NV if it is
                       plain and holds one gate */
    size_t kept;    /* vectors that keep writes for each (p, r); 0: it writes none, and back needs h
                       only */
    int has_c;      /* the cell has a cell state c */
    int needs_scratch; /* the cell has no c, but its step needs scratch of c's shape, at fl_step.c.
                          Cells with `reset` need it as well, and do not say so here */
    /* By the format of the panels; NULL: this set has no such kernel. In training, which is with
       FL_FLOAT32 or FL_BFLOAT16, `keep` runs instead for FL_FLOAT32 and for cells with `reset`; for
       others step[FL_BFLOAT16] runs and writes fl_step.kept, since it is not NULL. */
    void (*step[FL_FORMATS])(const fl_step *);
    void (*keep)(const fl_step *);
    void (*reset)(const fl_step *);      /* NULL: the cell does not multiply h by a gate */
    void (*back)(const fl_back *);       /* for training */
    void (*back_reset)(const fl_back *); /* NULL where reset is */
} fl_cell;

/*
 * All kernels of one instruction set. A set is capable of what is not NULL here; fl_isa_can_run
 * reads that. Which of the formats a network uses is a matter of policy and is decided where
 * networks are made (network/network.c).
 */
struct fl_kernels {
    const char *name;
    size_t lanes;
    fl_cell cell[FL_ALL_CELLS];
    void (*gemm[FL_FORMATS])(const fl_gemm *);
    void (*depthwise)(const fl_depthwise *);
    /* Codes of one row of n floats for FL_INT8; codes.h describes it. Returns their scale and
       writes their sum. NULL: the set has no kernels of that format. */
    float (*encode)(void *codes, const float *x, size_t n, int bits, float least, float top,
                    int32_t *sum);
    int code_zero; /* the byte by which panels of FL_INT8 stand for a weight's code of 0: codes.h */
    /* The parts of one row of n floats for FL_BFLOAT16, those below `bound` being 0 (bfloat16.h),
       to fl_code_bytes bytes. */
    void (*split_row)(void *to, const float *x, size_t n, int parts, float bound);
    /* n rows of `vectors` vectors of floats, `row` floats apart, as the numbers k = 0 .. n - 1 of
       one panel of FL_BFLOAT16, in so many parts, those below `bound` being 0. Lines behind them,
       to the end of a tile, become zeros. The rows are aligned to vectors. */
    void (*split_lines)(void *panel, const float *x, size_t row, size_t n, size_t vectors,
                        int parts, float bound);
    /* For sets that set up state of a thread. Each thread that works on a call calls enter before
       its first kernel and leave after its last one, and the thread that calls the poll leaves
       before it and enters after it. NULL: there is nothing to do. */
    void (*enter)(void), (*leave)(void);
    /* For sets whose products are of tiles: the set with the same kernels but for these, which
       takes the same panels; rows are encoded by the set that multiplies them. A few rows of
       FL_INT8 run on it (fl_run_kernels), and all of them where the system does not permit tiles
       (dispatch.h). NULL: a set without tiles. */
    const fl_kernels *without_tiles;
    /* Is one of n floats strictly between 0 and FL_TINY in magnitude? */
    int (*has_tiny)(const float *x, size_t n);
    /* y = x, with floats below FL_TINY in magnitude set to 0; n floats; y may be x. */
    void (*flush)(float *y, const float *x, size_t n);
    /* The gates' functions over n floats, for tests; y may be x. */
    void (*sigmoid)(float *y, const float *x, size_t n);
    void (*tanh)(float *y, const float *x, size_t n);
    /* The functions of variants over n floats, for tests: f(x), and f'(x) to slope. */
    void (*activate)(const fl_activation *f, float *y, float *slope, const float *x, size_t n);
    /* Work for measurements of the machine, to be timed by the caller. `probe` does n rounds of
       independent multiply-adds, of the instruction that a format's products are made of (floats,
       codes of 8 bits, bfloat16; none for float16), and returns how many operations these were.
       probe_read reads n floats in order, but for a rest of fewer than 8 L, and adds them up by
       lane; it returns the sum of one lane, only so that the reads cannot be left out. */
    double (*probe[FL_FORMATS])(size_t n);
    float (*probe_read)(const float *x, size_t n);
};

/* Of a row of k numbers for FL_BFLOAT16: floats from one part to the next. */
static inline size_t fl_part_floats(size_t k) { return fl_mul(fl_format_lines(FL_BFLOAT16, k), 2); }

/* Of such a row for sets with tiles: bytes from one part's numbers to the next's, which are whole
   tiles. */
static inline size_t fl_part_bytes(size_t k)
{
    return fl_whole_lines(fl_mul(fl_format_lines(FL_BFLOAT16, k), 4));
}

/*
 * Bytes from one row of fl_codes to the next, of k numbers: `row`. Tiles are 64 bytes wide, so for
 * sets that have them rows begin at multiples of 64 bytes, and as many can be read beyond the last
 * tile's beginning. What is read there in FL_INT8 does not matter, since the panels hold zeros; in
 * FL_BFLOAT16, where a zero times any bits may be a NaN, the rest of the last tile is zeros. Such a
 * row of FL_BFLOAT16 is an odd number of cache lines long: if the rows of a tile were multiples of
 * 4096 bytes apart, they would all compete for the 12 ways of a few cache sets of L1.
 */
static inline size_t fl_code_bytes(const fl_kernels *kernels, int format, size_t k, int bits)
{
    const size_t lines = fl_format_lines(format, k);
    if (format == FL_BFLOAT16)
        return kernels->without_tiles
                   ? fl_mul(fl_part_bytes(k), (size_t)bits / 16) | 64
                   : fl_mul(fl_part_floats(k), (size_t)bits / 16 * sizeof(float));
    const size_t first = bits == 16 ? fl_mul(lines, 4) : 0, last = fl_mul(lines, 4);
    return kernels->without_tiles ? fl_whole_lines(fl_add(first, fl_whole_lines(last)))
                                  : fl_add(first, last);
}

/* The memory of such a row, whichever of the kernels it is for: `kernels` or those without tiles.
 */
static inline size_t fl_most_code_bytes(const fl_kernels *kernels, int format, size_t k, int bits)
{
    const size_t bytes = fl_code_bytes(kernels, format, k, bits);
    const size_t other =
        kernels->without_tiles ? fl_code_bytes(kernels->without_tiles, format, k, bits) : 0;
    return bytes > other ? bytes : other;
}

#endif
