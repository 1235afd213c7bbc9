/* SPDX-License-Identifier: MIT */
#include "ops/order.h"

#include "base/alloc.h"
#include "kernels/parallel.h"
#include "ops/sums.h"

typedef struct order {
    fl_operator op;
    const fl_kernels *kernels;
    int64_t ints[3];
} order;

typedef struct job {
    const order *order;
    fl_split split;
    size_t k;   /* of topk */
    int floats; /* elements are float32, else int64 */
    const void *x;
    void *y;
    int64_t *index;
    char *arena;
} job;

static const fl_operator_type argmax_type, argmin_type, cumprod_type;

static void free_order(fl_operator *op) { fl_free(op); }

static int make(const fl_operator_type *type, size_t count, const fl_attributes *attributes,
                fl_operator **op)
{
    if (attributes->int_count != count)
        return FL_BAD_SHAPE;
    for (size_t i = 1; i < count; i++)
        if (attributes->ints[i] != 0 && attributes->ints[i] != 1)
            return FL_BAD_SHAPE;
    order *made = fl_alloc(sizeof *made);
    if (!made)
        return FL_NO_MEMORY;
    *made = (order){.op = {type}, .kernels = attributes->kernels};
    for (size_t i = 0; i < count; i++)
        made->ints[i] = attributes->ints[i];
    *op = &made->op;
    return FL_OK;
}

/* Is x float32 or int64, with the operator's axis? */
static int fits(const order *o, const fl_array *x, fl_split *split)
{
    return (x->type == FL_F32 || x->type == FL_I64) &&
           fl_split_at(&x->shape, o->ints[0], split) == FL_OK;
}

static size_t axis_of(const order *o, const fl_array *x)
{
    return (size_t)(o->ints[0] < 0 ? o->ints[0] + (int64_t)x->shape.axes : o->ints[0]);
}

/* Runs f for items 0 .. outer * inner - 1, each of one line of n elements along the axis. */
static int run_lines(job *job, double cost, int (*f)(void *, size_t, size_t, size_t),
                     const fl_caller *caller)
{
    if (job->split.n == 0)
        return FL_OK;
    const size_t items = fl_mul(job->split.outer, job->split.inner);
    return fl_in_rounds(job->order->kernels, caller, items, 10.0 + cost * (double)job->split.n, f,
                        job);
}

/* The index of the first element of a line, in an array with n along the axis. */
static size_t first_of(const job *job, size_t line, size_t n)
{
    const size_t inner = job->split.inner;
    return line / inner * n * inner + line % inner;
}

/* Does a stand before b, among the greatest or among the least? */
static inline int before_float(float a, float b, int greatest)
{
    return greatest ? a > b || (a != a && b == b) : a < b || (a == a && b != b);
}

static inline int before_int(int64_t a, int64_t b, int greatest)
{
    return greatest ? a > b : a < b;
}

/* ---- argmax and argmin ---- */

static int arg_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                     size_t outs)
{
    const order *o = (const order *)op;
    fl_split split;
    if (ins != 1 || outs != 1 || !fits(o, in, &split))
        return FL_BAD_SHAPE;
    const size_t axis = axis_of(o, in);
    fl_shape y = {0};
    for (size_t a = 0; a < in->shape.axes; a++)
        if (a != axis || o->ints[1])
            y.size[y.axes++] = a == axis ? 1 : in->shape.size[a];
    out->type = FL_I64;
    out->shape = y;
    if (fl_array_bytes(out) == SIZE_MAX || (split.n == 0 && fl_count(out)))
        return FL_BAD_SHAPE;
    return FL_OK;
}

static int arg_lines(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    const order *o = job->order;
    const size_t n = job->split.n, step = job->split.inner;
    const int greatest = o->op.type == &argmax_type, last = o->ints[2] != 0;
    (void)slot;
    for (size_t line = from; line < to; line++) {
        const size_t first = first_of(job, line, n);
        size_t best = 0;
        if (job->floats) {
            const float *x = (const float *)job->x + first;
            /* NaN, of which argmin finds the first too, is before all numbers in both. */
            for (size_t j = 1; j < n; j++) {
                const float a = x[j * step], b = x[best * step];
                const int before = greatest ? a > b : a < b;
                if (before || (a != a && b == b) || (last && (a == b || (a != a && b != b))))
                    best = j;
            }
        } else {
            const int64_t *x = (const int64_t *)job->x + first;
            for (size_t j = 1; j < n; j++) {
                const int64_t a = x[j * step], b = x[best * step];
                if (before_int(a, b, greatest) || (last && a == b))
                    best = j;
            }
        }
        job->index[line] = (int64_t)best;
    }
    return FL_OK;
}

