/* SPDX-License-Identifier: MIT */
#include "ops/linear.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/threads.h"
#include "kernels/run.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"

/*
 * The rows of x are taken in blocks by whichever thread is free. A block passes SPAN_PANELS panels
 * at a time through gemm into a tile of memory that stays in L1 or L2, 48 KiB with 16 lanes, from
 * where the sums go to the rows of y. 24 rows are whole register tiles of 1, 2, 3, 4, 6 and 8 rows.
 */
enum { BLOCK_ROWS = 24, SPAN_PANELS = 8 };

typedef struct linear {
    fl_operator op;
    const fl_kernels *kernels;
    size_t in, out;
    size_t group; /* columns of a plain panel: FL_NV * L */
    size_t count; /* panels that hold all columns */
    fl_panels w;
    float *bias; /* [count][group] */
} linear;

/* Memory of one thread. */
typedef struct scratch {
    fl_slot slot;
    const float *a[BLOCK_ROWS]; /* the block's rows of x, or their copies */
    float *flushed;             /* [BLOCK_ROWS][I]: copies of rows that hold tiny values */
    float *tile;                /* [SPAN_PANELS][BLOCK_ROWS][group] */
} scratch;

/* What the threads of one run share. */
typedef struct job {
    fl_context context;
    const linear *layer;
    const float *x;
    float *y;
    size_t rows;
    atomic_size_t next; /* the first row that no thread has taken */
    scratch *scratch;   /* [threads] */
} job;

static linear *carve_linear(fl_carver *carver, const linear *sizes)
{
    linear *layer = fl_carve(carver, 1, sizeof *layer);
    const fl_panels w =
        fl_panels_carve(carver, sizes->w.format, sizes->count, sizes->group, sizes->in);
    float *bias = fl_carve(carver, fl_mul(sizes->count, sizes->group), sizeof(float));
    if (layer) {
        *layer = *sizes;
        layer->w = w;
        layer->bias = bias;
    }
    return layer;
}

/* How many threads find a block of rows to work on. */
static size_t useful_threads(size_t rows, size_t threads)
{
    const size_t blocks = fl_ceil_div(rows, BLOCK_ROWS);
    threads = threads < blocks ? threads : blocks;
    return threads ? threads : 1;
}

static scratch *carve_scratch(fl_carver *carver, const linear *layer, size_t threads)
{
    scratch *all = fl_carve(carver, threads, sizeof *all);
    for (size_t i = 0; i < threads && carver->used != SIZE_MAX; i++) {
        float *flushed = fl_carve(carver, fl_mul(BLOCK_ROWS, layer->in), sizeof(float));
        float *tile = fl_carve(carver, SPAN_PANELS * BLOCK_ROWS * layer->group, sizeof(float));
        if (all)
            all[i] = (scratch){.slot = {.polls = i == 0}, .flushed = flushed, .tile = tile};
    }
    return all;
}

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    const linear *layer = (const linear *)op;
    if (ins != 1 || outs != 1 || in->type != FL_F32 || in->shape.axes < 1 ||
        in->shape.size[in->shape.axes - 1] != layer->in)
        return FL_BAD_SHAPE;
    out->type = FL_F32;
    out->shape = in->shape;
    out->shape.size[in->shape.axes - 1] = layer->out;
    return fl_array_bytes(out) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}

/* How many rows of I numbers an input has. */
static size_t rows_of(const fl_array *x) { return fl_shape_span(&x->shape, 0, x->shape.axes - 1); }

static int pack(fl_operator *op, const fl_array *weights, size_t count)
{
    linear *layer = (linear *)op;
    const size_t sizes[] = {layer->out, layer->in};
    if (count != 2 || !weights[0].at || !fl_array_is(&weights[0], FL_F32, 2, sizes) ||
        (weights[1].at && !fl_array_is(&weights[1], FL_F32, 1, sizes)))
        return FL_BAD_SHAPE;
    fl_pack_plain(&layer->w, layer->group, layer->kernels->lanes, weights[0].at, layer->out,
                  layer->in);
    if (weights[1].at)
        memcpy(layer->bias, weights[1].at, layer->out * sizeof(float));
    else
        memset(layer->bias, 0, layer->out * sizeof(float));
    fl_no_subnormals(layer->bias, layer->out);
    return FL_OK;
}

static size_t bytes(const fl_operator *op, const fl_array *in, size_t ins, size_t threads)
{
    fl_carver carver = {0};
    (void)ins;
    carve_scratch(&carver, (const linear *)op, useful_threads(rows_of(in), threads));
    return carver.used;
}

