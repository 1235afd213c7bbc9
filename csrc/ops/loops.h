/* SPDX-License-Identifier: MIT */
/* A loop whose iterations each read and write elements of one index only, so that the compiler may
   vectorise it even if an output is the memory of an input. */
#ifndef FL_LOOPS_H
#define FL_LOOPS_H

#if defined(__clang__)
#define FL_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define FL_INDEPENDENT _Pragma("GCC ivdep")
#endif

/* FL_EACH (n) y[i] = f(x[i]); with i counting from 0. */
#define FL_EACH(n) FL_INDEPENDENT for (size_t i = 0; i < (n); i++)

#endif
