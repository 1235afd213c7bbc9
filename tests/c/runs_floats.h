/* SPDX-License-Identifier: MIT */
#ifndef FL_RUNS_FLOATS_H
#define FL_RUNS_FLOATS_H

#include <string.h>

#include "fastlstm.h"

/* Does an instruction set run here, with kernels of floats of its own? Sets that have kernels for
   products of codes or of tiles, and are called so, share those of floats with the set without. */
static inline int runs_floats(int isa)
{
    const char *name = fl_isa_name(isa);
    return fl_isa_runnable(isa) && !strstr(name, "-vnni") && !strstr(name, "-dot") &&
           !strstr(name, "-amx");
}

#endif
