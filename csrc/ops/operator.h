/* SPDX-License-Identifier: MIT */
/*
 * What an operator is. A whole model is a list of operators that read and write arrays; program.h
 * runs such a list, and registry.h makes operators by name. An operator has weights of its own, if
 * it has any, and these functions:
 *
 *     pack     copies weights, in PyTorch's layout and order, into the operator: once
 *     shape    types and shapes of its outputs, from its inputs; nothing is computed
 *     bytes    the memory that one run needs beside its inputs and outputs
 *     run      the outputs, from the inputs
 *     free     gives the operator back
 *
 * An operator's maker allocates it with all memory for its weights, which start as zeros. shape,
 * bytes and run only read the operator, so any number of threads may run it at the same time.
 *
 * The bits of an output element depend on its own inputs and weights alone: not on the number of
 * rows, of threads, or on which row it is in, and they are the same on every instruction set that
 * has fused multiply-add. So every sum has one order, which the operator's header states.
 * Floating-point outputs of operators that multiply by weights are 0 below FL_TINY in magnitude, as
 * are their inputs.
 *
 * This folder knows no graph, no file and no Python: which operators a model has, in which order,
 * is decided by its callers.
 */
#ifndef FL_OPERATOR_H
#define FL_OPERATOR_H

#include "base/size.h"
#include "fastlstm.h"
#include "kernels/parallel.h"

enum { FL_MAX_AXES = 8 };

/* Types of elements: float, int64_t, and bool, a byte that is 0 or 1. Weights may also be FL_CODES,
   int8_t; no input and no output is. */
enum { FL_F32, FL_I64, FL_BOOL, FL_TYPES, FL_CODES };

/* Beside the results of fastlstm.h: shapes or types that do not fit an operator or one another, a
   missing array, a number of arrays that it does not take, or sizes that overflow. Nothing has been
   written. */
enum { FL_BAD_SHAPE = -3 };

/* An index or another value of an input that is out of range. Outputs may be partly written. */
enum { FL_BAD_VALUE = -4 };

typedef struct fl_shape {
    size_t axes;              /* 0 .. FL_MAX_AXES; 0: a scalar */
    size_t size[FL_MAX_AXES]; /* of each axis, 0 allowed; those past the last are not looked at */
} fl_shape;

/* A contiguous array, its last axis the one whose elements lie side by side. The memory is the
   caller's. */
typedef struct fl_array {
    fl_shape shape;
    int type;
    void *at; /* aligned to its elements; NULL: an optional input that is not given, an output that
                 is not wanted, whose type and shape are set all the same, or, for `shape` and
                 `bytes`, values that are not known yet */
} fl_array;

typedef struct fl_operator fl_operator;

typedef struct fl_operator_type {
    const char *name;
    /* FL_OK or FL_BAD_SHAPE. Must not run beside another function of the same operator. NULL: the
       operator has no weights. */
    int (*pack)(fl_operator *op, const fl_array *weights, size_t count);
    /*
     * Fills in type and shape of out[0 .. outs - 1], and leaves their `at` alone. An optional input
     * that is not given has no axes and the type FL_TYPES. Operators whose shapes follow from
     * values (reshape, slice) read them at in[i].at, and answer FL_BAD_SHAPE if it is NULL. FL_OK
     * or FL_BAD_SHAPE; FL_BAD_SHAPE also if an output has more bytes than a size_t counts.
     */
    int (*shape)(const fl_operator *op, const fl_array *in, size_t ins, fl_array *out, size_t outs);
    /* 1: output 0 is input 0 with another shape, in the same memory, and there is no run. */
    int is_view;
    /* 1: output 0 may be the memory of input 0, if the two have the same type and as many
       elements. Another input may then be the same memory too, with other axes. */
    int in_place;
    /* 1: run reads the shapes of its inputs alone, not their elements. */
    int of_shapes;
    /* Of the memory at `arena`; SIZE_MAX once it is more than a size_t counts. NULL: none, ever.
       Inputs are those that `shape` has accepted. */
    size_t (*bytes)(const fl_operator *op, const fl_array *in, size_t ins, size_t threads);
    /*
     * Inputs and outputs have the types and shapes that `shape` takes and gives: the caller has
     * called it, and `run` does not check again. Inputs do not overlap outputs, unless in_place.
     * arena: as much memory as `bytes` says, aligned to 64 bytes, of no use after the call. FL_OK,
     * FL_NO_MEMORY, FL_BAD_VALUE or FL_INTERRUPTED; in all but the first outputs may be partly
     * written.
     */
    int (*run)(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller);
    void (*free)(fl_operator *op);
} fl_operator_type;

/* The beginning of every operator. */
struct fl_operator {
    const fl_operator_type *type;
};

/* Bytes of one element. */
static inline size_t fl_type_bytes(int type)
{
    return type == FL_F32 ? sizeof(float) : type == FL_I64 ? sizeof(int64_t) : 1;
}

/* The product of sizes from .. to - 1; SIZE_MAX once it is more than a size_t counts. */
static inline size_t fl_shape_span(const fl_shape *shape, size_t from, size_t to)
{
    size_t n = 1;
    for (size_t i = from; i < to; i++)
        n = fl_mul(n, shape->size[i]);
    return n;
}

/* The number of elements; SIZE_MAX once it is more than a size_t counts. */
static inline size_t fl_count(const fl_array *array)
{
    return fl_shape_span(&array->shape, 0, array->shape.axes);
}

/* The number of bytes, likewise. */
static inline size_t fl_array_bytes(const fl_array *array)
{
    return fl_mul(fl_count(array), fl_type_bytes(array->type));
}

/* Has an array this type and exactly these axes? */
static inline int fl_array_is(const fl_array *array, int type, size_t axes, const size_t *size)
{
    int same = array->type == type && array->shape.axes == axes;
    for (size_t i = 0; same && i < axes; i++)
        same = array->shape.size[i] == size[i];
    return same;
}

static inline int fl_shapes_equal(const fl_shape *one, const fl_shape *other)
{
    int same = one->axes == other->axes;
    for (size_t i = 0; same && i < one->axes; i++)
        same = one->size[i] == other->size[i];
    return same;
}

#endif
