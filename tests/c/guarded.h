/* SPDX-License-Identifier: MIT */
/* Memory beside a page that may not be touched: a read or write past it ends the process. */
#ifndef FL_GUARDED_H
#define FL_GUARDED_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/size.h"
#include "check.h"

static struct {
    char *base;
    size_t bytes;
} held[64];
static size_t holding;

/* `bytes` bytes, from a page that may not be touched on or up to one: which is drawn. */
static void *get(uint64_t *state, size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = fl_ceil_div(bytes + !bytes, page) * page;
    char *base = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED && holding < 64);
    CHECK(mprotect(base + page, inner, PROT_READ | PROT_WRITE) == 0);
    held[holding].base = base;
    held[holding++].bytes = inner + 2 * page;
    char *at = base + page + (draw(state) % 2 ? inner - bytes : 0);
    memset(at, 0xff, bytes); /* NaN, if it is read before it is written */
    return at;
}

/* All but the first `kept` pieces. */
static void give_back_but(size_t kept)
{
    for (; holding > kept; holding--)
        CHECK(munmap(held[holding - 1].base, held[holding - 1].bytes) == 0);
}

static void give_back(void) { give_back_but(0); }

#endif
