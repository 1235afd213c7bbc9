/* SPDX-License-Identifier: MIT */
/*
 * A case of operator_bits.c: a program of some operators with drawn numbers. It is built step by
 * step until `end`, which runs it, prints one line and begins the next:
 *
 *     INSTRUCTION_SET OPERATOR CONFIGURATION HASH
 *
 * The hash is that of all outputs on one thread, and their bits are checked to be the same on three
 * threads and for parts of the inputs. All memory ends before or begins after a page that may not
 * be touched.
 */
#ifndef FL_MODEL_CASE_H
#define FL_MODEL_CASE_H

#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "ops/program.h"
#include "ops/registry.h"
#include "check.h"
#include "guarded.h"

/* A list of numbers as a pointer and how many they are: two arguments of a call. */
#define LIST(T, ...) (const T[]){__VA_ARGS__}, sizeof((const T[]){__VA_ARGS__}) / sizeof(T)
#define INTS(...) LIST(int64_t, __VA_ARGS__)
#define FLOATS(...) LIST(float, __VA_ARGS__)
#define ARRAYS(...) LIST(fl_array, __VA_ARGS__)
#define PLACES(...) LIST(size_t, __VA_ARGS__)
#define NONE NULL, 0
#define SHAPE(...)                                                                                 \
    (fl_shape)                                                                                     \
    {                                                                                              \
        .axes = sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), .size = { __VA_ARGS__ }          \
    }

enum { MOST_INPUTS = 4, MOST_OUTPUTS = 4 };

/* Outputs from .. to - 1 along an axis need the inputs from * stride .. (to - 1) * stride + extent
   -
   1. axis 0: rows of a batch. axis 1: the axis after a batch of one. The extent is 0 where no part
   has the bits of the whole, as none of a sum has. */
typedef struct cut {
    size_t axis, stride, extent;
} cut;

static const cut whole = {0}, rows = {0, 1, 1};

static struct {
    const char *isa;
    const fl_kernels *kernels;
    uint64_t numbers, memory; /* states of the generators of numbers and of guarded.h */
    fl_program *program;
    fl_array in[MOST_INPUTS];
    size_t ins, outs, out[MOST_OUTPUTS]; /* out: places */
} model;

/* ---- numbers ---- */

static fl_array empty(int type, fl_shape shape)
{
    fl_array array = {.shape = shape, .type = type};
    array.at = get(&model.memory, fl_array_bytes(&array));
    return array;
}

/* Multiples of 2^-16 in -1 .. 1, times a power of 2: exact on every machine. */
static fl_array floats(float scale, fl_shape shape)
{
    const fl_array array = empty(FL_F32, shape);
    for (size_t i = 0; i < fl_count(&array); i++)
        ((float *)array.at)[i] =
            ((float)(draw(&model.numbers) >> 15) - 65536.0f) * (scale / 65536.0f);
    return array;
}

static fl_array integers(int64_t low, int64_t high, fl_shape shape)
{
    const fl_array array = empty(FL_I64, shape);
    for (size_t i = 0; i < fl_count(&array); i++)
        ((int64_t *)array.at)[i] =
            low + (int64_t)(draw(&model.numbers) % (uint64_t)(high - low + 1));
    return array;
}

/* Numbers of any type. One float in 16 is of those that need care. */
static fl_array numbers(int type, fl_shape shape)
{
    static const float special[] = {0.0f,     -0.0f,   INFINITY, -INFINITY, NAN,       0x1p-140f,
                                    0x1p-90f, -0.5f,   2.5f,     0x1p25f,   -0x1p100f, 1.0f,
                                    -1.0f,    0x1p63f, 16777215, -1e-3f};
    if (type == FL_F32) {
        const fl_array array = floats(4, shape);
        for (size_t i = 0; i < fl_count(&array); i++)
            if (draw(&model.numbers) % 16 == 0)
                ((float *)array.at)[i] = special[draw(&model.numbers) % 16];
        return array;
    }
    if (type == FL_I64)
        return integers(-70, 70, shape);
    const fl_array array = empty(type, shape);
    for (size_t i = 0; i < fl_count(&array); i++)
        ((uint8_t *)array.at)[i] = draw(&model.numbers) % 2;
    return array;
}

/* FNV-1a over the elements and the shape. NaNs count as equal: their bits differ between CPUs. */
static uint64_t hash(uint64_t h, const fl_array *array)
{
    const uint64_t prime = 0x100000001b3u;
    for (size_t i = 0; i < array->shape.axes; i++)
        h = (h ^ array->shape.size[i]) * prime;
    for (size_t i = 0; i < fl_count(array); i++) {
        uint64_t u = 0;
        memcpy(&u, (const char *)array->at + i * fl_type_bytes(array->type),
               fl_type_bytes(array->type)); /* every machine here is little-endian */
        if (array->type == FL_F32 && (u & 0x7fffffffu) > 0x7f800000u)
            u = 0x7fc00000u;
        h = (h ^ u) * prime;
    }
    return h;
}

/* ---- building: each answers the number of the (first) new place ---- */

static void begin(void)
{
    model.numbers = 1;
    model.ins = model.outs = 0;
    model.program = fl_program_new();
    CHECK(model.program);
}

