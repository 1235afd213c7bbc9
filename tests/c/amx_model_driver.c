/* SPDX-License-Identifier: MIT */
/*
 * AMX's instructions, one by one, against plain loops that are written here from their description,
 * over all tiles, shapes and forms of addresses. Without AMX they are the model's (amx_model.c),
 * with it the CPU's own: then this compares the CPU with the loops that the model was held to.
 *
 *     amx_model_driver moves N SEED       N configurations: all tiles loaded, stored, set to zero
 *     amx_model_driver products N SEED    N products of each kind, of drawn tiles and shapes
 *     amx_model_driver faults             wrong uses, each of which ends a process: how many
 */
#include <math.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "amx_model.h"
#include "amx_instructions.h"
#include "check.h"

static void ask(void *to) { __asm__ volatile("sttilecfg (%0)" : : "r"(to) : "memory"); }

static configuration drawn(void)
{
    configuration f = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        f.rows[i] = (uint8_t)between(&state, 1, 16);
        f.width[i] = (uint16_t)(4 * between(&state, 1, 16)); /* others are not loaded or stored */
    }
    return f;
}

/* All tiles against `tiles`, and that nothing beside their rows is written. */
static void check_tiles(const configuration *f)
{
    static const char *const store[] = ALL(store);
    enum { GAP = 8 };
    for (int t = 0; t < 8; t++) {
        const int form = (int)(draw(&state) % STILL);
        const ptrdiff_t row = 64 + 8 * (ptrdiff_t)between(&state, 0, 8);
        static uint8_t to[GAP + 16 * 128 + GAP];
        const uint8_t nobody = (uint8_t)draw(&state);
        memset(to, nobody, sizeof to);
        move(store[form], t, to + GAP, row);
        for (size_t i = 0; i < sizeof to; i++) {
            const ptrdiff_t at = (ptrdiff_t)i - GAP, r = at / row, column = at % row;
            const int inside = at >= 0 && r < f->rows[t] && column < f->width[t];
            CHECK(to[i] == (inside ? tiles[t][r][column] : nobody));
        }
    }
}

static void moves(size_t n)
{
    static const char *const load[] = ALL(load), *const stream[] = ALL(stream);
    static uint8_t memory[2 * 16 * 128];
    configuration f, back;
    for (size_t i = 0; i < n; i++) {
        f = drawn();
        for (size_t b = 0; b < sizeof memory; b++)
            memory[b] = (uint8_t)draw(&state);
        configure(&f);
        memset(tiles, 0, sizeof tiles);
        check_tiles(&f); /* a configuration makes zeros */
        for (int t = 0; t < 8; t++) {
            const int form = (int)(draw(&state) % ADDRESSES);
            const ptrdiff_t row = 8 * (ptrdiff_t)between(&state, 0, 32) - 128; /* also downwards */
            const uint8_t *from = memory + 16 * 128 - between(&state, 0, 63);
            move((draw(&state) % 2 ? load : stream)[form], t, from, row);
            put(&f, t, from, form == STILL ? 0 : row);
        }
        check_tiles(&f);
        const int one = (int)(draw(&state) % 8);
        move(form_zero, one, NULL, 0);
        memset(tiles[one], 0, sizeof tiles[one]);
        check_tiles(&f);
        ask(&back);
        CHECK(!memcmp(&f, &back, sizeof f));
        release();
        ask(&back);
        CHECK(!memcmp(&back, &(configuration){0}, sizeof back));
    }
}

/* ---- products ---- */

static void sum_pairs(const configuration *f, int c, int a, int b)
{
    for (int m = 0; m < f->rows[c]; m++)
        for (int n = 0; n < f->width[c] / 4; n++) {
            float chain[2] = {0, 0}, sum;
            for (int k = 0; k < f->width[a] / 2; k++)
                chain[k % 2] =
                    multiplied(number(&tiles[a][m][2 * k]),
                               number(&tiles[b][k / 2][4 * n + k % 2 * 2]), chain[k % 2]);
            memcpy(&sum, &tiles[c][m][4 * n], 4);
            sum = normal(normal(sum) + normal(chain[0] + chain[1]));
            memcpy(&tiles[c][m][4 * n], &sum, 4);
        }
}

static void fill(uint8_t *to, size_t bytes, int pairs)
{
    const int kind = (int)(draw(&state) % 5);
    for (size_t i = 0; i < bytes; i += 2) {
        const uint16_t u = pattern(pairs ? kind == 4 && draw(&state) % 8 ? 1 : kind : 0);
        memcpy(to + i, &u, 2);
    }
}

/* Equal bits, or both NaN. */
static void check_floats(const configuration *f, int c, const uint8_t *got)
{
    for (int m = 0; m < f->rows[c]; m++)
        for (int n = 0; n < f->width[c] / 4; n++) {
            float x, y;
            memcpy(&x, got + 64 * m + 4 * n, 4);
            memcpy(&y, &tiles[c][m][4 * n], 4);
            CHECK((isnan(x) && isnan(y)) || !memcmp(&x, &y, 4));
        }
}

