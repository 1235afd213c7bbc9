/* SPDX-License-Identifier: MIT */
/*
 * Which instruction sets this library holds, which of them run on this CPU, and what each is
 * capable of: the functions fl_isa_* of fastlstm.h. This file is compiled with the target's
 * baseline flags, so that it runs on every CPU. setup.py defines FL_BUILD_<ISA> for each set it
 * compiles, except plain C ("generic"), which is always there unless FL_WITHOUT_GENERIC is defined.
 */
#include "kernels/dispatch.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#define FL_X86 1
#include <cpuid.h>
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(__x86_64__) && defined(__linux__)
#define FL_TILES_KNOWN 1
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* What a CPU and its system offer: FMA3; AVX2 with F16C; AVX-512 F, BW, DQ and VL; products of
   codes as AVX-VNNI, AVX-512 VNNI, or Arm's sdot; products of tiles: AMX-TILE, INT8 and BF16. */
enum {
    CPU_FMA = 1,
    CPU_AVX2 = 2,
    CPU_AVX512 = 4,
    CPU_AVX_VNNI = 8,
    CPU_AVX512_VNNI = 16,
    CPU_SDOT = 32,
    CPU_AMX = 64
};

#if defined(FL_X86)
static void cpuid(uint32_t leaf, uint32_t part, uint32_t r[4])
{
    __cpuid_count(leaf, part, r[0], r[1], r[2], r[3]);
}

/* Register state the system saves: XCR0 (Intel SDM vol. 1, 13.3). */
static uint64_t saved_state(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}
#endif

/* For builds that only tests make: does a model of the instructions, loaded beside this library,
   carry them out (tests/c/amx_model.c)? */
#if defined(FL_AMX_MODEL)
extern int fl_amx_model(void) __attribute__((weak));
#endif

static int probe_cpu(void)
{
    int have = 0;
#if defined(FL_X86)
    uint32_t r[4];
    cpuid(0, 0, r);
    if (r[0] < 7)
        return 0;
    cpuid(1, 0, r);
    const uint32_t osxsave_avx = 1u << 27 | 1u << 28, fma = 1u << 12, f16c = 1u << 29;
    const uint32_t features = r[2];
    if ((features & osxsave_avx) != osxsave_avx || (saved_state() & 6) != 6)
        return 0; /* the system does not save ymm registers */
    if (features & fma)
        have |= CPU_FMA;
    cpuid(7, 0, r);
    if ((have & CPU_FMA) && (features & f16c) && (r[1] & 1u << 5))
        have |= CPU_AVX2;
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    if ((have & CPU_AVX2) && (r[1] & f_dq_bw_vl) == f_dq_bw_vl && (saved_state() & 0xe6) == 0xe6)
        have |= CPU_AVX512;
    if ((have & CPU_AVX512) && (r[2] & 1u << 11))
        have |= CPU_AVX512_VNNI;
    const uint32_t bf16_tile_int8 = 1u << 22 | 1u << 24 | 1u << 25;
    const uint64_t tiles = 1u << 17 | 1u << 18; /* of XCR0: the system saves them */
    if ((r[3] & bf16_tile_int8) == bf16_tile_int8 && (saved_state() & tiles) == tiles)
        have |= CPU_AMX;
#if defined(FL_AMX_MODEL)
    if (fl_amx_model && fl_amx_model())
        have |= CPU_AMX;
#endif
    if ((have & CPU_AVX2) && r[0] >= 1) { /* the number of further parts of leaf 7 */
        cpuid(7, 1, r);
        have |= r[0] & 1u << 4 ? CPU_AVX_VNNI : 0;
    }
#elif defined(__APPLE__)
    have |= CPU_SDOT; /* every Apple CPU of 64 bits that macOS runs on */
#elif defined(__aarch64__) && defined(__linux__)
    have |= getauxval(AT_HWCAP) & 1ul << 20 ? CPU_SDOT : 0; /* HWCAP_ASIMDDP */
#endif
    return have;
}

/* Asked once: CPUID takes microseconds natively and tens of them in a virtual machine. Threads that
   meet here all find the same answer. */
static int cpu_features(void)
{
    static atomic_int known; /* 1 + features; 0: not asked yet */
    int features = atomic_load_explicit(&known, memory_order_relaxed) - 1;
    if (features < 0) {
        features = probe_cpu();
        atomic_store_explicit(&known, 1 + features, memory_order_relaxed);
    }
    return features;
}

