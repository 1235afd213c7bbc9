/* SPDX-License-Identifier: MIT */
/* A program while it is drawn from a fuzzer's bytes: its places, and operators that fit them. */
#ifndef FL_DRAW_PROGRAM_H
#define FL_DRAW_PROGRAM_H

#include "ops/program.h"
#include "ops/recurrent.h"
#include "draw_operators.h"

enum { MOST_PLACES = 64, MOST_INS = 8, MOST_OUTS = 3 };
enum { MOST_FRESH = 1 << 18 }; /* bytes of an array whose elements are drawn */

/* A program while it is drawn. Places are numbered as in the program. */
typedef struct drawing {
    reader *r;
    uint64_t state; /* of the elements */
    int special, giant;
    const fl_kernels *kernels;
    fl_program *program;
    fl_array arrays[MOST_PLACES]; /* with the elements that running step by step gives */
    int known[MOST_PLACES]; /* constants and outputs of early steps: shapes may depend on them */
    size_t count, inputs[MOST_PLACES], input_count, steps;
    int wrong;       /* what the last step, number `steps` - 1, must end with; FL_OK: it fits */
    int wrong_early; /* when the layout is made */
} drawing;

/* ---- inputs of operators ---- */

/* A new place, an input or a constant; of sizes that are too much the largest gives way. */
static size_t fresh(drawing *d, int type, fl_shape shape, int known, int64_t low, int64_t high)
{
    fl_array a = {.type = type, .shape = shape};
    while (fl_array_bytes(&a) > (d->giant ? SIZE_MAX - 1 : MOST_FRESH))
        for (size_t i = 0; i < shape.axes; i++)
            a.shape.size[i] -= a.shape.size[i] / 2;
    const int constant = known || (!d->giant && in(d->r, 0, 3) == 0);
    if (constant || !d->giant) {
        a.at = get(fl_array_bytes(&a));
        fill(&d->state, &a, d->special, low, high);
    }
    CHECK(d->count < MOST_PLACES && fl_program_places(d->program) == d->count);
    if (constant) {
        CHECK(fl_program_constant(d->program, &a) == FL_OK);
    } else {
        CHECK(fl_program_input(d->program, type, shape.axes) == FL_OK);
        d->inputs[d->input_count++] = d->count;
    }
    d->arrays[d->count] = a;
    d->known[d->count] = constant;
    return d->count++;
}

/* Known whole numbers: n of them, small or now and then of any magnitude, or as `like` has sizes.
 */
static size_t fresh_numbers(drawing *d, size_t n, const fl_shape *like)
{
    const size_t p = fresh(d, FL_I64, (fl_shape){.axes = 1, .size = {n}}, 1, 0, 4);
    int64_t *at = d->arrays[p].at;
    for (size_t i = 0; i < n; i++) {
        const size_t first = number(d->r, 1);
        if (first % 32 == 31)
            at[i] = (int64_t)number(d->r, 8);
        else if (like)
            at[i] = first % 4 ? (int64_t)like->size[i] : (int64_t)(first / 4 % 6) - 1;
        else
            at[i] = (int64_t)(first % 8) - 2;
    }
    return p;
}

/* A place of any type, or of that one: mostly one that is there, the latest more often. */
static size_t some(drawing *d, int type)
{
    size_t p = in(d->r, 0, 255);
    p = p < 96 && d->count ? d->count - 1 : p % (d->count + 1);
    for (size_t i = 0; i <= d->count; i++, p = p ? p - 1 : d->count)
        if (p < d->count && (type == FL_TYPES || d->arrays[p].type == type))
            return p;
    type = type == FL_TYPES ? (int)in(d->r, 0, FL_TYPES - 1) : type;
    return fresh(d, type, drawn_shape(d->r, 0, 5, d->giant), 0, -3, 5);
}

/* A place of floats with three or four axes. */
static size_t windowed(drawing *d)
{
    for (size_t p = d->count; p-- > 0 && in(d->r, 0, 7);)
        if (d->arrays[p].type == FL_F32 && d->arrays[p].shape.axes / 3 == 1 &&
            d->arrays[p].shape.axes < 5)
            return p;
    return fresh(d, FL_F32, drawn_shape(d->r, 3, 4, d->giant), 0, 0, 0);
}

