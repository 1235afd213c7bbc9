/* SPDX-License-Identifier: MIT */
/* Arrays that grow. */
#ifndef FL_LIST_H
#define FL_LIST_H

#include <string.h>

#include "base/alloc.h"
#include "base/size.h"
#include "fastlstm.h"

/* All zeros at first; fl_free(list.at) at the end. */
typedef struct fl_list {
    void *at;
    size_t count, capacity;
} fl_list;

/* Makes sure that `more` elements of `bytes` bytes each can be added, and leaves `count` as it is:
   FL_OK or FL_NO_MEMORY. */
static inline int fl_reserve(fl_list *all, size_t more, size_t bytes)
{
    const size_t need = fl_add(all->count, more);
    if (need <= all->capacity)
        return FL_OK;
    const size_t capacity = need < SIZE_MAX / 4 ? need + need / 2 + 8 : need;
    void *larger = fl_alloc(fl_mul(capacity, bytes));
    if (!larger)
        return FL_NO_MEMORY;
    if (all->count)
        memcpy(larger, all->at, all->count * bytes);
    fl_free(all->at);
    all->at = larger;
    all->capacity = capacity;
    return FL_OK;
}

#endif
