/* SPDX-License-Identifier: MIT */
#include "training/gradient_product.h"

#include <string.h>

#include "base/size.h"
#include "kernels/bfloat16.h"
#include "kernels/run.h"

fl_codes fl_split_rows(const fl_net *net, char *to, const float *const *rows, size_t n, size_t k,
                       float bound)
{
    const int parts = net->track[0].w.parts, bits = 16 * parts;
    const fl_kernels *kernels = fl_run_kernels(net->kernels, FL_BFLOAT16, n);
    const size_t row = fl_code_bytes(kernels, FL_BFLOAT16, k, bits);
    for (size_t r = 0; r < n; r++)
        kernels->split_row(to + r * row, rows[r], k, parts, bound);
    return (fl_codes){.at = to, .row = row, .bits = bits};
}

int fl_gradient_product(fl_backward_job *job, fl_backward_scratch *scratch,
                        const fl_panels *weights, fl_gemm g)
{
    const fl_net *net = job->net;
    g.vectors = FL_NV;
    g.panels = g.c_row / net->plain_group;
    g.a_step = 1;
    g.cut = 1;
    g.panel = weights->data;
    g.panel_bytes = weights->panel_bytes;
    g.c_panel = net->plain_group;
    if (!g.rows)
        return FL_OK;
    if (fl_by_parts(net)) {
        g.codes = fl_split_rows(net, scratch->codes, g.a, g.rows, g.k, FL_TINY_GRADIENT_PART);
        for (size_t r = 0; r < g.rows && g.add == FL_ONTO; r++)
            fl_no_tiny_floats(g.c + r * g.c_row, g.c_row, FL_TINY_BIAS);
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
            if (units == FL_MAX_LANES) /* a copy of constant size is one move */
                for (size_t r = 0; r < rows; r++)
                    memcpy(first + r * net->cell->gates * net->config.hidden,
                           at + r * net->panels * net->group, FL_MAX_LANES * sizeof(float));
            else
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
    const int row_parts = net->track[0].w.parts, parts = fl_row_sum_parts(job);
    const size_t lengths[] = {fl_gate_columns(net), net->width, job->span};
    const size_t rows[] = {job->chunk_rows, job->rows_max, fl_add(in_max, net->width)};
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        const size_t row = fl_most_code_bytes(net->kernels, FL_BFLOAT16, lengths[i],
                                              16 * (i < 2 ? row_parts : parts));
        const size_t bytes = fl_mul(rows[i], row);
        most = bytes > most ? bytes : most;
    }
    return fl_add(most, FL_ALIGN); /* of two sets of rows the second begins a cache line */
}
