/* SPDX-License-Identifier: MIT */
/*
 * One network and one call of it, forward and backward, at any shape, with buffers of exactly the
 * size that fastlstm.h asks for. The driver says where they are: it defines
 *
 *     static void *get(size_t bytes);    aligned to 4 bytes, or to 8 if `bytes` is a multiple of 8
 *
 * Every call is checked: what it was given is as it was; every output is written, nothing between
 * outputs is; zeros past the lengths; all finite; nothing written where memory was short; and the
 * thread's floating-point control registers are as they were.
 */
#ifndef FL_CASE_H
#define FL_CASE_H

#include <math.h>
#include <string.h>

#include "fastlstm.h"
#include "check.h"
#include "coded.h"
#include "control.h"

static void *get(size_t bytes);

/* What is wanted of a call: bits of `wants`. */
enum {
    LENGTHS = 1,
    STATE = 2,
    BATCH_FIRST = 4,
    BACKWARDS = 8, /* time runs backwards in x and dx: their t strides are negative */
    NO_Y = 16,
    NO_LAST = 32,  /* hn and cn */
    IN_PLACE = 64, /* hn and cn are h0 and c0; inference alone */
    DY = 128,
    DHN = 256,
    DCN = 512,
    DX = 1024,
    DSTATE = 2048,
    NO_BIAS = 4096
};

typedef struct shape {
    fl_config f;
    size_t steps, batch, gap; /* gap: floats between rows of x, y, dx and dy, not to be touched */
    unsigned wants;
    float dropout, scale; /* scale: the largest x, h0, c0 and gradient */
    uint64_t seed;
} shape;

enum { TRACKS = 6, PARTS = 48 };

typedef struct part {
    float *at;
    size_t n, untouched; /* floats; of them, those that belong to nobody */
} part;

typedef struct trial {
    shape s;
    size_t K, G, row, tracks; /* G: gates * H */
    const float *w[TRACKS], *r[TRACKS], *b[TRACKS], *p[TRACKS], *peep[TRACKS];
    fl_call call;
    fl_backward_call back;
    fl_grads grads[TRACKS];
    part in[PARTS], out[PARTS];
    size_t ins, outs, forward; /* out[0 .. forward - 1] are fl_forward's */
    float *h0, *c0;            /* what they hold at a call's beginning, if it is in place */
    fl_net *net;
    fl_backward_weights *weights;
} trial;

static const uint32_t UNWRITTEN = 0xffffffffu;

static float *filled(trial *x, uint64_t *state, size_t n, float scale)
{
    float *p = get(n * sizeof(float));
    for (size_t i = 0; i < n; i++)
        p[i] = ((float)(draw(state) >> 15) - 65536.0f) * (scale / 65536.0f);
    CHECK(x->ins < PARTS);
    x->in[x->ins++] = (part){p, n, 0};
    return p;
}

static float *output(trial *x, size_t n, size_t untouched)
{
    CHECK(x->outs < PARTS);
    float *p = get(n * sizeof(float));
    x->out[x->outs++] = (part){p, n, untouched};
    return p;
}

/* FNV-1a over words. */
static uint64_t hash(uint64_t h, const float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, p + i, 4);
        h = (h ^ u) * 0x100000001b3u;
    }
    return h;
}

static uint64_t hash_parts(const part *p, size_t n)
{
    uint64_t h = 1;
    for (size_t i = 0; i < n; i++)
        h = hash(h, p[i].at, p[i].n);
    return h;
}

static size_t unwritten(const part *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        uint32_t u;
        memcpy(&u, p->at + i, 4);
        n += u == UNWRITTEN;
    }
    return n;
}

/* Rows of n floats in time and batch, with gaps but after the last one. */
typedef struct rows {
    ptrdiff_t t, b;
    size_t floats, first; /* element (0, 0) is `first` floats in */
} rows;

static rows rows_of(const shape *s, size_t n, int may_turn)
{
    const size_t T = s->steps, B = s->batch, step = n + s->gap;
    rows r = {.t = (ptrdiff_t)(s->wants & BATCH_FIRST ? step : B * step),
              .b = (ptrdiff_t)(s->wants & BATCH_FIRST ? T * step : step),
              .floats = T * B * step - s->gap};
    if (may_turn && s->wants & BACKWARDS) {
        r.first = (T - 1) * (size_t)r.t;
        r.t = -r.t;
    }
    return r;
}

/* The gaps of an input hold NaN: one that is used is seen. */
static const float *input_rows(trial *x, uint64_t *state, size_t n, const rows *r)
{
    float *p = filled(x, state, r->floats, x->s.scale);
    for (size_t i = n; i < r->floats; i += n + x->s.gap)
        for (size_t k = 0; k < x->s.gap; k++)
            p[i + k] = NAN;
    return p + r->first;
}

