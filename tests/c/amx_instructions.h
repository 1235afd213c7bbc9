/* SPDX-License-Identifier: MIT */
/* AMX's instructions as functions, and what they do as plain loops written from their description:
   for drivers that compare the two. */
#ifndef FL_AMX_INSTRUCTIONS_H
#define FL_AMX_INSTRUCTIONS_H

#include <math.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"

/* ---- the instructions, as the assembler encodes them ---- */

/* Functions of 16 bytes for each three different tiles, number (c * 8 + a) * 8 + b. */
#define PRODUCTS(name)                                                                             \
    __asm__(".pushsection .text\n.p2align 4\nall_" #name ":\n"                                     \
            ".irp c,0,1,2,3,4,5,6,7\n.irp a,0,1,2,3,4,5,6,7\n.irp b,0,1,2,3,4,5,6,7\n"             \
            ".p2align 4\n"                                                                         \
            ".if (\\c-\\a)*(\\c-\\b)*(\\a-\\b)\n" #name " %tmm\\b, %tmm\\a, %tmm\\c\n.endif\n"     \
            "ret\n.p2align 4\n"                                                                    \
            ".endr\n.endr\n.endr\n.popsection");                                                   \
    extern const char all_##name[];
PRODUCTS(tdpbssd)
PRODUCTS(tdpbsud)
PRODUCTS(tdpbusd)
PRODUCTS(tdpbuud)
PRODUCTS(tdpbf16ps)

/* Functions of 32 bytes for each tile, of a base in rdi and an index in rsi. The loads and stores
   make the same address of them in different ways. */
#define FORMS(name, before, instruction, after)                                                    \
    __asm__(".pushsection .text\n.p2align 5\nform_" #name ":\n.irp t,0,1,2,3,4,5,6,7\n"            \
            ".p2align 5\n" before instruction "\n" after "ret\n.p2align 5\n.endr\n.popsection");   \
    extern const char form_##name[];
#define MOVES(name, before, address, after)                                                        \
    FORMS(load_##name, before, "tileloadd " address ", %tmm\\t", after)                            \
    FORMS(stream_##name, before, "tileloaddt1 " address ", %tmm\\t", after)                        \
    FORMS(store_##name, before, "tilestored %tmm\\t, " address, after)
MOVES(one, "", "(%rdi,%rsi,1)", "")
MOVES(two, "push %rbp\nmov %rdi, %rbp\nsar $1, %rsi\n", "(%rbp,%rsi,2)", "pop %rbp\n")
MOVES(four, "push %r12\nlea -64(%rdi), %r12\nsar $2, %rsi\n", "64(%r12,%rsi,4)", "pop %r12\n")
MOVES(eight, "lea 64(%rdi), %rax\nmov %rsi, %r9\nsar $3, %r9\n", "-64(%rax,%r9,8)", "")
MOVES(far, "lea -4096(%rdi), %r11\nmov %rsi, %r10\n", "4096(%r11,%r10,1)", "")
MOVES(still, "", "(%rdi)", "")
FORMS(zero, "", "tilezero %tmm\\t", "")
#define ALL(what)                                                                                  \
    {form_##what##_one,   form_##what##_two, form_##what##_four,                                   \
     form_##what##_eight, form_##what##_far, form_##what##_still}
enum { ADDRESSES = 6, STILL = 5 };

typedef void mover(const void *base, ptrdiff_t index);
typedef void runner(void);

static void move(const char *form, int tile, const void *base, ptrdiff_t index)
{
    ((mover *)(uintptr_t)(form + 32 * tile))(base, index);
}

static void configure(const void *to) { __asm__ volatile("ldtilecfg (%0)" : : "r"(to) : "memory"); }
static void release(void) { __asm__ volatile("tilerelease" :); }
static int permit(void) { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

/* ---- what they are compared with ---- */

typedef struct configuration {
    uint8_t palette, start, zeros[14];
    uint16_t width[16];
    uint8_t rows[16];
} configuration;

static uint8_t tiles[8][16][64];

static void put(const configuration *f, int tile, const uint8_t *from, ptrdiff_t row)
{
    memset(tiles[tile], 0, sizeof tiles[tile]);
    for (int r = 0; r < f->rows[tile]; r++)
        for (int i = 0; i < f->width[tile]; i++)
            tiles[tile][r][i] = from[r * row + i];
}

static uint64_t state;

static int32_t byte_of(uint8_t byte, int with_sign) { return with_sign ? (int8_t)byte : byte; }

static void sum_bytes(const configuration *f, int c, int a, int b, int sign_a, int sign_b)
{
    for (int m = 0; m < f->rows[c]; m++)
        for (int n = 0; n < f->width[c] / 4; n++) {
            uint32_t sum;
            memcpy(&sum, &tiles[c][m][4 * n], 4);
            int64_t exact = 0;
            for (int k = 0; k < f->width[a]; k++)
                exact += (int64_t)byte_of(tiles[a][m][k], sign_a) *
                         byte_of(tiles[b][k / 4][4 * n + k % 4], sign_b);
            sum += (uint32_t)exact;
            memcpy(&tiles[c][m][4 * n], &sum, 4);
        }
}

/* The same number, or a zero of its sign if it is subnormal. */
static float normal(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }

/* a b + c, where what is below 2^-126 once it is rounded, as if exponents had no end, is a zero. */
static float multiplied(float a, float b, float c)
{
    const float sum = fmaf(a, b, c);
    if (fabsf(sum) > 0x1p-120f || isnan(sum))
        return sum;
    const float up = fmaf(a * 0x1p64f, b * 0x1p64f, c * 0x1p64f * 0x1p64f);
    return fabsf(up) < 0x1p2f ? copysignf(0, sum) : sum;
}

static float number(const uint8_t *at)
{
    const uint32_t u = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 24;
    float x;
    memcpy(&x, &u, 4);
    return normal(x);
}

/* A bfloat16 number of a kind: bits at random; of ordinary size; near the bound of the subnormals,
   as a factor or a product; zeros and special ones. */
static uint16_t pattern(int kind)
{
    const uint32_t u = draw(&state), sign = u >> 16 & 0x8000, digits = u & 0x7f;
    static const uint16_t special[] = {0, 0x8000, 1, 0x7f, 0x80, 0x7f80, 0xff80, 0x7fc0, 0x7f7f};
    switch (kind) {
    case 0:
        return (uint16_t)u;
    case 1:
        return (uint16_t)(sign | ((u >> 8 & 7) + 123) << 7 | digits);
    case 2:
        return (uint16_t)(sign | ((u >> 8 & 7) + 60) << 7 | digits);
    case 3:
        return (uint16_t)(sign | (u >> 8 & 3) << 7 | digits);
    default:
        return special[u % 9] | (uint16_t)sign;
    }
}

#endif