/* Best first. A name is listed even when it is not built here, so that an error can say so. */
static const struct {
    const char *name;
    const fl_kernels *kernels;
    int needs;
} isas[] = {
#if defined(FL_BUILD_AVX512_AMX)
    {"avx512-amx", &fl_kernels_avx512_amx, CPU_AVX512 | CPU_AVX512_VNNI | CPU_AMX},
#else
    {"avx512-amx", NULL, CPU_AVX512 | CPU_AVX512_VNNI | CPU_AMX},
#endif
#if defined(FL_BUILD_AVX512_VNNI)
    {"avx512-vnni", &fl_kernels_avx512_vnni, CPU_AVX512 | CPU_AVX512_VNNI},
#else
    {"avx512-vnni", NULL, CPU_AVX512 | CPU_AVX512_VNNI},
#endif
#if defined(FL_BUILD_AVX512)
    {"avx512", &fl_kernels_avx512, CPU_AVX512},
#else
    {"avx512", NULL, CPU_AVX512},
#endif
#if defined(FL_BUILD_AVX2_VNNI)
    {"avx2-vnni", &fl_kernels_avx2_vnni, CPU_AVX2 | CPU_AVX_VNNI},
#else
    {"avx2-vnni", NULL, CPU_AVX2 | CPU_AVX_VNNI},
#endif
#if defined(FL_BUILD_AVX2)
    {"avx2", &fl_kernels_avx2, CPU_AVX2},
#else
    {"avx2", NULL, CPU_AVX2},
#endif
#if defined(FL_BUILD_NEON_DOT)
    {"neon-dot", &fl_kernels_neon_dot, CPU_SDOT},
#else
    {"neon-dot", NULL, CPU_SDOT},
#endif
#if defined(FL_BUILD_NEON)
    {"neon", &fl_kernels_neon, 0},
#else
    {"neon", NULL, 0},
#endif
#if defined(FL_BUILD_GENERIC_FMA)
    {"generic-fma", &fl_kernels_generic_fma, CPU_FMA},
#else
    {"generic-fma", NULL, CPU_FMA},
#endif
#if defined(FL_WITHOUT_GENERIC)
    {"generic", NULL, 0},
#else
    {"generic", &fl_kernels_generic, 0},
#endif
};

int fl_isa_count(void) { return (int)(sizeof isas / sizeof isas[0]); }

const char *fl_isa_name(int i) { return isas[i].name; }

int fl_isa_built(int i) { return isas[i].kernels != NULL; }

int fl_isa_runnable(int i)
{
    return isas[i].kernels && (cpu_features() & isas[i].needs) == isas[i].needs;
}

const fl_kernels *fl_isa_kernels(int i) { return fl_isa_runnable(i) ? isas[i].kernels : NULL; }

size_t fl_isa_lanes(const fl_kernels *k) { return k->lanes; }

/* The capability is read from the table itself, where a kernel that a set does not have is NULL. */
int fl_isa_can_run(const fl_kernels *kernels, const fl_config *config)
{
    const int format = config->format;
    return format >= 0 && format < FL_FORMATS && kernels->gemm[format] &&
           kernels->cell[fl_cell_of(config)].step[format];
}

/*
 * Linux gives a process tiles when it asks for them, by a system call that a sandbox may refuse.
 * From then on the frames of signals are larger, and so must be the alternative stacks that signals
 * run on. So they are asked for when the first network or operator is made that would use them,
 * and not by the probe of the CPU: a process that stays with float32 is left as it is. The answer
 * holds for all threads, and for children after a fork.
 */
static int tiles_permitted(void)
{
#if defined(FL_TILES_KNOWN)
    enum { REQUEST = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA */
    static atomic_int known;                   /* 1 + the answer; 0: not asked yet */
    int permitted = atomic_load_explicit(&known, memory_order_relaxed) - 1;
    if (permitted < 0) {
        permitted = syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
        atomic_store_explicit(&known, 1 + permitted, memory_order_relaxed);
    }
    return permitted;
#else
    return 0;
#endif
}

const fl_kernels *fl_permitted_kernels(const fl_kernels *kernels, int tiles)
{
    return tiles && kernels->without_tiles && !tiles_permitted() ? kernels->without_tiles : kernels;
}
