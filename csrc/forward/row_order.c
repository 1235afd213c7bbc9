/* SPDX-License-Identifier: MIT */
#include "forward/row_order.h"

/* Shell's sort, which needs no memory. Comparing the rows' numbers too makes it stable. */
void fl_sort_rows(size_t *order, const int64_t *lengths, size_t n)
{
    size_t gap = 1;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    while (gap < n / 3)
        gap = 3 * gap + 1;
    for (; gap; gap /= 3)
        for (size_t i = gap; i < n; i++) {
            size_t b = order[i], at = i;
            for (; at >= gap; at -= gap) {
                size_t a = order[at - gap];
                if (lengths[a] > lengths[b] || (lengths[a] == lengths[b] && a < b))
                    break;
                order[at] = a;
            }
            order[at] = b;
        }
}
