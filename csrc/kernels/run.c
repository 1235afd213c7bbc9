/* SPDX-License-Identifier: MIT */
#include "kernels/run.h"

/*
 * The policy of sets with tiles: calls of at most so many rows run on the kernels without them. A
 * tile of weights takes as long to load for one row as for 16. The time without tiles over that
 * with them (Emerald Rapids, 100 steps, as many inputs as units; from 4 rows on of whole calls,
 * below of calls whose input products are on tiles):
 *
 *     rows              1      2      3      4      6      8     12
 *     int8, H = 64     0.68   0.84   0.88
 *           H = 128                         1.17          1.46
 *           H = 256    0.80   0.87   0.88   1.37   1.52   1.68   1.54
 *           H = 512    0.82   0.88          1.47   1.62   1.80
 *     bfloat16, 64     1.03   0.95
 *           H = 256    1.13   1.29   1.50   2.90   3.25   3.54   3.64
 *           H = 512    1.18   1.24          2.45   2.77   3.09
 *
 * Convolutions in bfloat16 parts rely on the 0: they lay rows out once, however many they are
 * (ops/convolve_parts.c). Tests define another number, so that tiles take every call.
 */
#if defined(FL_TILE_ROWS)
static const size_t few_rows[FL_FORMATS] = {[FL_INT8] = FL_TILE_ROWS - 1,
                                            [FL_BFLOAT16] = FL_TILE_ROWS - 1};
#else
static const size_t few_rows[FL_FORMATS] = {[FL_INT8] = 3, [FL_BFLOAT16] = 0};
#endif

const fl_kernels *fl_run_kernels(const fl_kernels *kernels, int format, size_t rows)
{
    return kernels->without_tiles && rows <= few_rows[format] ? kernels->without_tiles : kernels;
}

void fl_run_init(fl_context *context, const fl_kernels *kernels, int (*poll)(void *),
                 void *poll_arg)
{
    fl_context_init(context, kernels, poll, poll_arg);
    context->enter = kernels->enter;
    context->leave = kernels->leave;
}

void fl_enter(const fl_context *context)
{
    if (context->enter)
        context->enter();
}

void fl_leave(const fl_context *context)
{
    if (context->leave)
        context->leave();
}

/* Operations that one panel of a kernel call counts for: its products, and about as much as the
   rest of it takes. */
static double panel_flop(size_t rows, size_t k, size_t group)
{
    return 2.0 * (double)rows * (double)(k + 16) * (double)group;
}

/* How many panels to hand a kernel at once, so that the next look is never far off. */
static size_t panel_span(size_t panels, double flop_per_panel)
{
    double span = FL_POLL_FLOP / flop_per_panel;
    return span >= (double)panels ? panels : (size_t)span / 4 * 4 + 4;
}

int fl_run_gemm(fl_context *context, fl_slot *slot, int format, fl_gemm g)
{
    const size_t panels = g.panels, group = g.vectors * context->kernels->lanes;
    const double each = panel_flop(g.rows, g.k * (g.pieces ? g.pieces : 1), group);
    const size_t span = panel_span(panels, each);
    void (*const run)(const fl_gemm *) =
        fl_run_kernels(context->kernels, format, g.rows)->gemm[format];
    for (size_t p = 0; p < panels; p += g.panels) {
        g.panels = panels - p < span ? panels - p : span;
        run(&g);
        g.panel = (const char *)g.panel + g.panels * g.panel_bytes;
        g.init = g.init ? g.init + g.panels * group : NULL;
        g.scales = g.scales ? g.scales + g.panels * group : NULL;
        g.c += g.panels * g.c_panel;
        if (fl_should_stop(context, slot, each * (double)g.panels))
            return FL_INTERRUPTED;
    }
    return FL_OK;
}

int fl_run_step(fl_context *context, fl_slot *slot, const fl_cell *cell, int format, fl_step *s)
{
    const size_t first = s->p0, end = s->p1, group = cell->vectors * context->kernels->lanes;
    const double each = panel_flop(s->rows, s->k, group);
    const size_t span = panel_span(end - first, each);
    const fl_kernels *kernels = fl_run_kernels(context->kernels, format, s->rows);
    if (kernels != context->kernels)
        cell = &kernels->cell[cell - context->kernels->cell];
    const int keep = s->kept && (format == FL_FLOAT32 || cell->reset);
    void (*const run)(const fl_step *) = keep ? cell->keep : cell->step[format];
    int e = FL_OK;
    s->gemm = kernels->gemm[format];
    for (; s->p0 < end && e == FL_OK; s->p0 = s->p1) {
        s->p1 = end - s->p0 < span ? end : s->p0 + span;
        run(s);
        if (fl_should_stop(context, slot, each * (double)(s->p1 - s->p0)))
            e = FL_INTERRUPTED;
    }
    s->p0 = first;
    s->p1 = end;
    return e;
}
