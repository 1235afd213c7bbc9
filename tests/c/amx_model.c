/* SPDX-License-Identifier: MIT */
/*
 * Intel's AMX on CPUs that do not have it: there its instructions raise SIGILL, and the handler
 * here decodes the instruction at RIP, carries it out and goes on behind it. So the very machine
 * code of the kernels runs. What the instructions do is written from their descriptions in Intel's
 * Software Developer's Manual, volume 2; where they raise an exception, the process ends with a
 * message. Each thread has its own tiles, a child after a fork has tiles of zeros, as Linux has it,
 * and no tile may be touched before the process has asked for permission.
 *
 * Linked into a program of tests/c, or loaded before a Python extension by LD_PRELOAD; then
 * FL_AMX_PRELOAD is defined, and SIGILL cannot be taken away from the model. Only cores that are
 * compiled with FL_AMX_MODEL look for it. On a CPU that has AMX it does nothing, unless
 * FL_AMX_MODEL is in the environment: then the system is not asked for tiles, and without its
 * permission the instructions that touch tiles raise SIGILL there too. Those of configurations do
 * not, and are the CPU's; the model then finds the configuration in the signal's frame.
 */
#define _GNU_SOURCE
#include "amx_model.h"

#include <cpuid.h>
#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef FL_AMX_PRELOAD
#include <dlfcn.h>
#endif

enum { TILES = 8, ROWS = 16, WIDTH = 64 };

typedef struct tile_state {
    uint8_t palette, rows[TILES];
    uint16_t width[TILES];
    uint8_t at[TILES][ROWS][WIDTH];
} tile_state;

static _Thread_local tile_state state __attribute__((tls_model("initial-exec")));
static atomic_int permitted;
static atomic_size_t counts[FL_AMX_INSTRUCTIONS];
static int active; /* the CPU has no AMX, and the handler is set */
static int beside; /* ... or has it, and the model takes its place */

int fl_amx_model(void) { return active; }

size_t fl_amx_model_count(int instruction) { return atomic_load(&counts[instruction]); }

static void fault(const char *why)
{
    fprintf(stderr, "AMX model: %s\n", why);
    abort();
}

static void demand(int right, const char *why)
{
    if (!right)
        fault(why);
}

/* ---- what the instructions do ---- */

static void load_configuration(const uint8_t *from)
{
    uint8_t bytes[64];
    memcpy(bytes, from, sizeof bytes);
    tile_state next = {.palette = bytes[0]};
    demand(bytes[0] <= 1, "ldtilecfg: no such palette");
    if (next.palette) {
        demand(bytes[1] == 0, "ldtilecfg: a start row");
        for (int i = 2; i < 64; i++)
            demand(bytes[i] == 0 || (i >= 16 && i < 32) || (i >= 48 && i < 56),
                   "ldtilecfg: a reserved byte is set");
        for (int i = 0; i < TILES; i++) {
            memcpy(&next.width[i], bytes + 16 + 2 * i, 2);
            next.rows[i] = bytes[48 + i];
            demand(next.width[i] <= WIDTH && next.rows[i] <= ROWS, "ldtilecfg: a tile too large");
            demand(!next.width[i] == !next.rows[i], "ldtilecfg: a tile of no rows or no width");
        }
    }
    state = next; /* all tiles become zeros */
}

static void store_configuration(uint8_t *to)
{
    uint8_t bytes[64] = {state.palette};
    for (int i = 0; i < TILES; i++) {
        memcpy(bytes + 16 + 2 * i, &state.width[i], 2);
        bytes[48 + i] = state.rows[i];
    }
    memcpy(to, bytes, sizeof bytes);
}

static void usable(int tile)
{
    demand(state.palette == 1, "a tile is used that is not configured");
    demand(tile < TILES && state.rows[tile] && state.width[tile], "there is no such tile");
}

static void movable(int tile)
{
    usable(tile);
    demand(state.width[tile] % 4 == 0, "a tile is moved whose rows are no multiple of 4 bytes");
}

static void load_tile(int tile, const uint8_t *from, ptrdiff_t row)
{
    movable(tile);
    memset(state.at[tile], 0, sizeof state.at[tile]);
    for (int r = 0; r < state.rows[tile]; r++)
        memcpy(state.at[tile][r], from + r * row, state.width[tile]);
}

