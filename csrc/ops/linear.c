/* SPDX-License-Identifier: MIT */
#include "ops/linear.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "kernels/bfloat16.h"
#include "kernels/dispatch.h"
#include "kernels/parallel.h"
#include "kernels/run.h"
#include "network/pack_matrix.h"
#include "network/subnormals.h"
#include "ops/epilogue.h"

/*
 * The rows of x are taken in blocks by whichever thread is free. A block passes SPAN_PANELS panels
 * at a time through gemm into a tile of memory that stays in L1 or L2, 48 KiB with 16 lanes, from
 * where the sums go to the rows of y. 24 rows are whole register tiles of 1, 2, 3, 4, 6 and 8 rows;
 * kernels with tiles of 16 rows take 32, which are two of them.
 */
enum { BLOCK_ROWS = 24, TILED_ROWS = 32, SPAN_PANELS = 8 };

typedef struct linear {
    fl_operator op;
    const fl_kernels *kernels;
    size_t in, out;
    size_t taps, stride; /* of a window; 1 and 1 without one */
    int bits;            /* of a number of x as a code: fl_codes */
    size_t vectors;      /* across a plain panel: FL_NV, or 3 if fewer columns are padding then */
    size_t group;        /* columns of a plain panel: vectors * L */
    size_t count;        /* panels that hold all columns */
    size_t block;        /* rows of one */
    fl_panels w;
    float *bias; /* [count][group] */
    fl_epilogue epilogue;
} linear;

/* Memory of one thread. */
typedef struct scratch {
    const float *a[TILED_ROWS]; /* the block's rows of x, or their copies */
    float *flushed;             /* [block][I]: copies of rows that hold tiny values */
    float *tile;                /* [SPAN_PANELS][block][group] */
    char *codes;                /* [block] rows of codes, or of numbers of bfloat16 */
    float *scales;              /* FL_INT8: [block] */
    int32_t *sums;              /* FL_INT8: [block], of the codes */
} scratch;

/* What the threads of one run share. */
typedef struct job {
    const linear *layer;
    const float *x;
    float *y;
    size_t steps; /* rows of y of one image: row r begins at r / steps * image + r % steps * step */
    size_t image, step; /* in floats of x */
    scratch *scratch;   /* [threads] */
} job;

static linear *carve_linear(fl_carver *carver, const linear *sizes)
{
    linear *layer = fl_carve(carver, 1, sizeof *layer);
    const fl_panels w = fl_panels_carve(carver, sizes->w.format, sizes->w.parts, sizes->kernels,
                                        sizes->count, sizes->group, sizes->in);
    float *bias = fl_carve(carver, fl_mul(sizes->count, sizes->group), sizeof(float));
    if (layer) {
        *layer = *sizes;
        layer->w = w;
        layer->bias = bias;
    }
    return layer;
}

/* Bytes of one row as codes for `rows` rows; 0 rows: for any number of them. */
static size_t code_bytes(const linear *layer, size_t rows)
{
    const int format = layer->w.format;
    if (!fl_format_encoded(format))
        return 0;
    return rows ? fl_code_bytes(fl_run_kernels(layer->kernels, format, rows), format, layer->in,
                                layer->bits)
                : fl_most_code_bytes(layer->kernels, format, layer->in, layer->bits);
}

static size_t threads_of(const linear *layer, size_t rows, size_t threads)
{
    return fl_useful_threads(threads, fl_ceil_div(rows, layer->block),
                             2.0 * (double)rows * (double)layer->in * (double)layer->out);
}

