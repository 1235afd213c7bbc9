/* SPDX-License-Identifier: MIT */
/*
 * The C entry points under a fuzzer: bytes become a network, its shapes, lengths, threads and what
 * is wanted, and every call is checked as case.h says, on every instruction set, in buffers of
 * exactly the size. Or they become sizes of any magnitude: what is then asked of the allocator,
 * which says no, is as much as the sizes need.
 *
 * With clang -fsanitize=fuzzer it is libFuzzer's; otherwise it has the main of bytes.h.
 *
 * Linked with --wrap for fl_alloc and fl_alloc_lasting. Built with FL_SPLIT_HOOK, so that small
 * work is shared out too.
 */
#define FUZZ_MOST 64

#include "base/alloc.h"
#include "kernels/panels.h"
#include "bytes.h"
#include "on_the_heap.h"
#include "runs_floats.h"
#include "vary.h"

/* ---- memory ---- */

void *__real_fl_alloc(size_t bytes);
void *__real_fl_alloc_lasting(size_t bytes);
void *__wrap_fl_alloc(size_t bytes);
void *__wrap_fl_alloc_lasting(size_t bytes);

static int refusing;
static size_t asked; /* bytes, of the last one that was refused */

static int refused(size_t bytes)
{
    asked = refusing ? bytes : asked;
    return refusing;
}

void *__wrap_fl_alloc(size_t bytes) { return refused(bytes) ? NULL : __real_fl_alloc(bytes); }

void *__wrap_fl_alloc_lasting(size_t bytes)
{
    return refused(bytes) ? NULL : __real_fl_alloc_lasting(bytes);
}

/* ---- bytes ---- */

static fl_config config_of(reader *r, size_t most)
{
    const size_t first = number(r, 1);
    fl_config f = {.cell = (int)(first % FL_CELLS),
                   .format = (int)(first / FL_CELLS % FL_FORMATS),
                   .input_bits = first / FL_CELLS % 2 ? 16 : 8,
                   .parts = 1 + (int)(first / FL_CELLS / FL_FORMATS % 3),
                   .layers = in(r, 1, 3),
                   .dirs = in(r, 1, 2),
                   .input = in(r, 1, most),
                   .hidden = in(r, 1, most)};
    const size_t proj = in(r, 0, 255);
    if (f.cell == FL_LSTM && proj & 1 && f.hidden > 1)
        f.proj = proj / 2 % (f.hidden - 1) + 1;
    return f;
}

static void small(reader *r)
{
    static const float scales[] = {1, 1, 1, 8, 0x1p-20f, 0x1p-61f, 0x1p-95f, 0x1p-125f};
    shape s = {.f = config_of(r, 90)};
    s.steps = in(r, 1, 24);
    s.batch = in(r, 1, 12);
    s.wants = (unsigned)number(r, 2);
    s.gap = in(r, 0, 3);
    const size_t threads = in(r, 1, 6), kinds = in(r, 0, 255);
    s.scale = scales[kinds % 8];
    s.dropout = kinds / 8 % 4 ? 0 : (float)in(r, 0, 255) / 255.0f;
    s.seed = number(r, 4);
    s.f.reverse = s.f.dirs == 1 && kinds & 32;
    if (kinds & 64)
        s.f.variant = finite_variant(&(uint64_t){kinds >> 7 | s.seed << 1}, s.f.cell);
    trial x;
    prepare(&x, &s);
    if (x.call.lengths) /* as the bytes say, where there are any left */
        for (size_t b = 0; b < s.batch && r->at < r->end; b++)
            ((int64_t *)(uintptr_t)x.call.lengths)[b] = (int64_t)in(r, 0, s.steps);
    uint64_t fused = 0;
    for (int i = 0; i < fl_isa_count(); i++) {
        if (s.f.format == FL_INT8 || s.f.format == FL_BFLOAT16 ? !fl_isa_runnable(i)
                                                               : !runs_floats(i))
            continue;
        uint64_t all, other;
        CHECK(open_net(&x, fl_isa_kernels(i)));
        const uint64_t alone = run(&x, 1, 0, NULL);
        CHECK(alone && run(&x, threads, 0, NULL) == alone);
        if (trains(&x)) {
            const uint64_t first = run(&x, 1, 1, &all);
            CHECK(first && (first == alone || (s.dropout > 0 && s.f.layers > 1)));
            CHECK(run(&x, threads, 1, &other) == first && all == other);
        }
        close_net(&x);
#if defined(__x86_64__)
        if (!strcmp(fl_isa_name(i), "generic"))
            continue;
#endif
        CHECK(!fused || fused == alone);
        fused = alone;
    }
    give_back();
}

/* At least as many numbers of a format, or the size that nothing can have. */
static void check_asked(int format, double numbers)
{
    const double bytes = (double)fl_format_bytes(format) * numbers;
    CHECK(asked == SIZE_MAX || (double)asked >= bytes * (1 - 1e-9));
}

static void giant(reader *r)
{
    static const size_t gates[FL_CELLS] = {4, 3, 3, 1, 1};
    const fl_kernels *kernels = NULL;
    for (int i = 0, at = (int)in(r, 0, 7) % fl_isa_count(); !kernels; i++)
        kernels = fl_isa_kernels((at + i) % fl_isa_count());
    fl_config f = config_of(r, 4), big = f;
    const size_t widths = in(r, 0, 255);
    big.input = number(r, 1 + widths % 8);
    big.hidden = number(r, 1 + widths / 8 % 8);
    big.layers = number(r, 1 + widths / 64 % 2);
    big.input += !big.input;
    big.hidden += !big.hidden;
    big.layers += !big.layers;
    const double G = (double)gates[f.cell], H = (double)big.hidden, D = (double)big.dirs;
    big.proj = big.proj < big.hidden ? big.proj : 0;
    const double K = big.proj ? (double)big.proj : H;
    refusing = 1, asked = 0;
    CHECK(!fl_net_new(&big, kernels));
    if (!asked) /* a layer's outputs are more than a size_t counts: refused before that */
        CHECK(D * K >= 0x1p64 * (1 - 1e-9));
    else
        check_asked(f.format,
                    G * H * D * ((double)big.input + K + ((double)big.layers - 1) * (D * K + K)));
    refusing = 0;

    f.format = FL_FLOAT32; /* a tape is for training */
    fl_net *net = fl_net_new(&f, kernels);
    CHECK(net);
    fl_call call = {.steps = number(r, 1 + in(r, 0, 7)), .batch = number(r, 1 + in(r, 0, 7))};
    call.steps += !call.steps;
    call.batch += !call.batch;
    call.threads = in(r, 1, 255);
    const double T = (double)call.steps, B = (double)call.batch, L = (double)f.layers;
    const double width = (double)(f.proj ? f.proj : f.hidden), row = width * (double)f.dirs;
    asked = fl_forward_workspace(net, &call);
    check_asked(FL_FLOAT32, f.dirs == 2 && f.layers > 1 ? T * row : 0);
    refusing = 1, asked = 0;
    CHECK(!fl_tape_new(net, &call, 0, 0, 0, call.steps));
    check_asked(FL_FLOAT32, T * B * ((double)f.input + L * row));
    refusing = 0;
    fl_net_free(net);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    reader r = {data, data + size};
    if (in(&r, 0, 255) % 8)
        small(&r);
    else
        giant(&r);
    return 0;
}
