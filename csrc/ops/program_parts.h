/* SPDX-License-Identifier: MIT */
/* What a program is made of; for program.c alone. */
#ifndef FL_PROGRAM_PARTS_H
#define FL_PROGRAM_PARTS_H

#include "ops/list.h"
#include "ops/program.h"

enum { GIVEN, CONSTANT, MADE };

typedef struct place {
    int kind, type;
    int early;         /* MADE by a step that may be early: then its elements lie in the layout */
    size_t axes;       /* GIVEN: how many axes it has */
    size_t input;      /* GIVEN: the number of the program's input */
    fl_array constant; /* CONSTANT */
    size_t root;       /* the place in whose memory this one lies: another one for views only */
    size_t last;       /* of a root: the last step that reads or makes it; FL_NOWHERE: needed to the
                          end, as an output */
    size_t output;     /* of a root that is MADE: the program's output in whose memory it lies, or
                          FL_NOWHERE */
} place;

typedef struct step {
    fl_operator *op;
    int early; /* it may be */
    int whole; /* 1: no output is FL_NOWHERE; 0: a run asks the operator for the outputs' shapes
                  once more, since those that are not wanted have no place that knows them */
    size_t ins, outs;
    size_t first; /* its places in fl_program.numbers: `ins` of inputs, then `outs` of outputs */
} step;

struct fl_program {
    fl_list places, steps, numbers, outputs;
    size_t inputs;
    size_t most_arrays; /* inputs and outputs together, of the step that has most */
};

static inline place *place_at(const fl_program *program, size_t i)
{
    return (place *)program->places.at + i;
}

static inline step *step_at(const fl_program *program, size_t i)
{
    return (step *)program->steps.at + i;
}

static inline size_t *numbers_of(const fl_program *program, const step *s)
{
    return (size_t *)program->numbers.at + s->first;
}

#endif
