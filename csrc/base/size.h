/* SPDX-License-Identifier: MIT */
/* Sizes that cannot overflow unnoticed, and memory handed out in pieces. */
#ifndef FL_SIZE_H
#define FL_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* a * b and a + b; SIZE_MAX if that overflows or if an operand of a sum is SIZE_MAX already. */
static inline size_t fl_mul(size_t a, size_t b)
{
    size_t product;
    return __builtin_mul_overflow(a, b, &product) ? SIZE_MAX : product;
}

static inline size_t fl_add(size_t a, size_t b)
{
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? SIZE_MAX : sum;
}

/* a / b, rounded up. */
static inline size_t fl_ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

/* Bytes rounded up to whole cache lines; SIZE_MAX stays SIZE_MAX. */
static inline size_t fl_whole_lines(size_t bytes)
{
    bytes = fl_add(bytes, 63);
    return bytes == SIZE_MAX ? bytes : bytes / 64 * 64;
}

/*
 * A block of memory that is handed out from its beginning, in pieces of whole cache lines. With a
 * NULL base nothing is handed out and the pieces are only counted, so one function that carves a
 * workspace also tells how large it is. A block has to have as many bytes as were counted, or its
 * end has to be known: the piece that would pass it and all after it are only counted.
 */
typedef struct fl_carver {
    char *base;  /* aligned to 64 bytes; NULL: there is none, or its end has been passed */
    size_t used; /* bytes; SIZE_MAX once the sum has overflowed */
    size_t most; /* bytes that the block has; 0: enough */
} fl_carver;

/* The next `count` items of `size` bytes; NULL if there is no base. */
static inline void *fl_carve(fl_carver *c, size_t count, size_t size)
{
    const size_t first = c->used;
    c->used = fl_add(first, fl_whole_lines(fl_mul(count, size)));
    if (c->most && c->used > c->most)
        c->base = NULL;
    return c->base ? c->base + first : NULL;
}

#endif
