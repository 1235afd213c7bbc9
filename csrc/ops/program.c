/* SPDX-License-Identifier: MIT */
#include "ops/program.h"

#include <string.h>

#include "base/alloc.h"
#include "ops/arena.h"
#include "ops/program_parts.h"

/* Of one early output: sizes are few numbers, and what a hostile file makes of them stays small.
   What is larger is made by each run, as other steps' outputs are. */
#define MOST_EARLY_BYTES ((size_t)1 << 20)
/* Steps between two looks whether to stop, beside those that long operators take themselves. */
#define POLL_STEPS 16

struct fl_layout {
    fl_array *places;
    size_t *offset;  /* [places]: in the arena, of roots that lie there */
    size_t *scratch; /* [steps]: of the step's own memory; FL_NOWHERE: it has run early */
    fl_list early;   /* void *: what early steps made */
    size_t table;    /* bytes at the start of the arena for the pointers of a run */
    size_t arena, threads;
};

/* ---- building ---- */

fl_program *fl_program_new(void)
{
    fl_program *program = fl_alloc(sizeof *program);
    if (program)
        memset(program, 0, sizeof *program);
    return program;
}

void fl_program_free(fl_program *program)
{
    if (!program)
        return;
    for (size_t i = 0; i < program->steps.count; i++) {
        fl_operator *op = step_at(program, i)->op;
        op->type->free(op);
    }
    fl_free(program->places.at);
    fl_free(program->steps.at);
    fl_free(program->numbers.at);
    fl_free(program->outputs.at);
    fl_free(program);
}

size_t fl_program_places(const fl_program *program) { return program->places.count; }

static int add_place(fl_program *program, place new)
{
    if (fl_reserve(&program->places, 1, sizeof(place)) != FL_OK)
        return FL_NO_MEMORY;
    new.root = program->places.count;
    new.output = FL_NOWHERE;
    *place_at(program, program->places.count++) = new;
    return FL_OK;
}

int fl_program_input(fl_program *program, int type, size_t axes)
{
    if (type < 0 || type >= FL_TYPES || axes > FL_MAX_AXES || program->outputs.count)
        return FL_BAD_SHAPE;
    const int e = add_place(
        program, (place){.kind = GIVEN, .type = type, .axes = axes, .input = program->inputs});
    program->inputs += e == FL_OK;
    return e;
}

int fl_program_constant(fl_program *program, const fl_array *array)
{
    if (array->type < 0 || array->type >= FL_TYPES || array->shape.axes > FL_MAX_AXES ||
        fl_array_bytes(array) == SIZE_MAX || !array->at || program->outputs.count)
        return FL_BAD_SHAPE;
    return add_place(program, (place){.kind = CONSTANT, .type = array->type, .constant = *array});
}

/* Can an early step read this place? */
static int known_early(const fl_program *program, const fl_operator *op, size_t number)
{
    const place *p = place_at(program, number);
    return op->type->of_shapes || p->kind == CONSTANT || p->early;
}

static int add_step(fl_program *program, fl_operator *op, int early, const size_t *in, size_t ins,
                    const size_t *out, size_t outs)
{
    const size_t first = program->places.count;
    size_t made = 0;
    if (program->outputs.count || outs < 1 || (op->type->is_view && (ins < 1 || outs != 1)))
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < ins; i++)
        if (in[i] != FL_NOWHERE && (in[i] >= first || (early && !known_early(program, op, in[i]))))
            return FL_BAD_SHAPE;
    for (size_t i = 0; i < outs; i++)
        if (out[i] != FL_NOWHERE && out[i] != first + made++)
            return FL_BAD_SHAPE;
    if (op->type->is_view && (in[0] == FL_NOWHERE || !made))
        return FL_BAD_SHAPE;
    if (fl_reserve(&program->places, made, sizeof(place)) != FL_OK ||
        fl_reserve(&program->steps, 1, sizeof(step)) != FL_OK ||
        fl_reserve(&program->numbers, fl_add(ins, outs), sizeof(size_t)) != FL_OK)
        return FL_NO_MEMORY;

    const size_t index = program->steps.count;
    for (size_t i = 0; i < ins; i++)
        if (in[i] != FL_NOWHERE)
            place_at(program, place_at(program, in[i])->root)->last = index;
    for (size_t i = 0; i < made; i++) {
        add_place(program, (place){.kind = MADE, .early = early, .last = index});
        if (op->type->is_view)
            place_at(program, first)->root = place_at(program, in[0])->root;
    }
    const step new = {.op = op,
                      .early = early,
                      .whole = made == outs,
                      .ins = ins,
                      .outs = outs,
                      .first = program->numbers.count};
    *step_at(program, program->steps.count++) = new;
    if (ins)
        memcpy(numbers_of(program, &new), in, ins * sizeof *in);
    memcpy(numbers_of(program, &new) + ins, out, outs * sizeof *out);
    program->numbers.count += ins + outs;
    if (program->most_arrays < ins + outs)
        program->most_arrays = ins + outs;
    return FL_OK;
}

