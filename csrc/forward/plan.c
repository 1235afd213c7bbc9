/* SPDX-License-Identifier: MIT */
#include "forward/plan.h"

#include "base/size.h"
#include "base/threads.h"

/* The most rows of a block, and of a chunk, whose rows are its steps times the block's rows. 24
   rows fill every register tile and make arithmetic the bound of the input product; with more,
   panels are read less often. The bound on a block's rows keeps z, of rows x 4H floats, near the
   size of a core's cache, however large B is. */
enum { BLOCK_ROWS = 64, CHUNK_ROWS = 48 };

/*
 * The rows of a chunk on tiles, whose arithmetic takes so little time that reading weights is the
 * bound, if those of a track have more than FAR_BYTES: the caches of a core do not hold both its
 * matrices, and with longer chunks one of them is read less often. What 256 rows gain over 48
 * (Emerald Rapids, 2 MiB of L2), for layers with as many inputs as units:
 *
 *     H, B           256, 32   384, 8   512, 1   512, 8   512, 32   1024, 32
 *     int8             -2 %      -3 %      2 %      8 %       8 %        7 %
 *     bfloat16         -4 %      13 %      7 %     22 %      15 %       13 %
 */
enum { FAR_CHUNK_ROWS = 256 };
static const size_t FAR_BYTES = 3 << 19;

/* The fewest rows that a block has if there is more than one thread. */
enum { SPLIT_ROWS = 4 };

/* With several threads the layers of a stack run as a wavefront: a layer starts when the one below
   has done its first chunk. So time is cut into at least WAVE_CHUNKS chunks, as long as these have
   the WAVE_ROWS rows that fill a register tile. */
enum { WAVE_CHUNKS = 16, WAVE_ROWS = 6 };

/* How many chunks of a layer's output are kept for the layer above when several threads work on a
   stack. With 3, a thread finds no free chunk more often and then changes to another layer, and the
   contents of its caches with it: 4 layers of H = 256 gained 1.66 times from a second thread; with
   6 they gained 1.82. */
enum { RING = 6 };

/* For how long a thread that finds no ready tile looks for one without a nap: for the time that a
   tile takes at IDLE_RATE operations a second, but at most IDLE_MOST, and IDLE_SECONDS more. */
static const double IDLE_SECONDS = 50e-6, IDLE_RATE = 20e9, IDLE_MOST = 2e-3;

/*
 * When units are split among threads (split_units.h): in calls of at least MIN_STEPS steps, or
 * whose steps have MIN_FLOP operations a row, as they do from H = I = 500 on and then take some 0.2
 * ms, into two parts of at least HALF_UNITS units of an LSTM each, or into up to FL_MAX_PARTS of at
 * least PART_UNITS. A second core that
 * gains less than 1.5 is better left to others. What two parts gain over one thread (19 panels,
 * say, are divided into 9 and 10, and the exchange of h at a step's end costs some 0.3 us on a Zen
 * 4, more on an Emerald Rapids):
 *
 *     H                    64     96    100    128    144    160    200    300
 *     Zen 4, 1 row       1.29   1.44   1.37   1.74          1.67          1.81
 *            2 rows      1.32          1.46   1.69                        1.90
 *            4 to 7      1.5    1.57   1.44          1.69          1.73
 *     Emerald Rapids, 2  0.94   1.16   1.21   0.99   1.56   1.59   1.87   1.97
 *            3 to 7      0.83   1.18   1.31   1.06   1.54   1.65   1.85   1.71
 *
 * On the threads of an fl_call.run in any call, into parts of at least RUN_UNITS: ONNX Runtime,
 * whose threads these are, divides such steps too, and was up to 1.5 times as fast before this.
 *
 * A stack whose layers have at most WAVE_BYTES of recurrent weights runs as a wavefront of tiles
 * instead, where each core has one layer in its cache. What a second thread gains two layers, on
 * cores with 2 MiB of L2:
 *
 *     H            256    320    384    512
 *     wavefront    1.94   1.47   1.37   1.55
 *     split        1.79   1.91   2.72   2.24
 */
enum { MIN_STEPS = 8 };
static const double MIN_FLOP = 4e6;
#if defined(FL_SPLIT_HOOK)
enum { PART_UNITS = 8, HALF_UNITS = 8, RUN_UNITS = 8 };
static const double WAVE_BYTES = 0;
#else
enum { PART_UNITS = 96, HALF_UNITS = 72, RUN_UNITS = 48 };
static const double WAVE_BYTES = 2.5e6;
#endif

