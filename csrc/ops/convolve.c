/* SPDX-License-Identifier: MIT */
#include "ops/convolve.h"

#include <string.h>

#include "kernels/parallel.h"
#include "kernels/run.h"
#include "ops/convolve_parts.h"
#include "ops/convolve_rows.h"

/*
 * A block of positions is up to `most` of one row of y, or several whole rows that are shorter:
 * BLOCK, or FAR_BLOCK if the weights of a group are too many for a near cache, since each block
 * reads them all. With 512 channels 162 positions took 9 % less time than 81, and 40 took 19 %
 * more. SPAN_COLUMNS columns of the output are computed at a time, in a tile of 96
 * KiB.
 */
enum {
    BLOCK = 24,
    FAR_BLOCK = 192,
    ROW_BLOCK = 512,
    SPAN_COLUMNS = 1024,
    PARTS_BLOCK = 32,     /* by parts: two tiles of rows */
    PARTS_BYTES = 1 << 19 /* of windows in parts, so that they and a panel stay in L2 */
};

/* How the positions are divided: units of `unit` positions, each of which has `per_unit` blocks of
   `length` positions, the last one fewer. */
typedef struct blocks {
    size_t positions, unit, per_unit, length, count;
} blocks;

/* Memory of one thread. */
typedef struct scratch {
    fl_segment *segments; /* [length] */
    float **y;            /* [length]: where the outputs of each position go */
    const float **a;      /* by product: [call_pieces][length]; by channel: [k1][k2][Cg][length] */
    float *gathered;      /* by product: [call_pieces][length][piece_k] */
    char *codes;          /* by parts: [length] windows */
    float *tile;          /* [panels of a span][length][columns]; by channel: [length][M] */
    fl_rows rows;
} scratch;

typedef struct job {
    const fl_convolution *c;
    fl_placement place;
    blocks blocks;
    float *copy; /* [copies][pixels][channels of x, or M by channel]: of x, if it is not used */
    char *split; /* by parts: x */
    int dense;   /* y has the positions' outputs in their order */
    int limited; /* the activation is no more than limits, which the kernels apply */
    float least, most;
    scratch *scratch; /* [threads] */
} job;

/* A block at work. */
typedef struct block {
    fl_block at;
    const job *job;
    scratch *s;
    fl_context *context;
    fl_slot *slot;
} block;

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

/* ---- how work is divided ---- */

static double flop_of(const fl_convolution *c, size_t positions)
{
    const double window = (double)c->taps[0] * (double)c->taps[1] * (double)(c->in / c->groups);
    return 2.0 * (double)positions * (double)c->out * window * (c->by_channel ? 2 : 1);
}

static blocks divide(const fl_convolution *c, const fl_placement *p, size_t threads)
{
    const size_t row = p->out[1], positions = p->images * p->out[0] * row;
    const size_t least = c->by_parts ? PARTS_BLOCK : BLOCK;
    size_t most = c->by_row ? ROW_BLOCK : least;
    if (c->far) {
        const size_t share = fl_ceil_div(positions, threads ? threads : 1);
        most = min(share, FAR_BLOCK);
        if (c->by_parts)
            most = min(most, PARTS_BYTES / fl_window_numbers(c) / sizeof(float));
        most = most < least ? least : most;
    }
    blocks b = {.positions = positions, .unit = row, .per_unit = 1};
    if (row == 0)
        return b;
    if (row > most)
        b.per_unit = fl_ceil_div(row, most);
    else
        b.unit = most / row * row;
    b.length = fl_ceil_div(b.unit, b.per_unit);
    b.count = fl_ceil_div(positions, b.unit) * b.per_unit;
    return b;
}

static size_t threads_of(const fl_convolution *c, const blocks *b, size_t threads)
{
    return fl_useful_threads(threads, b->count, flop_of(c, b->positions));
}

/* ---- scratch ---- */

/* By channel, is a group more than one channel of x and one of y? */
static int is_spread(const fl_convolution *c)
{
    return c->by_channel && (c->in > c->groups || c->out > c->groups);
}

/* Copies of x, if one is needed. */
static size_t copies_of(const fl_convolution *c) { return is_spread(c) ? c->in / c->groups : 1; }