int fl_program_step(fl_program *program, fl_operator *op, int early, const size_t *in, size_t ins,
                    const size_t *out, size_t outs)
{
    const int e = add_step(program, op, early, in, ins, out, outs);
    if (e != FL_OK)
        op->type->free(op);
    return e;
}

int fl_program_output(fl_program *program, size_t number)
{
    if (number >= program->places.count)
        return FL_BAD_SHAPE;
    if (fl_reserve(&program->outputs, 1, sizeof(size_t)) != FL_OK)
        return FL_NO_MEMORY;
    place *root = place_at(program, place_at(program, number)->root);
    if (root->kind == MADE) {
        root->last = FL_NOWHERE;
        if (root->output == FL_NOWHERE)
            root->output = program->outputs.count;
    }
    ((size_t *)program->outputs.at)[program->outputs.count++] = number;
    return FL_OK;
}

/* ---- a layout ---- */

/* What is known while a layout is made. */
typedef struct making {
    const fl_program *program;
    fl_layout *layout;
    fl_arena arena;
    fl_array *arrays; /* [most_arrays]: the inputs and outputs of the step at hand */
} making;

static const fl_array ABSENT = {.type = FL_TYPES};

static void gather_arrays(const making *m, const step *s)
{
    const size_t *numbers = numbers_of(m->program, s);
    for (size_t i = 0; i < s->ins + s->outs; i++)
        m->arrays[i] =
            numbers[i] == FL_NOWHERE || i >= s->ins ? ABSENT : m->layout->places[numbers[i]];
}

/* Does a step that may be early run now? Not if what it makes is large, or what it reads was. */
static int runs_now(const making *m, const step *s)
{
    const size_t *out = numbers_of(m->program, s) + s->ins;
    int now = s->early;
    for (size_t i = 0; i < s->ins && !s->op->type->of_shapes; i++)
        now &= m->arrays[i].at || m->arrays[i].type == FL_TYPES;
    for (size_t i = 0; i < s->outs && !s->op->type->is_view; i++)
        now &= out[i] == FL_NOWHERE || fl_array_bytes(&m->arrays[s->ins + i]) <= MOST_EARLY_BYTES;
    return now;
}

/* Runs an early step; what it makes belongs to the layout. */
static int run_early(making *m, const step *s)
{
    const fl_operator_type *type = s->op->type;
    const size_t *out = numbers_of(m->program, s) + s->ins;
    fl_array *made = m->arrays + s->ins;
    if (type->is_view) {
        made[0].at = m->arrays[0].at;
        m->layout->places[out[0]].at = made[0].at;
        return FL_OK;
    }
    for (size_t i = 0; i < s->outs; i++) {
        if (out[i] == FL_NOWHERE)
            continue;
        if (fl_reserve(&m->layout->early, 1, sizeof(void *)) != FL_OK ||
            !(made[i].at = fl_alloc(fl_array_bytes(&made[i]) + 1)))
            return FL_NO_MEMORY;
        ((void **)m->layout->early.at)[m->layout->early.count++] = made[i].at;
        m->layout->places[out[i]].at = made[i].at;
    }
    const fl_caller caller = {.threads = 1};
    const size_t bytes = type->bytes ? type->bytes(s->op, m->arrays, s->ins, 1) : 0;
    void *scratch = bytes && bytes < SIZE_MAX ? fl_alloc(bytes) : NULL;
    if (bytes && !scratch)
        return FL_NO_MEMORY;
    const int e = type->run(s->op, m->arrays, s->ins, made, s->outs, scratch, &caller);
    fl_free(scratch);
    return e;
}

/* Does a root lie in the arena? */
static int in_arena(const making *m, size_t root)
{
    const place *p = place_at(m->program, root);
    return p->kind == MADE && !m->layout->places[root].at && p->output == FL_NOWHERE;
}

static size_t bytes_of_place(const making *m, size_t number)
{
    return fl_array_bytes(&m->layout->places[number]);
}

