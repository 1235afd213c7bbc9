/* SPDX-License-Identifier: MIT */
#include "ops/convolve.h"

#include <string.h>

#include "kernels/run.h"
#include "ops/parallel.h"

/*
 * A block of positions is 24, which are whole register tiles of 1, 2, 3, 4, 6 and 8 rows, or up
 * to BIG_BLOCK if the weights of a group are more than BIG_BYTES, since each block reads them all
 * from a far cache. SPAN_COLUMNS columns of the output are computed at a time, in a tile of 96 KiB.
 */
enum {
    BLOCK = 24,
    BIG_BLOCK = 96,
    BIG_BYTES = 1 << 18,
    SPAN_COLUMNS = 1024,
    TAPS_AT_ONCE = 4, /* by channel */
    DIRECT_COPY = 16  /* copies of fewer floats are loops, not calls of memcpy */
};

/* A position of the block at hand. */
typedef struct position {
    const float *image; /* of x */
    ptrdiff_t at[2];    /* where its window begins in x, along each axis */
    float *y;           /* its M outputs */
} position;

/* Memory of one thread. */
typedef struct scratch {
    position *positions; /* [block] */
    const float **a;     /* [block] */
    float *gathered;     /* by product: [block][piece_k]; by channel: [TAPS_AT_ONCE][M] */
    float *tile;         /* [panels of a span][block][columns] */
} scratch;

typedef struct job {
    const fl_convolution *c;
    const fl_placement *place;
    scratch *scratch; /* [threads] */
} job;

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

/* ---- scratch ---- */

static double flop_of(const fl_convolution *c, size_t positions)
{
    const double window = (double)c->taps[0] * (double)c->taps[1] * (double)(c->in / c->groups);
    return 2.0 * (double)positions * (double)c->out * window * (c->by_channel ? 4 : 1);
}

/* Positions of a block. */
static size_t block_of(const fl_convolution *c, size_t positions, size_t threads)
{
    const size_t bytes = c->by_channel ? 0 : c->pieces * c->parts * c->count * c->w.panel_bytes;
    const size_t share = fl_ceil_div(fl_ceil_div(positions, threads), BLOCK) * BLOCK;
    return bytes > BIG_BYTES ? min(BIG_BLOCK, share) : min(BLOCK, positions);
}

static size_t threads_of(const fl_convolution *c, size_t positions, size_t threads)
{
    return fl_useful_threads(threads, fl_ceil_div(positions, BLOCK), flop_of(c, positions));
}

static scratch *carve_scratch(fl_carver *carver, const fl_convolution *c, size_t block,
                              size_t threads)
{
    scratch *all = fl_carve(carver, threads, sizeof *all);
    for (size_t i = 0; i < threads && carver->used != SIZE_MAX; i++) {
        scratch s = {.positions = fl_carve(carver, block, sizeof *s.positions)};
        if (c->by_channel)
            s.gathered = fl_carve(carver, fl_mul(TAPS_AT_ONCE, c->out), sizeof(float));
        else {
            const size_t span = min(c->count * c->columns, SPAN_COLUMNS);
            s.a = fl_carve(carver, block, sizeof *s.a);
            s.gathered = fl_carve(carver, fl_mul(block, c->piece_k), sizeof(float));
            s.tile = fl_carve(carver, block * span, sizeof(float));
        }
        if (all)
            all[i] = s;
    }
    return all;
}

size_t fl_convolve_bytes(const fl_convolution *c, size_t positions, size_t threads)
{
    fl_carver carver = {0};
    threads = threads_of(c, positions, threads);
    carve_scratch(&carver, c, block_of(c, positions, threads), threads);
    return carver.used;
}

/* ---- windows ---- */

/* Where the windows and outputs of positions first .. first + count - 1 are. */
static void place_block(const fl_convolution *c, const fl_placement *p, position *to, size_t first,
                        size_t count)
{
    const size_t each = p->out[0] * p->out[1], image = p->in[0] * p->in[1] * c->in;
    size_t n = first / each, j1 = first % each / p->out[1], j2 = first % p->out[1];
    for (size_t r = 0; r < count; r++) {
        const size_t row = n * p->y_image + (p->from[0] + j1 * p->step[0]) * p->y_row + p->from[1] +
                           j2 * p->step[1];
        to[r] = (position){.image = p->x + n * image,
                           .at = {(ptrdiff_t)(j1 * c->stride[0]) - p->begin[0],
                                  (ptrdiff_t)(j2 * c->stride[1]) - p->begin[1]},
                           .y = p->y + row * c->out};
        if (++j2 == p->out[1]) {
            j2 = 0;
            if (++j1 == p->out[0]) {
                j1 = 0;
                n++;
            }
        }
    }
}

static float *copy(float *to, const float *from, size_t n)
{
    if (n >= DIRECT_COPY)
        memcpy(to, from, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++) {
            FL_KEEP("r", to); /* so that the compiler does not make it a call of memcpy */
            to[i] = from[i];
        }
    return to + n;
}

static float *zeros(float *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = 0;
    return to + n;
}

