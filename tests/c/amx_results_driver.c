/* SPDX-License-Identifier: MIT */
/*
 * Results of AMX's products by the million, each against plain loops: of tdpbf16ps against fused
 * multiply-adds in the order of bfloat16.h, of tdpbsud against exact sums.
 *
 *     amx_results_driver N SEED    at least N results of each. Prints how many, a hash of them all,
 *                                  in which every NaN is the same, and whose they were: the CPU's,
 *                                  or the model's (amx_model.c)
 */
#include "amx_instructions.h"
#include "amx_model.h"

enum { CANCELLING = 5, BOUNDS = 6, KINDS = 7 };

/* What the kernels make of a number: below 2^-56 a zero. */
static uint16_t bound(void)
{
    const uint32_t u = draw(&state), exponent = 127 - 58 + (u >> 8 & 3);
    return (uint16_t)((u & 0x8000) | (exponent < 127 - 56 ? 0 : exponent << 7 | (u & 0x7f)));
}

static void fill_numbers(uint16_t at[16][32], int kind, int second)
{
    for (int r = 0; r < 16; r++)
        for (int i = 0; i < 32; i++) {
            const int common = kind == 4 && draw(&state) % 8;
            at[r][i] = kind == BOUNDS ? bound() : pattern(kind == CANCELLING || common ? 1 : kind);
            /* pairs that cancel, all or but for their last digit, with each other or the next */
            if (kind == CANCELLING && i % 4 == 1)
                at[r][i] = second ? at[r][i - 1] ^ 0x8000 : at[r][i - 1];
            if (kind == CANCELLING && i % 4 > 1)
                at[r][i] = (uint16_t)(at[r][i - 2] ^ (second ? 0x8000 : draw(&state) & 1));
        }
}

/* A sum to start from. The kernels' biases are zeros below 2^-103, and their sums whole multiples
   of 2^-126. */
static float start(int kind)
{
    const uint32_t u = draw(&state);
    float x;
    memcpy(&x, &u, 4);
    if (kind == BOUNDS)
        return ldexpf((float)(int32_t)(u >> 8) - 0x1p23f, -126 + (int)(u & 3));
    return kind == 0 ? x : ldexpf((float)u * 0x1p-31f - 1, -40 * (kind == 2 || kind == 3) * 3);
}

/* One result of tdpbf16ps. At the kernels' bounds nothing is subnormal, and plain fused
   multiply-adds give it. */
static float pair_sum(int kind, const uint16_t *a, uint16_t b[16][32], int n, float sum)
{
    float chain[2] = {0, 0};
    for (int k = 0; k < 32; k++) {
        const float x = number((const uint8_t *)&a[k]);
        const float w = number((const uint8_t *)&b[k / 2][2 * n + k % 2]);
        chain[k % 2] = kind == BOUNDS ? fmaf(x, w, chain[k % 2]) : multiplied(x, w, chain[k % 2]);
    }
    if (kind == BOUNDS)
        return sum + (chain[0] + chain[1]);
    return normal(normal(sum) + normal(chain[0] + chain[1]));
}

static void add_to_hash(uint64_t *hash, const void *result)
{
    uint32_t u;
    memcpy(&u, result, 4);
    *hash = (*hash ^ u) * 0x100000001b3u;
}

static void results(size_t n)
{
    static uint16_t a[16][32], b[16][32];
    static uint8_t sums[16][64], got[16][64];
    uint64_t hash = 0;
    size_t count = 0;
    const configuration f = {.palette = 1, .width = {64, 64, 64}, .rows = {16, 16, 16}};
    configure(&f);
    for (size_t i = 0; count < n; i++, count += 256) {
        const int kind = (int)(i % KINDS);
        fill_numbers(a, kind, 0);
        fill_numbers(b, kind, 1);
        for (int j = 0; j < 256; j++) {
            const float x = start(kind);
            memcpy(&sums[j / 16][j % 16 * 4], &x, 4);
        }
        for (int bytes = 0; bytes < 2; bytes++) {
            move(form_load_one, 0, sums, 64);
            move(form_load_one, 1, a, 64);
            move(form_load_one, 2, b, 64);
            const char *all = bytes ? all_tdpbsud : all_tdpbf16ps;
            ((runner *)(uintptr_t)(all + 16 * ((0 * 8 + 1) * 8 + 2)))();
            move(form_store_one, 0, got, 64);
            if (bytes) { /* the same bits, as codes */
                put(&f, 0, sums[0], 64);
                put(&f, 1, (const uint8_t *)a, 64);
                put(&f, 2, (const uint8_t *)b, 64);
                sum_bytes(&f, 0, 1, 2, 1, 0);
                CHECK(!memcmp(got, tiles[0], sizeof got));
            }
            for (int j = 0; j < 256; j++) {
                float x, due;
                memcpy(&x, &got[j / 16][j % 16 * 4], 4);
                memcpy(&due, &sums[j / 16][j % 16 * 4], 4);
                due = bytes ? x : pair_sum(kind, a[j / 16], b, j % 16, due);
                CHECK(bytes || (isnan(x) && isnan(due)) || !memcmp(&x, &due, 4));
                x = !bytes && isnan(x) ? NAN : x;
                add_to_hash(&hash, &x);
            }
        }
    }
    release();
    printf("%zu %016llx ", count, (unsigned long long)hash);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    state = strtoul(argv[2], NULL, 10);
    CHECK(permit());
    results(strtoul(argv[1], NULL, 10));
    printf("%s\n", fl_amx_model() ? "model" : "CPU");
    return 0;
}