/* The place that a letter of draw_operators.h stands for, behind those of `at`. */
static size_t place_for(drawing *d, char letter, const size_t *at, size_t count)
{
    const fl_array first = count ? d->arrays[at[0]] : ABSENT;
    const fl_shape *x = &first.shape;
    const size_t last = x->axes ? x->size[x->axes - 1] : 1;
    fl_shape s = {.axes = 1, .size = {x->axes > 1 ? x->size[1] : last}};
    size_t at_end;
    switch (letter) {
    case 'f':
        return some(d, FL_F32);
    case 'n':
        return some(d, in(d->r, 0, 3) ? FL_F32 : FL_I64);
    case 'S':
        return fresh_numbers(d, x->axes, x);
    case 'P':
        return fresh_numbers(d, 2 * x->axes, NULL);
    case 'V':
        return fresh_numbers(d, in(d->r, 0, 3), NULL);
    case 'W':
        return fresh_numbers(d, 1, NULL);
    case 'Z':
        at_end = fresh_numbers(d, 2, NULL);
        ((int64_t *)d->arrays[at_end].at)[1] =
            (int64_t)x->size[0] - ((int64_t *)d->arrays[at_end].at)[0];
        return at_end;
    case 'K':
        s.size[0] = 1;
        s.axes = in(d->r, 0, 1);
        return fresh(d, FL_I64, s, 1, 0, (int64_t)in(d->r, 0, 7));
    case 'J':
        s = drawn_shape(d->r, 1, 3, d->giant);
        s.size[s.axes - 1] = in(d->r, 1, x->axes < 1 ? 1 : x->axes);
        return fresh(d, FL_I64, s, 0, -1, (int64_t)in(d->r, 0, 1));
    case 'U':
        s = d->arrays[at[count - 1]].shape;
        s.axes -= s.axes > 0;
        for (size_t i = s.size[s.axes]; i < x->axes && s.axes < FL_MAX_AXES; i++)
            s.size[s.axes++] = x->size[i];
        return fresh(d, first.type, s, 0, -3, 5);
    case '2':
        s.size[0] = 2;
        return fresh(d, (int)in(d->r, 0, FL_TYPES - 1), s, 0, -3, 5);
    case 'w':
        return windowed(d);
    case 'i':
    case 'I':
        s = letter == 'i' ? *x : drawn_shape(d->r, 0, 3, d->giant);
        return fresh(d, FL_I64, s, 0, -1, (int64_t)in(d->r, 0, 1));
    case 'u':
        s = count > 1 ? d->arrays[at[1]].shape : *x;
        return fresh(d, first.type, s, 0, -3, 5);
    case 'L':
        s.size[0] = last; /* fall through */
    case '1':
        return fresh(d, FL_F32, s, 0, 0, 0);
    case 'B':
        s = (fl_shape){.axes = 2, .size = {last, in(d->r, 0, 20)}};
        return fresh(d, first.type, s, 0, -3, 3);
    case 'm':
        s = (fl_shape){.axes = 2, .size = {x->size[0], x->size[1]}};
        return fresh(d, FL_BOOL, s, 0, 0, 0);
    case 'c':
        return fresh(d, first.type, (fl_shape){.axes = 0}, 0, -3, 3);
    default:
        return some(d, FL_TYPES);
    }
}

/* Draws the places of an operator's inputs; how many there are. */
static size_t choose(drawing *d, const char *letters, size_t *at)
{
    size_t count = 0;
    for (; *letters && count < MOST_INS - 2 && d->count < MOST_PLACES - 8; letters++) {
        if (*letters == '?' && in(d->r, 0, 2) == 0) {
            at[count++] = FL_NOWHERE;
            letters++;
            continue;
        }
        letters += *letters == '?';
        const size_t times = letters[1] == '+' ? in(d->r, 0, 2) : 0;
        const int other = in(d->r, 0, 31) == 31;
        for (size_t i = 0; i <= times; i++)
            at[count + i] = other ? some(d, FL_TYPES) : place_for(d, *letters, at, count + i);
        count += times + 1;
        letters += letters[1] == '+';
    }
    return count;
}

/* ---- operators with weights ---- */

static fl_array weight(drawing *d, size_t axes, const size_t *size)
{
    fl_array w = {.type = FL_F32, .shape = {.axes = axes}};
    memcpy(w.shape.size, size, axes * sizeof *size);
    w.at = get(fl_array_bytes(&w));
    fill(&d->state, &w, 0, 0, 0);
    return w;
}

