/* SPDX-License-Identifier: MIT */
/* Which parts of a program's memory are free while its arrays are laid out: numbers alone, no
   memory is touched. */
#ifndef FL_ARENA_H
#define FL_ARENA_H

#include "ops/list.h"

typedef struct fl_hole {
    size_t offset, bytes;
} fl_hole;

/* All zeros at first; fl_free(arena.holes.at) at the end. */
typedef struct fl_arena {
    fl_list holes; /* fl_hole, in order of their offsets, no two of them touching */
    size_t end;    /* bytes in use at some time so far */
} fl_arena;

/* The offset of memory that is taken, in the first hole that is large enough or at the end; or
   SIZE_MAX. Offsets are multiples of 64. */
size_t fl_arena_take(fl_arena *arena, size_t bytes);

/* Frees what fl_arena_take gave for so many bytes: FL_OK or FL_NO_MEMORY. */
int fl_arena_give_back(fl_arena *arena, size_t offset, size_t bytes);

#endif