static scratch *carve_scratch(fl_carver *carver, const fl_convolution *c, const blocks *b,
                              size_t threads)
{
    const size_t n = b->length;
    scratch *all = fl_carve(carver, threads, sizeof *all);
    for (size_t i = 0; i < threads && carver->used != SIZE_MAX; i++) {
        scratch s = {.segments = fl_carve(carver, n, sizeof *s.segments),
                     .y = fl_carve(carver, n, sizeof *s.y)};
        if (c->by_row)
            s.rows = fl_rows_carve(carver, c, n);
        else if (c->by_channel) {
            const size_t window = c->taps[0] * c->taps[1] * (c->in / c->groups);
            s.a = fl_carve(carver, fl_mul(window, n), sizeof *s.a);
            s.tile = fl_carve(carver, fl_mul(n, c->out), sizeof(float));
        } else {
            const size_t pieces = c->call_pieces, span = min(c->count * c->columns, SPAN_COLUMNS);
            if (c->by_parts)
                s.codes = fl_carve(
                    carver, n,
                    fl_most_code_bytes(c->kernels, c->format, fl_window_numbers(c), c->bits));
            else {
                s.a = fl_carve(carver, pieces * n, sizeof *s.a);
                s.gathered = fl_carve(carver, fl_mul(pieces * n, c->piece_k), sizeof(float));
            }
            s.tile = fl_carve(carver, n * span, sizeof(float));
        }
        if (all)
            all[i] = s;
    }
    return all;
}

/* The memory of a run; `job` is filled in but for what a run alone knows. */
static void carve_job(fl_carver *carver, job *job, size_t *threads)
{
    const fl_convolution *c = job->c;
    const size_t wide = c->by_channel ? c->out : c->in;
    job->blocks = divide(c, &job->place, *threads);
    *threads = threads_of(c, &job->blocks, *threads);
    if (c->by_parts)
        job->split = fl_carve(carver, 1, fl_split_bytes(c, &job->place));
    else
        job->copy = fl_carve(carver, fl_mul(fl_mul(copies_of(c), fl_pixels(&job->place)), wide),
                             sizeof(float));
    job->scratch = carve_scratch(carver, c, &job->blocks, *threads);
}

size_t fl_convolve_bytes(const fl_convolution *c, const fl_placement *place, size_t threads)
{
    fl_carver carver = {0};
    job job = {.c = c, .place = *place};
    carve_job(&carver, &job, &threads);
    return carver.used;
}

/* ---- by product ---- */

/* Adds all pieces first .. end - 1 to the sums of a gemm; the last one clips them. */
static int add_pieces(const block *b, size_t g, size_t p, size_t first, size_t end, fl_gemm gemm)
{
    const fl_convolution *c = b->job->c;
    const size_t group_bytes = c->columns * fl_format_bytes(c->format), n = c->call_pieces;
    const size_t count = b->at.count;
    /* Rows of taps that are outside of x for some rows of y are left out there: all sums begin as
       the bias, and all are clipped at the end. */
    const int ragged = c->finite && b->at.segments > 1 && c->far && n == 1;
    fl_gemm border = gemm;
    size_t last = end, from = 0, to = count;
    border.pieces = border.k = 0;
    if (ragged && fl_run_gemm(b->context, b->slot, c->format, border) != FL_OK)
        return FL_INTERRUPTED;
    gemm.add = border.add = ragged ? FL_ONTO : 0;
    border.clip = 1;
    for (size_t piece = first; piece < end; piece = last) {
        const size_t call = piece / n;
        last = min((call + 1) * n, end);
        for (size_t i = piece; i < last; i++)
            fl_block_piece(&b->at, i, g, b->s->a + (i - piece) * count,
                           b->s->gathered + (i - piece) * count * c->piece_k);
        if (ragged)
            fl_block_reached(&b->at, piece / c->row_pieces, &from, &to);
        if (from >= to)
            continue;
        gemm.rows = to - from;
        gemm.a = b->s->a + from;
        gemm.c = border.c + from * gemm.c_row;
        gemm.pieces = last - piece;
        for (size_t part = 0; part < c->parts; part++) {
            const size_t number = g * c->calls + call * c->parts + part;
            gemm.k = fl_part_numbers(c, part);
            gemm.panel = (const char *)fl_panel(&c->w, number * c->count + p) +
                         piece % n * c->piece_k * group_bytes;
            gemm.clip = !ragged && last == end && part + 1 == c->parts;
            if (fl_run_gemm(b->context, b->slot, c->format, gemm) != FL_OK)
                return FL_INTERRUPTED;
            gemm.add = FL_ONTO;
            for (size_t r = 0; r < count && part + 1 < c->parts; r++)
                b->s->a[r] += c->part_k;
        }
    }
    return ragged ? fl_run_gemm(b->context, b->slot, c->format, border) : FL_OK;
}