/* Packs weights of the sizes that the attributes ask for. */
static void packed(drawing *d, fl_operator *op, const kind *what, const attributes *a)
{
    size_t n[MOST_INTS];
    for (size_t i = 0; i < a->int_count; i++)
        n[i] = (size_t)a->ints[i];
    size_t size[] = {n[2], n[1], 1, 1}, axes = 2, out = n[2];
    if (what->how != LINEAR) {
        out = n[3];
        size[0] = what->how == CONV ? n[3] : n[2];
        size[1] = (what->how == CONV ? n[2] : n[3]) / n[4];
        for (size_t i = 0; i < n[1]; i++)
            size[axes++] = n[7 + i];
    }
    const fl_shape shape = {.axes = 4, .size = {size[0], size[1], size[2], size[3]}};
    if (fl_shape_span(&shape, 0, 4) > MOST_ELEMENTS || out > MOST_ELEMENTS || in(d->r, 0, 15) == 15)
        return; /* they stay zeros */
    const int coded = what->how == LINEAR && n[0] == FL_INT8;
    fl_array w[] = {weight(d, axes, size), in(d->r, 0, 3) ? weight(d, 1, &out) : ABSENT,
                    coded ? weight(d, 1, &out) : ABSENT};
    if (coded) { /* codes in place of the numbers, and scales that may be */
        float *const scale = w[2].at;
        w[0].type = FL_CODES;
        for (size_t i = 0; i < size[0] * size[1]; i++)
            ((int8_t *)w[0].at)[i] = (int8_t)((int)(draw(&d->state) % 255) - 127);
        for (size_t i = 0; i < out; i++)
            scale[i] = isfinite(scale[i]) ? fabsf(scale[i]) : 0.0f;
    }
    CHECK(op->type->pack(op, w, 2 + (size_t)coded) == FL_OK);
}

/* A stack of recurrent layers with weights, and new inputs that fit; how many there are. */
static size_t recurrent(drawing *d, fl_operator **op, size_t *at)
{
    static const size_t gates[FL_CELLS] = {4, 3, 3, 1, 1};
    reader *r = d->r;
    fl_config f = {.cell = (int)in(r, 0, FL_CELLS - 1), .input = in(r, 1, 20)};
    f.hidden = in(r, 1, 40);
    f.layers = in(r, 1, 2);
    f.dirs = in(r, 1, 2);
    f.format = (const int[]){FL_FLOAT32, FL_FLOAT16, FL_BFLOAT16}[in(r, 0, 2)];
    f.reverse = f.dirs == 1 && in(r, 0, 1);
    f.proj = f.cell == FL_LSTM && f.hidden > 1 && in(r, 0, 3) == 0 ? in(r, 1, f.hidden - 1) : 0;
    const size_t steps = in(r, 0, 7), batch = in(r, 0, 6), width = f.proj ? f.proj : f.hidden;
    const size_t rows = gates[f.cell] * f.hidden, ins = in(r, 1, f.cell == FL_LSTM ? 4 : 3);
    const fl_shape shapes[] = {{.axes = 3, .size = {steps, batch, f.input}},
                               {.axes = 1, .size = {batch}},
                               {.axes = 3, .size = {f.layers * f.dirs, batch, width}},
                               {.axes = 3, .size = {f.layers * f.dirs, batch, f.hidden}}};
    for (size_t i = 0; i < ins; i++)
        at[i] = i && in(r, 0, 3) == 0 ? FL_NOWHERE
                                      : fresh(d, i == 1 ? FL_I64 : FL_F32, shapes[i], 0, 0,
                                              (int64_t)steps + (in(r, 0, 7) == 0));
    CHECK((*op = fl_recurrent_new(&f, d->kernels)));
    fl_array w[20];
    size_t count = 0;
    for (size_t i = 0; i < f.layers * f.dirs; i++) {
        const size_t below = i < f.dirs ? f.input : f.dirs * width;
        w[count++] = weight(d, 2, (const size_t[]){rows, below});
        w[count++] = weight(d, 2, (const size_t[]){rows, width});
        w[count++] = weight(d, 1, &rows);
        w[count++] = in(r, 0, 1) ? weight(d, 1, &rows) : ABSENT;
        if (f.proj)
            w[count++] = weight(d, 2, (const size_t[]){f.proj, f.hidden});
    }
    CHECK((*op)->type->pack(*op, w, count) == FL_OK);
    return ins;
}

/* An operator by its name, or NULL. */
static fl_operator *named(drawing *d, const kind *what, size_t *at, size_t *ins)
{
    fl_array given[MOST_INS];
    for (size_t i = 0; i < *ins; i++)
        given[i] = at[i] == FL_NOWHERE ? ABSENT : d->arrays[at[i]];
    const attributes a = drawn_attributes(d->r, what, given, *ins);
    const fl_attributes all = {d->kernels, a.ints, a.int_count, a.floats, a.float_count};
    fl_operator *op;
    const int e = fl_operator_new(what->name, &all, &op);
    CHECK((e == FL_OK) == (op != NULL) && (op || e == FL_BAD_SHAPE || e == FL_NO_MEMORY));
    if (op && op->type->pack && !d->giant)
        packed(d, op, what, &a);
    return op;
}

#endif