/* The numbers of group g and of row i1 of x that a window sees, to `to`; returns its end. */
static float *gather_row(const fl_convolution *c, const fl_placement *p, const position *at,
                         ptrdiff_t i1, size_t g, float *to)
{
    const ptrdiff_t taps = (ptrdiff_t)c->taps[1], width = (ptrdiff_t)p->in[1], i2 = at->at[1];
    const size_t channels = c->in / c->groups;
    if (i1 < 0 || i1 >= (ptrdiff_t)p->in[0])
        return zeros(to, c->taps[1] * channels);
    const float *row = at->image + (size_t)i1 * p->in[1] * c->in + g * channels;
    if (c->groups == 1 && c->dilation[1] == 1) {
        if (i2 >= 0 && i2 <= width - taps)
            return copy(to, row + (size_t)i2 * channels, c->taps[1] * channels);
        const ptrdiff_t first = i2 >= 0 ? 0 : -i2 < taps ? -i2 : taps;
        const ptrdiff_t end = width - i2 < first ? first : width - i2 < taps ? width - i2 : taps;
        to = zeros(to, (size_t)first * channels);
        if (end > first)
            to = copy(to, row + (size_t)(i2 + first) * channels, (size_t)(end - first) * channels);
        return zeros(to, (size_t)(taps - end) * channels);
    }
    for (ptrdiff_t t = 0; t < taps; t++) {
        const ptrdiff_t i = i2 + t * (ptrdiff_t)c->dilation[1];
        to =
            i < 0 || i >= width ? zeros(to, channels) : copy(to, row + (size_t)i * c->in, channels);
    }
    return to;
}

/* Piece `piece` of a window, for group g: in x itself if it is a run there, else in `to`. */
static const float *window_piece(const fl_convolution *c, const fl_placement *p, const position *at,
                                 size_t piece, size_t g, float *to)
{
    const size_t rows = c->taps[0] / c->pieces;
    const ptrdiff_t down = (ptrdiff_t)c->dilation[0];
    const ptrdiff_t i1 = at->at[0] + (ptrdiff_t)(piece * rows) * down, i2 = at->at[1];
    const int run = rows == 1 && (c->taps[1] == 1 || (c->groups == 1 && c->dilation[1] == 1));
    if (run && !p->tiny && i1 >= 0 && i1 < (ptrdiff_t)p->in[0] && i2 >= 0 &&
        i2 <= (ptrdiff_t)p->in[1] - (ptrdiff_t)c->taps[1])
        return at->image + ((size_t)i1 * p->in[1] + (size_t)i2) * c->in + g * (c->in / c->groups);
    float *end = to;
    for (size_t row = 0; row < rows; row++)
        end = gather_row(c, p, at, i1 + (ptrdiff_t)row * down, g, end);
    if (p->tiny)
        c->kernels->flush(to, to, c->piece_k);
    return to;
}

/* ---- by product ---- */

/* `panels` panels from number p of group g on, for a block of `count` positions. */
static int run_span(job *job, fl_context *context, fl_slot *slot, scratch *s, size_t g, size_t p,
                    size_t panels, size_t count)
{
    const fl_convolution *c = job->c;
    const size_t group_out = c->out / c->groups, first = p * c->columns;
    const size_t columns = min(group_out - first, panels * c->columns);
    fl_gemm gemm = {.rows = count,
                    .vectors = c->vectors,
                    .panels = panels,
                    .a = s->a,
                    .a_step = 1,
                    .panel_bytes = c->w.panel_bytes,
                    .init = c->bias + (g * c->count + p) * c->columns,
                    .c = s->tile,
                    .c_panel = count * c->columns,
                    .c_row = c->columns};
    for (size_t piece = 0; piece < c->pieces; piece++) {
        for (size_t r = 0; r < count; r++)
            s->a[r] = window_piece(c, job->place, &s->positions[r], piece, g,
                                   s->gathered + r * c->piece_k);
        for (size_t part = 0; part < c->parts; part++) {
            const size_t number = (g * c->pieces + piece) * c->parts + part;
            gemm.k = fl_part_numbers(c, part);
            gemm.panel = fl_panel(&c->w, number * c->count + p);
            if (fl_run_gemm(context, slot, c->format, gemm) != FL_OK)
                return FL_INTERRUPTED;
            gemm.add = FL_ONTO;
            for (size_t r = 0; r < count; r++)
                s->a[r] += c->part_k;
        }
    }
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < columns; i += c->columns)
            c->kernels->flush(s->positions[r].y + g * group_out + first + i,
                              s->tile + i * count + r * c->columns, min(c->columns, columns - i));
    return FL_OK;
}

static int product_block(job *job, fl_context *context, fl_slot *slot, scratch *s, size_t count)
{
    const fl_convolution *c = job->c;
    const size_t span = SPAN_COLUMNS / c->columns;
    for (size_t g = 0; g < c->groups; g++)
        for (size_t p = 0; p < c->count; p += span)
            if (run_span(job, context, slot, s, g, p, min(span, c->count - p), count) != FL_OK)
                return FL_INTERRUPTED;
    return FL_OK;
}

