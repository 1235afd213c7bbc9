/* SPDX-License-Identifier: MIT */
#include "ops/epilogue.h"

#include <math.h>

#include "kernels/contract.h"

int fl_epilogue_read(const fl_attributes *attributes, size_t at, fl_epilogue *epilogue)
{
    const int64_t function =
        attributes->int_count > at ? attributes->ints[at] : (int64_t)FL_NO_ACTIVATION;
    if (function < FL_NO_ACTIVATION || function > FL_LAST_ACTIVATION ||
        (attributes->float_count != 0 && attributes->float_count != 2))
        return FL_BAD_SHAPE;
    *epilogue =
        (fl_epilogue){.kernels = attributes->kernels, .activation = {.function = (int)function}};
    if (attributes->float_count) {
        epilogue->activation.alpha = attributes->floats[0];
        epilogue->activation.beta = attributes->floats[1];
    }
    return FL_OK;
}

/* The functions that a compiler turns into a few vector instructions. In each a NaN stays. */
static void relu(float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 0.0f > y[i] ? 0.0f : y[i];
}

static void leaky_relu(float *y, size_t n, float alpha)
{
    for (size_t i = 0; i < n; i++) {
        const float scaled = alpha * y[i];
        y[i] = 0.0f > y[i] ? scaled : y[i];
    }
}

static void clip(float *y, size_t n, float least, float most)
{
    for (size_t i = 0; i < n; i++) {
        const float cut = most < y[i] ? most : y[i];
        y[i] = least > cut ? least : cut;
    }
}

static void hard_swish(float *y, size_t n, float alpha, float beta)
{
    for (size_t i = 0; i < n; i++) {
        const float slope = y[i] * alpha + beta, most = 1.0f < slope ? 1.0f : slope;
        y[i] *= 0.0f > most ? 0.0f : most;
    }
}

/* Kernels compute the slope too, which goes to memory that nobody reads. */
static void activate(const fl_epilogue *epilogue, float *y, size_t n)
{
    enum { AT_ONCE = 256 };
    float slope[AT_ONCE];
    for (size_t i = 0; i < n; i += AT_ONCE)
        epilogue->kernels->activate(&epilogue->activation, y + i, slope, y + i,
                                    n - i < AT_ONCE ? n - i : AT_ONCE);
}

int fl_epilogue_limits(const fl_epilogue *epilogue, float *least, float *most)
{
    const fl_activation *f = &epilogue->activation;
    *least = -INFINITY;
    *most = INFINITY;
    if (f->function == FL_THRESHOLDED_RELU && f->alpha == 0)
        *least = 0;
    else if (f->function == FL_CLIP) {
        epilogue->kernels->flush(least, &f->alpha, 1);
        epilogue->kernels->flush(most, &f->beta, 1);
    } else
        return f->function == FL_NO_ACTIVATION;
    return 1;
}

void fl_epilogue_apply(const fl_epilogue *epilogue, float *y, size_t n)
{
    const fl_kernels *kernels = epilogue->kernels;
    const fl_activation *f = &epilogue->activation;
    if (f->function == FL_NO_ACTIVATION)
        return;
    if (f->function == FL_THRESHOLDED_RELU && f->alpha == 0) {
        relu(y, n); /* it makes no tiny number */
        return;
    }
    if (f->function == FL_LEAKY_RELU)
        leaky_relu(y, n, f->alpha);
    else if (f->function == FL_CLIP)
        clip(y, n, f->alpha, f->beta);
    else if (f->function == FL_HARD_SWISH)
        hard_swish(y, n, f->alpha, f->beta);
    else if (f->function == FL_SIGMOID)
        kernels->sigmoid(y, y, n);
    else if (f->function == FL_SCALED_TANH && f->alpha == 1 && f->beta == 1)
        kernels->tanh(y, y, n);
    else
        activate(epilogue, y, n);
    kernels->flush(y, y, n);
}
