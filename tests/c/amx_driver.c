/* SPDX-License-Identifier: MIT */
/*
 * Networks of int8 and bfloat16 on AMX's tiles against the same networks without, bit by bit. Built
 * with FL_TILE_ROWS=1, so that tiles take every number of rows, FL_SPLIT_HOOK, so that threads
 * share small calls, and FL_POLL_FLOP=1e6, so that these have polls; `policy` is for a build
 * without.
 *
 *     amx_driver nets N SEED     N drawn networks: every cell, variants, stacks, directions,
 *                                projections, lengths, states, 1 to 65 rows, on 1 to 16 threads;
 *                                every row alone, and time cut in two. Prints the comparisons
 *     amx_driver batches SEED    an LSTM and a GRU of each format, 1 to 65 rows
 *     amx_driver poll SEED       calls whose poll runs another network, forks, and configures the
 *                                tiles for itself, as other libraries do between calls as well
 *     amx_driver signals N       calls during which N signals arrive
 *     amx_driver refused         a filter refuses the system call that asks for tiles
 *     amx_driver linear FORMAT   a linear operator in a process that has no network, 1 to 65 rows
 *     amx_driver policy          how many rows the tiles are for
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/dispatch.h"
#include "network/network.h"
#include "ops/registry.h"
#include "amx.h"
#include "on_the_heap.h"
#include "vary.h"

static uint64_t state;
static const fl_kernels *tiled, *other;

static shape drawn(void)
{
    shape s = {.f = {.cell = (int)(draw(&state) % FL_CELLS),
                     .input = between(&state, 1, 90),
                     .hidden = between(&state, 1, 90),
                     .layers = between(&state, 1, 3),
                     .dirs = between(&state, 1, 2),
                     .format = draw(&state) % 2 ? FL_INT8 : FL_BFLOAT16,
                     .input_bits = draw(&state) % 2 ? 16 : 8,
                     .parts = (int)between(&state, 1, 3)},
               .steps = between(&state, 1, 8),
               .batch = between(&state, 1, 65),
               .wants = draw(&state) % (NO_BIAS << 1) & ~(unsigned)(NO_Y | NO_LAST | IN_PLACE),
               .scale = 1,
               .seed = draw(&state)};
    s.f.proj = s.f.cell == FL_LSTM && s.f.hidden > 1 && draw(&state) % 3 == 0
                   ? between(&state, 1, s.f.hidden - 1)
                   : 0;
    s.f.reverse = s.f.dirs == 1 && draw(&state) % 4 == 0;
    if (draw(&state) % 3 == 0)
        s.f.variant = finite_variant(&state, s.f.cell);
    return s;
}

/* A trial's outputs on `kernels` and `threads` threads, as run() hashes them. */
static uint64_t result(trial *x, const fl_kernels *kernels, size_t threads)
{
    CHECK(open_net(x, kernels));
    CHECK(x->net->kernels == kernels);
    const uint64_t hash = run(x, threads, 0, NULL);
    close_net(x);
    CHECK(hash && none_configured());
    return hash;
}

/* The rows `first` on of state [tracks][B][n], one row of each track. */
static float *one_row(const trial *x, const float *states, size_t b, size_t n)
{
    if (!states)
        return NULL;
    float *row = get(x->tracks * n * sizeof *row);
    for (size_t i = 0; i < x->tracks; i++)
        memcpy(row + i * n, states + (i * x->s.batch + b) * n, n * sizeof *row);
    return row;
}