/* `panels` panels from number p of group g on. `codes` are read by parts. */
static int run_span(const block *b, size_t g, size_t p, size_t panels, size_t first, size_t end,
                    const fl_codes *codes)
{
    const job *job = b->job;
    const fl_convolution *c = job->c;
    const size_t group_out = c->out / c->groups, column = g * group_out + p * c->columns;
    const size_t columns = min(group_out - p * c->columns, panels * c->columns);
    float *const y = b->at.y[0] + column;
    const int direct = job->dense && !c->by_parts && group_out % c->columns == 0 &&
                       (uintptr_t)y % (c->kernels->lanes * sizeof *y) == 0;
    fl_gemm gemm = {.rows = b->at.count,
                    .vectors = c->vectors,
                    .panels = panels,
                    .far = c->far,
                    .least = job->least,
                    .most = job->most,
                    .a = b->s->a,
                    .a_step = 1,
                    .panel_bytes = c->w.panel_bytes,
                    .init = c->bias + (g * c->count + p) * c->columns,
                    .c = direct ? y : b->s->tile,
                    .c_panel = direct ? c->columns : b->at.count * c->columns,
                    .c_row = direct ? c->out : c->columns};
    if (c->by_parts) {
        gemm.k = fl_window_numbers(c);
        gemm.panel = fl_panel(&c->w, g * c->count + p);
        gemm.codes = *codes;
        if (fl_run_gemm(b->context, b->slot, c->format, gemm) != FL_OK)
            return FL_INTERRUPTED;
    } else if (add_pieces(b, g, p, first * c->row_pieces, end * c->row_pieces, gemm) != FL_OK)
        return FL_INTERRUPTED;
    for (size_t r = 0; r < b->at.count && !direct; r++)
        for (size_t i = 0; i < columns; i += c->columns) {
            const float *from = gemm.c + i * b->at.count + r * c->columns;
            const size_t n = min(c->columns, columns - i);
            if (c->by_parts) /* the other gemms have done so */
                c->kernels->flush(b->at.y[r] + column + i, from, n);
            else
                memcpy(b->at.y[r] + column + i, from, n * sizeof *y);
        }
    return FL_OK;
}

static int product_block(const block *b)
{
    const fl_convolution *c = b->job->c;
    const size_t span = SPAN_COLUMNS / c->columns;
    size_t first, end;
    fl_block_rows(&b->at, &first, &end);
    if (!c->finite) {
        first = 0;
        end = c->taps[0];
    }
    if (first >= end) { /* one gemm is needed for the bias */
        first = 0;
        end = 1;
    }
    fl_codes codes;
    for (size_t g = 0; g < c->groups; g++) {
        if (c->by_parts)
            codes = fl_split_windows(&b->at, b->job->split, g, b->s->codes);
        for (size_t p = 0; p < c->count; p += span)
            if (run_span(b, g, p, min(span, c->count - p), first, end, &codes) != FL_OK)
                return FL_INTERRUPTED;
    }
    return FL_OK;
}

/* ---- by channel ---- */

static int channels_block(const block *b)
{
    const job *job = b->job;
    const fl_convolution *c = job->c;
    const size_t count = b->at.count, group_in = c->in / c->groups;
    const float **a = b->s->a;
    for (size_t t1 = 0; t1 < c->taps[0]; t1++)
        for (size_t t2 = 0; t2 < c->taps[1]; t2++)
            for (size_t i = 0; i < group_in; i++, a += count)
                fl_block_tap(&b->at, t1, t2, i, a);
    const fl_depthwise d = {.rows = count,
                            .taps = c->taps[0] * c->taps[1] * group_in,
                            .channels = c->out,
                            .a = b->s->a,
                            .w = c->taps_w,
                            .w_tap = c->w_tap,
                            .bias = c->bias,
                            .least = job->least,
                            .most = job->most,
                            .y = job->dense ? b->at.y[0] : b->s->tile,
                            .y_row = c->out};
    c->kernels->depthwise(&d);
    for (size_t r = 0; r < count && !job->dense; r++)
        memcpy(b->at.y[r], d.y + r * c->out, c->out * sizeof *d.y);
    return fl_should_stop(b->context, b->slot, flop_of(c, count)) ? FL_INTERRUPTED : FL_OK;
}