static void store_tile(int tile, uint8_t *to, ptrdiff_t row)
{
    movable(tile);
    for (int r = 0; r < state.rows[tile]; r++)
        memcpy(to + r * row, state.at[tile][r], state.width[tile]);
}

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,fma"), noinline, optimize("O3")))
#if defined(__clang__)
#undef WIDE
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,fma"), noinline))
#endif

/* sum += a[m][k] b[k][n], four bytes at a time, of which `signs` says that a's (1) and b's (2) have
   signs; sums wrap around. */
WIDE static void multiply_bytes(int sum, int a, int b, int signs)
{
    for (int m = 0; m < state.rows[sum]; m++) {
        uint32_t total[WIDTH / 4];
        memcpy(total, state.at[sum][m], WIDTH);
        for (int k = 0; k < state.width[a] / 4; k++)
            for (int j = 0; j < 4; j++) {
                const uint8_t byte = state.at[a][m][4 * k + j];
                const int32_t x = signs & 1 ? (int8_t)byte : byte;
                for (int n = 0; n < WIDTH / 4; n++) {
                    const uint8_t other = state.at[b][k][4 * n + j];
                    total[n] += (uint32_t)(x * (signs & 2 ? (int8_t)other : (int32_t)other));
                }
            }
        memset(state.at[sum][m], 0, WIDTH);
        memcpy(state.at[sum][m], total, state.width[sum]);
    }
}

/* The same of pairs of bfloat16 numbers: a chain of fused multiply-adds for each half of the pairs,
   their sum, and what that makes of the sum before. The caller has set the mode that takes
   subnormal numbers for 0. */
WIDE static void multiply_pairs(int sum, int a, int b)
{
    for (int m = 0; m < state.rows[sum]; m++) {
        float total[WIDTH / 4], chain[2][WIDTH / 4] = {{0}};
        memcpy(total, state.at[sum][m], WIDTH);
        for (int k = 0; k < state.width[a] / 4; k++)
            for (int j = 0; j < 2; j++) {
                uint16_t half;
                memcpy(&half, &state.at[a][m][4 * k + 2 * j], 2);
                const uint32_t x = (uint32_t)half << 16;
                float factor;
                memcpy(&factor, &x, 4);
                for (int n = 0; n < WIDTH / 4; n++) {
                    uint32_t y;
                    float other;
                    memcpy(&y, &state.at[b][k][4 * n], 4);
                    y = j ? y & 0xffff0000u : y << 16;
                    memcpy(&other, &y, 4);
                    chain[j][n] = __builtin_fmaf(factor, other, chain[j][n]);
                }
            }
        for (int n = 0; n < WIDTH / 4; n++)
            total[n] += chain[0][n] + chain[1][n];
        memset(state.at[sum][m], 0, WIDTH);
        memcpy(state.at[sum][m], total, state.width[sum]);
    }
}

static void multiply(int kind, int sum, int a, int b)
{
    usable(sum), usable(a), usable(b);
    demand(sum != a && sum != b && a != b, "a product of one tile twice");
    demand(state.rows[sum] == state.rows[a], "a product: rows of the sums and of the first factor");
    demand(state.width[sum] == state.width[b], "a product: width of the sums and of the second");
    demand(state.width[a] == 4 * state.rows[b],
           "a product: width of the first, rows of the second");
    demand(state.width[a] % 4 == 0 && state.width[b] % 4 == 0, "a product: part of a number");
    if (kind == FL_AMX_TDPBF16PS) {
        _mm_setcsr(0x9fc0); /* DAZ, FTZ, to nearest; the handler's return restores it */
        multiply_pairs(sum, a, b);
        return;
    }
    static const int signs[] = {
        [FL_AMX_TDPBSSD] = 3, [FL_AMX_TDPBSUD] = 1, [FL_AMX_TDPBUSD] = 2, [FL_AMX_TDPBUUD] = 0};
    multiply_bytes(sum, a, b, signs[kind]);
}

/* ---- decoding ---- */

/* An instruction with a VEX prefix of three bytes: what follows the prefix, and its fields with
   their inversions undone. */