/* Row b alone, in two calls if `cut`, must give its part of what the trial's call left in y. */
static void check_row(trial *x, size_t b, size_t cut)
{
    fl_call call = x->call;
    const size_t n = x->row, T = x->s.steps, H = x->s.f.hidden;
    float *y = get(T * n * sizeof *y);
    call.batch = call.threads = 1;
    call.x += (ptrdiff_t)b * call.x_b;
    call.y = y;
    call.y_t = (ptrdiff_t)n;
    call.lengths = call.lengths ? call.lengths + b : NULL;
    call.h0 = one_row(x, x->h0, b, x->K);
    call.c0 = one_row(x, x->c0, b, H);
    call.hn = get(x->tracks * x->K * sizeof(float));
    call.cn = x->call.cn ? get(x->tracks * H * sizeof(float)) : NULL;
    if (cut) {
        call.steps = cut;
        CHECK(fl_forward(x->net, &call) == FL_OK);
        call.steps = T - cut;
        call.x += (ptrdiff_t)cut * call.x_t;
        call.y += cut * n;
        call.h0 = call.hn;
        call.c0 = call.cn;
    }
    CHECK(fl_forward(x->net, &call) == FL_OK);
    for (size_t t = 0; t < T; t++)
        CHECK(!memcmp(y + t * n,
                      x->call.y + (ptrdiff_t)t * x->call.y_t + (ptrdiff_t)b * x->call.y_b,
                      n * sizeof *y));
}

/* The number of comparisons. */
static size_t compare_all(const shape *s)
{
    static const size_t threads[] = {1, 2, 3, 4, 7, 16};
    trial x;
    size_t count = 3;
    prepare(&x, s);
    const uint64_t due = result(&x, other, 1);
    CHECK(result(&x, tiled, 1) == due);
    CHECK(result(&x, tiled, threads[draw(&state) % 6]) == due);
    CHECK(open_net(&x, tiled));
    CHECK(run(&x, threads[draw(&state) % 6], 0, NULL) == due);
    const int whole = !x.call.lengths && s->f.dirs == 1 && !s->f.reverse && s->steps > 1;
    for (size_t i = 0; i < 3; i++, count++)
        check_row(&x, draw(&state) % s->batch, whole ? draw(&state) % s->steps : 0);
    close_net(&x);
    give_back();
    return count;
}

static shape plain(int cell, int format, size_t batch)
{
    return (shape){.f = {.cell = cell,
                         .input = 9,
                         .hidden = 37,
                         .layers = 1,
                         .dirs = 1,
                         .format = format,
                         .input_bits = batch % 2 ? 16 : 8},
                   .steps = 2,
                   .batch = batch,
                   .scale = 1,
                   .wants = STATE,
                   .seed = draw(&state)};
}

static size_t batches(void)
{
    size_t count = 0;
    for (size_t batch = 1; batch <= 65; batch++)
        for (int i = 0; i < 4; i++) {
            const shape s = plain(i % 2 ? FL_LSTM : FL_GRU, i / 2 ? FL_INT8 : FL_BFLOAT16, batch);
            trial x;
            prepare(&x, &s);
            const uint64_t due = result(&x, other, 1);
            CHECK(open_net(&x, tiled) && run(&x, 1, 0, NULL) == due);
            check_row(&x, draw(&state) % batch, 0);
            close_net(&x);
            give_back();
            count += 2;
        }
    return count;
}

/* ---- what a poll may do ---- */

static trial outer, inner;
static uint64_t inner_due;
static size_t polls, forks, children;

/* Another library's use of the thread's tiles. */
enum { FOREIGN = 12 };

static void foreign(void)
{
    configuration f = {.palette = 1, .width = {FOREIGN, 16, 16}, .rows = {3, 3, 4}};
    configure(f);
    __asm__ volatile("tilezero %%tmm2" :);
}

static int poll(void *arg)
{
    (void)arg;
    CHECK(none_configured() || configured().width[0] == FOREIGN);
    switch (polls++ % 4) {
    case 0:
        foreign();
        break;
    case 1:
        CHECK(run(&inner, 1 + polls % 3, 0, NULL) == inner_due);
        break;
    case 2: {
        if (children || forks++ % 2)
            break;
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) { /* which then runs the whole call again */
            children++;
            break;
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
    }
    }
    return 0;
}

