/* SPDX-License-Identifier: MIT */
/*
 * What fastlstm.h promises of memory and of the floating-point control registers, in C. Every case
 * is a network of its own and its calls, checked as case.h says, on every instruction set that runs
 * here: inference, and training with one thread and with several, to the same bits.
 *
 *     contract_driver guard FIRST LAST STEP THREADS   cases FIRST, FIRST + STEP .. below LAST of
 *             a grid: I and H in 1..130, B in 1..9, in all GRID of them. Every buffer, the core's
 *             own too, stands between two pages that may not be touched: against the one before
 *             it, and once more against the one after it, to the same bits
 *     contract_driver fail FIRST LAST STEP THREADS    the 1st, 2nd, .. allocation of a case fails,
 *             until all succeed: each time the net that is there still works. Buffers from malloc,
 *             for ASan and valgrind
 *     contract_driver control FIRST LAST STEP THREADS as many callers at once, each in another
 *             floating-point mode; flushed subnormals do not change the forward bits
 *     contract_driver stop N 0 0 THREADS              a call that is all zeros past short lengths
 *             asks its poll at least N times, and ends where the answer is yes
 *     contract_driver race FIRST LAST STEP THREADS    as guard, without the pages
 *
 * Two more arguments, FORMAT SET: all networks are of that format, a number of fastlstm.h, and run
 * on the one instruction set of that name.
 *
 * Linked with --wrap for fl_alloc, fl_alloc_lasting and fl_free.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "case.h"
#include "runs_floats.h"
#include "vary.h"

enum { SIDE = 130, BATCHES = 9, GRID = SIDE * SIDE * BATCHES };

/* ---- memory between guard pages, from slots that are used again ---- */

static struct slot {
    char *base; /* a page, `inner` bytes, a page */
    size_t inner;
    char *given; /* NULL: free */
} slots[256];
static int guarding, side; /* side 0: against the page before, 1: the page after */
static atomic_long live;   /* what the core holds */
static pthread_mutex_t slots_mutex = PTHREAD_MUTEX_INITIALIZER;

