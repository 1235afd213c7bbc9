/* SPDX-License-Identifier: MIT */
/*
 * Gradients of the weights: one product over all N rows of the tape, in its order,
 *
 *     [dW | db | dR][column, j] = sum_n dz[n][column] * [x | 1 | h_before][n][j]
 *
 * It is a gemm that sums over k = n. Its panels are dz, which lies in memory as packed panels do,
 * and its rows are the in + 1 + K columns j of [x | 1 | h_before]. A GRU has another dz towards h
 * and b_hh, so there it is two gemms, one for x | 1 and one for h_before | 1. For the last gate of
 * a cell that resets h, r h stands for h_before.
 *
 * The sum is cut along n into spans. A span's rows stay in cache for all panels, and rounding
 * errors stay small: each span is a chain of additions of its own, which is then added to the sum
 * of the spans before it.
 *
 * The columns of [x | 1 | h_before] are copied into strips of STRIP columns, [strip][n][STRIP]. The
 * rows of a register tile then share a cache line at each n, and copying moves whole lines; a
 * transposed copy would take 16 times as many moves.
 *
 * By bfloat16 parts (gradient_product.h) the rows of the gemm are those columns split into parts,
 * and its panels are dz split likewise, a span of one panel at a time. A span is then as long as
 * the columns' parts stay in L2, and its sums start from those of the spans before it, since chains
 * of parts are of 32 rows each. After CHAIN_ROWS rows the sums begin anew, and are then added to
 * those of the rows before. The bias' column alone is summed in float32, as above.
 */
#include "training/weight_gradients.h"

#include <string.h>

#include "base/size.h"
#include "kernels/bfloat16.h"
#include "kernels/run.h"
#include "network/transpose.h"
#include "training/gradient_product.h"

enum { STRIP = 16 };

static size_t strips_of(size_t columns) { return (columns + STRIP - 1) / STRIP; }

/* The parts of a span's columns have at most so many bytes, half of an L2 of 2 MiB. */
enum { COLUMN_BYTES = 1 << 20, PART_SPAN_LEAST = 128, PART_SPAN_MOST = 1024, CHAIN_ROWS = 1024 };

size_t fl_weight_gradients_span(const fl_net *net)
{
    const size_t upper = net->config.layers > 1 ? fl_layer_in(net, 1) : 0;
    const size_t in = upper > net->config.input ? upper : net->config.input;
    const size_t column = 2 * (size_t)net->track[0].w.parts; /* bytes of one of its numbers */
    size_t span = PART_SPAN_MOST;
    while (span > PART_SPAN_LEAST &&
           fl_mul(fl_mul(fl_add(in, net->width), column), span) > COLUMN_BYTES)
        span /= 2;
    return span;
}

size_t fl_weight_gradients_lines(const fl_backward_job *job)
{
    return fl_by_parts(job->net) ? fl_mul(fl_mul(job->span, 2 * (size_t)fl_row_sum_parts(job)),
                                          FL_NV * job->net->kernels->lanes)
                                 : 0;
}

size_t fl_weight_gradients_strips(const fl_net *net, size_t in, size_t span)
{
    size_t strips = fl_add(fl_add(strips_of(in), strips_of(net->width)), 1);
    if (fl_by_parts(net))
        strips = 3; /* a strip, the same transposed, and ones */
    return fl_mul(fl_mul(strips, STRIP), span);
}

/* Copies the STRIP floats from float `at` on of each of n rows to a strip, or `columns`, if they
   are fewer. */
static void gather_strip(float *strip, const float *const *rows, size_t n, size_t at,
                         size_t columns)
{
    if (columns >= STRIP)
        for (size_t i = 0; i < n; i++)
            memcpy(strip + i * STRIP, rows[i] + at, STRIP * sizeof(float));
    else
        for (size_t i = 0; i < n; i++)
            memcpy(strip + i * STRIP, rows[i] + at, columns * sizeof(float));
}

/* Copies `columns` floats of each of n rows to strips of span rows. Returns the end of the strips.
 */