/* Finds memory for what step `index` makes and needs, and frees what no later step reads. */
static int arrange(making *m, const step *s, size_t index)
{
    const fl_program *program = m->program;
    const fl_operator_type *type = s->op->type;
    const size_t *in = numbers_of(program, s), *out = in + s->ins;
    size_t taken_over = FL_NOWHERE;
    for (size_t i = 0; i < s->outs && !type->is_view; i++) {
        if (out[i] == FL_NOWHERE || !in_arena(m, out[i]))
            continue;
        const size_t bytes = bytes_of_place(m, out[i]);
        size_t *offset = &m->layout->offset[out[i]];
        if (i == 0 && type->in_place && s->ins && in[0] != FL_NOWHERE) {
            const size_t root = place_at(program, in[0])->root;
            if (in_arena(m, root) && place_at(program, root)->last == index &&
                bytes == bytes_of_place(m, root) &&
                m->layout->places[out[0]].type == m->arrays[0].type) {
                taken_over = root;
                *offset = m->layout->offset[root];
                continue;
            }
        }
        *offset = fl_arena_take(&m->arena, bytes);
        if (*offset == SIZE_MAX)
            return FL_BAD_SHAPE;
    }
    const size_t scratch =
        type->bytes ? type->bytes(s->op, m->arrays, s->ins, m->layout->threads) : 0;
    m->layout->scratch[index] = fl_arena_take(&m->arena, scratch);
    if (m->layout->scratch[index] == SIZE_MAX)
        return FL_BAD_SHAPE;
    int e = fl_arena_give_back(&m->arena, m->layout->scratch[index], scratch);
    for (size_t i = 0; i < s->ins + s->outs && e == FL_OK; i++) {
        if (in[i] == FL_NOWHERE)
            continue;
        const size_t root = place_at(program, in[i])->root;
        int again = root == taken_over; /* or an input that is given twice */
        for (size_t j = 0; j < i; j++)
            again |= in[j] != FL_NOWHERE && place_at(program, in[j])->root == root;
        if (!again && in_arena(m, root) && place_at(program, root)->last == index)
            e = fl_arena_give_back(&m->arena, m->layout->offset[root], bytes_of_place(m, root));
    }
    return e;
}

static int make_step(making *m, size_t index)
{
    const step *s = step_at(m->program, index);
    const fl_operator_type *type = s->op->type;
    const size_t *out = numbers_of(m->program, s) + s->ins;
    gather_arrays(m, s);
    int e = type->shape(s->op, m->arrays, s->ins, m->arrays + s->ins, s->outs);
    for (size_t i = 0; i < s->outs && e == FL_OK; i++) {
        if (out[i] == FL_NOWHERE)
            continue;
        m->layout->places[out[i]] = m->arrays[s->ins + i];
        if (fl_array_bytes(&m->arrays[s->ins + i]) == SIZE_MAX ||
            (type->is_view && fl_array_bytes(&m->arrays[s->ins]) != fl_array_bytes(&m->arrays[0])))
            e = FL_BAD_SHAPE;
    }
    if (e != FL_OK)
        return e;
    if (!runs_now(m, s))
        return arrange(m, s, index);
    m->layout->scratch[index] = FL_NOWHERE;
    return run_early(m, s);
}

static fl_layout *carve_layout(fl_carver *carver, const fl_program *program)
{
    fl_layout *layout = fl_carve(carver, 1, sizeof *layout);
    fl_array *places = fl_carve(carver, program->places.count, sizeof *places);
    size_t *offset = fl_carve(carver, program->places.count, sizeof *offset);
    size_t *scratch = fl_carve(carver, program->steps.count, sizeof *scratch);
    if (layout)
        *layout = (fl_layout){.places = places, .offset = offset, .scratch = scratch};
    return layout;
}

static int inputs_fit(const fl_program *program, fl_layout *layout, const fl_array *inputs,
                      size_t count)
{
    if (count != program->inputs)
        return FL_BAD_SHAPE;
    for (size_t i = 0; i < program->places.count; i++) {
        const place *p = place_at(program, i);
        layout->places[i] = ABSENT;
        if (p->kind == CONSTANT)
            layout->places[i] = p->constant;
        if (p->kind != GIVEN)
            continue;
        layout->places[i] = inputs[p->input];
        layout->places[i].at = NULL;
        if (layout->places[i].type != p->type || layout->places[i].shape.axes != p->axes ||
            fl_array_bytes(&layout->places[i]) == SIZE_MAX)
            return FL_BAD_SHAPE;
    }
    return FL_OK;
}

