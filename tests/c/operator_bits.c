/* SPDX-License-Identifier: MIT */
/*
 * Prints, for every instruction set that runs here, a hash of the bits of every operator of
 * csrc/ops and of a small model, for drawn weights and inputs (model_case.h). Everything is drawn
 * from integers, so every machine draws the same: lines that differ between two machines or two
 * instruction sets with fused multiply-add are broken promises. No Python, no torch.
 *
 *     operator_bits STRIDE    functions of one float are computed for every STRIDE-th float
 */
#include "ops/epilogue.h"
#include "ops/recurrent.h"
#include "coded.h"
#include "plain_cases.h"

/* ---- operators with weights ---- */

typedef struct convolution {
    int64_t axes, in, out, groups, auto_pad, activation;
    int64_t k[2], stride[2], dilation[2], begin[2], end[2];
    size_t batch, size[2];
} convolution;

static void convolve(const char *name, const convolution *c, int64_t format, int bits, int given,
                     cut by)
{
    const int transposed = !strcmp(name, "conv_transposed");
    const int64_t *along[] = {c->k, c->stride, c->dilation, c->begin, c->end};
    int64_t ints[7 + 2 * 7 + 1] = {format,    c->axes,     c->in,        c->out,
                                   c->groups, c->auto_pad, c->activation};
    size_t n = 7, axes = (size_t)c->axes, out = (size_t)c->out;
    for (size_t i = 0; i < 5; i++)
        for (size_t axis = 0; axis < axes; axis++)
            ints[n++] = along[i][axis];
    n += transposed ? 2 * axes : 0; /* no output padding, and no sizes */
    if (bits)
        ints[n++] = bits;
    fl_shape w = {.axes = 2 + axes}, x = {.axes = 2 + axes, .size = {c->batch}};
    w.size[0] = transposed ? (size_t)c->in : out;
    w.size[1] = (size_t)((transposed ? c->out : c->in) / c->groups);
    for (size_t axis = 0; axis < axes; axis++) {
        w.size[2 + axis] = (size_t)c->k[axis];
        x.size[1 + axis] = c->size[axis];
    }
    x.size[1 + axes] = (size_t)c->in;
    const fl_array weights[] = {floats(0.5f, w), floats(0.5f, SHAPE(out))};
    fl_operator *op = made(name, ints, n, FLOATS(0.25f, 0.75f));
    const size_t place = input(floats(2, x));
    if (given) {
        const size_t places[] = {place, constant(weights[0]), constant(weights[1])};
        step(op, 1, places, 3);
    } else
        step(packed(op, weights, 2), 1, &place, 1);
    end(name, by, "axes %d channels %d-%d groups %d padding %d format %d bits %d given %d",
        (int)c->axes, (int)c->in, (int)c->out, (int)c->groups, (int)c->auto_pad, (int)format, bits,
        given);
}

static void convolutions(void)
{
    static const convolution all[] = {
        {1, 5, 19, 1, 0, -1, {3}, {1}, {1}, {1}, {1}, 3, {21}},
        {1, 1, 34, 1, 0, FL_LEAKY_RELU, {32}, {16}, {1}, {0}, {16}, 4, {96}},
        {1, 24, 24, 24, 0, FL_SILU, {5}, {2}, {1}, {2}, {2}, 3, {30}},
        {1, 24, 48, 12, 0, FL_GELU, {3}, {1}, {3}, {3}, {3}, 3, {31}},
        {1, 8, 6, 2, FL_PAD_SAME_LOWER, -1, {4}, {3}, {1}, {0}, {0}, 3, {29}},
        {2, 3, 33, 1, FL_PAD_SAME_UPPER, FL_CLIP, {3, 5}, {2, 1}, {1, 2}, {0}, {0}, 3, {9, 14}},
        {2, 16, 32, 1, 0, FL_HARD_SWISH, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 3, {20, 20}},
        {2, 20, 20, 20, 0, -1, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 3, {12, 13}},
        {2, 6, 9, 3, FL_PAD_VALID, FL_SIGMOID, {2, 2}, {1, 2}, {1, 1}, {0}, {0}, 3, {7, 8}},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int kind = 0; kind < 5; kind++) {
            const convolution *c = &all[i];
            const int64_t format = kind < 2 ? kind : FL_BFLOAT16;
            const int bits = kind < 2 ? 0 : 16 * (kind - 1);
            convolve("conv", c, format, bits, 0, rows);
            if (c->dilation[0] == 1) /* begins and ends are what is cut from the output here */
                convolve("conv_transposed", c, format, bits, 0, rows);
        }
    convolve("conv", &all[5], FL_FLOAT32, 0, 1, rows);
    convolve("conv_transposed", &all[3], FL_FLOAT32, 0, 1, rows);
    convolve("conv", &all[6], FL_BFLOAT16, 32, 1, rows);
    /* pieces of the axis after the batch */
    static const convolution valid[] = {
        {1, 10, 40, 1, 0, -1, {7}, {3}, {2}, {0}, {0}, 1, {64}},
        {1, 40, 40, 40, 0, -1, {4}, {1}, {1}, {0}, {0}, 1, {50}},
        {2, 8, 12, 2, 0, -1, {3, 3}, {2, 1}, {1, 1}, {0, 1}, {0, 1}, 1, {33, 10}},
    };
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        const size_t stride = (size_t)valid[i].stride[0];
        const size_t extent = (size_t)((valid[i].k[0] - 1) * valid[i].dilation[0] + 1);
        convolve("conv", &valid[i], FL_FLOAT32, 0, 0, (cut){1, stride, extent});
        convolve("conv", &valid[i], FL_BFLOAT16, 48, 0, (cut){1, stride, extent});
    }
}

