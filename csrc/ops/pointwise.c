/* SPDX-License-Identifier: MIT */
#include "ops/pointwise.h"

#include <string.h>

#include "base/alloc.h"
#include "kernels/parallel.h"
#include "ops/opcodes.h"

enum { MOST_INS = 32, MOST_CODE = 64, MOST_FLOATS = 64, OPERANDS = 3 };
enum { MOST_REGISTERS = MOST_INS + MOST_FLOATS + MOST_CODE };
enum { BUFFER = FL_BLOCK * sizeof(int64_t) }; /* bytes of a block of any type */

typedef struct instruction {
    const fl_opcode *opcode;
    size_t in[OPERANDS];
    size_t buffer; /* where the result goes, unless it is the output */
} instruction;

typedef struct pointwise {
    fl_operator op;
    const fl_kernels *kernels;
    size_t ins, floats, count;
    size_t buffers; /* for results that live at the same time */
    double cost;
    instruction code[MOST_CODE];
    float *constants; /* [floats][FL_BLOCK], each repeated */
} pointwise;

/* How an input's elements are found. */
typedef struct input {
    const char *at;
    size_t bytes;               /* of an element */
    int all, one;               /* it has every element of the output; or one */
    int periodic;               /* it is repeated along all axes but the last */
    size_t stride[FL_MAX_AXES]; /* 0: repeated along the axis */
} input;

typedef struct job {
    const pointwise *p;
    size_t axes, size[FL_MAX_AXES]; /* of the output, merged where no input notices; last first */
    size_t elements;
    input in[MOST_INS];
    fl_block *run[MOST_CODE];
    char *y;
    size_t y_bytes; /* of an element */
    char *arena;
} job;

/* ---- shapes ---- */

/* The function of each instruction, to `run`; the type of the output, or -1. */
static int resolve(const pointwise *p, const fl_array *in, fl_block **run)
{
    int types[MOST_REGISTERS];
    const size_t first = p->ins + p->floats;
    for (size_t i = 0; i < p->ins; i++) {
        types[i] = in[i].type;
        if (types[i] == FL_TYPES)
            return -1;
    }
    for (size_t i = p->ins; i < first; i++)
        types[i] = FL_F32;
    for (size_t i = 0; i < p->count; i++) {
        const instruction *c = &p->code[i];
        const size_t operands = c->opcode->operands;
        const int type = types[c->in[operands - 1]];
        const int choice = c->opcode == &fl_opcodes[FL_OP_WHERE];
        if (choice && types[c->in[0]] != FL_BOOL)
            return -1;
        for (size_t j = (size_t)choice; j < operands; j++)
            if (types[c->in[j]] != type)
                return -1;
        run[i] = c->opcode->run[type];
        if (!run[i])
            return -1;
        types[first + i] = c->opcode->result == FL_TYPES ? type : c->opcode->result;
    }
    return types[first + p->count - 1];
}

static int broadcast(const fl_array *in, size_t ins, fl_shape *y)
{
    *y = (fl_shape){0};
    for (size_t i = 0; i < ins; i++)
        if (in[i].shape.axes > y->axes)
            y->axes = in[i].shape.axes;
    for (size_t a = 0; a < y->axes; a++)
        y->size[a] = 1;
    for (size_t i = 0; i < ins; i++)
        for (size_t a = 0, skip = y->axes - in[i].shape.axes; a < in[i].shape.axes; a++) {
            const size_t n = in[i].shape.size[a];
            if (n == 1)
                continue;
            if (y->size[skip + a] != 1 && y->size[skip + a] != n)
                return FL_BAD_SHAPE;
            y->size[skip + a] = n;
        }
    return FL_OK;
}

static int shape(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs)
{
    const pointwise *p = (const pointwise *)op;
    fl_block *run[MOST_CODE];
    if (ins != p->ins || outs != 1)
        return FL_BAD_SHAPE;
    const int type = resolve(p, in, run);
    if (type < 0 || broadcast(in, ins, &out->shape) != FL_OK)
        return FL_BAD_SHAPE;
    out->type = type;
    return fl_array_bytes(out) == SIZE_MAX ? FL_BAD_SHAPE : FL_OK;
}

/* Bytes of one thread. */
static size_t slot_bytes(const pointwise *p) { return (p->ins + p->buffers) * BUFFER; }

static size_t bytes(const fl_operator *op, const fl_array *in, size_t ins, size_t threads)
{
    const pointwise *p = (const pointwise *)op;
    fl_array y = {.type = FL_BOOL};
    broadcast(in, ins, &y.shape);
    return fl_mul(fl_rounds_threads(fl_count(&y), p->cost, threads), slot_bytes(p));
}

