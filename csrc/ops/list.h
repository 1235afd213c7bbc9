/* SPDX-License-Identifier: MIT */
/* Arrays that grow. */
#ifndef FL_LIST_H
#define FL_LIST_H

#include <stdlib.h>

#include "base/size.h"
#include "fastlstm.h"

/* An array that grows. The memory is malloc's, because fl_alloc rounds up to 64 bytes and more, and
   programs are built of small pieces. */
typedef struct fl_list {
    void *at;
    size_t count, room;
} fl_list;

/* Makes sure that `more` elements can be added: FL_OK or FL_NO_MEMORY. */
static inline int fl_reserve(fl_list *all, size_t more, size_t bytes)
{
    const size_t need = fl_add(all->count, more);
    if (need <= all->room)
        return FL_OK;
    const size_t room = need < SIZE_MAX / 4 ? need + need / 2 + 8 : need;
    void *larger = fl_mul(room, bytes) == SIZE_MAX ? NULL : realloc(all->at, room * bytes);
    if (!larger)
        return FL_NO_MEMORY;
    all->at = larger;
    all->room = room;
    return FL_OK;
}

#endif