static float *gather(float *strips, const float *const *rows, size_t n, size_t columns, size_t span)
{
    for (size_t at = 0; at < columns; at += STRIP, strips += span * STRIP)
        gather_strip(strips, rows, n, at, columns - at);
    return strips;
}

/* Fills `a` with pointers to the columns of a set of strips: the rows of the gemm. Returns the end
   of what was filled. */
static const float **strip_rows(const float **a, const float *strips, size_t columns, size_t span)
{
    for (size_t j = 0; j < columns; j++)
        *a++ = strips + j / STRIP * span * STRIP + j % STRIP;
    return a;
}

/* Where the input and the state before the step, or r h with `reset`, of the tape's rows n0 .. n1 -
   1 are: to scratch->from. *s is the step that row n0 belongs to, and afterwards that of row n1. */
static void find_rows(const fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                      size_t dir, int reset, size_t n0, size_t n1, size_t *s)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    for (size_t n = n0; n < n1; n++) {
        while (n >= tape->offset[*s + 1])
            ++*s;
        const size_t r = n - tape->offset[*s];
        scratch->from[0][n - n0] =
            fl_tape_input(tape, net->config.input, layer, fl_tape_time(tape, dir, *s, r), r);
        scratch->from[1][n - n0] = reset ? tape->track[layer * net->config.dirs + dir].c +
                                               (tape->batch + n) * tape->hidden_pad
                                         : fl_tape_h(tape, net, layer, dir, *s, r);
    }
}

/* Splits `columns` columns of n rows into parts, to `to`: the rows of a gemm. */
static fl_codes split_columns(const fl_backward_job *job, fl_backward_scratch *scratch,
                              const float *const *rows, size_t n, size_t columns, float bound,
                              char *to)
{
    const fl_net *net = job->net;
    const int parts = fl_row_sum_parts(job);
    const fl_kernels *kernels = fl_run_kernels(net->kernels, FL_BFLOAT16, columns);
    const fl_codes codes = {
        .at = to, .row = fl_code_bytes(kernels, FL_BFLOAT16, n, 16 * parts), .bits = 16 * parts};
    const size_t span = job->span;
    float *const strip = scratch->strips, *const turned = strip + STRIP * span;
    for (size_t c = 0; c < columns; c += STRIP) {
        const size_t here = columns - c < STRIP ? columns - c : STRIP;
        gather_strip(strip, rows, n, c, here);
        fl_transpose(turned, span, strip, STRIP, n, here);
        for (size_t j = 0; j < here; j++, to += codes.row)
            kernels->split_row(to, turned + j * span, n, parts, bound);
    }
    return codes;
}

/* sums [rows][G] = or, with `add`, += the product of `rows` split columns and n rows of a panel of
   `vectors` vectors. FL_OK or FL_INTERRUPTED. */
static int product_of_parts(fl_backward_job *job, fl_backward_scratch *scratch, fl_codes columns,
                            size_t rows, size_t n, const float *panel, size_t vectors, float bound,
                            int add, float *sums)
{
    const fl_kernels *kernels = job->net->kernels;
    const size_t group = vectors * kernels->lanes;
    kernels->split_lines(scratch->lines, panel, group, n, vectors, fl_parts(&columns), bound);
    const fl_gemm g = {.rows = rows,
                       .vectors = vectors,
                       .panels = 1,
                       .k = n,
                       .panel = scratch->lines,
                       .c = sums,
                       .c_row = group,
                       .add = add ? FL_ONTO : 0,
                       .codes = columns};
    return fl_run_gemm(&job->context, &scratch->slot, FL_BFLOAT16, g);
}

/* Copies a panel's sums, [n][G], to a matrix in PyTorch's layout, whose rows have n columns. */
static void unpack(const fl_net *net, const float *sums, size_t panel, size_t n, float *to)
{
    for (size_t v = 0; v < net->cell->vectors; v++) {
        size_t units, row = fl_gate_row(net, panel, v, &units);
        if (units)
            fl_transpose(to + row * n, n, sums + v * net->kernels->lanes, net->group, n, units);
    }
}

