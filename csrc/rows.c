/* SPDX-License-Identifier: MIT */
/* The order of a call's rows, and which of them are still running. */
#include "forward.h"

/* Rows by length, longest first, equal lengths in their own order (Shell's sort: no memory). */
void fl_sort_rows(fl_job *j)
{
    const int64_t *len = j->call->lengths;
    const size_t n = j->call->batch;
    size_t gap = 1;
    for (size_t i = 0; i < n; i++)
        j->order[i] = i;
    while (gap < n / 3)
        gap = 3 * gap + 1;
    for (; gap; gap /= 3)
        for (size_t i = gap; i < n; i++) {
            size_t b = j->order[i], k = i;
            for (; k >= gap; k -= gap) {
                size_t a = j->order[k - gap];
                if (len[a] > len[b] || (len[a] == len[b] && a < b))
                    break;
                j->order[k] = a;
            }
            j->order[k] = b;
        }
}