static scratch *carve_scratch(fl_carver *carver, const linear *layer, size_t threads)
{
    scratch *all = fl_carve(carver, threads, sizeof *all);
    for (size_t i = 0; i < threads && carver->used != SIZE_MAX; i++) {
        float *flushed = fl_carve(carver, fl_mul(layer->block, layer->in), sizeof(float));
        float *tile =
            fl_carve(carver, fl_mul(SPAN_PANELS * layer->block, layer->group), sizeof(float));
        char *codes = fl_carve(carver, fl_mul(layer->block, code_bytes(layer, 0)), 1);
        float *scales = fl_carve(carver, layer->block, sizeof(float));
        int32_t *sums = fl_carve(carver, layer->block, sizeof(int32_t));
        if (all) {
            all[i].flushed = flushed;
            all[i].tile = tile;
            all[i].codes = codes;
            all[i].scales = scales;
            all[i].sums = sums;
        }
    }
    return all;
}

/* How many rows of y an image of T steps has. */
static size_t steps_of(const linear *layer, size_t t)
{
    return t < layer->taps ? 0 : (t - layer->taps) / layer->stride + 1;
}

static int is_window(const linear *layer) { return layer->taps > 1 || layer->stride > 1; }

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    const linear *layer = (const linear *)op;
    const size_t axes = in->shape.axes, windows = (size_t)is_window(layer);
    if (ins != 1 || outs != 1 || in->type != FL_F32 || axes < 1 + windows ||
        in->shape.size[axes - 1] != layer->in / layer->taps)
        return FL_BAD_SHAPE;
    out->type = FL_F32;
    out->shape = in->shape;
    out->shape.size[axes - 1] = layer->out;
    if (windows)
        out->shape.size[axes - 2] = steps_of(layer, in->shape.size[axes - 2]);
    return fl_array_bytes(out) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}

/* Rows of y. */
static size_t rows_of(const linear *layer, const fl_array *x)
{
    const size_t axes = x->shape.axes;
    if (!is_window(layer))
        return fl_shape_span(&x->shape, 0, axes - 1);
    return fl_shape_span(&x->shape, 0, axes - 2) * steps_of(layer, x->shape.size[axes - 2]);
}

static int pack(fl_operator *op, const fl_array *weights, size_t count)
{
    linear *layer = (linear *)op;
    const size_t sizes[] = {layer->out, layer->in}, lanes = layer->kernels->lanes;
    const int coded = layer->w.format == FL_INT8;
    if (count != 2u + (unsigned)coded || !weights[0].at ||
        !fl_array_is(&weights[0], coded ? FL_CODES : FL_F32, 2, sizes) ||
        (weights[1].at && !fl_array_is(&weights[1], FL_F32, 1, sizes)) ||
        (coded && (!weights[2].at || !fl_array_is(&weights[2], FL_F32, 1, sizes))))
        return FL_BAD_SHAPE;
    if (coded) {
        const fl_int8 w = {.codes = weights[0].at, .scales = weights[2].at};
        for (size_t row = 0; row < layer->out; row += lanes)
            fl_pack_codes(&layer->w, layer->kernels->code_zero, layer->group, row, &w, row,
                          layer->in, layer->out - row < lanes ? layer->out - row : lanes);
        layer->w.top = fl_codes_top(&w, layer->out, layer->in, layer->bits);
    } else
        fl_pack_plain(&layer->w, layer->group, lanes, weights[0].at, layer->out, layer->in);
    if (weights[1].at)
        memcpy(layer->bias, weights[1].at, layer->out * sizeof(float));
    else
        memset(layer->bias, 0, layer->out * sizeof(float));
    fl_no_subnormals(layer->bias, layer->out);
    for (size_t i = 0; i < layer->out && layer->w.format == FL_BFLOAT16; i++)
        layer->bias[i] = fabsf(layer->bias[i]) < FL_TINY_BIAS ? 0.0f : layer->bias[i];
    return FL_OK;
}

