/* SPDX-License-Identifier: MIT */
/*
 * Programs of csrc/ops under a fuzzer: bytes become arrays, and operators over them with drawn
 * attributes, right ones for the most part. Every operator runs alone first, in memory of exactly
 * its size and on one thread and three; the program of all of them must then give the same bits,
 * on one thread and three, and on every instruction set with fused multiply-add. What does not fit
 * is refused when the layout is made, by the number of its step. Inputs of other sizes are
 * refused or run. Programs for which a set was refused memory are not compared with other sets'. Or
 * the sizes are of any magnitude, and nothing but shapes is computed.
 *
 * With clang -fsanitize=fuzzer it is libFuzzer's; otherwise it has the main of bytes.h. Linked with
 * --wrap for fl_alloc and fl_alloc_lasting. Built with a small FL_THREAD_FLOP and FL_SPLIT_HOOK, so
 * that small work is shared out too.
 */
#define FUZZ_MOST 256

#include "draw_program.h"

enum { MOST_STEPS = 12 };
enum { MOST_BYTES = 1 << 17, MOST_SCRATCH = 1 << 24 }; /* of a step's outputs; of its own memory */

int fl_split_hook(const char *place);
double fl_split_patience = 1;

int fl_split_hook(const char *place)
{
    (void)place;
    return 0;
}

/* ---- steps ---- */

/* Runs an operator alone, in memory of its own, on 1 thread and on 3; the first run's result. */
static int alone(const fl_operator *op, const fl_array *given, size_t ins, fl_array *out,
                 size_t outs)
{
    int first = FL_OK;
    for (size_t threads = 1; threads <= 3; threads += 2) {
        fl_array made[MOST_OUTS];
        const fl_caller caller = {.threads = threads};
        const size_t bytes = op->type->bytes ? op->type->bytes(op, given, ins, threads) : 0;
        for (size_t i = 0; i < outs; i++) {
            made[i] = out[i];
            made[i].at = out[i].at ? get(fl_array_bytes(&out[i])) : NULL;
        }
        if (op->type->is_view)
            memcpy(made[0].at, given[0].at, fl_array_bytes(&made[0]));
        const int e = op->type->is_view
                          ? FL_OK
                          : op->type->run(op, given, ins, made, outs, get(bytes), &caller);
        CHECK(e == FL_OK || e == FL_BAD_VALUE);
        CHECK(threads == 1 || e == first);
        first = e;
        for (size_t i = 0; i < outs && e == FL_OK; i++) {
            CHECK(threads == 1 || !made[i].at || same(&made[i], &out[i]));
            out[i] = made[i];
        }
    }
    return first;
}

/* May the step be early? */
static int may_be_early(const drawing *d, const fl_operator *op, const size_t *at, size_t ins)
{
    for (size_t i = 0; i < ins; i++)
        if (at[i] != FL_NOWHERE && !d->known[at[i]] && !op->type->of_shapes)
            return 0;
    return 1;
}

/* Adds a step whose operator is the program's from now on. out: shapes, with memory where wanted.
 */
static void add(drawing *d, fl_operator *op, const size_t *at, size_t ins, const fl_array *out,
                size_t outs, int early, int e)
{
    size_t places[MOST_OUTS];
    for (size_t i = 0; i < outs; i++) {
        places[i] = out[i].at || d->giant ? d->count : FL_NOWHERE;
        if (places[i] == FL_NOWHERE)
            continue;
        d->arrays[d->count] = out[i];
        d->known[d->count++] = early && !d->giant;
    }
    CHECK(fl_program_step(d->program, op, early, at, ins, places, outs) == FL_OK);
    CHECK(fl_program_places(d->program) == d->count);
    d->steps++;
    d->wrong = e;
    d->wrong_early = e == FL_BAD_SHAPE || early;
}

