/* SPDX-License-Identifier: MIT */
/*
 * A program: a list of operators that runs as one call.
 *
 * Its arrays have places, numbered in the order in which they are added. A place is an input that
 * the caller gives with each run, a constant whose memory the caller keeps alive, or what a step
 * makes. A step is an operator with the places that it reads and writes; steps run in the order in
 * which they are added.
 *
 * The sizes of inputs may be different in each run, but a place has the same type in all. For the
 * sizes at hand a layout is made first: it knows the shape of every place and where it lies in one
 * block of memory, the arena, in which places share memory when they are not needed at the same
 * time. A step whose outputs other steps need to know their shapes (the sizes that a reshape is
 * given) is `early`: it runs when the layout is made. Its inputs are constants, outputs of early
 * steps, or any place if the operator reads nothing but shapes. Where one of its outputs would have
 * more than 1 MiB, which no sizes have, it and what reads it run with the other steps instead.
 *
 * A program changes only while it is built, a layout never, so any number of threads may run them
 * at the same time, each with an arena of its own.
 */
#ifndef FL_PROGRAM_H
#define FL_PROGRAM_H

#include "ops/operator.h"

#define FL_NOWHERE SIZE_MAX /* in place of a number: an optional array that is not there */

typedef struct fl_program fl_program;
typedef struct fl_layout fl_layout;

fl_program *fl_program_new(void);          /* empty; NULL when memory is short */
void fl_program_free(fl_program *program); /* and its operators; NULL is allowed */

/* Adding. Each answers FL_OK, FL_NO_MEMORY or FL_BAD_SHAPE, and then nothing has changed. The new
   places have the next numbers: fl_program_places was the first of them before the call. */
int fl_program_input(fl_program *program, int type, size_t axes);
int fl_program_constant(fl_program *program, const fl_array *array);
/* The program takes the operator, and frees it at once if the step cannot be added. in[i] and
   out[i]: places, out[i] those that this step makes, in order, or FL_NOWHERE. */
int fl_program_step(fl_program *program, fl_operator *op, int early, const size_t *in, size_t ins,
                    const size_t *out, size_t outs);
/* An output of the program: any place, also one that is an output already. After the first of them
   nothing else may be added. */
int fl_program_output(fl_program *program, size_t place);
size_t fl_program_places(const fl_program *program);

/*
 * A layout for inputs of the given shapes and at most `threads` threads; elements of inputs are not
 * read. On FL_BAD_SHAPE, FL_BAD_VALUE or FL_NO_MEMORY *step is the number of the step that does not
 * fit its inputs, or FL_NOWHERE if it is the program's inputs that do not fit. The caller gives the
 * layout back with fl_layout_free.
 */
int fl_layout_new(const fl_program *program, const fl_array *inputs, size_t count, size_t threads,
                  fl_layout **layout, size_t *step);
void fl_layout_free(fl_layout *layout);
size_t fl_layout_arena(const fl_layout *layout); /* bytes; SIZE_MAX: more than a size_t counts */
/* Type and shape of any place; `at` is of no meaning. */
const fl_array *fl_layout_place(const fl_layout *layout, size_t place);

/*
 * Runs all steps but those that ran early, on at most as many threads as the layout was made for.
 * inputs and outputs: the memory of each, with the shapes that the layout was made for and gives;
 * outputs overlap neither each other nor inputs. Inputs of int64 must not change during the run:
 * indices and lengths are read again after they were checked. arena: fl_layout_arena bytes, aligned
 * to 64. The result is that of the first step that is not FL_OK, and *step its number.
 */
int fl_program_run(const fl_program *program, const fl_layout *layout, void *const *inputs,
                   void *const *outputs, void *arena, const fl_caller *caller, size_t *step);

#endif