static size_t bytes(const fl_operator *op, const fl_array *in, size_t ins, size_t threads)
{
    fl_carver carver = {0};
    (void)ins;
    const linear *layer = (const linear *)op;
    carve_scratch(&carver, layer, threads_of(layer, rows_of(layer, in), threads));
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
                       .c_row = group,
                       .codes = {.at = s->codes,
                                 .row = code_bytes(layer, rows),
                                 .bits = layer->bits,
                                 .scale = s->scales,
                                 .sum = s->sums},
                       .scales = layer->w.scales ? layer->w.scales + first : NULL};
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
    const size_t in = layer->in, row_bytes = code_bytes(layer, rows);
    const fl_kernels *kernels = fl_run_kernels(layer->kernels, layer->w.format, rows);
    for (size_t r = 0; r < rows; r++) {
        const size_t at = row + r;
        s->a[r] = job->x + at / job->steps * job->image + at % job->steps * job->step;
        if (layer->w.format == FL_BFLOAT16) { /* which makes tiny values zeros too */
            kernels->split_row(s->codes + r * row_bytes, s->a[r], in, layer->w.parts, FL_TINY_PART);
            continue;
        }
        if (layer->kernels->has_tiny(s->a[r], in)) {
            layer->kernels->flush(s->flushed + r * in, s->a[r], in);
            s->a[r] = s->flushed + r * in;
        }
        if (layer->w.format == FL_INT8)
            s->scales[r] = kernels->encode(s->codes + r * row_bytes, s->a[r], in, layer->bits, 0.0f,
                                           layer->w.top, &s->sums[r]);
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
    const size_t axes = in->shape.axes, channels = layer->in / layer->taps;
    const size_t rows = rows_of(layer, in), threads = threads_of(layer, rows, caller->threads);
    fl_carver carver = {.base = arena};
    (void)ins, (void)outs;
    if (rows == 0)
        return FL_OK;
    job job = {.layer = layer,
               .x = in->at,
               .y = out->at,
               .steps = rows,
               .step = channels * layer->stride,
               .scratch = carve_scratch(&carver, layer, threads)};
    if (is_window(layer)) {
        job.steps = out->shape.size[axes - 2];
        job.image = in->shape.size[axes - 2] * channels;
    }
    return fl_parallel(layer->kernels, caller, threads, rows, layer->block, run_block, &job);
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
    const int64_t *ints = attributes->ints;
    fl_epilogue epilogue;
    const size_t count = attributes->int_count;
    const fl_kernels *kernels =
        fl_permitted_kernels(attributes->kernels, count && ints[0] >= FL_INT8);
    const int64_t taps = count > 4 ? ints[4] : 1, stride = count > 5 ? ints[5] : 1;
    const int64_t bits = count > 6 ? ints[6] : 16;
    /* 127 * 127 * 2^17 is below 2^31: sums of fewer products of 8-bit codes fit in 32 bits. */
    if (count < 3 || count > 7 || ints[0] < 0 || ints[0] > FL_BFLOAT16 || ints[1] < 1 ||
        ints[2] < 1 || taps < 1 || stride < 1 || ints[1] % taps ||
        (bits != 16 && (ints[0] == FL_BFLOAT16 ? bits != 32 && bits != 48 : bits != 8)) ||
        (ints[0] == FL_INT8 && ints[1] >= 1 << 17) || !kernels->gemm[ints[0]] ||
        fl_epilogue_read(attributes, 3, &epilogue) != FL_OK)
        return FL_BAD_SHAPE;
    const size_t out = (size_t)ints[2], columns = fl_ceil_div(out, kernels->lanes);
    const size_t vectors = fl_plain_vectors((int)ints[0], columns),
                 group = vectors * kernels->lanes;
    const linear sizes = {.op = {&type},
                          .kernels = kernels,
                          .in = (size_t)ints[1],
                          .out = out,
                          .taps = (size_t)taps,
                          .stride = (size_t)stride,
                          .bits = (int)bits,
                          .vectors = vectors,
                          .group = group,
                          .block = fl_format_encoded((int)ints[0]) && kernels->without_tiles
                                       ? TILED_ROWS
                                       : BLOCK_ROWS,
                          .epilogue = epilogue,
                          .count = fl_ceil_div(out, group),
                          .w = {.format = (int)ints[0], .parts = (int)(bits / 16)}};
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
