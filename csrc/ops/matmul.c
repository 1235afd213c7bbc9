/* SPDX-License-Identifier: MIT */
#include "ops/matmul.h"

#include <string.h>

#include "base/alloc.h"
#include "kernels/parallel.h"
#include "kernels/run.h"
#include "network/pack_matrix.h"

/*
 * A unit of work is up to UNIT_ROWS rows and SPAN_PANELS panels of columns of one matrix y. The
 * unit's columns of b are packed into panels in the thread's scratch, which costs about as much as
 * the product of two rows, and then BLOCK_ROWS rows at a time pass through gemm.
 */
enum { BLOCK_ROWS = 24, UNIT_ROWS = 192, SPAN_PANELS = 4 };

typedef struct matmul {
    fl_operator op;
    const fl_kernels *kernels;
    int transposed[2]; /* a is (.., K, M); b is (.., N, K) */
    int scaled;        /* alpha and beta were given */
    float alpha, beta;
} matmul;

/* The sizes of one run. Matrix i of y is the product of the a_at[..]th of a and the b_at[..]th of
   b, by the strides along the axes before the last two, in matrices; 0 where one is broadcast. */
typedef struct sizes {
    size_t m, k, n, matrices;
    size_t axes, size[FL_MAX_AXES], stride[2][FL_MAX_AXES];
    size_t vectors, group, panels, spans, chunks; /* of columns; of rows: UNIT_ROWS each */
} sizes;

/* Memory of one thread. */
typedef struct scratch {
    const float *a[BLOCK_ROWS];
    float *flushed; /* [BLOCK_ROWS][K]: copies of rows, if a has tiny numbers */
    fl_panels b;    /* [SPAN_PANELS] */
    float *tile;    /* [SPAN_PANELS][BLOCK_ROWS][group] */
} scratch;

typedef struct job {
    const matmul *layer;
    sizes s;
    const fl_array *in;
    size_t ins;
    void *y;
    int tiny; /* a has numbers that count as 0 */
    scratch *scratch;
} job;

static size_t min(size_t a, size_t b) { return a < b ? a : b; }

static void free_matmul(fl_operator *op) { fl_free(op); }

/* The rows and columns of an operand as the product has them: K is `inner`. */
static int operand(const fl_array *x, int which, int transposed, size_t *outer, size_t *inner)
{
    const size_t axes = x->shape.axes, *size = x->shape.size;
    if (axes < 1 || (axes == 1 && transposed))
        return FL_BAD_SHAPE;
    if (axes == 1) {
        *inner = size[0];
        *outer = 1;
        return FL_OK;
    }
    const int inner_last = (which == 0) != transposed;
    *inner = size[inner_last ? axes - 1 : axes - 2];
    *outer = size[inner_last ? axes - 2 : axes - 1];
    return FL_OK;
}

/* Broadcasts the axes before the last two. */
static int broadcast(const fl_array *in, sizes *s)
{
    size_t before[2], matrices[2] = {1, 1};
    for (int i = 0; i < 2; i++)
        before[i] = in[i].shape.axes > 2 ? in[i].shape.axes - 2 : 0;
    s->axes = before[0] > before[1] ? before[0] : before[1];
    s->matrices = 1;
    for (size_t axis = s->axes; axis-- > 0;) {
        size_t size[2] = {1, 1};
        for (int i = 0; i < 2; i++)
            if (axis + before[i] >= s->axes)
                size[i] = in[i].shape.size[axis + before[i] - s->axes];
        if (size[0] != size[1] && size[0] != 1 && size[1] != 1)
            return FL_BAD_SHAPE;
        s->size[axis] = size[0] == 1 ? size[1] : size[0];
        for (int i = 0; i < 2; i++) {
            s->stride[i][axis] = size[i] == 1 ? 0 : matrices[i];
            matrices[i] = fl_mul(matrices[i], size[i]);
        }
        s->matrices = fl_mul(s->matrices, s->size[axis]);
    }
    return FL_OK;
}

