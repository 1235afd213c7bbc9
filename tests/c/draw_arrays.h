/* SPDX-License-Identifier: MIT */
/* Arrays for operators, drawn from a fuzzer's bytes, each in memory of exactly its size. */
#ifndef FL_DRAW_ARRAYS_H
#define FL_DRAW_ARRAYS_H

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/operator.h"
#include "bytes.h"

enum { MOST_ELEMENTS = 1 << 13, MOST_HELD = 1024 };

/* ---- memory: more than 64 MiB is refused, as on a machine that has no more ---- */

void *__real_fl_alloc(size_t bytes);
void *__real_fl_alloc_lasting(size_t bytes);
void *__wrap_fl_alloc(size_t bytes);
void *__wrap_fl_alloc_lasting(size_t bytes);

enum { MOST_ALLOCATED = 1 << 26 };

/* Set where memory was refused. What an operator needs depends on the instruction set. */
static int refused;

static int too_much(size_t bytes)
{
    refused |= bytes > MOST_ALLOCATED;
    return bytes > MOST_ALLOCATED;
}

void *__wrap_fl_alloc(size_t bytes) { return too_much(bytes) ? NULL : __real_fl_alloc(bytes); }

void *__wrap_fl_alloc_lasting(size_t bytes)
{
    return too_much(bytes) ? NULL : __real_fl_alloc_lasting(bytes);
}

static void *held[MOST_HELD];
static size_t holding;

/* Aligned to 64, all bits set: NaN, -1 or a bool that is none, if it is read before it is written.
 */
static void *get(size_t bytes)
{
    CHECK(holding < MOST_HELD && !posix_memalign(&held[holding], 64, bytes));
    memset(held[holding], 0xff, bytes);
    return held[holding++];
}

static void give_back(void)
{
    while (holding)
        free(held[--holding]);
}

/* ---- shapes and elements ---- */

static const fl_array ABSENT = {.type = FL_TYPES};

/* Mostly up to 5, sometimes 0, in a hundred or so, or of any magnitude if `giant`. */
static size_t drawn_size(reader *r, int giant)
{
    const size_t first = number(r, 1);
    if (giant && first & 1)
        return number(r, 1 + first / 2 % 8);
    return first < 8    ? 0
           : first < 24 ? in(r, 1, 255)
           : first < 28 ? in(r, 500, 700)
                        : 1 + first % 5;
}

static fl_shape drawn_shape(reader *r, size_t least, size_t most, int giant)
{
    fl_shape s = {.axes = in(r, least, most)};
    for (size_t i = 0; i < s.axes; i++)
        s.size[i] = drawn_size(r, giant);
    while (!giant && fl_shape_span(&s, 0, s.axes) > MOST_ELEMENTS) /* the largest gives way */
        for (size_t i = 0; i < s.axes; i++)
            s.size[i] -= s.size[i] / 2;
    return s;
}

/* Elements of a generator's: floats around 1, one in 16 of them special if `special`; whole numbers
   low .. high. */
static void fill(uint64_t *state, const fl_array *a, int special, int64_t low, int64_t high)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0x1p-70f, 0x1p-140f, 3e38f, -0.0f, 0};
    const size_t n = fl_count(a);
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = draw(state);
        if (a->type == FL_F32)
            ((float *)a->at)[i] = special && bits % 16 == 0
                                      ? odd[bits / 16 % 8]
                                      : ((float)(bits >> 8) - 8388608.0f) * 0x1p-22f;
        else if (a->type == FL_I64)
            ((int64_t *)a->at)[i] = low + (int64_t)(bits % (uint64_t)(high - low + 1));
        else
            ((uint8_t *)a->at)[i] = bits & 1;
    }
}

/* The same elements, where every NaN is like any other. */
static int same(const fl_array *a, const fl_array *b)
{
    const float *p = a->at, *q = b->at;
    if (a->type != b->type || !fl_shapes_equal(&a->shape, &b->shape))
        return 0;
    if (a->type != FL_F32)
        return !memcmp(a->at, b->at, fl_array_bytes(a));
    for (size_t i = 0, n = fl_count(a); i < n; i++)
        if (memcmp(&p[i], &q[i], sizeof *p) && !(isnan(p[i]) && isnan(q[i])))
            return 0;
    return 1;
}

static uint64_t mixed(uint64_t hash, const fl_array *a)
{
    const size_t bytes = fl_array_bytes(a);
    for (size_t i = 0; i < bytes; i++) {
        const float *f = (const float *)a->at + i / 4;
        const int nan = a->type == FL_F32 && isnan(*f);
        hash = (hash ^ (nan ? 0x7f : ((const uint8_t *)a->at)[i])) * 0x100000001b3u;
    }
    return hash;
}

#endif