/* By parts, after rows n0 .. n - 1 of the tape: if a chain of sums ends there, adds its `count`
   sums to those of the chains before it. After the last row the whole is in `sums`. */
static void end_chain(const fl_tape *tape, size_t n0, size_t n, float *sums, float *before,
                      size_t count)
{
    if (n < tape->total && n % CHAIN_ROWS)
        return;
    for (size_t i = 0; i < count && n0 >= CHAIN_ROWS; i++)
        sums[i] += before[i];
    if (n < tape->total)
        memcpy(before, sums, count * sizeof(float));
}

/* dW_hr[p][u] = sum_n dh[n][p] h[n][u], to `to` [P][H]. h, before the projection, is the gemm's
   panels. */
static int projection_gradient(fl_backward_job *job, fl_backward_scratch *scratch,
                               const fl_delta *delta, float *to)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const size_t rows = net->width, hidden = net->config.hidden, group = net->plain_group;
    const size_t panels = fl_plain_pad(net, hidden) / group, span = job->span;
    strip_rows(scratch->a, scratch->strips, rows, span);
    for (size_t q = 0; q < panels; q++) {
        for (size_t n0 = 0; n0 < tape->total; n0 += span) {
            const size_t n = tape->total - n0 < span ? tape->total - n0 : span;
            for (size_t i = 0; i < n; i++)
                scratch->from[0][i] = delta->dh + (n0 + i) * rows;
            const float *const panel = delta->h + (q * tape->total + n0) * group;
            if (fl_by_parts(net)) {
                const fl_codes columns = split_columns(job, scratch, scratch->from[0], n, rows,
                                                       FL_TINY_GRADIENT_PART, scratch->codes);
                if (product_of_parts(job, scratch, columns, rows, n, panel, FL_NV,
                                     FL_TINY_FACTOR_PART, n0 % CHAIN_ROWS != 0,
                                     scratch->sums) != FL_OK)
                    return FL_INTERRUPTED;
                end_chain(tape, n0, n0 + n, scratch->sums, scratch->before, rows * group);
                continue;
            }
            gather(scratch->strips, scratch->from[0], n, rows, span);
            fl_gemm g = {.rows = rows,
                         .vectors = FL_NV,
                         .panels = 1,
                         .k = n,
                         .a = scratch->a,
                         .a_step = STRIP,
                         .panel = panel,
                         .c = scratch->sums,
                         .c_row = group,
                         .add = n0 ? FL_AFTER : 0};
            if (fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, g) != FL_OK)
                return FL_INTERRUPTED;
        }
        const size_t left = hidden - q * group;
        for (size_t p = 0; p < rows; p++)
            memcpy(to + p * hidden + q * group, scratch->sums + p * group,
                   (left < group ? left : group) * sizeof(float));
    }
    return FL_OK;
}

/* dp_i = sum_n dz_i c_prev, dp_f = sum_n dz_f c_prev, dp_o = sum_n dz_o c for the units of panels
   p0 .. p1 - 1, to `to` [3][H]. They are summed in the tape's order, in double, so one chain may
   have any length. */
static int peephole_gradient(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                             size_t dir, size_t p0, size_t p1, float *to)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const fl_delta *delta = &job->delta[layer % 2][dir];
    const size_t lanes = net->kernels->lanes, hidden = net->config.hidden;
    const size_t track = layer * net->config.dirs + dir;
    for (size_t p = p0; p < p1; p++) {
        double sum[3][FL_MAX_LANES] = {{0}};
        const float *dz = delta->dz + p * tape->total * net->group;
        for (size_t s = 0; s < tape->steps; s++) {
            const float *before = fl_tape_c(tape, track, s) + p * lanes;
            const float *after = fl_tape_c(tape, track, s + 1) + p * lanes;
            const size_t rows = tape->offset[s + 1] - tape->offset[s];
            for (size_t r = 0; r < rows; r++, dz += net->group)
                for (size_t u = 0; u < lanes; u++) {
                    const size_t at = r * tape->hidden_pad + u;
                    sum[0][u] += (double)dz[u] * before[at];
                    sum[1][u] += (double)dz[lanes + u] * before[at];
                    sum[2][u] += (double)dz[3 * lanes + u] * after[at];
                }
            if (fl_should_stop(&job->context, &scratch->slot, fl_move_flop(rows * lanes)))
                return FL_INTERRUPTED;
        }
        for (size_t g = 0; g < 3; g++)
            for (size_t u = p * lanes; u < hidden && u < (p + 1) * lanes; u++)
                to[g * hidden + u] = (float)sum[g][u - p * lanes];
    }
    return FL_OK;
}