/* The sizes of a run, from inputs whose shapes may be any. */
static int sizes_of(const matmul *layer, const fl_array *in, size_t ins, sizes *s)
{
    size_t k;
    if (ins < 2 || ins > 3 || (in[0].type != FL_F32 && in[0].type != FL_I64) ||
        in[0].type != in[1].type || (layer->scaled && in[0].type != FL_F32) ||
        operand(&in[0], 0, layer->transposed[0], &s->m, &s->k) != FL_OK ||
        operand(&in[1], 1, layer->transposed[1], &s->n, &k) != FL_OK || s->k != k)
        return FL_BAD_SHAPE;
    if (broadcast(in, s) != FL_OK)
        return FL_BAD_SHAPE;
    if (ins == 3 && in[2].type != FL_TYPES) {
        const size_t size[] = {s->m, s->n}, axes = in[2].shape.axes;
        if (in[2].type != FL_F32 || in[0].type != FL_F32 || in[0].shape.axes < 2 ||
            in[1].shape.axes < 2 || axes > 2)
            return FL_BAD_SHAPE;
        for (size_t i = 0; i < axes; i++)
            if (in[2].shape.size[i] != 1 && in[2].shape.size[i] != size[2 - axes + i])
                return FL_BAD_SHAPE;
    }
    return FL_OK;
}

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    sizes s;
    if (outs != 1 || sizes_of((const matmul *)op, in, ins, &s) != FL_OK)
        return FL_BAD_SHAPE;
    out->type = in[0].type;
    out->shape.axes = s.axes;
    memcpy(out->shape.size, s.size, s.axes * sizeof *s.size);
    if (in[0].shape.axes > 1)
        out->shape.size[out->shape.axes++] = s.m;
    if (in[1].shape.axes > 1)
        out->shape.size[out->shape.axes++] = s.n;
    return fl_array_bytes(out) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}

/* How the work of a run is divided. If all rows meet one b they are rows of one matrix. */
static void divide(const matmul *layer, const fl_array *in, size_t ins, sizes *s)
{
    const size_t lanes = layer->kernels->lanes;
    sizes_of(layer, in, ins, s);
    const int c_of_rows = ins == 3 && in[2].type != FL_TYPES && in[2].shape.axes == 2;
    int one_b = !layer->transposed[0] && !c_of_rows, whole_a = 1;
    for (size_t i = 0; i < s->axes; i++) {
        one_b &= s->size[i] == 1 || s->stride[1][i] == 0;
        whole_a &= s->size[i] == 1 || s->stride[0][i] != 0;
    }
    if (one_b && whole_a) {
        s->m *= s->matrices;
        s->matrices = 1;
        s->axes = 0;
    }
    s->vectors = fl_plain_vectors(FL_FLOAT32, fl_ceil_div(s->n, lanes));
    s->group = s->vectors * lanes;
    s->panels = fl_ceil_div(s->n, s->group);
    s->spans = fl_ceil_div(s->panels, SPAN_PANELS);
    s->chunks = fl_ceil_div(s->m, UNIT_ROWS);
}

static size_t threads_of(const sizes *s, size_t threads)
{
    return fl_useful_threads(threads, s->matrices * s->spans * s->chunks,
                             2.0 * (double)s->matrices * (double)s->m * (double)s->k *
                                 (double)s->n);
}

static scratch *carve_scratch(fl_carver *carver, const sizes *s, size_t threads)
{
    const size_t panels = min(s->panels, SPAN_PANELS);
    scratch *all = fl_carve(carver, threads, sizeof *all);
    for (size_t i = 0; i < threads && carver->used != SIZE_MAX; i++) {
        float *flushed = fl_carve(carver, fl_mul(BLOCK_ROWS, s->k), sizeof(float));
        const fl_panels b = fl_panels_carve(carver, FL_FLOAT32, 1, NULL, panels, s->group, s->k);
        float *tile = fl_carve(carver, panels * BLOCK_ROWS * s->group, sizeof(float));
        if (all) {
            all[i].flushed = flushed;
            all[i].b = b;
            all[i].tile = tile;
        }
    }
    return all;
}

static size_t bytes(const fl_operator *op, const fl_array *in, size_t ins, size_t threads)
{
    fl_carver carver = {0};
    sizes s;
    divide((const matmul *)op, in, ins, &s);
    if (in[0].type == FL_F32)
        carve_scratch(&carver, &s, threads_of(&s, threads));
    return carver.used;
}