typedef struct decoded {
    const uint8_t *at; /* at modrm, then behind the instruction */
    int opcode, pp, w, l, vvvv, reg_high, index_high, base_high;
    int mod, reg, rm;
    int has_sib;
    uint8_t *address; /* without the index of a SIB byte */
    ptrdiff_t index;  /* scaled; 0 without one */
} decoded;

static long long *register_of(ucontext_t *u, int number)
{
    static const int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};
    return (long long *)&u->uc_mcontext.gregs[order[number]];
}

static void decode_address(decoded *d, ucontext_t *u)
{
    if (d->mod == 3)
        return;
    int base = d->rm | d->base_high << 3, no_base = d->mod == 0 && d->rm == 5, scale = 0;
    int index = -1;
    if (d->rm == 4) {
        const uint8_t sib = *d->at++;
        d->has_sib = 1;
        index = (sib >> 3 & 7) | d->index_high << 3;
        scale = sib >> 6;
        base = (sib & 7) | d->base_high << 3;
        no_base = d->mod == 0 && (sib & 7) == 5;
    }
    int32_t displacement = 0;
    if (d->mod == 1)
        displacement = (int8_t)*d->at++;
    if (d->mod == 2 || no_base) {
        memcpy(&displacement, d->at, 4);
        d->at += 4;
    }
    long long from = no_base ? 0 : *register_of(u, base);
    if (no_base && d->rm == 5) /* counted from the next instruction; none here has an immediate */
        from = (long long)(uintptr_t)d->at;
    d->address = (uint8_t *)(uintptr_t)(from + displacement);
    if (index >= 0 && index != 4)
        d->index = (ptrdiff_t)(*register_of(u, index) * (1 << scale));
}

/* Nonzero if the bytes at RIP are one of the instructions; then d is filled in. */
static int decode(decoded *d, ucontext_t *u)
{
    const uint8_t *at = (const uint8_t *)(uintptr_t)u->uc_mcontext.gregs[REG_RIP];
    if (at[0] != 0xc4 || (at[1] & 31) != 2)
        return 0;
    *d = (decoded){.at = at + 5,
                   .opcode = at[3],
                   .pp = at[2] & 3,
                   .w = at[2] >> 7,
                   .l = at[2] >> 2 & 1,
                   .vvvv = ~at[2] >> 3 & 15,
                   .reg_high = ~at[1] >> 7 & 1,
                   .index_high = ~at[1] >> 6 & 1,
                   .base_high = ~at[1] >> 5 & 1,
                   .mod = at[4] >> 6,
                   .reg = at[4] >> 3 & 7,
                   .rm = at[4] & 7};
    const int known =
        d->opcode == 0x49 || d->opcode == 0x4b || d->opcode == 0x5c || d->opcode == 0x5e;
    if (!known || d->w || d->l)
        return 0;
    decode_address(d, u);
    return 1;
}

enum { NO_PREFIX, PREFIX_66, PREFIX_F3, PREFIX_F2 };

/* Carries out what was decoded; returns which instruction it was, or -1. */
static int carry_out(const decoded *d)
{
    const int memory = d->mod != 3;
    if (d->opcode == 0x49 && memory && d->reg == 0 && d->vvvv == 0) {
        if (d->pp == NO_PREFIX)
            return load_configuration(d->address + d->index), FL_AMX_LDTILECFG;
        if (d->pp == PREFIX_66)
            return store_configuration(d->address + d->index), FL_AMX_STTILECFG;
    }
    if (d->opcode == 0x49 && !memory && d->rm == 0 && d->vvvv == 0) {
        if (d->pp == NO_PREFIX && d->reg == 0)
            return memset(&state, 0, sizeof state), FL_AMX_TILERELEASE;
        if (d->pp == PREFIX_F2) {
            demand(!d->reg_high, "there is no such tile");
            usable(d->reg);
            return memset(state.at[d->reg], 0, sizeof state.at[0]), FL_AMX_TILEZERO;
        }
    }
    if (d->opcode == 0x4b && memory && d->pp != NO_PREFIX && d->vvvv == 0) {
        demand(d->has_sib, "a tile's address has no SIB byte");
        demand(!d->reg_high, "there is no such tile");
        if (d->pp == PREFIX_F3)
            return store_tile(d->reg, d->address, d->index), FL_AMX_TILESTORED;
        return load_tile(d->reg, d->address, d->index), FL_AMX_TILELOADD;
    }
    if ((d->opcode == 0x5e || (d->opcode == 0x5c && d->pp == PREFIX_F3)) && !memory) {
        static const int kind[] = {FL_AMX_TDPBUUD, FL_AMX_TDPBUSD, FL_AMX_TDPBSUD, FL_AMX_TDPBSSD};
        const int which = d->opcode == 0x5c ? FL_AMX_TDPBF16PS : kind[d->pp];
        demand(!d->reg_high && !d->base_high && d->vvvv < TILES, "there is no such tile");
        return multiply(which, d->reg, d->rm, d->vvvv), which;
    }
    return -1;
}