/* Copies the sums of panels p0 .. p1 - 1 to the caller's arrays. FL_OK or FL_INTERRUPTED. */
static int unpack_gradients(fl_backward_job *job, fl_backward_scratch *scratch, size_t in,
                            size_t p0, size_t p1, const fl_grads *to)
{
    const fl_net *net = job->net;
    const size_t width = net->width, group = net->group, has_dzh = (size_t)fl_has_dzh(net);
    const size_t rows = in + 1 + width + has_dzh;
    for (size_t p = p0; p < p1; p++) {
        const float *sums = scratch->sums + (p - p0) * rows * group;
        unpack(net, sums, p, in, to->w_ih);
        unpack(net, sums + (in + 1) * group, p, width, to->w_hh);
        if (to->b_ih) {
            unpack(net, sums + in * group, p, 1, to->b_ih);
            unpack(net, sums + (has_dzh ? rows - 1 : in) * group, p, 1, to->b_hh);
        }
        if (fl_should_stop(&job->context, &scratch->slot, fl_move_flop(rows * group)))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

/* Adds the products of n rows of the tape, from row n0 on, to the sums of panels p0 .. p1 - 1, by
   parts. scratch->from has the rows, scratch->a points to a column of ones. */
static int sum_parts(fl_backward_job *job, fl_backward_scratch *scratch, const fl_delta *delta,
                     size_t in, size_t n0, size_t n, size_t p0, size_t p1)
{
    const fl_net *net = job->net;
    const size_t group = net->group, vectors = net->cell->vectors, width = net->width;
    const size_t has_dzh = (size_t)fl_has_dzh(net), rows = in + 1 + width + has_dzh;
    const fl_codes x =
        split_columns(job, scratch, scratch->from[0], n, in, FL_TINY_FACTOR_PART, scratch->codes);
    const fl_codes h = split_columns(job, scratch, scratch->from[1], n, width, FL_TINY_FACTOR_PART,
                                     scratch->codes + fl_whole_lines(in * x.row));
    for (size_t p = p0; p < p1; p++) {
        const size_t at = (p * job->tape->total + n0) * group;
        float *const sums = scratch->sums + (p - p0) * rows * group;
        fl_gemm bias = {.rows = 1,
                        .vectors = vectors,
                        .panels = 1,
                        .k = n,
                        .a = scratch->a,
                        .a_step = STRIP,
                        .panel = delta->dz + at,
                        .c = sums + in * group,
                        .c_row = group,
                        .add = n0 % CHAIN_ROWS ? FL_AFTER : 0};
        int e = fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, bias);
        bias.panel = delta->dzh + at;
        bias.c = sums + (rows - 1) * group;
        if (e == FL_OK && has_dzh)
            e = fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, bias);
        if (e == FL_OK)
            e = product_of_parts(job, scratch, x, in, n, delta->dz + at, vectors,
                                 FL_TINY_GRADIENT_PART, n0 % CHAIN_ROWS != 0, sums);
        if (e == FL_OK)
            e = product_of_parts(job, scratch, h, width, n, delta->dzh + at, vectors,
                                 FL_TINY_GRADIENT_PART, n0 % CHAIN_ROWS != 0,
                                 sums + (in + 1) * group);
        if (e != FL_OK)
            return e;
    }
    end_chain(job->tape, n0, n0 + n, scratch->sums, scratch->before, (p1 - p0) * rows * group);
    return FL_OK;
}

/* The gradients of a projection, which belongs to panel 0, and of peepholes. FL_OK or
   FL_INTERRUPTED. */