static void linears(void)
{
    static const size_t sizes[][3] = {{3, 1, 1}, {3, 17, 33}, {8, 64, 129}, {300, 100, 110}};
    for (size_t i = 0; i < 4; i++)
        for (int64_t format = 0; format < FL_FORMATS; format++) {
            if (format == FL_INT8)
                continue;
            const size_t n = sizes[i][0], in = sizes[i][1], out = sizes[i][2];
            const fl_array weights[] = {floats(0.5f, SHAPE(out, in)), floats(0.5f, SHAPE(out))};
            fl_operator *op = made("linear", INTS(format, (int64_t)in, (int64_t)out), NONE);
            step(packed(op, weights, 2), 1, PLACES(input(floats(2, SHAPE(n, in)))));
            end("linear", rows, "%d of %d-%d format %d", (int)n, (int)in, (int)out, (int)format);
            for (int bits = 32; bits <= 48 && format == FL_BFLOAT16; bits += 16) {
                const fl_array again[] = {floats(0.5f, SHAPE(out, in)), floats(0.5f, SHAPE(out))};
                op = made("linear", INTS(format, (int64_t)in, (int64_t)out, -1, 1, 1, bits), NONE);
                step(packed(op, again, 2), 1, PLACES(input(floats(2, SHAPE(n, in)))));
                end("linear", rows, "%d of %d-%d bits %d", (int)n, (int)in, (int)out, bits);
            }
        }
    for (int64_t bits = 8; bits <= 16; bits += 8)
        for (int64_t taps = 1; taps <= 3; taps += 2) {
            const fl_array w = floats(0.5f, SHAPE(70, 30)), b = floats(0.5f, SHAPE(70));
            const fl_int8 codes = coded(w.at, 70, 30);
            const fl_array weights[] = {
                {.type = FL_CODES, .shape = w.shape, .at = (void *)(uintptr_t)codes.codes},
                b,
                {.type = FL_F32, .shape = b.shape, .at = (void *)(uintptr_t)codes.scales}};
            fl_operator *op =
                made("linear", INTS(FL_INT8, 30, 70, FL_NO_ACTIVATION, taps, 1, bits), NONE);
            step(packed(op, weights, 3), 1,
                 PLACES(input(floats(2, SHAPE(9, 20, 30 / (size_t)taps)))));
            end("linear", rows, "codes of %d bits taps %d", (int)bits, (int)taps);
            drop_codes(codes);
        }
    for (int64_t f = FL_NO_ACTIVATION; f <= FL_LAST_ACTIVATION; f++) {
        const fl_array weights[] = {floats(0.5f, SHAPE(20, 30)), floats(0.5f, SHAPE(20))};
        fl_operator *op = made("linear", INTS(FL_FLOAT32, 30, 20, f), FLOATS(0.25f, 0.75f));
        step(packed(op, weights, 2), 1, PLACES(input(floats(2, SHAPE(4, 3, 30)))));
        end("linear", rows, "activation %d", (int)f);
    }
}