size_t fl_plan_blocks(size_t batch, size_t threads)
{
    const size_t blocks = fl_ceil_div(batch, BLOCK_ROWS);
    if (threads <= 1)
        return blocks;
    const size_t most = batch / SPLIT_ROWS ? batch / SPLIT_ROWS : 1;
    const size_t want = fl_ceil_div(blocks, threads) * threads;
    return want < most ? want : blocks > most ? blocks : most;
}

size_t fl_plan_chunk_steps(size_t rows_max) { return fl_ceil_div(CHUNK_ROWS, rows_max); }

/* Into how many parts to split the units of each layer of a call of one block and one direction. */
static size_t split_parts(const fl_net *net, const fl_call *call, double step_flop, size_t threads)
{
    const fl_config *config = &net->config;
    const size_t units = config->hidden * net->cell->gates / 4;
    size_t parts = units / (call->run ? RUN_UNITS : PART_UNITS);
    if (parts < 2 && !call->run && units >= 2 * HALF_UNITS)
        parts = 2;
    const double weights = 8.0 * (double)(net->cell->gates * config->hidden * net->width);
    const int brief = !call->run && call->steps < MIN_STEPS && step_flop < MIN_FLOP;
    if (config->proj || call->tape || brief || (config->layers > 1 && weights <= WAVE_BYTES))
        return 1;
    parts = parts < FL_MAX_PARTS ? parts : FL_MAX_PARTS;
    parts = parts < threads ? parts : threads;
#if !defined(FL_SPLIT_HOOK)        /* threads that share a CPU only hold each other up */
    if (parts > 1 && !call->run) { /* a session knows the CPUs of its own threads */
        const size_t cpus = fl_cpus();
        parts = parts < cpus ? parts : cpus;
    }
#endif
    return parts ? parts : 1;
}

/* Of the weights of a track, of the first layer or of another. */
static size_t track_bytes(const fl_net *net)
{
    const fl_track_weights *track = &net->track[net->tracks - 1];
    return net->panels * (track->w.panel_bytes + track->r.panel_bytes);
}

fl_plan fl_plan_call(const fl_net *net, const fl_call *call)
{
    const fl_config *config = &net->config;
    const double steps = (double)call->steps * (double)call->batch * (double)net->tracks;
    const double step_flop = 2.0 * (double)net->cell->gates * (double)config->hidden *
                             (double)(config->input + net->width); /* of one row of one track */
    const int small = step_flop * steps < (call->run ? FL_RUN_FLOP : FL_THREADS_FLOP);
    fl_plan plan = {.threads = small || !call->threads ? 1 : call->threads, .parts = 1, .ring = 1};
    plan.blocks = fl_plan_blocks(call->batch, plan.threads);
    if (plan.threads > 1) {
        /* As many threads can help as there are tracks that can run side by side. */
        const size_t tracks = plan.blocks * (config->dirs == 1 ? config->layers : config->dirs);
        if (plan.blocks == 1 && config->dirs == 1)
            plan.parts = split_parts(net, call, step_flop, plan.threads);
        if (plan.parts > 1)
            plan.threads = plan.parts;
        else if (plan.threads > tracks)
            plan.threads = tracks;
    }
    plan.rows_max = fl_ceil_div(call->batch, plan.blocks);
    plan.open_blocks = plan.threads < plan.blocks ? plan.threads : plan.blocks;
    plan.chunk_steps = fl_plan_chunk_steps(plan.rows_max);
    if (fl_format_encoded(config->format) && net->kernels->without_tiles &&
        track_bytes(net) > FAR_BYTES)
        plan.chunk_steps = fl_ceil_div(FAR_CHUNK_ROWS, plan.rows_max);
    if (plan.threads > 1 && plan.parts == 1) {
        plan.ring = RING;
        if (config->layers > 1 && config->dirs == 1) {
            const size_t least = fl_ceil_div(WAVE_ROWS, plan.rows_max);
            const size_t even = call->steps / WAVE_CHUNKS;
            const size_t want = even > least ? even : least;
            plan.chunk_steps = want < plan.chunk_steps ? want : plan.chunk_steps;
        }
    }
    if (plan.chunk_steps > call->steps)
        plan.chunk_steps = call->steps;
    plan.chunk_rows = plan.chunk_steps * plan.rows_max;
    plan.patience = step_flop * (double)plan.chunk_rows / IDLE_RATE;
    plan.patience = (plan.patience < IDLE_MOST ? plan.patience : IDLE_MOST) + IDLE_SECONDS;
    plan.hidden_pad = net->unit_panels * net->panel_units;
    plan.proj_pad = net->proj_panels * net->plain_group;
    return plan;
}
