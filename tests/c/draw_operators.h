/* SPDX-License-Identifier: MIT */
/*
 * Operators by name with drawn attributes, from a fuzzer's bytes. What an operator takes is written
 * as letters.
 *
 *     inputs    x any array     f floats     n floats or whole numbers, as the program has
 *               w floats with the axes of windows
 *               S known sizes, one for each axis of the first input     P two for each axis
 *               V known numbers, up to three     W one of them, in a vector     K a small one
 *               Z known sizes of two parts of the first axis
 *               i whole numbers with as many axes as the first input    I with any axes
 *               J with a last axis that indexes axes of the first input
 *               u of the first input's type, with the shape of the second
 *               U what the first input has where J's say
 *               1 floats, as many as axis 1 has     L as the last axis has     2 two of any type
 *               B a matrix that the first input can be multiplied by
 *               m bools of the first two axes       c one element of the first input's type
 *               ? what follows may be left out      + the last one up to three times more
 *     ints      a an axis     l mostly the last one     b 0 or 1     z mostly 0     s 0 .. 5
 *               q 0 .. 3     p 1 .. 5     t a type     f a format
 *               e the number of an activation     r the number of a reduction or scatter
 *               + the last one up to three times more     * the last one up to twice, or not at all
 *               those of windows and of chains of instructions are drawn by functions
 */
#ifndef FL_DRAW_OPERATORS_H
#define FL_DRAW_OPERATORS_H

#include "ops/epilogue.h"
#include "ops/opcodes.h"
#include "ops/registry.h"
#include "ops/window.h"
#include "draw_arrays.h"

enum { MOST_INTS = 64, MOST_FLOATS = 4 };

enum { PLAIN, LINEAR, CONV, CONV_TRANSPOSED, POOL, POINTWISE, RESIZE, RECURRENT };

typedef struct kind {
    const char *name, *inputs, *ints;
    size_t floats, outputs;
    int how;
} kind;

