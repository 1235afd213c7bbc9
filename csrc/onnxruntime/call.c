/* SPDX-License-Identifier: MIT */
#include "onnxruntime/call.h"

#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/size.h"

enum { H0, C0, HN, CN, STATES };

typedef struct run {
    const fl_ort_op *op;
    const fl_ort_node *node;
    const fl_ort_packed *packed;
    OrtKernelContext *context;
    fl_ort_tensor x, lengths, h0, c0;
    fl_call call;
    int64_t y_size[4], state_size[3]; /* as the outputs have them */
    size_t state_count;               /* D B H */
    void *y, *hn, *cn;                /* the outputs' numbers, or NULL */
    int64_t *row_lengths;             /* [B], if sequence_lens is given */
    /* Floats in the order of the engine, for what is otherwise outside, or NULL: states [D][B][H]
       that are (B, D, H) or float16, and X and Y of float16. */
    float *state[STATES], *floats_x, *floats_y;
} run;

static int is_half(const run *r) { return r->node->type == ORT_TYPE_FLOAT16; }

/* ---- the session's threads ---- */

/* Work of the engine's. Whichever thread comes first is worker 0, for whom the others wait. */
typedef struct shared {
    void (*work)(void *, size_t);
    void *arg;
    atomic_size_t next;
} shared;

static void take_part(void *arg, size_t number)
{
    shared *s = arg;
    (void)number;
    s->work(s->arg, atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed));
}

/* fl_call.run */
static void run_in_session(void *arg, size_t threads, void (*work)(void *, size_t), void *work_arg)
{
    const run *r = arg;
    shared s = {.work = work, .arg = work_arg};
    atomic_init(&s.next, 0);
    OrtStatus *status = r->op->api->parallel_for(r->context, take_part, threads, 0, &s);
    if (!status)
        return;
    r->op->api->release_status(status);
    if (atomic_load_explicit(&s.next, memory_order_relaxed) == 0)
        work(work_arg, 0);
}

/* ---- inputs ---- */

OrtStatus *fl_ort_input(const fl_ort_op *op, OrtKernelContext *context, size_t inputs, size_t index,
                        fl_ort_tensor *tensor)
{
    const OrtValue *value = NULL;
    OrtStatus *status = NULL;
    if (index < inputs && index < op->kind->inputs)
        status = op->api->input(context, index, &value);
    return status ? status : fl_ort_tensor_of(op->api, value, tensor);
}

static OrtStatus *get_inputs(run *r, size_t inputs)
{
    static const size_t index[] = {FL_X, FL_LENGTHS, FL_H0, FL_C0};
    fl_ort_tensor *const to[] = {&r->x, &r->lengths, &r->h0, &r->c0};
    OrtStatus *status = NULL;
    for (size_t i = 0; i < 4 && !status; i++)
        status = fl_ort_input(r->op, r->context, inputs, index[i], to[i]);
    return status;
}

/* Checks the shapes of X and of the initial states, and sets the sizes that follow. */
static OrtStatus *set_sizes(run *r)
{
    const fl_ort_api *api = r->op->api;
    const size_t input = r->packed->input, h = r->packed->hidden, dirs = r->node->dirs;
    const int batch_first = r->node->layout;
    const int64_t due[] = {r->x.size[0], r->x.size[1], (int64_t)input};
    OrtStatus *status = fl_ort_due(api, r->node, "X", &r->x, due, 3);
    if (status)
        return status;
    const size_t steps = (size_t)r->x.size[batch_first], batch = (size_t)r->x.size[!batch_first];
    const int64_t D = (int64_t)dirs, T = (int64_t)steps, B = (int64_t)batch, H = (int64_t)h;
    r->call = (fl_call){
        .steps = steps,
        .batch = batch,
        .x_t = (ptrdiff_t)(batch_first ? input : batch * input),
        .x_b = (ptrdiff_t)(batch_first ? steps * input : input),
        .y_t = (ptrdiff_t)(batch_first ? dirs * h : dirs * batch * h),
        .y_b = (ptrdiff_t)(batch_first ? steps * dirs * h : h),
        .y_d = (ptrdiff_t)(batch_first ? h : batch * h),
        .threads = r->op->threads,
        .run = run_in_session,
        .run_arg = r,
    };
    memcpy(r->y_size, batch_first ? (int64_t[]){B, T, D, H} : (int64_t[]){T, D, B, H},
           sizeof r->y_size);
    memcpy(r->state_size, batch_first ? (int64_t[]){B, D, H} : (int64_t[]){D, B, H},
           sizeof r->state_size);
    r->state_count = fl_mul(fl_mul(dirs, batch), h);
    status = fl_ort_due(api, r->node, "initial_h", &r->h0, r->state_size, 3);
    return status ? status : fl_ort_due(api, r->node, "initial_c", &r->c0, r->state_size, 3);
}