int fl_layout_new(const fl_program *program, const fl_array *inputs, size_t count, size_t threads,
                  fl_layout **layout, size_t *step)
{
    fl_carver carver = {0};
    carve_layout(&carver, program);
    void *base = fl_alloc(carver.used);
    fl_array *arrays = fl_alloc((program->most_arrays + 1) * sizeof *arrays);
    *layout = NULL;
    *step = FL_NOWHERE;
    if (!base || !arrays) {
        fl_free(base);
        fl_free(arrays);
        return FL_NO_MEMORY;
    }
    carver = (fl_carver){.base = base};
    fl_layout *new = carve_layout(&carver, program);
    new->threads = threads ? threads : 1;
    making m = {.program = program, .layout = new, .arrays = arrays};
    int e = inputs_fit(program, new, inputs, count);
    for (size_t i = 0; i < program->steps.count && e == FL_OK; i++) {
        e = make_step(&m, i);
        *step = i;
    }
    fl_free(m.arena.holes.at);
    fl_free(arrays);
    if (e != FL_OK) {
        fl_layout_free(new);
        return e;
    }
    new->table = fl_whole_lines(program->places.count * sizeof(void *) +
                                program->most_arrays * sizeof(fl_array));
    new->arena = fl_add(new->table, m.arena.end);
    *layout = new;
    return FL_OK;
}

void fl_layout_free(fl_layout *layout)
{
    if (!layout)
        return;
    for (size_t i = 0; i < layout->early.count; i++)
        fl_free(((void **)layout->early.at)[i]);
    fl_free(layout->early.at);
    fl_free(layout);
}

size_t fl_layout_arena(const fl_layout *layout) { return layout->arena; }

const fl_array *fl_layout_place(const fl_layout *layout, size_t place)
{
    return &layout->places[place];
}

/* ---- running ---- */

/* Where the elements of every place are. */
static void find_memory(const fl_program *program, const fl_layout *layout, void *const *inputs,
                        void *const *outputs, char *arena, void **at)
{
    for (size_t i = 0; i < program->places.count; i++) {
        const place *p = place_at(program, i);
        if (p->root != i)
            at[i] = at[p->root]; /* a root comes before its views */
        else if (p->kind == GIVEN)
            at[i] = inputs[p->input];
        else if (layout->places[i].at) /* a constant, or made early */
            at[i] = layout->places[i].at;
        else
            at[i] = p->output == FL_NOWHERE ? arena + layout->offset[i] : outputs[p->output];
    }
}

int fl_program_run(const fl_program *program, const fl_layout *layout, void *const *inputs,
                   void *const *outputs, void *arena, const fl_caller *caller, size_t *step)
{
    void **at = arena;
    fl_array *arrays = (fl_array *)(at + program->places.count);
    char *data = (char *)arena + layout->table;
    fl_caller limited = *caller;
    if (limited.threads > layout->threads)
        limited.threads = layout->threads;
    find_memory(program, layout, inputs, outputs, data, at);
    for (size_t i = 0; i < program->steps.count; i++) {
        const struct step *s = step_at(program, i);
        const size_t *numbers = numbers_of(program, s);
        if (layout->scratch[i] == FL_NOWHERE || s->op->type->is_view)
            continue;
        for (size_t j = 0; j < s->ins + s->outs; j++) {
            arrays[j] = numbers[j] == FL_NOWHERE ? ABSENT : layout->places[numbers[j]];
            arrays[j].at = numbers[j] == FL_NOWHERE ? NULL : at[numbers[j]];
        }
        *step = i;
        if (!s->whole) /* the shapes of outputs that are not wanted: no place has them */
            s->op->type->shape(s->op, arrays, s->ins, arrays + s->ins, s->outs);
        const int e = s->op->type->run(s->op, arrays, s->ins, arrays + s->ins, s->outs,
                                       data + layout->scratch[i], &limited);
        if (e != FL_OK)
            return e;
        if (i % POLL_STEPS == POLL_STEPS - 1 && caller->poll && caller->poll(caller->poll_arg))
            return FL_INTERRUPTED;
    }
    for (size_t i = 0; i < program->outputs.count; i++) {
        const size_t number = ((size_t *)program->outputs.at)[i];
        if (at[number] != outputs[i])
            memcpy(outputs[i], at[number], fl_array_bytes(&layout->places[number]));
    }
    return FL_OK;
}