static void products(size_t n)
{
    static const char *const all[] = {all_tdpbuud, all_tdpbusd, all_tdpbsud, all_tdpbssd,
                                      all_tdpbf16ps};
    static const int with_sign[][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static uint8_t memory[8][16][64], got[16][64];
    for (size_t i = 0; i < 5 * n; i++) {
        const int kind = (int)(i % 5), c = (int)(draw(&state) % 8),
                  a = (c + (int)between(&state, 1, 7)) % 8;
        int b = c;
        while (b == c || b == a)
            b = (int)(draw(&state) % 8);
        configuration f = drawn();
        f.rows[c] = f.rows[a];
        f.width[c] = f.width[b] = (uint16_t)(4 * between(&state, 1, 16));
        f.width[a] = (uint16_t)(4 * f.rows[b]);
        configure(&f);
        for (int t = 0; t < 8; t++) {
            fill(memory[t][0], sizeof memory[t], kind == 4);
            move(form_load_one, t, memory[t], 64);
            put(&f, t, memory[t][0], 64);
        }
        ((runner *)(uintptr_t)(all[kind] + 16 * ((c * 8 + a) * 8 + b)))();
        if (kind < 4) {
            sum_bytes(&f, c, a, b, with_sign[kind][0], with_sign[kind][1]);
        } else {
            sum_pairs(&f, c, a, b);
            move(form_store_one, c, got, 64);
            check_floats(&f, c, got[0]);
            memcpy(memory[c], got, sizeof got);
            put(&f, c, got[0], 64); /* NaNs have the bits that they have */
        }
        check_tiles(&f);
    }
    release();
}

/* ---- wrong uses ---- */

static configuration square(void)
{
    configuration f = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        f.rows[i] = 16;
        f.width[i] = 64;
    }
    return f;
}

static void wrong(int use)
{
    static uint8_t memory[16][64];
    configuration f = square();
    static const struct {
        int at, value;
    } bytes[] = {{0, 2}, {2, 1}, {15, 1}, {32, 64}, {48, 17}, {56, 1}, {49, 0}, {16, 65}};
    if (use < 8) {
        memcpy((char *)&f + bytes[use].at, &bytes[use].value, 1);
        configure(&f);
        return;
    }
    if (use == 8) { /* without a configuration */
        release();
        move(form_load_one, 0, memory, 64);
        return;
    }
    f.rows[3] = use == 9 ? 0 : 16;
    f.width[3] = use == 9 ? 0 : 64;
    f.rows[0] = use == 10 ? 15 : 16;
    f.width[0] = use == 11 ? 60 : use >= 17 ? 62 : 64;
    f.width[1] = use == 12 ? 60 : 64;
    configure(&f);
    if (use == 9)
        move(form_store_one, 3, memory, 64);
    if (use >= 10 && use <= 12)
        ((runner *)(uintptr_t)(all_tdpbssd + 16 * ((0 * 8 + 1) * 8 + 2)))();
    if (use == 13) /* tdpbssd of tile 0, 1 and 1 */
        __asm__ volatile(".byte 0xc4, 0xe2, 0x73, 0x5e, 0xc1");
    if (use == 14) /* tileloadd whose address has no SIB byte */
        __asm__ volatile(".byte 0xc4, 0xe2, 0x7b, 0x4b, 0x00" : : "a"(memory) : "memory");
    if (use == 15) /* tilezero of tile 8 */
        __asm__ volatile(".byte 0xc4, 0x62, 0x7b, 0x49, 0xc0");
    if (use == 16) /* rows that end where no memory is */
        move(form_load_one, 0, memory, (ptrdiff_t)1 << 44);
    if (use == 17 || use == 18) /* rows of 62 bytes */
        move(use == 17 ? form_load_one : form_store_one, 0, memory, 64);
}

enum { USES = 19 };

static int ends(int use, int permitted)
{
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        fclose(stderr);
        if (permitted)
            CHECK(permit());
        if (use < USES)
            wrong(use);
        else
            configure(&(configuration){.palette = 1, .rows = {1}, .width = {4}});
        if (use == USES)
            move(form_zero, 0, NULL, 0);
        _Exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status);
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    const size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    state = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    if (!strcmp(argv[1], "faults")) {
        for (int use = 0; use < USES; use++)
            CHECK(ends(use, 1));
        CHECK(!ends(USES, 1)); /* what is right does not end */
        CHECK(ends(USES, 0));  /* but without permission */
        printf("%d\n", USES);
        return 0;
    }
    CHECK(permit());
    (strcmp(argv[1], "moves") ? products : moves)(n);
    if (fl_amx_model())
        for (int i = 0; i < FL_AMX_INSTRUCTIONS; i++)
            printf("%zu ", fl_amx_model_count(i));
    printf("%s\n", fl_amx_model() ? "by the model" : "by the CPU");
    return 0;
}