/* How often a call's only thread asked: with more threads it depends on who did what. */
static size_t poll_test(int format)
{
    const size_t before = polls;
    size_t alone = 0;
    shape s = {
        .f = {.input = 30, .hidden = 40, .layers = 2, .dirs = 1, .format = format, .input_bits = 8},
        .steps = 6,
        .batch = 40,
        .scale = 1,
        .seed = draw(&state)};
    const shape small = plain(FL_GRU, format, 7);
    prepare(&outer, &s);
    const uint64_t due = result(&outer, other, 1);
    prepare(&inner, &small);
    inner_due = result(&inner, other, 1);
    CHECK(open_net(&outer, tiled) && open_net(&inner, tiled));
    outer.call.poll = poll;
    for (size_t threads = 1; threads <= 3; threads += 2) {
        foreign();
        CHECK(run(&outer, threads, 0, NULL) == due);
        if (children)
            exit(0);
        alone = threads == 1 ? polls - before : alone;
    }
    close_net(&outer), close_net(&inner);
    give_back();
    return alone;
}

/* ---- signals ---- */

static atomic_size_t handled, sent;
static pthread_t target;

static void handler(int number)
{
    volatile float x = 1.5f; /* vectors of the interrupted kernel are in use here */
    for (int i = 0; i < 64; i++)
        x = x * 0.99f + (float)number;
    atomic_fetch_add(&handled, 1);
}

/* One signal after the other, each when the one before has been handled. */
static void *send(void *arg)
{
    const size_t n = *(size_t *)arg;
    for (size_t i = 1; i <= n; i++) {
        pthread_kill(target, SIGUSR1);
        while (atomic_load(&handled) < i)
            sched_yield();
        atomic_store(&sent, i);
    }
    return NULL;
}

static size_t signals(size_t n)
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    pthread_t sender;
    size_t calls = 0;
    trial x[2];
    uint64_t due[2];
    for (int i = 0; i < 2; i++) {
        const shape s = plain(FL_LSTM, i ? FL_INT8 : FL_BFLOAT16, 40);
        prepare(&x[i], &s);
        due[i] = result(&x[i], other, 1);
        CHECK(open_net(&x[i], tiled));
    }
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    target = pthread_self();
    CHECK(pthread_create(&sender, NULL, send, &n) == 0);
    for (; atomic_load(&sent) < n || calls < 4; calls++)
        CHECK(run(&x[calls % 2], 1, 0, NULL) == due[calls % 2]);
    CHECK(pthread_join(sender, NULL) == 0);
    close_net(&x[0]), close_net(&x[1]);
    give_back();
    return calls;
}

/* ---- permission, policy ---- */