/* Do states lie otherwise outside than in the engine? */
static int moved(const run *r) { return r->node->layout && r->node->dirs == 2; }

static void carve_memory(fl_carver *carver, run *r)
{
    const size_t other = moved(r) || is_half(r) ? r->state_count : 0, f = sizeof(float);
    const size_t rows = is_half(r) ? fl_mul(r->call.steps, r->call.batch) : 0;
    r->row_lengths = fl_carve(carver, r->lengths.data ? r->call.batch : 0, sizeof(int64_t));
    for (size_t i = 0; i < STATES; i++)
        r->state[i] = fl_carve(carver, other, f);
    r->floats_x = fl_carve(carver, fl_mul(rows, r->packed->input), f);
    r->floats_y = fl_carve(carver, fl_mul(rows, r->node->dirs * r->packed->hidden), f);
}

/* Gets the memory that a call needs, which begins at *memory: NULL if it needs none. */
static OrtStatus *get_memory(run *r, void **memory)
{
    fl_carver carver = {0};
    carve_memory(&carver, r);
    if (!carver.used)
        return NULL;
    carver = (fl_carver){.base = *memory = fl_alloc(carver.used)};
    if (!*memory) {
        fl_message m = fl_ort_about(r->node);
        fl_message_add(&m, "no memory for a call");
        return fl_message_status(r->op->api, ORT_FAIL, &m);
    }
    carve_memory(&carver, r);
    return NULL;
}

/* Checks sequence_lens and makes the call's lengths of it. */
static OrtStatus *set_lengths(run *r)
{
    const int64_t batch = (int64_t)r->call.batch, steps = (int64_t)r->call.steps;
    OrtStatus *status = fl_ort_due(r->op->api, r->node, "sequence_lens", &r->lengths, &batch, 1);
    if (status || !r->lengths.data)
        return status;
    for (int64_t b = 0; b < batch; b++) {
        const int64_t length = ((const int32_t *)r->lengths.data)[b];
        r->row_lengths[b] = length;
        if (length >= 0 && length <= steps)
            continue;
        fl_message m = fl_ort_about(r->node);
        fl_message_add(&m, "sequence_lens[");
        fl_message_number(&m, b);
        fl_message_add(&m, "] is ");
        fl_message_number(&m, length);
        fl_message_add(&m, ", X has ");
        fl_message_number(&m, steps);
        fl_message_add(&m, " steps");
        return fl_message_status(r->op->api, ORT_INVALID_ARGUMENT, &m);
    }
    r->call.lengths = r->row_lengths;
    return NULL;
}

/* ---- outputs ---- */

/* The output `index` of `outputs`: its numbers, or NULL if the node does not have it. */
static OrtStatus *output(const run *r, size_t outputs, size_t index, const int64_t *size,
                         size_t axes, void **numbers)
{
    OrtValue *value = NULL;
    *numbers = NULL;
    if (index >= outputs)
        return NULL;
    OrtStatus *status = r->op->api->output(r->context, index, size, axes, &value);
    return status || !value ? status : r->op->api->tensor_data(value, numbers);
}

static OrtStatus *get_outputs(run *r)
{
    size_t outputs = 0;
    OrtStatus *status = r->op->api->output_count(r->context, &outputs);
    if (!status)
        status = output(r, outputs, 0, r->y_size, 4, &r->y);
    if (!status)
        status = output(r, outputs, 1, r->state_size, 3, &r->hn);
    if (!status)
        status = output(r, outputs, 2, r->state_size, 3, &r->cn);
    return status;
}