static size_t input(fl_array array)
{
    const size_t place = fl_program_places(model.program);
    CHECK(model.ins < MOST_INPUTS);
    CHECK(fl_program_input(model.program, array.type, array.shape.axes) == FL_OK);
    model.in[model.ins++] = array;
    return place;
}

static size_t constant(fl_array array)
{
    const size_t place = fl_program_places(model.program);
    CHECK(fl_program_constant(model.program, &array) == FL_OK);
    return place;
}

static size_t vector(const int64_t *ints, size_t count)
{
    const fl_array array = empty(FL_I64, SHAPE(count));
    memcpy(array.at, ints, count * sizeof *ints);
    return constant(array);
}

static fl_operator *made(const char *name, const int64_t *ints, size_t int_count,
                         const float *floats, size_t float_count)
{
    const fl_attributes attributes = {model.kernels, ints, int_count, floats, float_count};
    fl_operator *op;
    CHECK(fl_operator_new(name, &attributes, &op) == FL_OK && !strcmp(op->type->name, name));
    return op;
}

static fl_operator *packed(fl_operator *op, const fl_array *weights, size_t count)
{
    CHECK(op && op->type->pack(op, weights, count) == FL_OK);
    return op;
}

static size_t step(fl_operator *op, size_t outs, const size_t *in, size_t ins)
{
    const size_t place = fl_program_places(model.program);
    size_t out[MOST_OUTPUTS];
    for (size_t i = 0; i < outs; i++)
        out[i] = place + i;
    CHECK(fl_program_step(model.program, op, 0, in, ins, out, outs) == FL_OK);
    return place;
}

static void output(size_t place)
{
    CHECK(model.outs < MOST_OUTPUTS);
    CHECK(fl_program_output(model.program, place) == FL_OK);
    model.out[model.outs++] = place;
}

/* ---- running ---- */

static void run(const fl_array *in, size_t threads, fl_array *out)
{
    const fl_caller caller = {.threads = threads};
    fl_layout *layout;
    size_t at;
    void *given[MOST_INPUTS], *taken[MOST_OUTPUTS];
    CHECK(fl_layout_new(model.program, in, model.ins, threads, &layout, &at) == FL_OK);
    for (size_t i = 0; i < model.ins; i++)
        given[i] = in[i].at;
    for (size_t i = 0; i < model.outs; i++) {
        const fl_array *made = fl_layout_place(layout, model.out[i]);
        out[i] = empty(made->type, made->shape);
        taken[i] = out[i].at;
    }
    void *arena = get(&model.memory, fl_layout_arena(layout));
    CHECK(fl_program_run(model.program, layout, given, taken, arena, &caller, &at) == FL_OK);
    fl_layout_free(layout);
}

/* Elements from .. to - 1 along an axis; the axes before it have size 1. */
static fl_array part_of(fl_array array, size_t axis, size_t from, size_t to)
{
    const size_t each = fl_shape_span(&array.shape, axis + 1, array.shape.axes);
    CHECK(fl_shape_span(&array.shape, 0, axis) == 1 && to <= array.shape.size[axis]);
    array.at = (char *)array.at + from * each * fl_type_bytes(array.type);
    array.shape.size[axis] = to - from;
    return array;
}

/* Do the outputs from .. to - 1 of `due` have the bits of a run with their part of the inputs? */
static void part_is_part(const fl_array *due, cut by, size_t from, size_t to, size_t threads)
{
    fl_array in[MOST_INPUTS], out[MOST_OUTPUTS];
    const size_t kept = holding;
    for (size_t i = 0; i < model.ins; i++)
        in[i] = part_of(model.in[i], by.axis, from * by.stride, (to - 1) * by.stride + by.extent);
    run(in, threads, out);
    for (size_t i = 0; i < model.outs; i++) {
        const fl_array part = part_of(due[i], by.axis, from, to);
        CHECK(hash(1, &out[i]) == hash(1, &part));
    }
    give_back_but(kept);
}

/* Runs the program, prints its line, and forgets it. Without an output the last place is one. */
static void end(const char *name, cut by, const char *configuration, ...)
{
    fl_array one[MOST_OUTPUTS], three[MOST_OUTPUTS];
    uint64_t h = 1;
    if (!model.outs)
        output(fl_program_places(model.program) - 1);
    run(model.in, 1, one);
    const size_t kept = holding;
    run(model.in, 3, three);
    for (size_t i = 0; i < model.outs; i++) {
        CHECK(hash(1, &one[i]) == hash(1, &three[i]));
        h = hash(h, &one[i]);
    }
    give_back_but(kept);
    if (by.extent) {
        const size_t n = one[0].shape.size[by.axis];
        CHECK(n >= 3);
        part_is_part(one, by, 0, 1, 1);
        part_is_part(one, by, 1, n, 3);
        part_is_part(one, by, n / 2, n / 2 + 1, 3);
    }
    va_list arguments;
    va_start(arguments, configuration);
    printf("%s %s ", model.isa, name);
    vprintf(configuration, arguments);
    printf(" %016llx\n", (unsigned long long)h);
    va_end(arguments);
    fl_program_free(model.program);
    give_back();
    begin();
}

#endif
