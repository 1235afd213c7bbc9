/* SPDX-License-Identifier: MIT */
/* The order of a call's rows: longest first. The rows that have a step s then are the first few. */
#ifndef FL_ROW_ORDER_H
#define FL_ROW_ORDER_H

#include <stddef.h>
#include <stdint.h>

/* Fills order[0 .. n - 1] with the numbers of the rows, longest first. Rows of equal length stay in
   the batch's order. */
void fl_sort_rows(size_t *order, const int64_t *lengths, size_t n);

#endif
