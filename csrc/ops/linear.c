/* SPDX-License-Identifier: MIT */
#include "ops/linear.h"

#include <string.h>

#include "base/alloc.h"
#include "kernels/run.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"
#include "ops/epilogue.h"
#include "ops/parallel.h"

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
    size_t vectors; /* across a plain panel: FL_NV, or 3 if fewer columns are padding then */
    size_t group;   /* columns of a plain panel: vectors * L */
    size_t count;   /* panels that hold all columns */
    fl_panels w;
    float *bias; /* [count][group] */
    fl_epilogue epilogue;
} linear;

/* Memory of one thread. */
typedef struct scratch {
    const float *a[BLOCK_ROWS]; /* the block's rows of x, or their copies */
    float *flushed;             /* [BLOCK_ROWS][I]: copies of rows that hold tiny values */
    float *tile;                /* [SPAN_PANELS][BLOCK_ROWS][group] */
} scratch;

/* What the threads of one run share. */
typedef struct job {
    const linear *layer;
    const float *x;
    float *y;
    scratch *scratch; /* [threads] */
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

static size_t threads_of(const linear *layer, size_t rows, size_t threads)
{
    return fl_useful_threads(threads, fl_ceil_div(rows, BLOCK_ROWS),
                             2.0 * (double)rows * (double)layer->in * (double)layer->out);
}

static scratch *carve_scratch(fl_carver *carver, const linear *layer, size_t threads)
{
    scratch *all = fl_carve(carver, threads, sizeof *all);
    for (size_t i = 0; i < threads && carver->used != SIZE_MAX; i++) {
        float *flushed = fl_carve(carver, fl_mul(BLOCK_ROWS, layer->in), sizeof(float));
        float *tile = fl_carve(carver, SPAN_PANELS * BLOCK_ROWS * layer->group, sizeof(float));
        if (all) {
            all[i].flushed = flushed;
            all[i].tile = tile;
        }
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
    const linear *layer = (const linear *)op;
    carve_scratch(&carver, layer, threads_of(layer, rows_of(in), threads));
    return carver.used;
}

/* Columns of y from the panels p .. p + n - 1, for `rows` rows whose pointers are in s->a. */
static int run_span(const linear *layer, fl_context *context, fl_slot *slot, scratch *s, size_t p,
                    size_t n, size_t rows, float *y)
{
    const size_t group = layer->group, first = p * group;
    const size_t columns = layer->out - first < n * group ? layer->out - first : n * group;
    const fl_gemm g = {.rows = rows,
                       .vectors = layer->vectors,
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
    if (fl_run_gemm(context, slot, layer->w.format, g) != FL_OK)
        return FL_INTERRUPTED;
    if (rows == 1) { /* its panels are side by side in the tile */
        layer->kernels->flush(y + first, s->tile, columns);
        return FL_OK;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c += group)
            layer->kernels->flush(y + r * layer->out + first + c, g.c + c * rows + r * group,
                                  columns - c < group ? columns - c : group);
    return FL_OK;
}

static int run_block(void *arg, fl_context *context, fl_slot *slot, size_t worker, size_t row,
                     size_t rows)
{
    const job *job = arg;
    const linear *layer = job->layer;
    scratch *s = &job->scratch[worker];
    float *y = job->y + row * layer->out;
    const size_t in = layer->in;
    for (size_t r = 0; r < rows; r++) {
        s->a[r] = job->x + (row + r) * in;
        if (layer->kernels->has_tiny(s->a[r], in)) {
            layer->kernels->flush(s->flushed + r * in, s->a[r], in);
            s->a[r] = s->flushed + r * in;
        }
    }
    for (size_t p = 0; p < layer->count; p += SPAN_PANELS) {
        const size_t n = layer->count - p < SPAN_PANELS ? layer->count - p : SPAN_PANELS;
        if (run_span(layer, context, slot, s, p, n, rows, y) != FL_OK)
            return FL_INTERRUPTED;
    }
    fl_epilogue_apply(&layer->epilogue, y, rows * layer->out);
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const linear *layer = (const linear *)op;
    const size_t rows = rows_of(in), threads = threads_of(layer, rows, caller->threads);
    fl_carver carver = {.base = arena};
    (void)ins, (void)outs;
    if (rows == 0)
        return FL_OK;
    job job = {.layer = layer,
               .x = in->at,
               .y = out->at,
               .scratch = carve_scratch(&carver, layer, threads)};
    return fl_parallel(layer->kernels, caller, threads, rows, BLOCK_ROWS, run_block, &job);
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
    fl_epilogue epilogue;
    if (attributes->int_count < 3 || attributes->int_count > 4 || ints[0] < 0 ||
        ints[0] > FL_FLOAT16 || ints[1] < 1 || ints[2] < 1 || !kernels->gemm[ints[0]] ||
        fl_epilogue_read(attributes, 3, &epilogue) != FL_OK)
        return FL_BAD_SHAPE;
    const size_t out = (size_t)ints[2], columns = fl_ceil_div(out, kernels->lanes);
    const size_t vectors = fl_plain_vectors((int)ints[0], columns),
                 group = vectors * kernels->lanes;
    const linear sizes = {.op = {&type},
                          .kernels = kernels,
                          .in = (size_t)ints[1],
                          .out = out,
                          .vectors = vectors,
                          .group = group,
                          .epilogue = epilogue,
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
