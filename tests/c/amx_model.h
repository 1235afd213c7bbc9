/* SPDX-License-Identifier: MIT */
/* The model of AMX's instructions (amx_model.c), for programs that it is linked into. */
#ifndef FL_AMX_MODEL_H
#define FL_AMX_MODEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    FL_AMX_LDTILECFG,
    FL_AMX_STTILECFG,
    FL_AMX_TILERELEASE,
    FL_AMX_TILEZERO,
    FL_AMX_TILELOADD, /* and tileloaddt1 */
    FL_AMX_TILESTORED,
    FL_AMX_TDPBSSD,
    FL_AMX_TDPBSUD,
    FL_AMX_TDPBUSD,
    FL_AMX_TDPBUUD,
    FL_AMX_TDPBF16PS,
    FL_AMX_INSTRUCTIONS
};

/* 1 if the model carries the instructions out, 0 if this CPU does so itself. */
int fl_amx_model(void);

/* How often the model has carried out one of the instructions, in all threads. */
size_t fl_amx_model_count(int instruction);

#endif