static float *output_rows(trial *x, const rows *r)
{
    const size_t gaps = x->s.steps * x->s.batch - 1;
    return output(x, r->floats, gaps * x->s.gap) + r->first;
}

/* Fills in all but the net: buffers of what the shape wants. */
static void prepare(trial *x, const shape *s)
{
    static const size_t gates[FL_CELLS] = {4, 3, 3, 1, 1};
    const fl_config *f = &s->f;
    const size_t H = f->hidden, K = f->proj ? f->proj : H, row = f->dirs * K, B = s->batch;
    const int lstm = f->cell == FL_LSTM, peep = f->variant.differs && f->variant.peepholes;
    uint64_t draws = s->seed, *state = &draws;
    *x = (trial){
        .s = *s, .K = K, .G = gates[f->cell] * H, .row = row, .tracks = f->layers * f->dirs};
    CHECK(x->tracks <= TRACKS);
    for (size_t i = 0; i < x->tracks; i++) {
        const size_t in = i < f->dirs ? f->input : row;
        x->w[i] = filled(x, state, x->G * in, 1.0f / sqrtf((float)in));
        x->r[i] = filled(x, state, x->G * K, 1.0f / sqrtf((float)K));
        x->b[i] = s->wants & NO_BIAS ? NULL : filled(x, state, x->G, 0.3f);
        x->p[i] = f->proj ? filled(x, state, K * H, 1.0f / sqrtf((float)H)) : NULL;
        x->peep[i] = peep ? filled(x, state, 3 * H, 0.3f) : NULL;
    }
    int64_t *lengths = s->wants & LENGTHS ? get(B * sizeof *lengths) : NULL;
    for (size_t b = 0; lengths && b < B; b++)
        lengths[b] = (int64_t)between(state, 0, s->steps);
    if (lengths)
        x->in[x->ins++] = (part){(float *)(void *)lengths, 2 * B, 0};
    const rows in = rows_of(s, f->input, 1), out = rows_of(s, row, 0);
    const size_t h = x->tracks * B * K, c = x->tracks * B * H;
    x->call = (fl_call){.steps = s->steps,
                        .batch = B,
                        .x = input_rows(x, state, f->input, &in),
                        .x_t = in.t,
                        .x_b = in.b,
                        .y_t = out.t,
                        .y_b = out.b,
                        .descending = (int)(s->seed & 1),
                        .lengths = lengths};
    if (s->wants & STATE) {
        x->call.h0 = x->h0 = filled(x, state, h, s->scale);
        x->call.c0 = x->c0 = lstm ? filled(x, state, c, s->scale) : NULL;
    }
    x->call.y = s->wants & NO_Y ? NULL : output_rows(x, &out);
    if (!(s->wants & NO_LAST)) {
        x->call.hn = output(x, h, 0);
        x->call.cn = lstm ? output(x, c, 0) : NULL;
    }
    x->forward = x->outs;
    x->back = (fl_backward_call){.dy_t = out.t, .dy_b = out.b, .dx_t = in.t, .dx_b = in.b};
    x->back.dy = s->wants & DY ? input_rows(x, state, row, &out) : NULL;
    x->back.dhn = s->wants & DHN ? filled(x, state, h, s->scale) : NULL;
    x->back.dcn = lstm && s->wants & DCN ? filled(x, state, c, s->scale) : NULL;
    x->back.dx = s->wants & DX ? output_rows(x, &in) : NULL;
    x->back.dh0 = s->wants & DSTATE ? output(x, h, 0) : NULL;
    x->back.dc0 = lstm && s->wants & DSTATE ? output(x, c, 0) : NULL;
    for (size_t i = 0; i < x->tracks; i++)
        x->grads[i] = (fl_grads){
            .w_ih = output(x, x->G * (i < f->dirs ? f->input : row), 0),
            .w_hh = output(x, x->G * K, 0),
            .b_ih = s->wants & NO_BIAS ? NULL : output(x, x->G, 0),
            .b_hh = s->wants & NO_BIAS ? NULL : output(x, x->G, 0),
            .w_hr = f->proj ? output(x, K * H, 0) : NULL,
            .peepholes = peep ? output(x, 3 * H, 0) : NULL,
        };
    x->back.grads = x->grads;
}

/* Networks of float32 weights are trained, with products of float32 or of bfloat16 parts. */
static int trains(const trial *x)
{
    return x->s.f.format == FL_FLOAT32 || x->s.f.format == FL_BFLOAT16;
}

/* The net with its weights, and if it trains those for backward; 0 when memory was short, and
   nothing is left. */
