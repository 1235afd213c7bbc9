/* SPDX-License-Identifier: MIT */
/* Cases of operator_bits.c: the operators without weights. */
#ifndef FL_PLAIN_CASES_H
#define FL_PLAIN_CASES_H

#include "ops/opcodes.h"
#include "ops/reduce.h"
#include "ops/scatter.h"
#include "ops/window.h"
#include "model_case.h"

static const char *const types[] = {"float32", "int64", "bool"};

/* One operator of one input. */
static void one_input(const char *name, const int64_t *ints, size_t count, fl_array x, cut by,
                      const char *configuration)
{
    step(made(name, ints, count, NONE), 1, PLACES(input(x)));
    end(name, by, "%s", configuration);
}

/* One operator of x and of a vector whose values decide the shape of the output. */
static void with_vector(const char *name, const int64_t *ints, size_t count, fl_array x,
                        const int64_t *values, size_t value_count, const char *configuration)
{
    const size_t v = vector(values, value_count);
    step(made(name, ints, count, NONE), 1, PLACES(input(x), v));
    end(name, whole, "%s", configuration);
}

/* ---- elements ---- */

/* Integers that every function of two takes: b has no 0. */
static fl_array uneven(fl_shape shape)
{
    const fl_array array = integers(-70, 70, shape);
    for (size_t i = 0; i < fl_count(&array); i++)
        ((int64_t *)array.at)[i] =
            (2 * ((int64_t *)array.at)[i] + 1) * (draw(&model.numbers) % 8 ? 1 : 0x123456789abcd);
    return array;
}

/* Every stride-th float. */
static fl_array every_float(uint64_t stride)
{
    const size_t n = (size_t)((0xffffffffu + stride) / stride);
    const fl_array array = empty(FL_F32, SHAPE(n));
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)(i * stride);
        memcpy((float *)array.at + i, &bits, sizeof bits);
    }
    return array;
}

/* An opcode of operands of a type; its constants are 0.75 and 0.625. */
static void opcode(int64_t number, int type, uint64_t stride)
{
    const fl_opcode *code = &fl_opcodes[number];
    const size_t ins = code->operands - code->constants;
    const float constants[] = {0.75f, 0.625f};
    const fl_shape shape = ins > 1 ? SHAPE(41, 33) : SHAPE(1031);
    int64_t ints[] = {(int64_t)ins, 1, number, -1, -1, -1};
    size_t places[3];
    for (size_t i = 0; i < code->operands; i++)
        ints[3 + i] = (int64_t)i;
    for (size_t i = 0; i < ins; i++) {
        const int of = number == FL_OP_WHERE && i == 0 ? FL_BOOL : type;
        places[i] = input(of == FL_I64               ? uneven(shape)
                          : of == FL_F32 && ins == 1 ? every_float(stride)
                                                     : numbers(of, shape));
    }
    step(made("pointwise", ints, 6, constants, code->constants), 1, places, ins);
    end("pointwise", rows, "opcode %d %s", (int)number, types[type]);
}

static void elements(uint64_t stride)
{
    for (int64_t number = 0; number < FL_OPCODES; number++)
        for (int type = 0; type < FL_TYPES; type++)
            if (fl_opcodes[number].run[type])
                opcode(number, type, stride);
    /* exp(c (a + b)) - a, rows of a and columns of b, by several threads */
    static const int64_t code[] = {2,  4,         FL_OP_ADD, 0,  1,  -1,        FL_OP_MUL, 3, 2,
                                   -1, FL_OP_EXP, 4,         -1, -1, FL_OP_SUB, 5,         0, -1};
    const size_t column = constant(floats(1, SHAPE(300, 1)));
    step(made("pointwise", code, 18, FLOATS(0.3f)), 1,
         PLACES(input(floats(2, SHAPE(3, 300, 200))), column));
    end("pointwise", rows, "broadcast");
}

/* ---- axes ---- */