/* The CPU's own configuration, which is part 17 of the state that a signal's frame keeps. */
static void take_configuration(const ucontext_t *u)
{
    const uint8_t *const saved = (const uint8_t *)u->uc_mcontext.fpregs;
    static const uint8_t none[64];
    uint8_t now[64];
    uint64_t parts;
    unsigned bytes, at = 0, c, d;
    memcpy(&parts, saved + 512, sizeof parts);
    __get_cpuid_count(13, 17, &bytes, &at, &c, &d);
    const uint8_t *const theirs = parts >> 17 & 1 ? saved + at : none;
    store_configuration(now);
    if (memcmp(now, theirs, sizeof now))
        load_configuration(theirs);
}

/* What has SIGILL beside the model: the default, or what a program has set. */
static struct sigaction other;

static void handle(int number, siginfo_t *info, void *context)
{
    ucontext_t *u = context;
    decoded d;
    const int saved = errno;
    int which = -1;
    if (active && decode(&d, u)) {
        demand(atomic_load(&permitted) || (d.opcode == 0x49 && d.mod == 3),
               "the process has not asked for tiles");
        if (beside)
            take_configuration(u);
        which = carry_out(&d);
    }
    if (which >= 0) {
        atomic_fetch_add_explicit(&counts[which], 1, memory_order_relaxed);
        u->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)d.at;
        errno = saved;
    } else if (other.sa_flags & SA_SIGINFO)
        other.sa_sigaction(number, info, context);
    else if (other.sa_handler != SIG_DFL && other.sa_handler != SIG_IGN)
        other.sa_handler(number);
    else
        fault("an instruction that is none of AMX's");
}

/* ---- the system ---- */

enum { REQUEST = 0x1023, TILE_DATA = 18 };

/* Of all system calls only the request for tiles is looked at. The kernel of a CPU without AMX does
   not know it, and the model grants it, but a filter's refusal is one here too. */
long syscall(long number, ...)
{
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    const int asks = number == SYS_arch_prctl && a[0] == REQUEST && a[1] == TILE_DATA;
    long result = 0;
    if (!asks || !beside)
        __asm__ volatile("syscall"
                         : "=a"(result)
                         : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                         : "rcx", "r11", "memory");
    if (active && asks) {
        if (result == -EINVAL || result == -EOPNOTSUPP)
            result = 0;
        atomic_store(&permitted, result == 0);
    }
    if (result >= 0 || result < -4095)
        return result;
    errno = (int)-result;
    return -1;
}

#ifdef FL_AMX_PRELOAD
typedef int set_action(int, const struct sigaction *, struct sigaction *);

int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    static set_action *next;
    if (!next)
        next = (set_action *)dlsym(RTLD_NEXT, "sigaction");
    if (number != SIGILL || !active)
        return next(number, action, old);
    const struct sigaction before = other;
    if (action)
        other = *action;
    if (old)
        *old = before;
    return 0;
}
#endif

static void in_child(void) { memset(state.at, 0, sizeof state.at); }

static int has_amx(void)
{
    unsigned a, b, c, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & 1u << 24);
}

__attribute__((constructor)) static void start(void)
{
    beside = has_amx();
    if (beside && !getenv("FL_AMX_MODEL")) {
        beside = 0;
        return;
    }
    struct sigaction mine = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&mine.sa_mask);
    sigdelset(&mine.sa_mask, SIGSEGV); /* of memory that an instruction may not touch */
    sigdelset(&mine.sa_mask, SIGBUS);
    if (sigaction(SIGILL, &mine, &other) == 0 && pthread_atfork(NULL, NULL, in_child) == 0)
        active = 1;
}