static int arg_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                   size_t outs, void *arena, const fl_caller *caller)
{
    const order *o = (const order *)op;
    job job = {.order = o, .floats = in->type == FL_F32, .x = in->at, .index = out->at};
    (void)ins, (void)outs, (void)arena;
    fits(o, in, &job.split);
    return run_lines(&job, 1.0, arg_lines, caller);
}

static const fl_operator_type argmax_type = {
    .name = "argmax", .shape = arg_shape, .run = arg_run, .free = free_order};
static const fl_operator_type argmin_type = {
    .name = "argmin", .shape = arg_shape, .run = arg_run, .free = free_order};

int fl_make_argmax(const fl_attributes *attributes, fl_operator **op)
{
    return make(&argmax_type, 3, attributes, op);
}

int fl_make_argmin(const fl_attributes *attributes, fl_operator **op)
{
    return make(&argmin_type, 3, attributes, op);
}

/* ---- topk ---- */

#define TOPK_COST 4.0 /* ns of an element */

static int topk_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                      size_t outs)
{
    const order *o = (const order *)op;
    fl_split split;
    if (ins != 2 || outs < 1 || outs > 2 || !fits(o, in, &split) || in[1].type != FL_I64 ||
        fl_count(&in[1]) != 1 || !in[1].at)
        return FL_BAD_SHAPE;
    const int64_t k = *(const int64_t *)in[1].at;
    if (k < 0 || (uint64_t)k > split.n)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < outs; i++) {
        out[i].type = i ? FL_I64 : in->type;
        out[i].shape = in->shape;
        out[i].shape.size[axis_of(o, in)] = (size_t)k;
        if (fl_array_bytes(&out[i]) == SIZE_MAX)
            return FL_BAD_SHAPE;
    }
    return FL_OK;
}

static size_t topk_k(const fl_array *in)
{
    return in[1].at ? (size_t)*(const int64_t *)in[1].at : 0;
}

static size_t topk_bytes(const fl_operator *op, const fl_array *in, size_t ins, size_t threads)
{
    fl_split split;
    (void)ins;
    fits((const order *)op, in, &split);
    const size_t items = fl_mul(split.outer, split.inner);
    threads = fl_rounds_threads(items, 10.0 + TOPK_COST * (double)split.n, threads);
    return fl_mul(threads, fl_whole_lines(fl_mul(topk_k(in), sizeof(size_t))));
}

/* Does element i of a line stand before element j in the result? */
static inline int stands_before(const job *job, size_t first, size_t i, size_t j)
{
    const int greatest = job->order->ints[1] != 0;
    const size_t p = first + i * job->split.inner, q = first + j * job->split.inner;
    if (job->floats) {
        const float a = ((const float *)job->x)[p], b = ((const float *)job->x)[q];
        return before_float(a, b, greatest) || (i < j && !before_float(b, a, greatest));
    }
    const int64_t a = ((const int64_t *)job->x)[p], b = ((const int64_t *)job->x)[q];
    return before_int(a, b, greatest) || (i < j && a == b);
}

/* Puts heap[at] where it belongs among heap[0 .. n - 1], in which no element stands before one
   above it: the one that stands last is heap[0]. */
static void sift(const job *job, size_t first, size_t *heap, size_t at, size_t n)
{
    const size_t moved = heap[at];
    for (size_t below = 2 * at + 1; below < n; below = 2 * at + 1) {
        if (below + 1 < n && stands_before(job, first, heap[below], heap[below + 1]))
            below++;
        if (!stands_before(job, first, moved, heap[below]))
            break;
        heap[at] = heap[below];
        at = below;
    }
    heap[at] = moved;
}