/* Merges axes of the output along which every input either moves or is repeated. */
static void find_inputs(job *job, const fl_array *in, const fl_shape *y)
{
    const size_t ins = job->p->ins;
    uint32_t moves[FL_MAX_AXES]; /* which inputs do */
    for (size_t a = y->axes; a-- > 0;) {
        uint32_t set = 0;
        if (y->size[a] == 1)
            continue;
        for (size_t i = 0; i < ins; i++) {
            const size_t missing = y->axes - in[i].shape.axes;
            if (a >= missing && in[i].shape.size[a - missing] != 1)
                set |= (uint32_t)1 << i;
        }
        if (job->axes && moves[job->axes - 1] == set)
            job->size[job->axes - 1] *= y->size[a];
        else {
            moves[job->axes] = set;
            job->size[job->axes++] = y->size[a];
        }
    }
    if (job->axes == 0)
        moves[0] = 0, job->size[job->axes++] = 1; /* one element */
    for (size_t i = 0; i < ins; i++) {
        input *to = &job->in[i];
        size_t count = 1, moving = 0;
        for (size_t a = 0; a < job->axes; a++) {
            const int move = moves[a] >> i & 1;
            to->stride[a] = move ? count : 0;
            count *= move ? job->size[a] : 1;
            moving += move;
        }
        to->at = in[i].at;
        to->bytes = fl_type_bytes(in[i].type);
        to->all = count == job->elements;
        to->one = count == 1;
        to->periodic = moving == 1 && to->stride[0];
    }
}

/* ---- a block ---- */

/* n times the element at x. */
static void fill(void *y, const void *x, size_t n, size_t bytes)
{
    if (bytes == 1)
        memset(y, *(const uint8_t *)x, n);
    else if (bytes == sizeof(float))
        for (size_t i = 0; i < n; i++)
            ((float *)y)[i] = *(const float *)x;
    else
        for (size_t i = 0; i < n; i++)
            ((int64_t *)y)[i] = *(const int64_t *)x;
}

/* Elements from .. from + n - 1 of an input as if it had all of the output's: where they are, or
   `buffer`, in which they were put. */
static const void *elements_of(const job *job, const input *x, size_t from, size_t n, char *buffer)
{
    size_t index[FL_MAX_AXES], offset = 0, rest = from, done = 0;
    for (size_t a = 0; a < job->axes; a++) {
        index[a] = rest % job->size[a];
        rest /= job->size[a];
        offset += index[a] * x->stride[a];
    }
    const size_t row = job->size[0];
    if (index[0] + n <= row && x->stride[0])
        return x->at + offset * x->bytes;
    for (size_t left = row - index[0]; done < n; left = row) {
        if (x->periodic && done >= row)
            break;
        const size_t run = left < n - done ? left : n - done;
        char *to = buffer + done * x->bytes;
        if (x->stride[0])
            memcpy(to, x->at + offset * x->bytes, run * x->bytes);
        else
            fill(to, x->at + offset * x->bytes, run, x->bytes);
        done += run;
        offset -= index[0] * x->stride[0];
        index[0] = 0;
        for (size_t a = 1; a < job->axes; a++) {
            offset += x->stride[a];
            if (++index[a] < job->size[a])
                break;
            offset -= index[a] * x->stride[a];
            index[a] = 0;
        }
    }
    while (done < n) { /* repeats as many whole rows as there are */
        const size_t rows = done / row * row, run = rows < n - done ? rows : n - done;
        memcpy(buffer + done * x->bytes, buffer + (done - rows) * x->bytes, run * x->bytes);
        done += run;
    }
    return buffer;
}

/* How many elements the block that begins at `from` has: blocks end with a row, if rows are long.
 */
static size_t block_size(const job *job, size_t from, size_t to)
{
    const size_t row = job->size[0];
    size_t n = to - from < FL_BLOCK ? to - from : FL_BLOCK;
    if (job->axes > 1 && row >= FL_BLOCK / 4 && row - from % row < n)
        n = row - from % row;
    return n;
}

static int run_elements(void *arg, size_t slot, size_t from, size_t to)
{
    const job *job = arg;
    const pointwise *p = job->p;
    const void *at[MOST_REGISTERS];
    char *buffers = job->arena + slot * slot_bytes(p), *results = buffers + p->ins * BUFFER;
    const size_t first = p->ins + p->floats, last = p->count - 1;
    for (size_t i = 0; i < p->floats; i++)
        at[p->ins + i] = p->constants + i * FL_BLOCK;
    for (size_t i = 0; i < last; i++)
        at[first + i] = results + p->code[i].buffer * BUFFER;
    for (size_t i = 0; i < p->ins; i++) {
        const input *x = &job->in[i];
        at[i] = buffers + i * BUFFER;
        if (x->one && !x->all)
            fill(buffers + i * BUFFER, x->at, to - from < FL_BLOCK ? to - from : FL_BLOCK,
                 x->bytes);
    }
    while (from < to) {
        const size_t n = block_size(job, from, to);
        for (size_t i = 0; i < p->ins; i++) {
            const input *x = &job->in[i];
            if (x->all)
                at[i] = x->at + from * x->bytes;
            else if (!x->one)
                at[i] = elements_of(job, x, from, n, buffers + i * BUFFER);
        }
        at[first + last] = job->y + from * job->y_bytes;
        for (size_t i = 0; i <= last; i++) {
            const instruction *c = &p->code[i];
            const void *in[OPERANDS] = {at[c->in[0]], at[c->in[1]], at[c->in[2]]};
            if (job->run[i](p->kernels, (void *)(uintptr_t)at[first + i], in, n) != FL_OK)
                return FL_BAD_VALUE;
        }
        from += n;
    }
    return FL_OK;
}