static int other_gradients(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                           size_t dir, size_t p0, size_t p1)
{
    const fl_net *net = job->net;
    const fl_delta *delta = &job->delta[layer % 2][dir];
    const fl_grads *to = &job->call->grads[layer * net->config.dirs + dir];
    int e = FL_OK;
    if (to->w_hr && p0 == 0 && job->tape->total)
        e = projection_gradient(job, scratch, delta, to->w_hr);
    else if (to->w_hr && p0 == 0)
        memset(to->w_hr, 0, net->width * net->config.hidden * sizeof(float));
    if (e == FL_OK && to->peepholes)
        e = peephole_gradient(job, scratch, layer, dir, p0, p1, to->peepholes);
    return e;
}

int fl_weight_gradients(fl_backward_job *job, fl_backward_scratch *scratch, size_t layer,
                        size_t dir, size_t p0, size_t p1)
{
    const fl_net *net = job->net;
    const fl_tape *tape = job->tape;
    const fl_delta *delta = &job->delta[layer % 2][dir];
    const size_t in = fl_layer_in(net, layer), width = net->width, group = net->group;
    const size_t span = job->span, has_dzh = (size_t)fl_has_dzh(net),
                 rows = in + 1 + width + has_dzh;
    const size_t last = net->panels - net->unit_panels;
    const int reset = net->cell->reset && p0 >= last;
    const int by_parts = fl_by_parts(net);
    float *const x_strips = scratch->strips,
                 *const h_strips = x_strips + strips_of(in) * STRIP * span,
                 *const ones = by_parts ? x_strips + 2 * STRIP * span
                                        : h_strips + strips_of(width) * STRIP * span;

    if (net->cell->reset && p0 < last && p1 > last) {
        int e = fl_weight_gradients(job, scratch, layer, dir, p0, last);
        return e == FL_OK ? fl_weight_gradients(job, scratch, layer, dir, last, p1) : e;
    }
    if (other_gradients(job, scratch, layer, dir, p0, p1) != FL_OK)
        return FL_INTERRUPTED;

    const float **a = scratch->a;
    if (!by_parts)
        a = strip_rows(a, x_strips, in, span);
    *a++ = ones;
    if (!by_parts)
        a = strip_rows(a, h_strips, width, span);
    *a = ones;
    for (size_t i = 0; i < span; i++)
        ones[i * STRIP] = 1.0f;
    if (!tape->total)
        memset(scratch->sums, 0, (p1 - p0) * rows * group * sizeof(float));
    for (size_t n0 = 0, s = 0; n0 < tape->total; n0 += span) {
        const size_t n = tape->total - n0 < span ? tape->total - n0 : span;
        find_rows(job, scratch, layer, dir, reset, n0, n0 + n, &s);
        if (by_parts) {
            if (sum_parts(job, scratch, delta, in, n0, n, p0, p1) != FL_OK)
                return FL_INTERRUPTED;
            continue;
        }
        gather(x_strips, scratch->from[0], n, in, span);
        gather(h_strips, scratch->from[1], n, width, span);
        for (size_t p = p0; p < p1; p++) {
            fl_gemm g = {.rows = has_dzh ? in + 1 : rows,
                         .vectors = net->cell->vectors,
                         .panels = 1,
                         .k = n,
                         .a = scratch->a,
                         .a_step = STRIP,
                         .panel = delta->dz + (p * tape->total + n0) * group,
                         .c = scratch->sums + (p - p0) * rows * group,
                         .c_row = group,
                         .add = n0 ? FL_AFTER : 0};
            if (fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, g) != FL_OK)
                return FL_INTERRUPTED;
            g.a += g.rows;
            g.c += g.rows * group;
            g.rows = width + 1;
            g.panel = delta->dzh + (p * tape->total + n0) * group;
            if (has_dzh && fl_run_gemm(&job->context, &scratch->slot, FL_FLOAT32, g) != FL_OK)
                return FL_INTERRUPTED;
        }
    }
    return unpack_gradients(job, scratch, in, p0, p1,
                            &job->call->grads[layer * net->config.dirs + dir]);
}
