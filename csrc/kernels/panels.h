/* SPDX-License-Identifier: MIT */
/*
 * How weights lie in memory: in panels. With vectors of L lanes, a panel of an LSTM holds L hidden
 * units, all four gates of them, for every k, the index that is summed over. In memory order:
 *
 *            |<----- L ----->|<----- L ----->|<----- L ----->|<----- L ----->|
 *     k = 0  [ i of L units  ][ f of L units  ][ g of L units  ][ o of L units  ]
 *     k = 1  [ i of L units  ][ f of L units  ][ g of L units  ][ o of L units  ]
 *     ...
 *
 * The four vectors of sums of one row of inputs are therefore the i, f, g and o of the same units,
 * and the gates are computed from them while they are in registers. A panel of a GRU has three
 * vectors for each k: r, z and n. A plain panel holds 4 L consecutive columns of a matrix, whatever
 * they are (FL_NV of contract.h is this 4). Plain panels hold the one gate of an RNN, and the gates
 * of a GRU that resets h before the product: first all panels of r, then those of z, then those of
 * n.
 *
 * One line of the picture, all columns of a panel for one k, is a group of G = vectors * L numbers.
 * Columns beyond the last unit are zeros. Panels follow one another without a gap; the first is
 * aligned to 64 bytes, so every group is aligned to the vectors it is made of, which have 4 L bytes
 * in float32 and 2 L in float16.
 *
 * In FL_INT8 a line of the picture is for four consecutive k, and each of its places holds the four
 * codes of one column, one byte each:
 *
 *     k = 0 .. 3  [ i of L units, 4 codes each ][ f of L units ][ g of L units ][ o of L units ]
 *
 * so that a vector has 4 L bytes, and a group 4 G. Where k is no multiple of 4 the last codes are
 * zeros.
 *
 * In FL_BFLOAT16 a line is for two consecutive k in the same way, with two numbers of 2 bytes each
 * in a place, and lines come in tiles: a tile is what FL_TILE_LINES = 16 lines have in one vector,
 * 4 L bytes of each line, one after the other without a gap. Of numbers that are in several parts
 * (bfloat16.h) every part has its tiles:
 *
 *     k = 0 .. 31   [ part 0: tile i, tile f, tile g, tile o ][ part 1: tile i, tile f, ... ] ...
 *     k = 32 .. 63  [ part 0: tile i, tile f, tile g, tile o ][ part 1: tile i, tile f, ... ] ...
 *
 * Where k is no multiple of 32 the last lines are zeros. Instruction sets that multiply by tiles
 * (Intel's AMX) load these tiles as they are. In FL_INT8 they load what 16 lines have in one vector
 * from within the lines. So for such sets panels of FL_INT8 have a multiple of 16 lines too, of
 * which the last are zeros.
 */
#ifndef FL_PANELS_H
#define FL_PANELS_H

#include <stddef.h>

#include "fastlstm.h"

/* It owns neither `data` nor `scales`. */
typedef struct fl_panels {
    void *data; /* panel p begins at data + p * panel_bytes; aligned to 64 bytes */
    size_t panel_bytes;
    int format;    /* of the numbers */
    int parts;     /* FL_BFLOAT16: of each number; else 1 */
    size_t lanes;  /* FL_BFLOAT16: L, the places in a line of a tile */
    float *scales; /* FL_INT8: [panels][G], what a column's codes are multiplied by; else NULL */
    float top;     /* FL_INT8: the largest code that a row of inputs may have, see codes.h */
} fl_panels;

enum { FL_TILE_LINES = 16 };

/* Bytes of one number. */
static inline size_t fl_format_bytes(int format)
{
    return format == FL_INT8 ? 1 : format == FL_FLOAT32 ? 4 : 2;
}

/* How many consecutive k of one column lie side by side. */
static inline size_t fl_format_k(int format)
{
    return format == FL_INT8 ? 4 : format == FL_BFLOAT16 ? 2 : 1;
}

/* Are the rows that such panels are multiplied by encoded first, as fl_codes? */
static inline int fl_format_encoded(int format) { return format >= FL_INT8; }

/* How many lines of a panel k numbers of each column take. */
static inline size_t fl_format_lines(int format, size_t k)
{
    return k / fl_format_k(format) + (k % fl_format_k(format) != 0);
}

/* Where panel p begins. */
static inline const void *fl_panel(const fl_panels *panels, size_t p)
{
    return (const char *)panels->data + p * panels->panel_bytes;
}

#endif
