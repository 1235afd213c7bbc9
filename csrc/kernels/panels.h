/* SPDX-License-Identifier: MIT */
/*
 * How weights lie in memory: in panels. With vectors of L lanes, a panel of an LSTM holds L hidden
 * units, all four gates of them, for every k of the summed index. In memory order:
 *
 *            |<----- L ----->|<----- L ----->|<----- L ----->|<----- L ----->|
 *     k = 0  [ i of L units  ][ f of L units  ][ g of L units  ][ o of L units  ]
 *     k = 1  [ i of L units  ][ f of L units  ][ g of L units  ][ o of L units  ]
 *     ...
 *
 * The four vectors of sums of one row of inputs are therefore the i, f, g and o of the same units,
 * and the gates are computed from them while they are in registers. A panel of a GRU has three
 * vectors for each k: r, z and n. A plain panel holds FL_NV * L consecutive columns of a matrix,
 * whatever they are. Plain panels hold the one gate of an RNN, and the gates of a GRU that resets h
 * before the product: first all panels of r, then those of z, then those of n.
 *
 * One line of the picture, all columns of a panel for one k, is a group of G = vectors * L numbers.
 * Columns beyond the last unit are zeros. Panels follow one another without a gap; the first is
 * aligned to 64 bytes, so every group is aligned to the vectors it is made of, which have 4 L bytes
 * in float32 and 2 L in float16.
 */
#ifndef FL_PANELS_H
#define FL_PANELS_H

#include <stddef.h>

#include "fastlstm.h"

typedef struct fl_panels {
    void *data; /* panel p begins at data + p * panel_bytes; aligned to 64 bytes */
    size_t panel_bytes;
    size_t k_group; /* how many consecutive k of one column lie side by side: 1 in both formats,
                       and no kernel reads it yet */
    int format;     /* of the numbers: FL_FLOAT32 or FL_FLOAT16 */
    const float *scales; /* a factor for each column, for formats that need one: NULL in both
                            formats, and no kernel reads it yet */
} fl_panels;

/* Bytes of one number. */
static inline size_t fl_format_bytes(int format) { return format == FL_FLOAT16 ? 2 : 4; }

/* Where panel p begins. */
static inline const void *fl_panel(const fl_panels *panels, size_t p)
{
    return (const char *)panels->data + p * panels->panel_bytes;
}

#endif
