/* SPDX-License-Identifier: MIT */
#include "ops/arena.h"

#include <string.h>

size_t fl_arena_take(fl_arena *arena, size_t bytes)
{
    fl_hole *holes = arena->holes.at;
    bytes = fl_whole_lines(bytes);
    for (size_t i = 0; i < arena->holes.count; i++) {
        const int at_end = holes[i].offset + holes[i].bytes == arena->end;
        if (holes[i].bytes < bytes && !at_end)
            continue;
        const size_t offset = holes[i].offset;
        if (holes[i].bytes > bytes) {
            holes[i].offset += bytes;
            holes[i].bytes -= bytes;
        } else {
            if (fl_add(offset, bytes) > arena->end)
                arena->end = fl_add(offset, bytes);
            memmove(holes + i, holes + i + 1, (--arena->holes.count - i) * sizeof *holes);
        }
        return arena->end == SIZE_MAX ? SIZE_MAX : offset;
    }
    const size_t offset = arena->end;
    arena->end = fl_add(offset, bytes);
    return arena->end == SIZE_MAX ? SIZE_MAX : offset;
}

int fl_arena_give_back(fl_arena *arena, size_t offset, size_t bytes)
{
    bytes = fl_whole_lines(bytes);
    if (bytes == 0)
        return FL_OK;
    if (fl_reserve(&arena->holes, 1, sizeof(fl_hole)) != FL_OK)
        return FL_NO_MEMORY;
    fl_hole *holes = arena->holes.at;
    size_t i = 0;
    while (i < arena->holes.count && holes[i].offset < offset)
        i++;
    memmove(holes + i + 1, holes + i, (arena->holes.count++ - i) * sizeof *holes);
    holes[i] = (fl_hole){offset, bytes};
    if (i + 1 < arena->holes.count && offset + bytes == holes[i + 1].offset) {
        holes[i].bytes += holes[i + 1].bytes;
        memmove(holes + i + 1, holes + i + 2, (--arena->holes.count - i - 1) * sizeof *holes);
    }
    if (i > 0 && holes[i - 1].offset + holes[i - 1].bytes == offset) {
        holes[i - 1].bytes += holes[i].bytes;
        memmove(holes + i, holes + i + 1, (--arena->holes.count - i) * sizeof *holes);
    }
    return FL_OK;
}