static int run(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller)
{
    const pointwise *p = (const pointwise *)op;
    job job;
    (void)ins, (void)outs;
    job.p = p;
    job.axes = 0;
    job.elements = fl_count(out);
    job.y = out->at;
    job.y_bytes = fl_type_bytes(out->type);
    job.arena = arena;
    if (job.elements == 0)
        return FL_OK;
    resolve(p, in, job.run);
    find_inputs(&job, in, &out->shape);
    return fl_in_rounds(p->kernels, caller, job.elements, p->cost, run_elements, &job);
}

/* ---- making ---- */

static void free_pointwise(fl_operator *op) { fl_free(op); }

/* Reads one instruction; `known` registers are before it. FL_OK or FL_BAD_SHAPE. */
static int read_instruction(const pointwise *p, instruction *to, const int64_t *ints, size_t known)
{
    if (ints[0] < 0 || ints[0] >= FL_OPCODES)
        return FL_BAD_SHAPE;
    *to = (instruction){.opcode = &fl_opcodes[ints[0]]};
    const size_t operands = to->opcode->operands;
    for (size_t i = 0; i < OPERANDS; i++) {
        const int64_t from = ints[1 + i];
        if (i >= operands ? from != -1 : from < 0 || from >= (int64_t)known)
            return FL_BAD_SHAPE;
        if (i < operands)
            to->in[i] = (size_t)from;
        if (i < operands && i + to->opcode->constants >= operands &&
            (to->in[i] < p->ins || to->in[i] >= p->ins + p->floats))
            return FL_BAD_SHAPE;
    }
    return FL_OK;
}

/* Gives every result a buffer that no result in use has. */
static void assign_buffers(pointwise *p)
{
    const size_t first = p->ins + p->floats;
    size_t last[MOST_CODE], user[MOST_CODE]; /* who reads a result last; whose a buffer is */
    for (size_t i = 0; i < p->count; i++) {
        last[i] = i;
        for (size_t j = 0; j < p->code[i].opcode->operands; j++)
            if (p->code[i].in[j] >= first)
                last[p->code[i].in[j] - first] = i;
    }
    for (size_t i = 0; i + 1 < p->count; i++) {
        size_t b = 0;
        while (b < p->buffers && last[user[b]] >= i)
            b++;
        p->buffers += b == p->buffers;
        user[b] = i;
        p->code[i].buffer = b;
    }
}

int fl_make_pointwise(const fl_attributes *attributes, fl_operator **op)
{
    static const fl_operator_type type = {.name = "pointwise",
                                          .shape = shape,
                                          .in_place = 1,
                                          .bytes = bytes,
                                          .run = run,
                                          .free = free_pointwise};
    const int64_t *ints = attributes->ints;
    if (attributes->int_count < 2 || ints[0] < 1 || ints[0] > MOST_INS || ints[1] < 1 ||
        ints[1] > MOST_CODE || attributes->int_count != 2 + 4 * (size_t)ints[1] ||
        attributes->float_count > MOST_FLOATS)
        return FL_BAD_SHAPE;
    pointwise new = {.op = {&type},
                     .kernels = attributes->kernels,
                     .ins = (size_t)ints[0],
                     .floats = attributes->float_count,
                     .count = (size_t)ints[1]};
    for (size_t i = 0; i < new.count; i++) {
        if (read_instruction(&new, &new.code[i], ints + 2 + 4 * i, new.ins + new.floats + i) !=
            FL_OK)
            return FL_BAD_SHAPE;
        new.cost += new.code[i].opcode->cost;
    }
    assign_buffers(&new);
    pointwise *p = fl_alloc(fl_whole_lines(sizeof *p) + new.floats * FL_BLOCK * sizeof(float));
    if (!p)
        return FL_NO_MEMORY;
    new.constants = (float *)((char *)p + fl_whole_lines(sizeof *p));
    for (size_t i = 0; i < new.floats; i++)
        fill(new.constants + i * FL_BLOCK, &attributes->floats[i], FL_BLOCK, sizeof(float));
    *p = new;
    *op = &p->op;
    return FL_OK;
}
