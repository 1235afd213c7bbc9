/* SPDX-License-Identifier: MIT */
/*
 * What an operator is. A whole model is a list of operators that read and write arrays; each of
 * them has packed weights of its own and four functions:
 *
 *     shape    the shapes of its outputs, from those of its inputs; nothing is computed
 *     pack     copies weights, in PyTorch's layout and order, into panels: once
 *     bytes    the memory that one run needs beside its inputs and outputs
 *     run      the outputs, from the inputs
 *
 * An operator's maker (recurrent.h, linear.h) allocates it with all memory for its weights, which
 * start as zeros; `free` gives that back. shape, bytes and run only read the operator, so any
 * number of threads may run it at the same time.
 *
 * The bits of an output element depend on its own inputs and weights alone: not on the number of
 * rows, of threads, or on which row it is in. Outputs below FL_TINY in magnitude are 0.
 *
 * This folder knows no graph, no file and no Python: which operators a model has, in which order,
 * and where its arrays lie is decided by its callers. Arrays hold float32 numbers.
 */
#ifndef FL_OPERATOR_H
#define FL_OPERATOR_H

#include "base/size.h"
#include "fastlstm.h"

enum { FL_MAX_AXES = 4 };

/* Beside the results of fastlstm.h: shapes that do not fit an operator or one another, a missing
   array, or a number of arrays that it does not take. Nothing has been written. */
enum { FL_BAD_SHAPE = -3 };

typedef struct fl_shape {
    size_t axes;              /* 0 .. FL_MAX_AXES */
    size_t size[FL_MAX_AXES]; /* of each axis; those past the last are not looked at */
} fl_shape;

/* A contiguous array, its last axis the one whose elements lie side by side. The memory is the
   caller's. */
typedef struct fl_array {
    fl_shape shape;
    float *at; /* aligned to floats; NULL: the operator's own default, or output not wanted */
} fl_array;

/* Who calls, for every operator of a model's run: how many threads may work, and how they learn
   whether to stop. */
typedef struct fl_caller {
    size_t threads;      /* at most so many; 0 and 1: the calling thread alone */
    int (*poll)(void *); /* as in fl_call: called about every millisecond of work; NULL: never */
    void *poll_arg;
} fl_caller;

typedef struct fl_operator fl_operator;

typedef struct fl_operator_type {
    const char *name;
    /* Fills in out[0 .. outs - 1]. FL_OK or FL_BAD_SHAPE. */
    int (*shape)(const fl_operator *op, const fl_shape *in, size_t ins, fl_shape *out, size_t outs);
    /* FL_OK or FL_BAD_SHAPE. Must not run beside another function of the same operator. */
    int (*pack)(fl_operator *op, const fl_array *weights, size_t count);
    /* Of the memory at `arena`; SIZE_MAX once it is more than a size_t counts. */
    size_t (*bytes)(const fl_operator *op, const fl_shape *in, size_t ins, size_t threads);
    /*
     * Inputs and outputs have the shapes that `shape` takes and gives, and none overlaps an output.
     * arena: as much memory as `bytes` says, aligned to 64 bytes, of no use after the call. FL_OK,
     * FL_BAD_SHAPE or FL_NO_MEMORY (nothing written), or FL_INTERRUPTED (outputs partly written).
     */
    int (*run)(const fl_operator *op, const fl_array *in, size_t ins, const fl_array *out,
               size_t outs, void *arena, const fl_caller *caller);
    void (*free)(fl_operator *op);
} fl_operator_type;

/* The beginning of every operator. */
struct fl_operator {
    const fl_operator_type *type;
};

/* The product of the first `axes` sizes; SIZE_MAX once it is more than a size_t counts. */
static inline size_t fl_shape_count(const fl_shape *shape, size_t axes)
{
    size_t n = 1;
    for (size_t i = 0; i < axes; i++)
        n = fl_mul(n, shape->size[i]);
    return n;
}

/* Has a shape exactly these axes? */
static inline int fl_shape_is(const fl_shape *shape, size_t axes, const size_t *size)
{
    int same = shape->axes == axes;
    for (size_t i = 0; same && i < axes; i++)
        same = shape->size[i] == size[i];
    return same;
}

#endif