/* The number of the matrix of a (0) or b (1) that matrix `number` of y is made of. */
static size_t matrix_of(const sizes *s, int which, size_t number)
{
    size_t at = 0;
    for (size_t axis = s->axes; axis-- > 0; number /= s->size[axis])
        at += number % s->size[axis] * s->stride[which][axis];
    return at;
}

/* ---- float ---- */

/* Columns first .. first + columns - 1 of a matrix b, as panels. */
static void pack_columns(const job *job, scratch *s, const float *b, size_t first, size_t columns)
{
    const fl_kernels *kernels = job->layer->kernels;
    const size_t group = job->s.group, k = job->s.k, lanes = kernels->lanes;
    for (size_t c = 0; c < columns; c += group) {
        float *panel = (float *)(uintptr_t)fl_panel(&s->b, c / group);
        const size_t n = min(group, columns - c);
        if (n < group)
            memset(panel, 0, s->b.panel_bytes);
        if (job->layer->transposed[1]) {
            for (size_t v = 0; v < n; v += lanes)
                fl_pack_vector(&s->b, group, c + v, b + (first + c + v) * k, k, min(lanes, n - v));
            kernels->flush(panel, panel, k * group);
        } else
            for (size_t i = 0; i < k; i++)
                kernels->flush(panel + i * group, b + i * job->s.n + first + c, n);
    }
}

/* Row `row` of a matrix a, whose numbers lie `step` apart. */
static const float *row_of(const job *job, const float *a, size_t row, size_t step, float *to)
{
    const size_t k = job->s.k;
    const float *from = a + (step == 1 ? row * k : row);
    if (!job->tiny)
        return from;
    for (size_t i = 0; i < k; i++)
        to[i] = from[i * step];
    job->layer->kernels->flush(to, to, k);
    return to;
}

/* y = alpha y + beta c for n columns from `column` on of row `row`. */
static void scale(const job *job, float *y, size_t row, size_t column, size_t n)
{
    const matmul *layer = job->layer;
    const fl_array *c = job->ins == 3 && job->in[2].at ? &job->in[2] : NULL;
    if (!c && layer->alpha == 1)
        return;
    for (size_t i = 0; i < n; i++)
        y[i] *= layer->alpha;
    if (c) {
        const size_t axes = c->shape.axes;
        const size_t width = axes ? c->shape.size[axes - 1] : 1;
        const float *from = c->at;
        if (axes == 2 && c->shape.size[0] != 1)
            from += row * width;
        for (size_t i = 0; i < n; i++)
            y[i] += layer->beta * (width == 1 ? *from : from[column + i]);
    }
    layer->kernels->flush(y, y, n);
}

static int float_unit(const job *job, fl_context *context, fl_slot *slot, scratch *s,
                      const float *a, const float *b, float *y, size_t span, size_t chunk)
{
    const sizes *z = &job->s;
    const size_t first = span * SPAN_PANELS * z->group;
    const size_t columns = min(SPAN_PANELS * z->group, z->n - first);
    const size_t end = min(z->m, (chunk + 1) * UNIT_ROWS);
    const size_t step = job->layer->transposed[0] ? z->m : 1;
    pack_columns(job, s, b, first, columns);
    if (fl_should_stop(context, slot, fl_move_flop(z->k * columns) / 8))
        return FL_INTERRUPTED;
    for (size_t row = chunk * UNIT_ROWS; row < end; row += BLOCK_ROWS) {
        const size_t rows = min(BLOCK_ROWS, end - row);
        for (size_t r = 0; r < rows; r++)
            s->a[r] = row_of(job, a, row + r, step, s->flushed + r * z->k);
        const fl_gemm g = {.rows = rows,
                           .vectors = z->vectors,
                           .panels = fl_ceil_div(columns, z->group),
                           .k = z->k,
                           .a = s->a,
                           .a_step = job->tiny ? 1 : (ptrdiff_t)step,
                           .panel = s->b.data,
                           .panel_bytes = s->b.panel_bytes,
                           .c = s->tile,
                           .c_panel = rows * z->group,
                           .c_row = z->group};
        if (fl_run_gemm(context, slot, FL_FLOAT32, g) != FL_OK)
            return FL_INTERRUPTED;
        for (size_t r = 0; r < rows; r++) {
            float *to = y + (row + r) * z->n + first;
            for (size_t c = 0; c < columns; c += z->group)
                job->layer->kernels->flush(to + c, s->tile + c * rows + r * z->group,
                                           min(z->group, columns - c));
            scale(job, to, row + r, first, columns);
        }
    }
    return FL_OK;
}