/* Row i * m + j of n rows of m states each, inside or outside, is row j * n + i of the other. */
static void bring_state(const run *r, float *to, const void *from)
{
    const size_t hidden = r->packed->hidden, n = moved(r) ? r->call.batch : 1;
    const size_t m = moved(r) ? r->node->dirs : r->node->dirs * r->call.batch;
    const char *at = from;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++, at += hidden * (is_half(r) ? 2 : 4))
            fl_ort_to_floats(to + (j * n + i) * hidden, at, hidden, r->node->type);
}

static void give_state(const run *r, void *to, const float *from)
{
    const size_t hidden = r->packed->hidden, n = moved(r) ? r->call.batch : 1;
    const size_t m = moved(r) ? r->node->dirs : r->node->dirs * r->call.batch;
    char *at = to;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++, at += hidden * (is_half(r) ? 2 : 4))
            fl_ort_from_floats(at, from + (j * n + i) * hidden, hidden, r->node->type);
}

/* Points the call to its numbers, which are copied where they are otherwise outside. */
static void begin(run *r)
{
    const size_t rows = r->call.steps * r->call.batch;
    const int other = moved(r) || is_half(r);
    if (other && r->h0.data)
        bring_state(r, r->state[H0], r->h0.data);
    if (other && r->c0.data)
        bring_state(r, r->state[C0], r->c0.data);
    r->call.h0 = other && r->h0.data ? r->state[H0] : r->h0.data;
    r->call.c0 = other && r->c0.data ? r->state[C0] : r->c0.data;
    r->call.hn = other && r->hn ? r->state[HN] : r->hn;
    r->call.cn = other && r->cn ? r->state[CN] : r->cn;
    r->call.x = r->x.data;
    r->call.y = r->y;
    if (is_half(r)) {
        fl_ort_to_floats(r->floats_x, r->x.data, rows * r->packed->input, r->node->type);
        r->call.x = r->floats_x;
        r->call.y = r->y ? r->floats_y : NULL;
    }
}

/* Copies the results to where they are due. */
static void end(run *r)
{
    const size_t rows = r->call.steps * r->call.batch;
    const int other = moved(r) || is_half(r);
    if (other && r->hn)
        give_state(r, r->hn, r->call.hn);
    if (other && r->cn)
        give_state(r, r->cn, r->call.cn);
    if (is_half(r) && r->y)
        fl_ort_from_floats(r->y, r->call.y, rows * r->node->dirs * r->packed->hidden,
                           r->node->type);
}

/* The final states of rows without a step, which ONNX Runtime has as zeros. */
static void clear_states(const run *r, float *state)
{
    const size_t batch = r->call.batch, hidden = r->packed->hidden;
    for (size_t i = 0; state && i < r->node->dirs * batch; i++)
        if (r->call.steps == 0 || (r->call.lengths && r->call.lengths[i % batch] == 0))
            memset(state + i * hidden, 0, hidden * sizeof(float));
}

static OrtStatus *run_call(run *r)
{
    if (r->call.steps && r->call.batch && fl_forward(r->packed->net, &r->call) != FL_OK) {
        fl_message m = fl_ort_about(r->node);
        fl_message_add(&m, "no memory for a workspace of ");
        fl_message_number(&m, (int64_t)fl_forward_workspace(r->packed->net, &r->call));
        fl_message_add(&m, " bytes");
        return fl_message_status(r->op->api, ORT_FAIL, &m);
    }
    clear_states(r, r->call.hn);
    clear_states(r, r->call.cn);
    return NULL;
}

OrtStatus *fl_ort_call(const fl_ort_op *op, const fl_ort_node *node, fl_ort_packed *packed,
                       OrtKernelContext *context, size_t inputs)
{
    run r = {.op = op, .node = node, .packed = packed, .context = context};
    void *memory = NULL;
    OrtStatus *status = get_inputs(&r, inputs);
    if (!status)
        status = set_sizes(&r);
    if (!status)
        status = get_memory(&r, &memory);
    if (!status)
        status = set_lengths(&r);
    if (!status)
        status = get_outputs(&r);
    if (!status) {
        begin(&r);
        r.call.descending = atomic_fetch_xor_explicit(&packed->descending, 1, memory_order_relaxed);
        status = run_call(&r);
    }
    if (!status)
        end(&r);
    fl_free(memory);
    return status;
}