static void draw_step(drawing *d)
{
    const kind *what = &kinds[in(d->r, 0, KINDS - 1)];
    size_t at[MOST_INS], ins = 0;
    fl_operator *op = NULL;
    if (what->how == RECURRENT && !d->giant) {
        ins = recurrent(d, &op, at);
    } else if (what->how != RECURRENT) {
        ins = choose(d, what->inputs, at);
        op = named(d, what, at, &ins);
    }
    if (!op)
        return;
    fl_array shapes[MOST_INS], given[MOST_INS], out[MOST_OUTS] = {0};
    for (size_t i = 0; i < ins; i++) {
        shapes[i] = given[i] = at[i] == FL_NOWHERE ? ABSENT : d->arrays[at[i]];
        if (at[i] != FL_NOWHERE && !d->known[at[i]])
            shapes[i].at = NULL;
    }
    const size_t outs = in(d->r, 1, what->outputs), wanted = in(d->r, 0, 255);
    const int early = may_be_early(d, op, at, ins) && in(d->r, 0, 1);
    int e = op->type->shape(op, shapes, ins, out, outs);
    CHECK(e == FL_OK || e == FL_BAD_SHAPE);
    const int keep = d->count < MOST_PLACES - 8 && in(d->r, 0, 7) == 0; /* if it is wrong */
    const int can_be_step = ins > 0 && (!op->type->is_view || (outs == 1 && at[0] != FL_NOWHERE));
    size_t bytes = 0, scratch = 0;
    for (size_t i = 0; i < outs && e == FL_OK; i++) {
        CHECK(out[i].type >= 0 && out[i].type < FL_TYPES && out[i].shape.axes <= FL_MAX_AXES);
        CHECK(fl_array_bytes(&out[i]) != SIZE_MAX);
        bytes = fl_add(bytes, fl_array_bytes(&out[i]));
    }
    if (e == FL_OK && op->type->bytes)
        scratch = op->type->bytes(op, shapes, ins, 3);
    refused |= !d->giant && scratch > MOST_SCRATCH;
    if (d->giant ? e != FL_OK || !can_be_step
                 : bytes > MOST_BYTES || scratch > MOST_SCRATCH || !can_be_step) {
        op->type->free(op);
        return;
    }
    for (size_t i = 0; i < outs && !d->giant; i++) /* memory that is wanted is there from now on */
        out[i].at = i == 0 || wanted >> i & 1 || e != FL_OK ? d : NULL;
    if (e == FL_OK && !d->giant)
        e = alone(op, given, ins, out, outs);
    if (e == FL_OK || (keep && can_be_step))
        add(d, op, at, ins, out, outs, early, e);
    else
        op->type->free(op);
}

/* ---- the program ---- */

/* Runs a layout in memory of exactly its size. */
static int run(const drawing *d, const fl_layout *layout, void *const *inputs, const size_t *outs,
               size_t count, fl_array *made, size_t threads, size_t *step)
{
    void *outputs[4];
    for (size_t i = 0; i < count; i++) {
        made[i] = *fl_layout_place(layout, outs[i]);
        outputs[i] = made[i].at = get(fl_array_bytes(&made[i]));
    }
    const fl_caller caller = {.threads = threads};
    void *arena = get(fl_layout_arena(layout));
    return fl_program_run(d->program, layout, inputs, outputs, arena, &caller, step);
}