/* ---- by channel ---- */

/* y += w x for n channels. */
static FL_NOINLINE void add_tap(float *restrict y, const float *restrict w, const float *restrict x,
                                size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += w[i] * x[i];
}

/* y = (((y + w0 x0) + w1 x1) + w2 x2) + w3 x3 */
static FL_NOINLINE void add_four(float *restrict y, const float *restrict w0,
                                 const float *restrict w1, const float *restrict w2,
                                 const float *restrict w3, const float *restrict x0,
                                 const float *restrict x1, const float *restrict x2,
                                 const float *restrict x3, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = (((y[i] + w0[i] * x0[i]) + w1[i] * x1[i]) + w2[i] * x2[i]) + w3[i] * x3[i];
}

/* y += w[0] x[0] + .. + w[count - 1] x[count - 1], in this order, for n channels. */
static void add_taps(float *y, const float *const *w, const float *const *x, size_t count, size_t n)
{
    if (count == TAPS_AT_ONCE)
        add_four(y, w[0], w[1], w[2], w[3], x[0], x[1], x[2], x[3], n);
    else
        for (size_t t = 0; t < count; t++)
            add_tap(y, w[t], x[t], n);
}

/* Number `i` of each output's group of channels at `from`, one for each output, to `to`. */
static void spread(const fl_convolution *c, const float *from, size_t i, float *to)
{
    const size_t group_in = c->in / c->groups, group_out = c->out / c->groups;
    for (size_t g = 0; g < c->groups; g++)
        for (size_t m = 0; m < group_out; m++)
            *to++ = from[g * group_in + i];
}

static void channels_position(const fl_convolution *c, const fl_placement *p, const position *at,
                              float *gathered)
{
    const size_t group_in = c->in / c->groups, out = c->out;
    const int direct = group_in == 1 && out == c->in && !p->tiny;
    const float *w[TAPS_AT_ONCE], *x[TAPS_AT_ONCE];
    size_t held = 0;
    memcpy(at->y, c->bias, out * sizeof *at->y);
    for (size_t t1 = 0; t1 < c->taps[0]; t1++) {
        const ptrdiff_t i1 = at->at[0] + (ptrdiff_t)(t1 * c->dilation[0]);
        if (i1 < 0 || i1 >= (ptrdiff_t)p->in[0])
            continue;
        ptrdiff_t i2 = at->at[1];
        const float *row = at->image + (size_t)i1 * p->in[1] * c->in;
        const float *tap = c->taps_w + t1 * c->taps[1] * group_in * out;
        for (size_t t2 = 0; t2 < c->taps[1]; t2++, i2 += (ptrdiff_t)c->dilation[1]) {
            if (i2 < 0 || i2 >= (ptrdiff_t)p->in[1]) {
                tap += group_in * out;
                continue;
            }
            const float *from = row + (size_t)i2 * c->in;
            for (size_t i = 0; i < group_in; i++, tap += out) {
                w[held] = tap;
                x[held] = from;
                if (!direct) {
                    float *to = gathered + held * out;
                    spread(c, from, i, to);
                    if (p->tiny)
                        c->kernels->flush(to, to, out);
                    x[held] = to;
                }
                if (++held == TAPS_AT_ONCE) {
                    add_taps(at->y, w, x, held, out);
                    held = 0;
                }
            }
        }
    }
    add_taps(at->y, w, x, held, out);
    c->kernels->flush(at->y, at->y, out);
}

static int channels_block(job *job, fl_context *context, fl_slot *slot, scratch *s, size_t count)
{
    for (size_t r = 0; r < count; r++) {
        channels_position(job->c, job->place, &s->positions[r], s->gathered);
        if (fl_should_stop(context, slot, flop_of(job->c, 1)))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

/* ---- a run ---- */

static int run_block(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                     size_t count)
{
    job *job = arg;
    const fl_convolution *c = job->c;
    scratch *s = &job->scratch[worker];
    place_block(c, job->place, s->positions, first, count);
    const int e = c->by_channel ? channels_block(job, context, slot, s, count)
                                : product_block(job, context, slot, s, count);
    if (e != FL_OK)
        return e;
    const position *at = s->positions;
    if (at[count - 1].y == at[0].y + (count - 1) * c->out) /* rows side by side */
        fl_epilogue_apply(&c->epilogue, at[0].y, count * c->out);
    else
        for (size_t r = 0; r < count; r++)
            fl_epilogue_apply(&c->epilogue, at[r].y, c->out);
    return FL_OK;
}

int fl_convolve(const fl_convolution *c, const fl_placement *place, void *arena,
                const fl_caller *caller)
{
    const size_t positions = place->images * place->out[0] * place->out[1];
    const size_t threads = threads_of(c, positions, caller->threads);
    const size_t block = block_of(c, positions, threads);
    fl_carver carver = {.base = arena};
    job job = {.c = c, .place = place, .scratch = carve_scratch(&carver, c, block, threads)};
    return positions == 0
               ? FL_OK
               : fl_parallel(c->kernels, caller, threads, positions, block, run_block, &job);
}
