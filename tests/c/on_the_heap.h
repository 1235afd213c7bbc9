/* SPDX-License-Identifier: MIT */
/* For drivers of case.h whose buffers are on the heap, each of exactly its size, and in which no
   thread of split units is late on purpose (FL_SPLIT_HOOK, csrc/forward/split_wait.h). */
#ifndef FL_ON_THE_HEAP_H
#define FL_ON_THE_HEAP_H

#include <stdlib.h>

#include "case.h"

int fl_split_hook(const char *place);
double fl_split_patience = 1;

int fl_split_hook(const char *place)
{
    (void)place;
    return 0;
}

static void *held[256];
static size_t holding;

static void *get(size_t bytes)
{
    CHECK(holding < 256 && (held[holding] = malloc(bytes)));
    return held[holding++];
}

static void give_back(void)
{
    while (holding)
        free(held[--holding]);
}

#endif