static const kind kinds[] = {
    {"argmax", "n", "abb", 0, 1, PLAIN},
    {"argmin", "n", "abb", 0, 1, PLAIN},
    {"average_pool", "w", "b", 0, 1, POOL},
    {"concat", "x+", "a", 0, 1, PLAIN},
    {"conv", "w", "", 2, 1, CONV},
    {"conv_transposed", "w", "", 2, 1, CONV_TRANSPOSED},
    {"cumprod", "n", "abb", 0, 1, PLAIN},
    {"cumsum", "n", "abb", 0, 1, PLAIN},
    {"expand", "xS", "", 0, 1, PLAIN},
    {"fill", "V", "ts", 1, 1, PLAIN},
    {"flatten", "x", "a", 0, 1, PLAIN},
    {"gather", "xI", "a", 0, 1, PLAIN},
    {"gather_elements", "xi", "a", 0, 1, PLAIN},
    {"gather_nd", "xJ", "z", 0, 1, PLAIN},
    {"group_norm", "f1?1", "z", 1, 1, PLAIN},
    {"layer_norm", "fL?L", "l", 1, 3, PLAIN},
    {"linear", "f", "", 2, 1, LINEAR},
    {"log_softmax", "f", "a", 0, 1, PLAIN},
    {"lp_pool", "w", "p", 0, 1, POOL},
    {"mask_pack", "xm", "", 0, 2, PLAIN},
    {"mask_unpack", "xm", "bb", 0, 1, PLAIN},
    {"matmul", "nB?c", "zz", 2, 1, PLAIN},
    {"max_pool", "w", "", 0, 1, POOL},
    {"one_hot", "IK2", "a", 0, 1, PLAIN},
    {"pad", "xP?c", "q", 0, 1, PLAIN},
    {"pointwise", "x+", "", 4, 1, POINTWISE},
    {"range", "KKK", "", 0, 1, PLAIN},
    {"reduce", "x", "rba*", 0, 1, PLAIN},
    {"reshape", "xS", "b", 0, 1, PLAIN},
    {"resize", "w?S", "", 2, 1, RESIZE},
    {"rms_norm", "fL", "l", 1, 1, PLAIN},
    {"scatter_elements", "xiu", "ar", 0, 1, PLAIN},
    {"scatter_nd", "xJU", "r", 0, 1, PLAIN},
    {"shape", "x", "aa", 0, 1, PLAIN},
    {"size", "x", "", 0, 1, PLAIN},
    {"slice", "xWW?WW", "", 0, 1, PLAIN},
    {"softmax", "f", "a", 0, 1, PLAIN},
    {"split", "x?Z", "a", 0, 3, PLAIN},
    {"squeeze", "x", "a*", 0, 1, PLAIN},
    {"tile", "xS", "", 0, 1, PLAIN},
    {"topk", "nK", "ab", 0, 2, PLAIN},
    {"transpose", "x", "a+", 0, 1, PLAIN},
    {"trilu", "x", "ab", 0, 1, PLAIN},
    {"unsqueeze", "x", "a+", 0, 1, PLAIN},
    {"recurrent", "f", "", 0, 3, RECURRENT},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct attributes {
    int64_t ints[MOST_INTS];
    float floats[MOST_FLOATS];
    size_t int_count, float_count;
} attributes;

static void put(attributes *a, int64_t value)
{
    CHECK(a->int_count < MOST_INTS);
    a->ints[a->int_count++] = value;
}

/* axes: of the operator's first input. */
static int64_t drawn_int(reader *r, char letter, size_t axes)
{
    const int rare = in(r, 0, 7) == 7;
    switch (letter) {
    case 'l':
    case 'a':
        if (letter == 'l' && !rare)
            return -1;
        return rare || !axes ? (int64_t)in(r, 0, 7) - 4
                             : (int64_t)in(r, 0, 2 * axes - 1) - (int64_t)axes;
    case 'b':
    case 'f':
        return (int64_t)in(r, 0, 1);
    case 'e':
        return (int64_t)in(r, 0, FL_LAST_ACTIVATION + 1) - 1;
    case 't':
        return (int64_t)in(r, 0, FL_TYPES - 1);
    case 'q':
        return (int64_t)in(r, 0, 3);
    case 'r':
        return (int64_t)in(r, 0, 9);
    case 'z':
        return rare ? (int64_t)in(r, 0, 3) : 0;
    default:
        return (int64_t)in(r, letter == 'p', 5);
    }
}

static void put_letters(attributes *a, reader *r, const char *letters, size_t axes)
{
    for (; *letters; letters++) {
        const int more = letters[1] == '+' || letters[1] == '*';
        const size_t times = letters[1] == '+' ? in(r, 1, 4) : more ? in(r, 0, 2) : 1;
        for (size_t i = 0; i < times; i++)
            put(a, drawn_int(r, *letters, axes));
        letters += more;
    }
}

/* Sizes, strides, dilations, beginnings and ends; transposed: also the output's padding and size.
 */
static void put_windows(attributes *a, reader *r, size_t axes, int transposed)
{
    for (size_t f = 0; f < FL_WINDOW_INTS; f++)
        for (size_t i = 0; i < axes; i++)
            put(a, (int64_t)(f < 3 ? in(r, 1, 4) : in(r, 0, 3)));
    for (size_t i = 0; transposed && i < 2 * axes; i++)
        put(a, in(r, 0, 3) ? 0 : (int64_t)in(r, 0, 9));
}

static void put_conv(attributes *a, reader *r, const fl_shape *x, int transposed)
{
    const size_t axes = x->axes > 3 ? 2 : 1, channels = x->axes ? x->size[x->axes - 1] : 1;
    const size_t groups = in(r, 0, 1) && channels ? channels : 1;
    const size_t format = in(r, 0, 3); /* two of four in bfloat16 parts */
    put(a, format > FL_FLOAT16 ? FL_BFLOAT16 : (int64_t)format);
    put(a, (int64_t)axes);
    put(a, (int64_t)channels);
    put(a, (int64_t)(groups * in(r, 1, 5)));
    put(a, (int64_t)groups);
    put(a, (int64_t)in(r, 0, FL_PADS - 1));
    put(a, drawn_int(r, 'e', x->axes));
    put_windows(a, r, axes, transposed);
    if (format > FL_FLOAT16)
        put(a, (int64_t)(16 * in(r, 1, 3)));
}

/* Instructions whose operands have the types that they are for, as far as there are some. */
static void put_chain(attributes *a, reader *r, const fl_array *arrays, size_t count)
{
    int types[4 + MOST_FLOATS + 5];
    const size_t first = count + a->float_count, length = in(r, 1, 5);
    for (size_t i = 0; i < first; i++)
        types[i] = i < count ? arrays[i].type : FL_F32;
    put(a, (int64_t)count);
    put(a, (int64_t)length);
    for (size_t i = first; i < first + length; i++) {
        const size_t op = in(r, 0, FL_OPCODES - 1), from = in(r, 0, i - 1);
        const fl_opcode *code = &fl_opcodes[op];
        size_t last = from; /* whose type decides */
        for (size_t j = 0; j < i && (types[last] >= FL_TYPES || !code->run[types[last]]); j++)
            last = (last + 1) % i;
        put(a, (int64_t)op);
        for (size_t k = 0; k < 3; k++) {
            size_t operand = k + 1 == code->operands ? last : in(r, 0, i - 1);
            const int due = op == FL_OP_WHERE && k == 0 ? FL_BOOL : types[last];
            for (size_t j = 0; j < i && types[operand] != due; j++)
                operand = (operand + 1) % i;
            if (k + code->constants >= code->operands && a->float_count)
                operand = count + operand % a->float_count;
            put(a, k < code->operands ? (int64_t)operand : -1);
        }
        types[i] = code->result == FL_TYPES ? types[last] : code->result;
    }
}

static void put_resize(attributes *a, reader *r, const fl_shape *x, int sized)
{
    const size_t n = x->axes > 3 ? in(r, 1, 2) : 1;
    a->float_count = n;
    put(a, (int64_t)in(r, 0, x->axes < n ? 0 : x->axes - n));
    put(a, (int64_t)n);
    put_letters(a, r, "b", x->axes);
    put(a, (int64_t)in(r, 0, 3));
    put(a, (int64_t)in(r, 0, 3));
    for (size_t i = 0; i < n; i++) {
        const int scaled = in(r, 0, 1) == 0;
        a->floats[i] = sized || !scaled ? 0 : (float)in(r, 1, 255) / 64;
        put(a, sized || scaled ? 0 : (int64_t)in(r, 0, 9));
    }
}

/* Attributes of an operator for these inputs; one in eight has a number of any magnitude. */
static attributes drawn_attributes(reader *r, const kind *what, const fl_array *arrays,
                                   size_t count)
{
    attributes a = {.float_count = what->floats};
    const fl_shape *x = &arrays[0].shape;
    for (size_t i = 0; i < a.float_count; i++)
        a.floats[i] = (float)in(r, 0, 255) / 64 - 1;
    if (what->how == LINEAR) {
        put(&a, (int64_t)in(r, 0, FL_FORMATS - 1));
        put(&a, x->axes ? (int64_t)x->size[x->axes - 1] : 1);
        put(&a, (int64_t)in(r, 1, 40));
        put(&a, drawn_int(r, 'e', x->axes));
        if (a.ints[0] == FL_BFLOAT16 && in(r, 0, 1)) { /* a window of 1, and 16, 32 or 48 bits */
            put(&a, 1);
            put(&a, 1);
            put(&a, (int64_t)(16 * in(r, 1, 3)));
        }
    } else if (what->how == CONV || what->how == CONV_TRANSPOSED) {
        put_conv(&a, r, x, what->how == CONV_TRANSPOSED);
    } else if (what->how == POOL) {
        put(&a, x->axes > 3 ? 2 : 1);
        put(&a, (int64_t)in(r, 0, FL_PADS - 1));
        put(&a, drawn_int(r, 'b', x->axes));
        put(&a, *what->ints ? drawn_int(r, *what->ints, x->axes) : 0);
        put_windows(&a, r, x->axes > 3 ? 2 : 1, 0);
    } else if (what->how == POINTWISE) {
        put_chain(&a, r, arrays, count);
    } else if (what->how == RESIZE) {
        put_resize(&a, r, x, count > 1 && arrays[1].at);
    } else if (!strcmp(what->name, "transpose") && x->axes) { /* a rotation of the axes */
        for (size_t i = 0, by = in(r, 0, x->axes - 1); i < x->axes; i++)
            put(&a, (int64_t)((i + by) % x->axes));
    } else {
        a.float_count = in(r, 0, 1) ? a.float_count : 0;
        put_letters(&a, r, what->ints, x->axes);
    }
    if (number(r, 1) % 8 == 1 && a.int_count) {
        const size_t at = in(r, 0, a.int_count - 1);
        a.ints[at] = (int64_t)number(r, in(r, 1, 8)) * (in(r, 0, 1) ? -1 : 1);
    }
    if (number(r, 1) % 64 == 1)
        a.int_count = in(r, 0, a.int_count);
    return a;
}

#endif
