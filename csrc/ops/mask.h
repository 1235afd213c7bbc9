/* SPDX-License-Identifier: MIT */
/*
 * Keras' masks: of each row of x (B, T, ..) only the steps count for which mask (B, T), bools, is
 * true. A recurrent layer is given the steps that count, side by side, and how many they are.
 *
 *     mask_pack     Inputs: x of any type, mask. Outputs: x with each row's steps that count
 *                   moved to its front, in order, and zeros behind them; and, optional, how many
 *                   steps of each row count (B), int64.
 *
 *     mask_unpack   Inputs: y (B, T, ..), which a layer made of packed steps, and mask. Output:
 *                   each step that counts is its packed one. A step that does not count repeats
 *                   the last one before it that does, or with ints[1] = 1 (reverse) the next one
 *                   behind it; it is zeros where there is none, and always with ints[0] = 1
 *                   (zeros).
 */
#ifndef FL_MASK_H
#define FL_MASK_H

#include "ops/registry.h"

int fl_make_mask_pack(const fl_attributes *attributes, fl_operator **op);
int fl_make_mask_unpack(const fl_attributes *attributes, fl_operator **op);

#endif
