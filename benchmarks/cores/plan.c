/* SPDX-License-Identifier: MIT */
/*
 * Prints how the core divides forward calls, on a machine with as many CPUs as are asked for. Each
 * line of the input is
 *
 *     cpus threads cell lanes layers dirs input hidden steps batch
 *
 * with a cell of fastlstm.h, and each line of the output
 *
 *     threads blocks rows_max chunk_steps open_blocks ring parts panels
 *
 * of the plan (forward/plan.h), and the panels of a track's recurrent weights.
 */
#include <stdio.h>

#include "base/threads.h"
#include "forward/plan.h"

static size_t cpus;

/* In place of base/threads.c's, which counts this machine's. */
size_t fl_cpus(void) { return cpus; }

int main(void)
{
    static const size_t gates[] = {4, 3, 3, 1, 1};
    size_t threads, cell, lanes, layers, dirs, input, hidden, steps, batch;
    while (scanf("%zu %zu %zu %zu %zu %zu %zu %zu %zu %zu", &cpus, &threads, &cell, &lanes, &layers,
                 &dirs, &input, &hidden, &steps, &batch) == 10) {
        const fl_cell of = {.gates = gates[cell], .vectors = gates[cell], .units = 1};
        fl_net net = {.config = {.cell = (int)cell,
                                 .input = input,
                                 .hidden = hidden,
                                 .layers = layers,
                                 .dirs = dirs},
                      .cell = &of,
                      .width = hidden,
                      .tracks = layers * dirs,
                      .panel_units = lanes};
        net.unit_panels = net.panels = (hidden + lanes - 1) / lanes;
        const fl_call call = {.steps = steps, .batch = batch, .threads = threads};
        const fl_plan plan = fl_plan_call(&net, &call);
        printf("%zu %zu %zu %zu %zu %zu %zu %zu\n", plan.threads, plan.blocks, plan.rows_max,
               plan.chunk_steps, plan.open_blocks, plan.ring, plan.parts, net.panels);
    }
    return 0;
}
