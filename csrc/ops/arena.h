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
    size_t end;    /* the end of the memory that has been taken so far, given back or not */
} fl_arena;

/* Takes `bytes` bytes, in the first hole that is large enough or at the end, and returns their
   offset, a multiple of 64; SIZE_MAX if `end` then overflows. */
size_t fl_arena_take(fl_arena *arena, size_t bytes);

/* Frees what fl_arena_take gave for so many bytes: FL_OK or FL_NO_MEMORY. */
int fl_arena_give_back(fl_arena *arena, size_t offset, size_t bytes);

#endif
