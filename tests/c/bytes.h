/* SPDX-License-Identifier: MIT */
/*
 * For fuzzers: numbers out of an input's bytes, and a main for builds without libFuzzer.
 *
 *     DRIVER N SEED FILES...   every file, then N inputs made from them by drawn changes
 *
 * An input is FUZZ_MOST bytes at most, which is defined before this file is included.
 */
#ifndef FL_BYTES_H
#define FL_BYTES_H

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct reader {
    const uint8_t *at, *end;
} reader;

/* Of so many bytes, or those that are left; 0 at the end. */
static size_t number(reader *r, size_t bytes)
{
    size_t v = 0;
    for (size_t i = 0; i < bytes && r->at < r->end; i++)
        v |= (size_t)*r->at++ << 8 * i;
    return v;
}

/* low .. high: mostly of one byte. */
static size_t in(reader *r, size_t low, size_t high)
{
    return low + number(r, 1) % (high - low + 1);
}

#if !defined(FL_LIBFUZZER)
static size_t read_file(const char *name, uint8_t data[FUZZ_MOST])
{
    FILE *f = fopen(name, "rb");
    CHECK(f);
    const size_t n = fread(data, 1, FUZZ_MOST, f);
    fclose(f);
    return n;
}

int main(int argc, char **argv)
{
    CHECK(argc > 3);
    const size_t n = strtoul(argv[1], NULL, 10);
    uint64_t state = strtoul(argv[2], NULL, 10);
    uint8_t data[FUZZ_MOST] = {0};
    for (int i = 3; i < argc; i++)
        LLVMFuzzerTestOneInput(data, read_file(argv[i], data));
    for (size_t i = 0; i < n; i++) {
        size_t size = read_file(argv[3 + draw(&state) % (unsigned)(argc - 3)], data);
        for (size_t k = between(&state, 1, 4); k; k--) {
            const size_t at = draw(&state) % FUZZ_MOST;
            data[at] = draw(&state) % 2 ? (uint8_t)draw(&state)
                                        : (uint8_t)(data[at] ^ 1u << draw(&state) % 8);
            size = at >= size ? at + 1 : size;
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%d files, %zu changed\n", argc - 3, n);
    return 0;
}
#endif

#endif
