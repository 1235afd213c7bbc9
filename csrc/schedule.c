/* SPDX-License-Identifier: MIT */
/*
 * Who takes which tile.
 *
 * A tile is ready when the tile before it in time is done and what it reads from the layer below
 * is there: in a one-directional stack the same chunk of that layer, in a bidirectional one all of
 * it. Whoever is free takes the next ready tile, uppermost layer first. That one rule gives batch
 * parallelism, both directions side by side and a wavefront across layers, and for one thread a
 * walk that takes a chunk through all layers before the next, so memory does not grow with T.
 */
#include "clock.h"
#include "forward.h"
#include "tape.h"

/* A nap counts as so much work towards the next poll, in flop. */
static const double IDLE_FLOP = 5e6;

static size_t done(const fl_job *j, const fl_block *block, size_t layer, size_t dir)
{
    return atomic_load_explicit(&block->lane[layer * j->net->config.dirs + dir].done,
                                memory_order_acquire);
}

/* May chunk k of a layer run, as far as the layers below and above go? */
static int ready(const fl_job *j, const fl_block *block, size_t layer, size_t k)
{
    const size_t layers = j->net->config.layers;
    if (j->net->config.dirs == 2)
        return layer == 0 || (done(j, block, layer - 1, 0) == block->chunks &&
                              done(j, block, layer - 1, 1) == block->chunks);
    return (layer == 0 || done(j, block, layer - 1, 0) > k) &&
           (layer == layers - 1 || done(j, block, layer + 1, 0) + j->ring > k);
}

/* Runs tiles of one lane for as long as they are ready; how many. */
static size_t work_lane(fl_job *j, fl_desk *desk, fl_block *block, size_t layer, size_t dir)
{
    fl_lane *lane = &block->lane[layer * j->net->config.dirs + dir];
    size_t ran = 0;
    int idle = 0;
    if (atomic_load_explicit(&lane->busy, memory_order_relaxed))
        return 0; /* a look, before the exchange that would pull the line away from its owner */
    if (!atomic_compare_exchange_strong_explicit(&lane->busy, &idle, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        return 0;
    size_t k = atomic_load_explicit(&lane->done, memory_order_relaxed);
    for (; k < block->chunks && ready(j, block, layer, k); ran++) {
        const size_t s0 = k * j->chunk_steps, left = block->length[0] - s0;
        fl_seq in = j->call->tape ? fl_tape_seq(j, block, layer, 1)
                    : layer       ? fl_output(j, block, layer - 1, k)
                                  : fl_outer(j, block, j->call->x, j->call->x_t, j->call->x_b);
        fl_seq out = fl_output(j, block, layer, k);
        if (fl_tile(j, desk, block, layer, dir, &in, &out, s0,
                    left < j->chunk_steps ? s0 + left : s0 + j->chunk_steps) != FL_OK)
            break; /* j->stopped says why */
        atomic_store_explicit(&lane->done, ++k, memory_order_release);
    }
    atomic_store_explicit(&lane->busy, 0, memory_order_release);
    return ran;
}

/* Runs what is ready in a room's block; opens and closes blocks when due. How much was done. */
static size_t work_room(fl_job *j, fl_desk *desk, fl_room *room)
{
    const size_t layers = j->net->config.layers, dirs = j->net->config.dirs;
    size_t ran = 0, guest = FL_VACANT;
    if (atomic_compare_exchange_strong_explicit(&room->guest, &guest, FL_TAKEN,
                                                memory_order_acquire, memory_order_acquire)) {
        guest = atomic_fetch_add_explicit(&j->next_block, 1, memory_order_relaxed);
        if (guest >= j->blocks)
            return 0; /* the room stays taken: there is nothing left for it */
        fl_start_block(j, desk, guest, room);
        atomic_store_explicit(&room->guest, guest, memory_order_release);
        ran++;
    } else if (guest == FL_TAKEN) {
        return 0;
    }
    fl_block *block = &j->block[guest];
    for (size_t l = layers; l-- > 0;)
        for (size_t d = 0; d < dirs; d++)
            ran += work_lane(j, desk, block, l, d);
    for (size_t l = 0; l < layers; l++)
        for (size_t d = 0; d < dirs; d++)
            if (done(j, block, l, d) < block->chunks)
                return ran;
    if (!atomic_exchange_explicit(&block->closed, 1, memory_order_relaxed)) {
        fl_end_block(j, desk, block);
        atomic_store_explicit(&room->guest, FL_VACANT, memory_order_release);
        atomic_fetch_sub_explicit(&j->blocks_left, 1, memory_order_release);
        ran++;
    }
    return ran;
}

int fl_finished(fl_job *j)
{
    return atomic_load_explicit(&j->blocks_left, memory_order_acquire) == 0 ||
           atomic_load_explicit(&j->stopped, memory_order_relaxed) != FL_OK;
}

/* Is more than one lane left? If so, a thread without work may yet get some. */
static int lanes_left(const fl_job *j)
{
    const size_t dirs = j->net->config.dirs, lanes = j->net->config.layers * dirs;
    size_t left = 0, open = 0;
    for (size_t i = 0; i < j->rooms; i++) {
        const size_t guest = atomic_load_explicit(&j->room[i].guest, memory_order_acquire);
        if (guest == FL_VACANT || guest == FL_TAKEN)
            continue;
        open++;
        for (size_t l = 0; l < lanes; l++)
            left += done(j, &j->block[guest], l / dirs, l % dirs) < j->block[guest].chunks;
    }
    return left > 1 || atomic_load_explicit(&j->blocks_left, memory_order_acquire) > open;
}

/* One thread's part. The caller (worker 0) stays until all is done; others leave when there will be
   nothing for them. */
void fl_work(void *arg, size_t worker)
{
    fl_job *j = arg;
    fl_desk *desk = &j->desk[worker];
    double idle_since = 0;
    while (!fl_finished(j)) {
        size_t ran = 0;
        for (size_t i = 0; i < j->rooms; i++)
            ran += work_room(j, desk, &j->room[(worker + i) % j->rooms]);
        if (ran) {
            idle_since = 0;
            continue;
        }
        fl_pause();
        const double now = fl_clock();
        if (idle_since == 0)
            idle_since = now;
        if (worker && !lanes_left(j))
            return;
        if (now - idle_since < j->patience)
            continue;
        fl_nap(); /* whoever holds the tile we need may be waiting for this very CPU */
        fl_stop(j, desk, IDLE_FLOP);
    }
}