static void reductions(void)
{
    for (int64_t r = 0; r < FL_REDUCTIONS; r++)
        for (int type = 0; type < FL_TYPES; type++) {
            const int order = r == FL_REDUCE_MAX || r == FL_REDUCE_MIN;
            const int real =
                r == FL_REDUCE_L2 || r == FL_REDUCE_LOG_SUM || r == FL_REDUCE_LOG_SUM_EXP;
            if ((type == FL_BOOL && !order) || (type == FL_I64 && real))
                continue;
            const fl_shape shape = SHAPE(3, 37, 29);
            one_input("reduce", INTS(r, 0, 1), numbers(type, shape), rows, "middle");
            one_input("reduce", INTS(r, 1, -1), numbers(type, shape), rows, "last");
            one_input("reduce", INTS(r, 0, 1, 2), numbers(type, shape), rows, "both");
            one_input("reduce", INTS(r, 0, 0, 2), numbers(type, shape), whole, "first and last");
        }
    one_input("reduce", INTS(FL_REDUCE_MEAN, 0, -1), floats(2, SHAPE(3, 200, 400)), rows, "large");
    one_input("reduce", INTS(FL_REDUCE_LOG_SUM_EXP, 0, 1), floats(9, SHAPE(3, 300, 70)), rows,
              "large exponentials");
    for (int64_t axis = 1; axis < 3; axis++) {
        static const char *const names[] = {"softmax", "log_softmax"};
        for (size_t i = 0; i < 2; i++) {
            one_input(names[i], INTS(axis), floats(9, SHAPE(3, 37, 29)), rows,
                      axis == 1 ? "middle" : "last");
            one_input(names[i], INTS(axis), numbers(FL_F32, SHAPE(30, 37, 2)), rows, "special");
            one_input(names[i], INTS(axis), floats(4, SHAPE(3, 190, 120)), rows, "large");
        }
    }
}

static void norms(void)
{
    static const fl_shape shapes[] = {{3, {3, 5, 33}}, {3, {4, 200, 130}}};
    for (size_t i = 0; i < 2; i++) {
        const size_t n = shapes[i].size[2], channels = shapes[i].size[1];
        const size_t x[] = {input(floats(2, shapes[i])), constant(floats(1, SHAPE(n))),
                            constant(floats(1, SHAPE(n)))};
        const size_t y = step(made("layer_norm", INTS(-1), FLOATS(1e-5f)), 3, x, 3);
        for (size_t j = 0; j < 3; j++)
            output(y + j);
        end("layer_norm", rows, "of %d", (int)n);
        const size_t z[] = {input(floats(2, shapes[i])), constant(floats(1, SHAPE(n)))};
        step(made("rms_norm", INTS(2), FLOATS(1e-5f)), 1, z, 2);
        end("rms_norm", rows, "of %d", (int)n);
        for (int64_t groups = 0; groups < 2; groups++) {
            const size_t g[] = {input(floats(2, shapes[i])), constant(floats(1, SHAPE(channels))),
                                constant(floats(1, SHAPE(channels)))};
            step(made("group_norm", &groups, 1, FLOATS(1e-5f)), 1, g, 3);
            end("group_norm", rows, "%d groups of %d", (int)groups, (int)n);
        }
    }
}

static void orders(void)
{
    for (int type = FL_F32; type <= FL_I64; type++)
        for (int64_t bits = 0; bits < 8; bits++) {
            const int64_t axis = bits & 1 ? 1 : -1, one = bits >> 1 & 1, two = bits >> 2 & 1;
            static const char *const names[] = {"argmax", "argmin", "cumsum", "cumprod"};
            for (size_t i = 0; i < 4; i++) {
                step(made(names[i], INTS(axis, one, two), NONE), 1,
                     PLACES(input(numbers(type, SHAPE(4, 31, 17)))));
                end(names[i], rows, "%s axis %d %d %d", types[type], (int)axis, (int)one, (int)two);
            }
            const size_t x = input(numbers(type, SHAPE(4, 31, 17))), k = vector(INTS(6));
            const size_t y = step(made("topk", INTS(axis, one), NONE), 2, PLACES(x, k));
            output(y);
            output(y + 1);
            end("topk", rows, "%s axis %d largest %d", types[type], (int)axis, (int)one);
        }
    one_input("cumsum", INTS(1, 0, 0), floats(2, SHAPE(3, 300, 150)), rows, "large");
}

