/* SPDX-License-Identifier: MIT */
/* The instructions of the operator `pointwise` (pointwise.h). Each computes a block of elements of
   one register from blocks of other registers. Operands a, b and c have the same type, but for
   `where`, whose a is bool. The result has the type of the last operand, unless the list below says
   another. */
#ifndef FL_OPCODES_H
#define FL_OPCODES_H

#include "ops/operator.h"

enum { FL_BLOCK = 512 }; /* elements of a block: at most */

enum {
    /* float32 and int64. Integers wrap around, their div truncates, and a division of them by 0 is
       FL_BAD_VALUE, as is a negative power of 0; another negative power of an integer is truncated.
       mod has the sign of b, fmod that of a. min and max are NaN if an operand is. */
    FL_OP_ADD,
    FL_OP_SUB,
    FL_OP_MUL,
    FL_OP_DIV,
    FL_OP_MOD,
    FL_OP_FMOD,
    FL_OP_MIN,
    FL_OP_MAX,
    FL_OP_POW,
    FL_OP_NEG,
    FL_OP_ABS,
    FL_OP_SIGN,
    FL_OP_RELU,
    FL_OP_CLIP, /* min(max(a, b), c) */
    /* float32; functions.h */
    FL_OP_EXP,
    FL_OP_LOG,
    FL_OP_ERF,
    FL_OP_SIN,
    FL_OP_COS,
    FL_OP_SQRT,
    FL_OP_RECIPROCAL,
    FL_OP_FLOOR,
    FL_OP_CEIL,
    FL_OP_ROUND, /* half to even */
    /* float32; with the bits of a cell's gates, and of its activations in fastlstm.h. b and c must
       be constants: alpha and beta there. */
    FL_OP_SIGMOID,
    FL_OP_TANH,
    FL_OP_ELU,          /* b: alpha */
    FL_OP_SELU,         /* b: alpha, c: gamma */
    FL_OP_HARD_SIGMOID, /* b: alpha, c: beta */
    FL_OP_SOFTPLUS,
    FL_OP_SOFTSIGN,
    FL_OP_SILU,
    FL_OP_GELU, /* with erf */
    /* float32, made of the functions above */
    FL_OP_CELU,       /* b, a constant: alpha. max(0, a) + min(0, alpha (exp(a / alpha) - 1)) */
    FL_OP_HARD_SWISH, /* a max(0, min(1, a / 6 + 1 / 2)) */
    FL_OP_GELU_TANH,  /* a / 2 (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) */
    FL_OP_MISH,       /* a tanh(softplus(a)) */
    FL_OP_LEAKY_RELU, /* b a if a < 0 else a: prelu too */
    FL_OP_THRESHOLDED_RELU, /* a if not a <= b, else 0 */
    /* The result is bool. Operands: of any type for equal, of float32 or int64 for the others. */
    FL_OP_EQUAL,
    FL_OP_LESS,
    FL_OP_LESS_EQUAL,
    FL_OP_GREATER,
    FL_OP_GREATER_EQUAL,
    /* Operands and result are bool, but for where. */
    FL_OP_AND,
    FL_OP_OR,
    FL_OP_XOR,
    FL_OP_NOT,
    FL_OP_WHERE, /* b if a else c, any type */
    /* Of float32, and the result is bool. */
    FL_OP_ISNAN,
    FL_OP_ISINF,
    /* Of any type. To int64 a float is truncated, one beyond the range of int64 becomes the nearest
       number of it, and NaN becomes 0. To bool 0 is false, and every other number is true. */
    FL_OP_CAST_FLOAT,
    FL_OP_CAST_INT,
    FL_OP_CAST_BOOL,
    /* int64 */
    FL_OP_BIT_AND,
    FL_OP_BIT_OR,
    FL_OP_BIT_XOR,
    FL_OP_BIT_NOT,
    FL_OP_SHIFT_LEFT,  /* a shifted by b bits; by fewer than 0 or more than 63: 0 */
    FL_OP_SHIFT_RIGHT, /* likewise, rounded down: at last 0, or -1 of a negative a */
    FL_OP_WRAP_INT8,   /* a modulo 2^8, between -2^7 and 2^7 - 1 */
    FL_OP_WRAP_INT16,
    FL_OP_WRAP_INT32,
    FL_OP_WRAP_UINT8, /* a modulo 2^8 */
    FL_OP_WRAP_UINT16,
    FL_OP_WRAP_UINT32,
    /* float32; functions.h */
    FL_OP_TAN,
    FL_OP_SINH,
    FL_OP_COSH,
    FL_OP_ASIN,
    FL_OP_ACOS,
    FL_OP_ATAN,
    FL_OP_ASINH,
    FL_OP_ACOSH,
    FL_OP_ATANH,
    FL_OPCODES
};

/* n <= FL_BLOCK elements of y from as many of each operand; y may be the memory of operands of its
   own type. FL_OK, or FL_BAD_VALUE. */
typedef int fl_block(const fl_kernels *kernels, void *y, const void *const *in, size_t n);

typedef struct fl_opcode {
    size_t operands;
    size_t constants;        /* so many of them, the last ones, must be constants */
    int result;              /* type, or FL_TYPES: that of the last operand */
    double cost;             /* ns of one element, about */
    fl_block *run[FL_TYPES]; /* by the type of the last operand; NULL: not for this type */
} fl_opcode;

extern const fl_opcode fl_opcodes[FL_OPCODES];

#endif