static int float_units(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                       size_t count)
{
    const job *job = arg;
    const sizes *z = &job->s;
    const size_t units = z->spans * z->chunks;
    for (size_t i = first; i < first + count; i++) {
        const size_t number = i / units, unit = i % units;
        const float *a = (const float *)job->in[0].at + matrix_of(z, 0, number) * z->m * z->k;
        const float *b = (const float *)job->in[1].at + matrix_of(z, 1, number) * z->k * z->n;
        const int e =
            float_unit(job, context, slot, &job->scratch[worker], a, b,
                       (float *)job->y + number * z->m * z->n, unit / z->chunks, unit % z->chunks);
        if (e != FL_OK)
            return e;
    }
    return FL_OK;
}

/* ---- int64 ---- */

/* Rows first .. first + count - 1 of all matrices. */
static int int_rows(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t first,
                    size_t count)
{
    const job *job = arg;
    const sizes *z = &job->s;
    const int *transposed = job->layer->transposed;
    (void)worker;
    for (size_t i = first; i < first + count; i++) {
        const size_t number = i / z->m, row = i % z->m;
        const uint64_t *a = (const uint64_t *)job->in[0].at + matrix_of(z, 0, number) * z->m * z->k;
        const uint64_t *b = (const uint64_t *)job->in[1].at + matrix_of(z, 1, number) * z->k * z->n;
        uint64_t *y = (uint64_t *)job->y + i * z->n;
        memset(y, 0, z->n * sizeof *y);
        for (size_t k = 0; k < z->k; k++) {
            const uint64_t factor = transposed[0] ? a[k * z->m + row] : a[row * z->k + k];
            for (size_t j = 0; j < z->n; j++)
                y[j] += factor * (transposed[1] ? b[j * z->k + k] : b[k * z->n + j]);
        }
        if (fl_should_stop(context, slot, 4.0 * (double)z->k * (double)z->n))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const matmul *layer = (const matmul *)op;
    job job = {.layer = layer, .in = in, .ins = ins, .y = out->at};
    fl_carver carver = {.base = arena};
    (void)outs;
    if (fl_count(out) == 0)
        return FL_OK;
    divide(layer, in, ins, &job.s);
    const sizes *z = &job.s;
    if (in[0].type == FL_I64)
        return fl_parallel(layer->kernels, caller, 1, z->matrices * z->m, 1, int_rows, &job);
    if (fl_find_tiny(layer->kernels, caller, in[0].at, fl_count(&in[0]), &job.tiny) != FL_OK)
        return FL_INTERRUPTED;
    const size_t threads = threads_of(z, caller->threads);
    job.scratch = carve_scratch(&carver, z, threads);
    return fl_parallel(layer->kernels, caller, threads, z->matrices * z->spans * z->chunks, 1,
                       float_units, &job);
}

int fl_make_matmul(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {
        .name = "matmul", .shape = shape, .bytes = bytes, .run = run, .free = free_matmul};
    if (attributes->int_count != 2 ||
        (attributes->float_count != 0 && attributes->float_count != 2))
        return FL_BAD_SHAPE;
    matmul *layer = fl_alloc(sizeof *layer);
    if (!layer)
        return FL_NO_MEMORY;
    *layer = (matmul){.op = {&type},
                      .kernels = attributes->kernels,
                      .transposed = {attributes->ints[0] != 0, attributes->ints[1] != 0},
                      .scaled = attributes->float_count != 0,
                      .alpha = 1,
                      .beta = 1};
    if (layer->scaled) {
        layer->alpha = attributes->floats[0];
        layer->beta = attributes->floats[1];
    }
    *op = &layer->op;
    return FL_OK;
}