/* From now on the kernel refuses to give this process tiles, as a sandbox may. */
static void refuse(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x1023, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* The outputs of a linear operator on `kernels`, to y[rows][OUT]. */
enum { IN = 45, OUT = 70 };

static void linear(const fl_kernels *kernels, int format, size_t rows, float *y)
{
    static float w[OUT * IN], scales[OUT], x[65 * IN];
    static int8_t codes[OUT * IN];
    const int64_t ints[] = {format, IN, OUT};
    const fl_attributes attributes = {.kernels = kernels, .ints = ints, .int_count = 3};
    const fl_caller caller = {.threads = 2};
    const int coded = format == FL_INT8;
    uint64_t drawn_from = 7;
    for (size_t i = 0; i < OUT * IN; i++) {
        codes[i] = (int8_t)(draw(&drawn_from) % 255 - 127);
        w[i] = (float)codes[i] / 300.0f;
    }
    for (size_t i = 0; i < 65 * IN; i++)
        x[i] = (float)(draw(&drawn_from) % 2001) / 1000.0f - 1.0f;
    for (size_t i = 0; i < OUT; i++)
        scales[i] = 0.01f + (float)i / 1000.0f;
    const fl_array weights[] = {{.shape = {2, {OUT, IN}},
                                 .type = coded ? FL_CODES : FL_F32,
                                 .at = coded ? (void *)codes : w},
                                {.shape = {1, {OUT}}, .type = FL_F32, .at = scales},
                                {.shape = {1, {OUT}}, .type = FL_F32, .at = scales}};
    const fl_array in = {.shape = {2, {rows, IN}}, .type = FL_F32, .at = x};
    fl_array out;
    fl_operator *op;
    CHECK(fl_operator_new("linear", &attributes, &op) == FL_OK);
    CHECK(op->type->pack(op, weights, coded ? 3 : 2) == FL_OK);
    CHECK(op->type->shape(op, &in, 1, &out, 1) == FL_OK);
    out.at = y;
    const size_t bytes = fl_whole_lines(op->type->bytes(op, &in, 1, 2));
    void *arena = aligned_alloc(64, bytes);
    CHECK(arena && op->type->run(op, &in, 1, &out, 1, arena, &caller) == FL_OK);
    free(arena);
    op->type->free(op);
}

static void compare_linear(int format, size_t rows)
{
    static float y[2][65 * OUT];
    linear(tiled, format, rows, y[0]);
    linear(other, format, rows, y[1]);
    CHECK(!memcmp(y[0], y[1], rows * OUT * sizeof(float)));
}

static void refused(void)
{
    refuse();
    for (int format = FL_INT8; format <= FL_BFLOAT16; format++) {
        compare_linear(format, 30);
        const shape s = plain(FL_LSTM, format, 30);
        trial x;
        prepare(&x, &s);
        CHECK(open_net(&x, tiled));
        CHECK(x.net->kernels == other); /* under the name that was asked for */
        const uint64_t hash = run(&x, 2, 0, NULL);
        close_net(&x);
        CHECK(open_net(&x, other));
        CHECK(hash && run(&x, 1, 0, NULL) == hash);
        close_net(&x);
    }
    CHECK(fl_permitted_kernels(tiled, 1) == other && fl_permitted_kernels(tiled, 0) == tiled);
    for (int i = 0; fl_amx_model() && i < FL_AMX_INSTRUCTIONS; i++)
        CHECK(fl_amx_model_count(i) == 0); /* not one instruction */
    give_back();
}

static size_t products(void)
{
    return fl_amx_model_count(FL_AMX_TDPBSUD) + fl_amx_model_count(FL_AMX_TDPBF16PS);
}

/* Steps of at most 8 rows of int8, and of one of bfloat16, run without tiles; so does their input
   product here, which is of as many rows. Of several parts all run on tiles. */
static void policy(void)
{
    for (int parts = 0; parts <= 3; parts++)
        for (size_t batch = 1; batch <= 12; batch++) {
            const int format = parts ? FL_BFLOAT16 : FL_INT8;
            shape s = plain(FL_GRU, format, batch);
            s.f.parts = parts;
            trial x;
            s.steps = 1;
            prepare(&x, &s);
            const uint64_t due = result(&x, other, 1);
            const size_t before = products();
            CHECK(result(&x, tiled, 1) == due);
            const int used = products() > before, meant = batch > (parts == 0 ? 8 : parts == 1);
            CHECK(!fl_amx_model() || used == meant);
            give_back();
        }
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    const char *mode = argv[1];
    const size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    size_t count = 0;
    tiled = tiled_kernels();
    other = tiled->without_tiles;
    state = strtoul(argv[argc - 1], NULL, 10);
    if (!strcmp(mode, "refused")) {
        refused();
        printf("refused\n");
        return 0;
    }
    if (!strcmp(mode, "linear")) { /* which asks for tiles itself */
        CHECK(n == FL_INT8 || n == FL_BFLOAT16);
        for (size_t rows = 1; rows <= 65; rows++)
            compare_linear((int)n, rows);
        CHECK(none_configured() && (!fl_amx_model() || products()));
        printf("%zu\n", products());
        return 0;
    }
    CHECK(fl_permitted_kernels(tiled, 1) == tiled);
    if (!strcmp(mode, "nets"))
        for (size_t i = 0; i < n; i++) {
            const shape s = drawn();
            count += compare_all(&s);
        }
    else if (!strcmp(mode, "batches"))
        count = batches();
    else if (!strcmp(mode, "poll")) {
        count = poll_test(FL_INT8);
        count += poll_test(FL_BFLOAT16);
    } else if (!strcmp(mode, "signals"))
        count = signals(n);
    else
        policy();
    printf("%zu %zu\n", count, products());
    return 0;
}