/* ---- by row ---- */

static int rows_block(const block *b)
{
    const fl_convolution *c = b->job->c;
    for (size_t i = 0; i < b->at.segments; i++) {
        const fl_segment *s = &b->at.segment[i];
        float *const *const y = b->at.y + s->first;
        fl_rows_run(c, b->at.place, s, &b->s->rows, b->job->least, b->job->most);
        for (size_t m = 0; m < c->out; m++)
            for (size_t j = 0; j < s->count; j++)
                y[j][m] = b->s->rows.y[m * s->count + j];
    }
    return fl_should_stop(b->context, b->slot, flop_of(c, b->at.count)) ? FL_INTERRUPTED : FL_OK;
}

/* ---- a run ---- */

static int run_block(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t number,
                     size_t count)
{
    job *job = arg;
    const fl_convolution *c = job->c;
    const blocks *d = &job->blocks;
    const size_t unit = number / d->per_unit * d->unit, at = number % d->per_unit * d->length;
    scratch *s = &job->scratch[worker];
    block b = {.at = {.c = c, .place = &job->place, .segment = s->segments, .y = s->y},
               .job = job,
               .s = s,
               .context = context,
               .slot = slot};
    (void)count;
    fl_block_place(&b.at, unit + at, min(min(d->length, d->unit - at), d->positions - unit - at));
    const int e = c->by_row       ? rows_block(&b)
                  : c->by_channel ? channels_block(&b)
                                  : product_block(&b);
    if (e != FL_OK || job->limited)
        return e;
    if (job->dense)
        fl_epilogue_apply(&c->epilogue, b.at.y[0], b.at.count * c->out);
    else
        for (size_t r = 0; r < b.at.count; r++)
            fl_epilogue_apply(&c->epilogue, b.at.y[r], c->out);
    return FL_OK;
}

/* Pixels first .. first + count - 1 of the copies of x. */
static int copy_pixels(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                       size_t count)
{
    const job *job = arg;
    const fl_convolution *c = job->c;
    const size_t group_in = c->in / c->groups, group_out = c->out / c->groups;
    const size_t copies = copies_of(c), wide = c->by_channel ? c->out : c->in;
    (void)worker;
    for (size_t i = 0; i < copies; i++) {
        float *const to = job->copy + (i * fl_pixels(&job->place) + first) * wide;
        const float *from = job->place.x + first * c->in;
        if (!is_spread(c)) {
            c->kernels->flush(to, from, count * wide);
            continue;
        }
        for (size_t n = 0; n < count; n++, from += c->in)
            for (size_t m = 0; m < c->out; m++)
                to[n * wide + m] = from[m / group_out * group_in + i];
        c->kernels->flush(to, to, count * wide);
    }
    return fl_should_stop(context, slot, fl_move_flop(copies * count * wide)) ? FL_INTERRUPTED
                                                                              : FL_OK;
}

/* By parts: row `row` of x. */
static int split_pixels(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t row,
                        size_t count)
{
    const job *job = arg;
    (void)worker, (void)count;
    fl_split_pixels(job->c, &job->place, job->split, row);
    return fl_should_stop(context, slot, fl_move_flop(job->place.in[1] * job->c->in))
               ? FL_INTERRUPTED
               : FL_OK;
}

int fl_convolve(const fl_convolution *c, const fl_placement *place, void *arena,
                const fl_caller *caller)
{
    enum { PIXELS = 64 };
    size_t threads = caller->threads;
    fl_carver carver = {.base = arena};
    job job = {.c = c, .place = *place, .dense = place->step[0] == 1 && place->step[1] == 1};
    carve_job(&carver, &job, &threads);
    job.limited = fl_epilogue_limits(&c->epilogue, &job.least, &job.most) && !c->by_parts;
    int e = FL_OK;
    if (job.blocks.count && c->by_parts)
        e = fl_parallel(c->kernels, caller, threads, fl_mul(place->images, place->in[0]), 1,
                        split_pixels, &job);
    else if (job.blocks.count && (place->tiny || is_spread(c))) {
        e = fl_parallel(c->kernels, caller, threads, fl_pixels(place), PIXELS, copy_pixels, &job);
        job.place.x = job.copy;
    }
    return e != FL_OK || job.blocks.count == 0
               ? e
               : fl_parallel(c->kernels, caller, threads, job.blocks.count, 1, run_block, &job);
}