static int topk_lines(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    const size_t n = job->split.n, k = job->k, step = job->split.inner;
    if (k == 0)
        return FL_OK; /* the arena may be NULL */
    size_t *heap = (size_t *)(job->arena + slot * fl_whole_lines(k * sizeof *heap));
    for (size_t line = from; line < to; line++) {
        const size_t first = first_of(job, line, n), y = first_of(job, line, k);
        for (size_t i = 0; i < k; i++)
            heap[i] = i;
        for (size_t i = k / 2; i-- > 0;)
            sift(job, first, heap, i, k);
        for (size_t i = k; i < n; i++)
            if (stands_before(job, first, i, heap[0])) {
                heap[0] = i;
                sift(job, first, heap, 0, k);
            }
        for (size_t left = k; left-- > 0;) {
            const size_t found = heap[0];
            heap[0] = heap[left];
            sift(job, first, heap, 0, left);
            const size_t x = first + found * step, at = y + left * step;
            if (job->floats && job->y)
                ((float *)job->y)[at] = ((const float *)job->x)[x];
            else if (job->y)
                ((int64_t *)job->y)[at] = ((const int64_t *)job->x)[x];
            if (job->index)
                job->index[at] = (int64_t)found;
        }
    }
    return FL_OK;
}

static int topk_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                    size_t outs, void *arena, const fl_caller *caller)
{
    const order *o = (const order *)op;
    job job = {.order = o,
               .k = topk_k(in),
               .floats = in->type == FL_F32,
               .x = in->at,
               .y = out[0].at,
               .index = outs > 1 ? out[1].at : NULL,
               .arena = arena};
    (void)ins;
    fits(o, in, &job.split);
    return run_lines(&job, TOPK_COST, topk_lines, caller);
}

int fl_make_topk(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "topk",
                                          .shape = topk_shape,
                                          .bytes = topk_bytes,
                                          .run = topk_run,
                                          .free = free_order};
    return make(&type, 2, attributes, op);
}

/* ---- cumsum and cumprod ---- */

static int cumsum_shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out,
                        size_t outs)
{
    fl_split split;
    if (ins != 1 || outs != 1 || !fits((const order *)op, in, &split))
        return FL_BAD_SHAPE;
    out->type = in->type;
    out->shape = in->shape;
    return FL_OK;
}

static int cumsum_lines(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    const order *o = job->order;
    const size_t n = job->split.n, step = job->split.inner;
    const int without = o->ints[1] != 0, backwards = o->ints[2] != 0;
    const int product = o->op.type == &cumprod_type;
    (void)slot;
    for (size_t line = from; line < to; line++) {
        const size_t first = first_of(job, line, n);
        float real = product ? 1.0f : 0.0f;
        uint64_t whole = product ? 1 : 0;
        for (size_t j = 0; j < n; j++) {
            const size_t at = first + (backwards ? n - 1 - j : j) * step;
            if (job->floats) {
                const float before = real, x = ((const float *)job->x)[at];
                real = product ? real * x : real + x;
                ((float *)job->y)[at] = without ? before : real;
            } else {
                const uint64_t before = whole, x = (uint64_t)((const int64_t *)job->x)[at];
                whole = product ? whole * x : whole + x;
                ((int64_t *)job->y)[at] = (int64_t)(without ? before : whole);
            }
        }
    }
    return FL_OK;
}

static int cumsum_run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
                      size_t outs, void *arena, const fl_caller *caller)
{
    const order *o = (const order *)op;
    job job = {.order = o, .floats = in->type == FL_F32, .x = in->at, .y = out->at};
    (void)ins, (void)outs, (void)arena;
    fits(o, in, &job.split);
    return run_lines(&job, 1.5, cumsum_lines, caller);
}

int fl_make_cumsum(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "cumsum",
                                          .shape = cumsum_shape,
                                          .in_place = 1,
                                          .run = cumsum_run,
                                          .free = free_order};
    return make(&type, 3, attributes, op);
}

static const fl_operator_type cumprod_type = {
    .name = "cumprod", .shape = cumsum_shape, .in_place = 1, .run = cumsum_run, .free = free_order};

int fl_make_cumprod(const fl_attributes *attributes, fl_operator **op)
{
    return make(&cumprod_type, 3, attributes, op);
}
