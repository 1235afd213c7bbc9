/* SPDX-License-Identifier: MIT */
/*
 * Keras' masks: of each row of x (B, T, ..) only the steps count for which mask (B, T), bools, is
 * true. A recurrent layer is given the steps that count, side by side, and how many they are.
 *
 *     mask_pack     inputs x of any type, mask; outputs: x with each row's steps that count moved
 * to its front, in order, and zeros behind them; and, optional, their number (B), int64 mask_unpack
 * inputs y (B, T, ..), what a layer made of packed steps, and mask. A step of the output that
 * counts is the packed one that it was. Another repeats the last one before it that counts, or with
 * ints[1] (reverse) the next one behind it, and is zeros where there is none, or always with
 * ints[0] (zeros)
 */
#ifndef FL_MASK_H
#define FL_MASK_H

#include "ops/registry.h"

int fl_make_mask_pack(const fl_attributes *attributes, fl_operator **op);
int fl_make_mask_unpack(const fl_attributes *attributes, fl_operator **op);

#endif
