/* SPDX-License-Identifier: MIT */
#include "training/gradient_product.h"

#include <string.h>

#include "base/size.h"
#include "kernels/bfloat16.h"
#include "kernels/run.h"

int fl_gradient_product(fl_backward_job *job, fl_backward_scratch *scratch,
                        const fl_panels *weights, fl_gemm g)
{
    const fl_net *net = job->net;
    g.vectors = FL_NV;
    g.panels = g.c_row / net->plain_group;
    g.a_step = 1;
    g.panel = weights->data;
    g.panel_bytes = weights->panel_bytes;
    g.c_panel = net->plain_group;
    if (!g.rows)
        return FL_OK;
    if (fl_by_parts(net)) {
        const int parts = weights->parts;
        g.codes = (fl_codes){.at = scratch->codes,
                             .row = fl_tiled_row_bytes(net->kernels, g.k, parts),
                             .bits = 16 * parts,
                             .tiled = 1};
        for (size_t r = 0; r < g.rows; r++) {
            net->kernels->split_tiled_row(scratch->codes + r * g.codes.row, g.a[r], g.k, parts,
                                          FL_TINY_GRADIENT_PART);
            if (g.add == FL_ONTO)
                fl_no_tiny_floats(g.c + r * g.c_row, g.c_row, FL_TINY_BIAS);
        }
    }
    return fl_run_gemm(&job->context, &scratch->slot, weights->format, g);
}

void fl_order_gates(const fl_net *net, float *to, const float *from, size_t rows)
{
    const size_t lanes = net->kernels->lanes, vectors = net->cell->vectors;
    for (size_t p = 0; p < net->panels; p++)
        for (size_t v = 0; v < vectors; v++) {
            size_t units;
            float *first = to + fl_gate_row(net, p, v, &units);
            const float *at = from + (p * vectors + v) * lanes;
            for (size_t r = 0; r < rows && units; r++)
                memcpy(first + r * net->cell->gates * net->config.hidden,
                       at + r * net->panels * net->group, units * sizeof(float));
        }
}

size_t fl_gradient_codes(const fl_backward_job *job, size_t in_max)
{
    const fl_net *net = job->net;
    if (!fl_by_parts(net))
        return 0;
    const int parts = net->track[0].w.parts;
    const size_t sizes[] = {
        fl_mul(job->chunk_rows, fl_tiled_row_bytes(net->kernels, fl_gate_columns(net), parts)),
        fl_mul(job->rows_max, fl_tiled_row_bytes(net->kernels, net->width, parts)),
        fl_mul(fl_add(in_max, net->width), fl_tiled_row_bytes(net->kernels, job->span, parts))};
    size_t most = sizes[0] > sizes[1] ? sizes[0] : sizes[1];
    return most > sizes[2] ? most : sizes[2];
}