static void matmuls(void)
{
    for (int64_t a = 0; a < 2; a++)
        for (int64_t b = 0; b < 2; b++) {
            const size_t x = input(floats(2, a ? SHAPE(3, 37, 19) : SHAPE(3, 19, 37)));
            const size_t z = input(floats(2, b ? SHAPE(3, 35, 37) : SHAPE(3, 37, 35)));
            step(made("matmul", INTS(a, b), NONE), 1, PLACES(x, z));
            end("matmul", rows, "transposed %d %d", (int)a, (int)b);
        }
    const size_t large = constant(floats(1, SHAPE(100, 110)));
    step(made("matmul", INTS(0, 0), NONE), 1, PLACES(input(floats(2, SHAPE(300, 100))), large));
    end("matmul", rows, "one matrix");
    const size_t each = constant(floats(1, SHAPE(4, 20, 40)));
    const size_t x = input(floats(2, SHAPE(5, 1, 30, 20)));
    step(made("matmul", INTS(0, 0), NONE), 1, PLACES(x, each));
    end("matmul", rows, "broadcast");
    const size_t scaled[] = {input(floats(2, SHAPE(6, 33))), constant(floats(1, SHAPE(33, 18))),
                             constant(floats(1, SHAPE(1, 18)))};
    step(made("matmul", INTS(0, 0), FLOATS(0.3f, 1.7f)), 1, scaled, 3);
    end("matmul", rows, "alpha and beta");
    const size_t whole_numbers = constant(numbers(FL_I64, SHAPE(9, 7)));
    step(made("matmul", INTS(0, 0), NONE), 1,
         PLACES(input(numbers(FL_I64, SHAPE(5, 9))), whole_numbers));
    end("matmul", rows, "int64");
}

/* Weights of a network, in the order of recurrent.h; answers how many. */
static size_t network(const fl_config *f, fl_array *w)
{
    static const size_t gates[] = {4, 3, 3, 1, 1};
    const size_t all = gates[f->cell] * f->hidden, width = f->proj ? f->proj : f->hidden;
    size_t n = 0;
    for (size_t i = 0; i < f->layers * f->dirs; i++) {
        const size_t in = i < f->dirs ? f->input : f->dirs * width;
        w[n++] = floats(0.25f, SHAPE(all, in));
        w[n++] = floats(0.25f, SHAPE(all, width));
        w[n++] = floats(0.25f, SHAPE(all));
        w[n++] = floats(0.25f, SHAPE(all));
        if (f->proj)
            w[n++] = floats(0.25f, SHAPE(f->proj, f->hidden));
        if (f->variant.differs && f->variant.peepholes)
            w[n++] = floats(0.25f, SHAPE(3 * f->hidden));
    }
    return n;
}

static fl_operator *recurrent(const fl_config *f)
{
    fl_array w[24];
    const size_t n = network(f, w);
    return packed(fl_recurrent_new(f, model.kernels), w, n);
}

static size_t swapped(size_t place)
{
    return step(made("transpose", INTS(1, 0, 2), NONE), 1, &place, 1);
}

/* Rows of a batch: x (B, T, I), lengths, and states (B, L D, ..) around a layer. */
static void batch_of(const fl_config *f, const char *configuration)
{
    const size_t states = f->cell == FL_LSTM ? 2 : 1, b = 5, width = f->proj ? f->proj : f->hidden;
    const size_t tracks = f->layers * f->dirs;
    size_t in[4] = {input(floats(1, SHAPE(b, 9, f->input))), input(integers(0, 9, SHAPE(b))),
                    input(floats(1, SHAPE(b, tracks, width)))};
    if (states == 2)
        in[3] = input(floats(1, SHAPE(b, tracks, f->hidden)));
    in[0] = swapped(in[0]);
    for (size_t i = 2; i < 2 + states; i++)
        in[i] = swapped(in[i]);
    const size_t made = step(recurrent(f), 1 + states, in, 2 + states);
    size_t back[3];
    for (size_t i = 0; i < 1 + states; i++)
        back[i] = swapped(made + i);
    for (size_t i = 0; i < 1 + states; i++)
        output(back[i]);
    end("recurrent", rows, "cell %d hidden %d format %d %s", f->cell, (int)f->hidden, f->format,
        configuration);
}

/* All steps at once, and the same in two pieces, of which the second begins where the first ends.
 */