/* Columns of y from the panels p .. p + n - 1, for `rows` rows whose pointers are in s->a. */
static int run_span(job *job, scratch *s, size_t p, size_t n, size_t rows, float *y)
{
    const linear *layer = job->layer;
    const size_t group = layer->group, first = p * group;
    const size_t columns = layer->out - first < n * group ? layer->out - first : n * group;
    const fl_gemm g = {.rows = rows,
                       .vectors = FL_NV,
                       .panels = n,
                       .k = layer->in,
                       .a = s->a,
                       .a_step = 1,
                       .panel = fl_panel(&layer->w, p),
                       .panel_bytes = layer->w.panel_bytes,
                       .init = layer->bias + first,
                       .c = s->tile,
                       .c_panel = rows * group,
                       .c_row = group};
    if (fl_run_gemm(&job->context, &s->slot, layer->w.format, g) != FL_OK)
        return FL_INTERRUPTED;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c += group)
            layer->kernels->flush(y + r * layer->out + first + c, g.c + c * rows + r * group,
                                  columns - c < group ? columns - c : group);
    return FL_OK;
}

static int run_block(job *job, scratch *s, size_t row, size_t rows)
{
    const linear *layer = job->layer;
    const size_t in = layer->in;
    for (size_t r = 0; r < rows; r++) {
        s->a[r] = job->x + (row + r) * in;
        if (layer->kernels->has_tiny(s->a[r], in)) {
            layer->kernels->flush(s->flushed + r * in, s->a[r], in);
            s->a[r] = s->flushed + r * in;
        }
    }
    int e = FL_OK;
    for (size_t p = 0; p < layer->count && e == FL_OK; p += SPAN_PANELS) {
        const size_t n = layer->count - p < SPAN_PANELS ? layer->count - p : SPAN_PANELS;
        e = run_span(job, s, p, n, rows, job->y + row * layer->out);
    }
    return e;
}

static void work(void *arg, size_t worker)
{
    job *job = arg;
    fl_enter(&job->context);
    for (int e = FL_OK; e == FL_OK && fl_stopped(&job->context) == FL_OK;) {
        const size_t row = atomic_fetch_add_explicit(&job->next, BLOCK_ROWS, memory_order_relaxed);
        if (row >= job->rows)
            break;
        e = run_block(job, &job->scratch[worker], row,
                      job->rows - row < BLOCK_ROWS ? job->rows - row : BLOCK_ROWS);
    }
    fl_leave(&job->context);
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const linear *layer = (const linear *)op;
    fl_carver carver = {.base = arena};
    job job = {.layer = layer, .x = in->at, .y = out->at, .rows = rows_of(in)};
    (void)ins, (void)outs;
    const size_t threads = useful_threads(job.rows, caller->threads);
    if (job.rows == 0)
        return FL_OK;
    job.scratch = carve_scratch(&carver, layer, threads);
    do { /* again, in a child that the poll has forked */
        fl_context_init(&job.context, layer->kernels, caller->poll, caller->poll_arg);
        atomic_init(&job.next, 0);
        fl_team_run(threads, work, &job);
    } while (fl_stopped(&job.context) == FL_FORKED);
    return fl_stopped(&job.context);
}

static void free_linear(fl_operator *op) { fl_free(op); }

int fl_make_linear(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "linear",
                                          .pack = pack,
                                          .shape = shape,
                                          .bytes = bytes,
                                          .run = run,
                                          .free = free_linear};
    const fl_kernels *kernels = attributes->kernels;
    const int64_t *ints = attributes->ints;
    if (attributes->int_count != 3 || ints[0] < 0 || ints[0] >= FL_FORMATS || ints[1] < 1 ||
        ints[2] < 1 || !kernels->gemm[ints[0]])
        return FL_BAD_SHAPE;
    const size_t group = FL_NV * kernels->lanes, out = (size_t)ints[2];
    const linear sizes = {.op = {&type},
                          .kernels = kernels,
                          .in = (size_t)ints[1],
                          .out = out,
                          .group = group,
                          .count = fl_ceil_div(out, group),
                          .w = {.format = (int)ints[0]}};
    fl_carver carver = {0};
    carve_linear(&carver, &sizes);
    void *base = fl_alloc_lasting(carver.used);
    if (!base)
        return FL_NO_MEMORY;
    memset(base, 0, carver.used);
    carver = (fl_carver){.base = base};
    *op = &carve_linear(&carver, &sizes)->op;
    return FL_OK;
}
