/* SPDX-License-Identifier: MIT */
/* All elementwise work as one operator. */
#ifndef FL_POINTWISE_H
#define FL_POINTWISE_H

#include "ops/registry.h"

/*
 * A list of instructions over registers, computed for every element. Registers are numbered: first
 * the inputs, then the constants (float32), then what each instruction computes. The output is the
 * last of them. For relu(x + b) / 6 with inputs x and b and the constant 6:
 *
 *     registers    0: x    1: b    2: 6    3: add 0 1    4: relu 3    5: div 4 2
 *
 * Inputs are broadcast as NumPy does: their last axes meet, and axes of size 1 or none are
 * repeated. Types follow from the inputs' by the rules of opcodes.h. FL_BAD_VALUE for a division of
 * integers by 0, or a negative power of the integer 0.
 *
 * Blocks of FL_BLOCK elements pass through all instructions, so that what is between them stays in
 * L1. The output may be input 0 if they have the same type and number of elements.
 *
 * ints: the number of inputs (1 .. 32), of instructions (1 .. 64), then for each its opcode of
 * opcodes.h and its operands, three registers, -1 for those that it does not have. floats: the
 * constants, at most 64.
 */
int fl_make_pointwise(const fl_attributes *attributes, fl_operator **op);

#endif