static void *guarded(size_t bytes, size_t align)
{
    CHECK(pthread_mutex_lock(&slots_mutex) == 0);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (bytes + align - 1) / align * align;
    struct slot *s = NULL;
    for (size_t i = 0; i < 256; i++) {
        if (slots[i].given)
            continue;
        if (!s || (slots[i].inner >= size && (s->inner < size || slots[i].inner < s->inner)))
            s = &slots[i];
    }
    CHECK(s);
    if (!s->base || s->inner < size) {
        if (s->base)
            CHECK(munmap(s->base, s->inner + 2 * page) == 0);
        for (s->inner = page; s->inner < size;)
            s->inner *= 2;
        s->base = mmap(NULL, s->inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(s->base != MAP_FAILED);
        CHECK(mprotect(s->base + page, s->inner, PROT_READ | PROT_WRITE) == 0);
    }
    char *const given = s->base + page + (side ? s->inner - size : 0);
    s->given = given;
    memset(given, 0xff, size); /* NaN, if it is read before it is written */
    CHECK(pthread_mutex_unlock(&slots_mutex) == 0);
    return given;
}

static void release(const void *p)
{
    size_t i = 0;
    CHECK(pthread_mutex_lock(&slots_mutex) == 0);
    while (slots[i].given != p)
        CHECK(++i < 256);
    slots[i].given = NULL;
    CHECK(pthread_mutex_unlock(&slots_mutex) == 0);
}

static void *guarded_core(size_t bytes)
{
    atomic_fetch_add(&live, 1);
    return guarded(bytes, 64);
}

/* A helper that a call's end has left behind frees the call's memory when it returns. */
static void wait_for_helpers(void)
{
    for (int naps = 0; live && naps < 100000; naps++)
        fl_nap();
    CHECK(live == 0);
}

void *__real_fl_alloc(size_t bytes);
void *__real_fl_alloc_lasting(size_t bytes);
void __real_fl_free(void *p);
void *__wrap_fl_alloc(size_t bytes);
void *__wrap_fl_alloc_lasting(size_t bytes);
void __wrap_fl_free(void *p);

void *__wrap_fl_alloc(size_t bytes)
{
    return guarding ? guarded_core(bytes) : __real_fl_alloc(bytes);
}

void *__wrap_fl_alloc_lasting(size_t bytes)
{
    return guarding ? guarded_core(bytes) : __real_fl_alloc_lasting(bytes);
}

void __wrap_fl_free(void *p)
{
    if (!guarding) {
        __real_fl_free(p);
    } else if (p) {
        release(p);
        atomic_fetch_sub(&live, 1);
    }
}

/* The caller's buffers of a case, of any kind. */
static _Thread_local struct {
    void *at[256];
    size_t n;
} held;

static void *get(size_t bytes)
{
    void *p = guarding ? guarded(bytes, 1) : malloc(bytes);
    CHECK(p && held.n < 256);
    return held.at[held.n++] = p;
}

static void give_back(void)
{
    while (held.n)
        if (guarding)
            release(held.at[--held.n]);
        else
            free(held.at[--held.n]);
}

/* ---- cases ---- */

static int only_format; /* of all networks, if there is an only_set */
static const char *only_set;

static shape case_of(size_t number)
{
    uint64_t draws = number, *state = &draws;
    shape s = {.f = {.cell = draw(state) % 2 ? FL_LSTM : (int)(draw(state) % FL_CELLS),
                     .input = number % SIDE + 1,
                     .hidden = number / SIDE % SIDE + 1,
                     .layers = draw(state) % 3 ? 1 : between(state, 2, 3),
                     .dirs = between(state, 1, 2)},
               .steps = draw(state) % 4 ? between(state, 1, 4) : between(state, 5, 12),
               .batch = number / SIDE / SIDE % BATCHES + 1,
               .gap = draw(state) % 2 ? 0 : between(state, 1, 9),
               .wants = draw(state),
               .dropout = draw(state) % 4 ? 0 : 0.3f,
               .scale = draw(state) % 8 ? 1.0f : 0x1p-64f,
               .seed = number};
    if (s.f.cell == FL_LSTM && s.f.hidden > 1 && draw(state) % 3 == 0)
        s.f.proj = between(state, 1, s.f.hidden - 1);
    s.f.reverse = s.f.dirs == 1 && draw(state) % 4 == 0;
    if (draw(state) % 4 == 0)
        s.f.variant = finite_variant(state, s.f.cell);
    if (draw(state) % 8)
        s.wants &= ~(unsigned)NO_Y;
    if (draw(state) % 8)
        s.wants &= ~(unsigned)NO_LAST;
    s.f.format = draw(state) % 3 ? FL_FLOAT32 : 1 + (int)(number % (FL_FORMATS - 1));
    s.f.format = only_set ? only_format : s.f.format;
    s.f.input_bits = number % 4 < 2 ? 16 : 8;
    s.f.parts = 1 + (int)(number / 7 % 3);
    return s;
}

/* Has an instruction set kernels of its own for the case's format? */
static int runs(const shape *s, int isa)
{
    if (only_set)
        return fl_isa_runnable(isa) && !strcmp(fl_isa_name(isa), only_set);
    return s->f.format == FL_INT8 || s->f.format == FL_BFLOAT16 ? fl_isa_runnable(isa)
                                                                : runs_floats(isa);
}

static int fused(int isa)
{
#if defined(__x86_64__)
    return strcmp(fl_isa_name(isa), "generic") != 0;
#else
    (void)isa;
    return 1;
#endif
}

/* Every call of a case on one instruction set; the forward bits. */
static uint64_t calls(trial *x, const fl_kernels *kernels, size_t threads, uint64_t *all)
{
    CHECK(open_net(x, kernels));
    const uint64_t alone = run(x, 1, 0, all), together = run(x, threads, 0, NULL);
    CHECK(alone && alone == together);
    if (trains(x)) {
        uint64_t other;
        const uint64_t first = run(x, 1, 1, all), second = run(x, threads, 1, &other);
        CHECK(first && first == second && *all == other);
        CHECK(alone == first || (x->s.dropout > 0 && x->s.f.layers > 1));
    }
    close_net(x);
    return alone;
}

static size_t test_guard(size_t number, size_t threads, int pages)
{
    const shape s = case_of(number);
    uint64_t bits[16], all[16], fused_bits = 0, fused_gradients = 0;
    size_t count = 0;
    trial x;
    guarding = pages;
    for (side = 0; side < (pages ? 2 : 1); side++) {
        prepare(&x, &s);
        for (int i = 0; i < fl_isa_count(); i++) {
            if (!runs(&s, i))
                continue;
            uint64_t gradients;
            const uint64_t here = calls(&x, fl_isa_kernels(i), threads, &gradients);
            CHECK(side == 0 || (here == bits[i] && gradients == all[i]));
            wait_for_helpers();
            CHECK(!fused_bits || !fused(i) || here == fused_bits);
            if (s.f.format == FL_BFLOAT16 && fused(i)) { /* whatever the vectors' length */
                CHECK(!fused_gradients || gradients == fused_gradients);
                fused_gradients = gradients;
            }
            bits[i] = here;
            all[i] = gradients;
            fused_bits = fused(i) ? here : fused_bits;
            count++;
        }
        give_back();
    }
    return count;
}

static size_t test_fail(size_t number, size_t threads)
{
    const shape s = case_of(number);
    size_t failed = 0;
    trial x;
    prepare(&x, &s);
    for (int i = 0; i < fl_isa_count(); i++) {
        const fl_kernels *kernels = fl_isa_kernels(i);
        if (!runs(&s, i))
            continue;
        long n = 0;
        for (;; n++, failed++) {
            fl_alloc_fail_after(n);
            const int opened = open_net(&x, kernels);
            fl_alloc_fail_after(-1);
            if (opened)
                break;
        }
        CHECK(n == 1 + trains(&x)); /* the net, and its weights for backward */
        for (int training = 0; training <= trains(&x); training++) {
            uint64_t want, all, got;
            const uint64_t bits = run(&x, threads, training, &want);
            CHECK(bits);
            for (n = 0;; n++, failed++) {
                fl_alloc_fail_after(n);
                const uint64_t under = run(&x, threads, training, NULL);
                fl_alloc_fail_after(-1);
                got = run(&x, threads, training, &all);
                CHECK(got == bits && all == want);
                if (under) {
                    CHECK(under == bits);
                    break;
                }
            }
            CHECK(n <= 3); /* tape, forward's workspace, backward's */
            CHECK(!training || n >= 2);
        }
        close_net(&x);
    }
    give_back();
    return failed;
}

typedef struct caller {
    size_t number, threads, modes;
    unsigned mode;
} caller;

/* One case in one mode; its forward bits for each instruction set. */
static size_t in_mode(size_t number, unsigned mode, size_t threads, uint64_t bits[16])
{
    const shape s = case_of(number);
    size_t count = 0;
    trial x;
    prepare(&x, &s);
    for (int i = 0; i < fl_isa_count(); i++) {
        if (!runs(&s, i))
            continue;
        set_control(mode & 3, mode >> 2 & 1);
        CHECK(open_net(&x, fl_isa_kernels(i)));
        bits[i] = run(&x, 1, 0, NULL); /* case.h looks at the registers */
        CHECK(run(&x, threads, trains(&x), NULL));
        close_net(&x);
        set_control(0, 0);
        count++;
    }
    give_back();
    return count;
}

static void *call_in_modes(void *arg)
{
    caller *c = arg;
    uint64_t usual[16] = {0}, bits[16] = {0};
    in_mode(c->number, 0, 1, usual);
    for (unsigned mode = c->mode; mode < c->mode + 8; mode++, c->modes++) {
        in_mode(c->number, mode % 8, c->threads, bits);
        CHECK(mode % 4 || !memcmp(bits, usual, sizeof bits));
    }
    return NULL;
}

static size_t test_control(size_t number, size_t threads)
{
    pthread_t thread[16];
    caller c[16];
    size_t modes = 0;
    CHECK(threads <= 16);
    for (size_t i = 0; i < threads; i++) {
        c[i] = (caller){number + i, threads, 0, (unsigned)i};
        CHECK(pthread_create(&thread[i], NULL, call_in_modes, &c[i]) == 0);
    }
    for (size_t i = 0; i < threads; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
        modes += c[i].modes;
    }
    return modes;
}

static int count_polls(void *arg) { return ++*(size_t *)arg == 3; }

static void test_stop(size_t least, size_t threads)
{
    shape s = {.f = {.cell = FL_GRU, .input = 2, .hidden = 16, .layers = 1, .dirs = 2},
               .steps = 1 << 17,
               .batch = 4,
               .scale = 1};
    size_t polls = 3;
    trial x;
    prepare(&x, &s);
    int64_t lengths[] = {0, 3, 1, 2};
    x.call.lengths = lengths;
    x.call.poll = count_polls;
    x.call.poll_arg = &polls;
    x.call.threads = threads;
    CHECK(open_net(&x, fl_isa_kernels(fl_isa_count() - 1)));
    /* One thread asks. Where others have the CPUs, the rest of the team may take most of its work.
     */
    const int tries = threads > 1 ? 100 : 1;
    for (int i = 0; i < tries && polls < 3 + least; i++) {
        polls = 3;
        CHECK(fl_forward(x.net, &x.call) == FL_OK);
    }
    CHECK(polls >= 3 + least);
    polls = 0;
    for (int i = 0; i < tries && polls < 3; i++) {
        polls = 0;
        const int ended = fl_forward(x.net, &x.call);
        CHECK(ended == (polls == 3 ? FL_INTERRUPTED : FL_OK));
    }
    CHECK(polls == 3);
    close_net(&x);
    give_back();
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    const size_t first = strtoul(argv[2], NULL, 10), last = strtoul(argv[3], NULL, 10);
    const size_t step = strtoul(argv[4], NULL, 10), threads = strtoul(argv[5], NULL, 10);
    size_t cases = 0, count = 0;
    if (argc == 8) {
        only_format = (int)strtol(argv[6], NULL, 10);
        only_set = argv[7];
    }
    if (argv[1][0] == 's')
        test_stop(first, threads);
    for (size_t n = first; argv[1][0] != 's' && n < last && n < GRID; n += step, cases++)
        switch (argv[1][0]) {
        case 'g':
        case 'r':
            count += test_guard(n, threads, argv[1][0] == 'g');
            break;
        case 'f':
            count += test_fail(n, threads);
            break;
        case 'c':
            count += test_control(n, threads);
            break;
        default:
            return 2;
        }
    printf("%zu cases, %zu times\n", cases, count);
    return 0;
}
