/* SPDX-License-Identifier: MIT */
/* For drivers of the kernels whose products are of AMX's tiles. */
#ifndef FL_AMX_H
#define FL_AMX_H

#include <string.h>

#include "kernels/contract.h"
#include "amx_model.h"
#include "check.h"

/* The kernels of an instruction set, or NULL if it does not run here. */
static inline const fl_kernels *kernels_named(const char *name)
{
    for (int i = 0; i < fl_isa_count(); i++)
        if (!strcmp(fl_isa_name(i), name))
            return fl_isa_kernels(i);
    return NULL;
}

/* Those with tiles. Where they do not run, which a CPU without AVX-512 is one reason for, the
   program ends. */
static inline const fl_kernels *tiled_kernels(void)
{
    const fl_kernels *kernels = kernels_named("avx512-amx");
    if (!kernels) {
        printf("no tiles here\n");
        exit(0);
    }
    CHECK(kernels->without_tiles == kernels_named("avx512-vnni"));
    return kernels;
}

/* What the calling thread's tiles are configured for: all zeros if for nothing. */
typedef struct configuration {
    uint8_t palette, start, zeros[14];
    uint16_t width[16];
    uint8_t rows[16];
} configuration;

static inline configuration configured(void)
{
    configuration f;
    __asm__ volatile("sttilecfg %0" : "=m"(f));
    return f;
}

static inline void configure(configuration f) { __asm__ volatile("ldtilecfg %0" : : "m"(f)); }

static inline int none_configured(void)
{
    const configuration none = {0}, now = configured();
    return !memcmp(&none, &now, sizeof now);
}

#endif