static void pieces_of(const fl_config *f)
{
    const size_t states = f->cell == FL_LSTM ? 2 : 1, all = 13, first = 5;
    const size_t missing = FL_NOWHERE;
    size_t in[4] = {input(floats(1, SHAPE(all, 3, f->input))), missing};
    for (size_t i = 0; i < states; i++)
        in[2 + i] = input(floats(1, SHAPE(f->layers, 3, f->hidden)));
    const size_t place = step(recurrent(f), 1 + states, in, 2 + states);
    for (size_t i = 0; i < 1 + states; i++)
        output(place + i);
    fl_array x[MOST_INPUTS], due[MOST_OUTPUTS], made[MOST_OUTPUTS];
    memcpy(x, model.in, sizeof x);
    run(x, 1, due);
    for (size_t from = 0; from < all; from += from ? all - first : first) {
        const size_t to = from ? all : first;
        x[0] = part_of(model.in[0], 0, from, to);
        run(x, 2, made);
        const fl_array part = part_of(due[0], 0, from, to);
        CHECK(hash(1, &made[0]) == hash(1, &part));
        memcpy(x + 1, made + 1, states * sizeof *x);
    }
    for (size_t i = 1; i < 1 + states; i++)
        CHECK(hash(1, &made[i]) == hash(1, &due[i]));
    end("recurrent", whole, "cell %d pieces", f->cell);
}

static void recurrents(void)
{
    for (int cell = 0; cell < FL_CELLS; cell++) {
        for (int format = 0; format <= FL_FLOAT16; format++) {
            const fl_config plain = {cell, 7, 19, 0, 2, 1, 0, format, 16, 1, {0}};
            const fl_config both = {cell, 10, 33, 0, 2, 2, 0, format, 16, 1, {0}};
            const fl_config large = {cell, 40, 128, 0, 1, 1, 1, format, 16, 1, {0}};
            batch_of(&plain, "two layers");
            batch_of(&both, "two directions");
            batch_of(&large, "reverse");
        }
        const fl_config variant = {
            .cell = cell,
            .input = 6,
            .hidden = 21,
            .layers = 1,
            .dirs = 1,
            .variant = {.differs = 1,
                        .activation = {{{FL_HARD_SIGMOID, 0.2f, 0.5f}, {FL_SOFTSIGN}, {FL_ELU, 1}}},
                        .clip = 1.5f,
                        .input_forget = cell == FL_LSTM,
                        .peepholes = cell == FL_LSTM}};
        batch_of(&variant, "variant");
        pieces_of(&(fl_config){.cell = cell, .input = 5, .hidden = 24, .layers = 2, .dirs = 1});
    }
    batch_of(&(fl_config){FL_LSTM, 7, 30, 11, 2, 2, 0, 0, 0, 1, {0}}, "projection");
}

/* Conv1d over time, an activation, an LSTM, a linear layer, a softmax: as one program. */
static void small_model(void)
{
    static const int64_t ints[] = {0, 1, 6, 24, 1, 0, FL_THRESHOLDED_RELU, 3, 1, 1, 2, 0};
    const size_t x = input(floats(1, SHAPE(5, 17, 6)));
    const fl_array conv[] = {floats(0.25f, SHAPE(24, 6, 3)), floats(0.25f, SHAPE(24))};
    size_t z = step(packed(made("conv", ints, 12, FLOATS(0, 0)), conv, 2), 1, &x, 1);
    z = step(made("pointwise", INTS(1, 1, FL_OP_MISH, 0, -1, -1), NONE), 1, &z, 1);
    z = swapped(z);
    const fl_config lstm = {.cell = FL_LSTM, .input = 24, .hidden = 40, .layers = 1, .dirs = 2};
    z = swapped(step(recurrent(&lstm), 1, &z, 1));
    const fl_array head[] = {floats(0.25f, SHAPE(9, 80)), floats(0.25f, SHAPE(9))};
    z = step(packed(made("linear", INTS(0, 80, 9), NONE), head, 2), 1, &z, 1);
    step(made("softmax", INTS(-1), NONE), 1, &z, 1);
    end("program", rows, "conv mish lstm linear softmax");
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    const uint64_t stride = strtoull(argv[1], NULL, 10);
    CHECK(stride > 0);
    for (int i = 0; i < fl_isa_count(); i++) {
        if (!fl_isa_runnable(i))
            continue;
        model.isa = fl_isa_name(i);
        model.kernels = fl_isa_kernels(i);
        begin();
        convolutions();
        linears();
        matmuls();
        recurrents();
        small_model();
        elements(stride);
        reductions();
        norms();
        orders();
        pools();
        resizes();
        places();
        fl_program_free(model.program);
    }
    return 0;
}