static int open_net(trial *x, const fl_kernels *kernels)
{
    const uint64_t before = control();
    const size_t dirs = x->s.f.dirs;
    x->net = fl_net_new(&x->s.f, kernels);
    x->weights = x->net && trains(x) ? fl_backward_weights_new(x->net) : NULL;
    if (!x->net || (trains(x) && !x->weights)) {
        fl_net_free(x->net);
        return 0;
    }
    for (size_t i = 0; i < x->tracks; i++) {
        const size_t K = x->s.f.proj ? x->s.f.proj : x->s.f.hidden;
        set_any(x->net, &x->s.f, i / dirs, i % dirs, x->w[i], x->r[i], x->b[i], x->b[i], x->p[i],
                x->G, i < dirs ? x->s.f.input : dirs * K, K);
        if (x->peep[i])
            fl_net_set_peepholes(x->net, i / dirs, i % dirs, x->peep[i]);
        if (x->weights)
            fl_backward_weights_set(x->weights, x->net, i / dirs, i % dirs, x->w[i], x->r[i],
                                    x->p[i]);
    }
    CHECK(control() == before);
    return 1;
}

static void close_net(trial *x)
{
    fl_backward_weights_free(x->weights);
    fl_net_free(x->net);
}

/* Zero from a row's length on; elsewhere finite. at: element (0, 0). */
static void check_rows(const trial *x, const float *at, ptrdiff_t t_step, ptrdiff_t b_step,
                       size_t n)
{
    for (size_t b = 0; at && b < x->s.batch; b++)
        for (size_t t = 0; t < x->s.steps; t++)
            for (size_t i = 0; i < n; i++) {
                const float v = at[(ptrdiff_t)t * t_step + (ptrdiff_t)b * b_step + (ptrdiff_t)i];
                CHECK(isfinite(v));
                CHECK(v == 0 || !x->call.lengths || (int64_t)t < x->call.lengths[b]);
            }
}

static void wipe(const part *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        memset(p[i].at, 0xff, p[i].n * sizeof(float));
}

static void check_written(const part *p, size_t n, int written)
{
    for (size_t i = 0; i < n; i++)
        CHECK(unwritten(&p[i]) == (written ? p[i].untouched : p[i].n));
}

/* fl_forward, for inference (training 0) or with a tape, and then fl_backward. The hash of the
   forward outputs, of all outputs in *all; 0: memory was short. */
static uint64_t run(trial *x, size_t threads, int training, uint64_t *all)
{
    const uint64_t before = control(), inputs = hash_parts(x->in, x->ins);
    fl_call call = x->call;
    fl_backward_call back = x->back;
    fl_tape *tape = NULL;
    uint64_t result = 0;
    call.threads = back.threads = threads;
    wipe(x->out, x->outs);
    const int in_place = !training && x->s.wants & IN_PLACE && call.h0 && call.hn;
    if (in_place) { /* of part 0, if y is not wanted, or 1 on */
        memcpy(call.hn, x->h0, x->tracks * x->s.batch * x->K * sizeof(float));
        call.h0 = call.hn;
        if (call.cn) {
            memcpy(call.cn, x->c0, x->tracks * x->s.batch * x->s.f.hidden * sizeof(float));
            call.c0 = call.cn;
        }
    }
    if (training && !(tape = fl_tape_new(x->net, &call, x->s.dropout, x->s.seed, 0, call.steps)))
        return 0;
    call.tape = tape;
    back.tape = tape;
    int e = fl_forward(x->net, &call);
    CHECK(e == FL_OK || e == FL_NO_MEMORY);
    if (e == FL_OK || !in_place)
        check_written(x->out, x->forward, e == FL_OK);
    if (e == FL_OK) {
        result = hash_parts(x->out, x->forward) | 1;
        check_rows(x, call.y, call.y_t, call.y_b, x->row);
    }
    if (e == FL_OK && training) {
        e = fl_backward(x->net, x->weights, &back);
        CHECK(e == FL_OK || e == FL_NO_MEMORY);
        check_written(x->out + x->forward, x->outs - x->forward, e == FL_OK);
        if (e == FL_OK) {
            check_rows(x, back.dx, back.dx_t, back.dx_b, x->s.f.input);
            for (size_t i = x->forward; i < x->outs; i++)
                for (size_t k = 0; x->out[i].untouched == 0 && k < x->out[i].n; k++)
                    CHECK(isfinite(x->out[i].at[k]));
        }
    }
    if (all)
        *all = hash_parts(x->out, x->outs);
    CHECK(hash_parts(x->in, x->ins) == inputs);
    fl_tape_free(tape);
    CHECK(control() == before);
    return e == FL_OK ? result : 0;
}

#endif