/* Lays the program out for inputs of other sizes, and runs it if they fit and are not much. */
static void other_sizes(drawing *d, const size_t *outs, size_t count)
{
    fl_array inputs[MOST_PLACES], made[4];
    void *at[MOST_PLACES];
    fl_layout *layout;
    size_t step, bytes = 0;
    for (size_t i = 0; i < d->input_count; i++) {
        inputs[i] = d->arrays[d->inputs[i]];
        for (size_t a = 0; a < inputs[i].shape.axes; a++)
            if (in(d->r, 0, 3) == 0)
                inputs[i].shape.size[a] = drawn_size(d->r, d->giant);
        bytes = fl_add(bytes, fl_array_bytes(&inputs[i]));
    }
    const int e = fl_layout_new(d->program, inputs, d->input_count, 3, &layout, &step);
    CHECK((e == FL_OK) == (layout != NULL) && e != FL_INTERRUPTED);
    if (!layout)
        return;
    bytes = fl_add(bytes, fl_layout_arena(layout));
    for (size_t i = 0; i < count; i++)
        bytes = fl_add(bytes, fl_array_bytes(fl_layout_place(layout, outs[i])));
    if (bytes <= MOST_SCRATCH && !d->giant) {
        for (size_t i = 0; i < d->input_count; i++) {
            at[i] = inputs[i].at = get(fl_array_bytes(&inputs[i]));
            fill(&d->state, &inputs[i], 1, -2, 3);
        }
        const int ran = run(d, layout, at, outs, count, made, 3, &step);
        CHECK(ran == FL_OK || ran == FL_BAD_VALUE);
    }
    fl_layout_free(layout);
}

/* Lays out and runs what was drawn; a hash of what came out. */
static uint64_t finish(drawing *d)
{
    fl_array inputs[MOST_PLACES], made[4];
    void *at[MOST_PLACES];
    size_t outs[4], step;
    const size_t count = in(d->r, 1, 4);
    uint64_t hash = 1;
    for (size_t i = 0; i < count; i++) {
        outs[i] = in(d->r, 0, 1) ? d->count - 1 : in(d->r, 0, d->count - 1);
        CHECK(fl_program_output(d->program, outs[i]) == FL_OK);
    }
    for (size_t i = 0; i < d->input_count; i++) {
        inputs[i] = d->arrays[d->inputs[i]];
        at[i] = inputs[i].at;
    }
    for (size_t threads = 1; threads <= 3 && !d->giant; threads += 2) {
        fl_layout *layout;
        int e = fl_layout_new(d->program, inputs, d->input_count, threads, &layout, &step);
        CHECK((e == FL_OK) == (layout != NULL));
        if (e != FL_OK) {
            CHECK(d->wrong_early && e == d->wrong && step == d->steps - 1);
            break;
        }
        for (size_t i = 0; i < d->count; i++) {
            const fl_array *place = fl_layout_place(layout, i);
            CHECK(place->type == d->arrays[i].type);
            CHECK(fl_shapes_equal(&place->shape, &d->arrays[i].shape));
        }
        e = run(d, layout, at, outs, count, made, threads, &step);
        CHECK(e == d->wrong && (e == FL_OK || step == d->steps - 1));
        for (size_t i = 0; i < count && e == FL_OK; i++) {
            CHECK(same(&made[i], &d->arrays[outs[i]]));
            hash = mixed(hash, &made[i]);
        }
        fl_layout_free(layout);
    }
    if (d->wrong == FL_OK)
        other_sizes(d, outs, count);
    return hash;
}

static uint64_t trial(reader r, const fl_kernels *kernels)
{
    const size_t first = number(&r, 1);
    drawing d = {.r = &r, .kernels = kernels, .special = first & 1, .giant = first % 16 >= 14};
    uint64_t hash = 1;
    d.state = number(&r, 2);
    CHECK((d.program = fl_program_new()));
    for (size_t n = in(&r, 1, MOST_STEPS); n && d.wrong == FL_OK && d.count < MOST_PLACES - 20; n--)
        draw_step(&d);
    if (d.count)
        hash = finish(&d);
    fl_program_free(d.program);
    give_back();
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t fused = 0;
    for (int i = 0; i < fl_isa_count(); i++) {
        if (!fl_isa_runnable(i))
            continue;
        refused = 0;
        const uint64_t hash = trial((reader){data, data + size}, fl_isa_kernels(i));
        if (refused) /* from there on another program was drawn than on other sets */
            continue;
#if defined(__x86_64__)
        if (!strcmp(fl_isa_name(i), "generic"))
            continue;
#endif
        CHECK(!fused || fused == hash);
        fused = hash;
    }
    return 0;
}