static void pools(void)
{
    static const struct {
        const char *name;
        int64_t number;
    } all[] = {
        {"max_pool", 0}, {"average_pool", 0}, {"average_pool", 1}, {"lp_pool", 1}, {"lp_pool", 2}};
    for (size_t i = 0; i < 5; i++) {
        const int64_t n = all[i].number;
        const char *name = all[i].name, *which = n ? "1 or 2" : "0";
        one_input(name, INTS(1, FL_PAD_GIVEN, 0, n, 3, 2, 1, 1, 1),
                  numbers(FL_F32, SHAPE(3, 19, 21)), rows, which);
        one_input(name, INTS(1, FL_PAD_GIVEN, 1, n, 3, 2, 2, 0, 1), floats(2, SHAPE(3, 40, 5)),
                  rows, "dilated");
        one_input(name, INTS(2, FL_PAD_SAME_LOWER, 0, n, 3, 2, 2, 1, 1, 1, 0, 0, 0, 0),
                  floats(2, SHAPE(3, 9, 14, 6)), rows, "two axes");
        one_input(name, INTS(2, FL_PAD_GIVEN, 0, n, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
                  floats(2, SHAPE(3, 40, 30, 16)), rows, "large");
        one_input(name, INTS(1, FL_PAD_VALID, 0, n, 4, 3, 1, 0, 0), floats(2, SHAPE(1, 50, 9)),
                  (cut){1, 3, 4}, "pieces");
    }
}

static void resizes(void)
{
    for (int64_t rule = 0; rule < 4; rule++) {
        for (int64_t rounding = 0; rounding < 4; rounding++) {
            step(made("resize", INTS(1, 2, 0, rule, rounding, 0, 17), FLOATS(1.7f, 0)), 1,
                 PLACES(input(floats(2, SHAPE(3, 9, 12, 5)))));
            end("resize", rows, "nearest rule %d rounding %d", (int)rule, (int)rounding);
        }
        for (size_t axes = 1; axes < 3; axes++) {
            const int64_t ints[] = {2, (int64_t)axes, 1, rule, 0, 0, 0};
            const float scales[] = {2.3f, 0.6f};
            step(made("resize", ints, 5 + axes, scales, axes), 1,
                 PLACES(input(floats(2, SHAPE(3, 5, 20, 31)))));
            end("resize", rows, "linear rule %d axes %d", (int)rule, (int)axes);
        }
    }
    step(made("resize", INTS(1, 2, 1, 0, 0, 90, 80), FLOATS(0, 0)), 1,
         PLACES(input(floats(2, SHAPE(3, 30, 40, 8)))));
    end("resize", rows, "large");
}

/* ---- places ---- */

static void copies(int type)
{
    const fl_array x = numbers(type, SHAPE(4, 6, 5));
    const char *of = types[type];
    one_input("transpose", INTS(2, 0, 1), x, whole, of);
    one_input("transpose", INTS(0, 2, 1), numbers(type, SHAPE(3, 260, 130)), rows, of);
    const size_t bounds[] = {input(numbers(type, SHAPE(4, 6, 5))), vector(INTS(1, -1)),
                             vector(INTS(6, -6)), vector(INTS(1, 2)), vector(INTS(2, -1))};
    step(made("slice", NONE, NONE), 1, bounds, 5);
    end("slice", rows, "%s", of);
    const size_t joined = constant(numbers(type, SHAPE(4, 3, 5)));
    step(made("concat", INTS(1), NONE), 1, PLACES(input(numbers(type, SHAPE(4, 6, 5))), joined));
    end("concat", whole, "%s", of);
    const size_t parts = vector(INTS(2, 4));
    const size_t y =
        step(made("split", INTS(1), NONE), 2, PLACES(input(numbers(type, SHAPE(4, 6, 5))), parts));
    output(y);
    output(y + 1);
    end("split", rows, "%s", of);
    with_vector("expand", NONE, numbers(type, SHAPE(4, 1, 5)), INTS(2, 1, 3, 1), of);
    with_vector("tile", NONE, numbers(type, SHAPE(4, 3, 5)), INTS(2, 1, 3), of);
    for (int64_t mode = 0; mode < 4; mode++)
        with_vector("pad", &mode, 1, numbers(type, SHAPE(4, 6, 5)), INTS(1, 3, -1, 0, 2, 2), of);
    with_vector("reshape", INTS(0), numbers(type, SHAPE(4, 6, 5)), INTS(0, -1, 3), of);
    one_input("unsqueeze", INTS(1, -1), numbers(type, SHAPE(4, 6)), rows, of);
    one_input("squeeze", INTS(1), numbers(type, SHAPE(4, 1, 6)), rows, of);
    one_input("flatten", INTS(1), numbers(type, SHAPE(4, 6, 5)), rows, of);
    one_input("shape", INTS(0, 3), numbers(type, SHAPE(4, 6, 5)), whole, of);
    one_input("size", NONE, numbers(type, SHAPE(4, 6, 5)), whole, of);
    for (int64_t k = -2; k < 3; k++)
        one_input("trilu", INTS(k, k & 1), numbers(type, SHAPE(4, 6, 5)), rows, of);
    const size_t shape = vector(INTS(3, 4));
    step(made("fill", INTS(type, 1), FLOATS(0.3f)), 1, &shape, 1);
    end("fill", whole, "%s", of);
    for (int64_t bits = 0; bits < 4; bits++) {
        const size_t mask = input(numbers(FL_BOOL, SHAPE(4, 6)));
        const size_t masked[] = {input(numbers(type, SHAPE(4, 6, 5))), mask};
        const size_t packs = step(made("mask_pack", NONE, NONE), 2, masked, 2);
        output(packs);
        output(packs + 1);
        end("mask_pack", rows, "%s", of);
        const size_t mask2 = input(numbers(FL_BOOL, SHAPE(4, 6)));
        const size_t unmasked[] = {input(numbers(type, SHAPE(4, 6, 5))), mask2};
        step(made("mask_unpack", INTS(bits & 1, bits >> 1), NONE), 1, unmasked, 2);
        end("mask_unpack", rows, "%s zeros %d reverse %d", of, (int)(bits & 1), (int)(bits >> 1));
    }
}

static void picks(int type)
{
    const char *of = types[type];
    const size_t table = constant(numbers(type, SHAPE(9, 5)));
    step(made("gather", INTS(0), NONE), 1, PLACES(table, input(integers(-9, 8, SHAPE(4, 6)))));
    end("gather", rows, "%s", of);
    const size_t x = input(numbers(type, SHAPE(4, 6, 5))),
                 i = input(integers(-6, 5, SHAPE(4, 3, 5)));
    step(made("gather_elements", INTS(1), NONE), 1, PLACES(x, i));
    end("gather_elements", rows, "%s", of);
    const size_t z = input(numbers(type, SHAPE(4, 6, 5))),
                 j = input(integers(-5, 4, SHAPE(4, 3, 2)));
    step(made("gather_nd", INTS(1), NONE), 1, PLACES(z, j));
    end("gather_nd", rows, "%s", of);
    const size_t depth = vector(INTS(7)), values = constant(numbers(type, SHAPE(2)));
    step(made("one_hot", INTS(-1), NONE), 1,
         PLACES(input(integers(-8, 8, SHAPE(4, 6))), depth, values));
    end("one_hot", rows, "%s", of);
    for (int64_t how = 0; how < FL_SCATTERS; how++) {
        if (how != FL_SCATTER_PUT && type == FL_BOOL)
            break;
        const size_t to[] = {input(numbers(type, SHAPE(4, 6, 5))),
                             input(integers(-6, 5, SHAPE(4, 9, 5))),
                             input(numbers(type, SHAPE(4, 9, 5)))};
        step(made("scatter_elements", INTS(1, how), NONE), 1, to, 3);
        end("scatter_elements", rows, "%s %d", of, (int)how);
        const size_t nd[] = {input(numbers(type, SHAPE(4, 6, 5))),
                             input(integers(-4, 3, SHAPE(20, 2))),
                             input(numbers(type, SHAPE(20, 5)))};
        step(made("scatter_nd", INTS(how), NONE), 1, nd, 3);
        end("scatter_nd", whole, "%s %d", of, (int)how);
    }
}

static void places(void)
{
    for (int type = 0; type < FL_TYPES; type++) {
        copies(type);
        picks(type);
    }
    const int64_t bounds[] = {5, -20, -3};
    size_t scalars[3];
    for (size_t i = 0; i < 3; i++) {
        const fl_array scalar = empty(FL_I64, (fl_shape){.axes = 0});
        memcpy(scalar.at, &bounds[i], sizeof bounds[i]);
        scalars[i] = constant(scalar);
    }
    step(made("range", NONE, NONE), 1, scalars, 3);
    end("range", whole, "down");
}

#endif
