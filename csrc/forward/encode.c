/* SPDX-License-Identifier: MIT */
#include "forward/encode.h"

#include "kernels/bfloat16.h"
#include "kernels/run.h"

/* The bits of a number of a layer's input, or of a state for any layer but the first. */
static int bits_of(const fl_net *net, size_t layer)
{
    if (net->config.format == FL_BFLOAT16)
        return 16 * net->track[0].w.parts;
    return layer == 0 && net->config.input_bits == 16 ? 16 : 8;
}

void fl_encode_carve(fl_carver *carver, const fl_job *job, fl_scratch *scratch)
{
    const fl_net *net = job->net;
    const fl_plan *plan = &job->plan;
    const int format = net->config.format;
    if (!fl_format_encoded(format))
        return;
    const size_t upper =
        net->config.layers > 1
            ? fl_most_code_bytes(net->kernels, format, fl_layer_in(net, 1), bits_of(net, 1))
            : 0;
    const size_t first =
        fl_most_code_bytes(net->kernels, format, net->config.input, bits_of(net, 0));
    const size_t state = fl_most_code_bytes(
        net->kernels, format, net->width > net->config.hidden ? net->width : net->config.hidden,
        bits_of(net, 1));
    const size_t scales = format == FL_INT8 ? sizeof(float) : 0;
    scratch->x_codes =
        fl_carve(carver, fl_mul(plan->chunk_rows, first > upper ? first : upper), sizeof(int8_t));
    scratch->x_scales = fl_carve(carver, plan->chunk_rows, scales);
    scratch->x_sums = fl_carve(carver, plan->chunk_rows, scales);
    scratch->h_codes = fl_carve(carver, fl_mul(plan->rows_max, state), sizeof(int8_t));
    scratch->h_scales = fl_carve(carver, plan->rows_max, scales);
    scratch->h_sums = fl_carve(carver, plan->rows_max, scales);
}

static fl_codes encode(const fl_net *net, const fl_panels *panels, const float *const *rows,
                       size_t n, size_t k, int bits, float least, void *to, float *scales,
                       int32_t *sums)
{
    const fl_kernels *kernels = fl_run_kernels(net->kernels, panels->format, n);
    const size_t row = fl_code_bytes(kernels, panels->format, k, bits);
    for (size_t r = 0; r < n; r++) {
        void *at = (char *)to + r * row;
        if (panels->format == FL_BFLOAT16)
            kernels->split_row(at, rows[r], k, panels->parts, FL_TINY_PART);
        else
            scales[r] = kernels->encode(at, rows[r], k, bits, least, panels->top, &sums[r]);
    }
    return (fl_codes){.at = to, .row = row, .bits = bits, .scale = scales, .sum = sums};
}

fl_codes fl_encode_inputs(const fl_job *job, fl_scratch *scratch, const fl_track_weights *weights,
                          size_t layer, size_t n)
{
    if (!fl_format_encoded(weights->w.format))
        return (fl_codes){0};
    return encode(job->net, &weights->w, scratch->a, n, weights->in, bits_of(job->net, layer),
                  layer ? 1.0f : 0.0f, scratch->x_codes, scratch->x_scales, scratch->x_sums);
}

fl_codes fl_encode_states(const fl_job *job, fl_scratch *scratch, const fl_panels *panels,
                          const float *const *rows, size_t n, size_t k)
{
    if (!fl_format_encoded(panels->format))
        return (fl_codes){0};
    return encode(job->net, panels, rows, n, k, bits_of(job->net, 1), 1.0f, scratch->h_codes,
                  scratch->h_scales, scratch->h_sums);
}
