/* SPDX-License-Identifier: MIT */
/*
 * One forward call, as forward.c (its beginning and end), schedule.c (who works on what) and tile.c
 * (one piece of the work) see it.
 *
 * The rows of a call are sorted longest first, so that the rows still running at any step are the
 * first few, and cut into blocks. The work is a grid of tiles: block x layer x direction x chunk of
 * time. A lane is the tiles of one block, layer and direction; they follow one another in time.
 *
 * Steps are counted in processing order: s = 0, 1, ...; the time a row is at is t = s forward and
 * t = length - 1 - s in reverse, so a row's reverse pass starts at its own true end.
 */
#ifndef FL_FORWARD_H
#define FL_FORWARD_H

#include <stdatomic.h>

#include "net.h"

/* Rows in time: (t, r) at base + (t - start) * t_step + (order ? order[r] : r) * r_step. by_step:
   not times, but steps in processing order, between two layers of one direction. */
typedef struct fl_seq {
    float *base;
    ptrdiff_t t_step, r_step;
    const size_t *order;
    size_t start;
    int by_step;
} fl_seq;

/* Progress of a lane. Whoever sets `busy` owns its next tile, number `done`. */
typedef struct fl_lane {
    atomic_int busy;
    atomic_size_t done;
} fl_lane;

/* A block of rows. Lanes and state live as long as the call; the rest is set when a block is
   started and belongs to the room it is in, which the next block gets. */
typedef struct fl_block {
    atomic_int closed; /* someone has taken on, or done, what is due at its end */
    fl_lane *lane;     /* [L * D] */
    size_t first, rows, chunks;
    size_t *length; /* [rows_max] of its rows, descending */
    float *c;       /* [L * D][rows_max][hidden_pad], of cells with c */
    float *h;       /* [L * D][rows_max][K]: the state after the last chunk */
    /* What layers pass up. D = 1: [L][ring][chunk_steps][rows_max][K], a ring of chunks above each
       layer. D = 2: two buffers [T][rows_max][2 K], above the odd and the even layers. */
    float *between[2];
} fl_block;

/* Room for one block under way. */
typedef struct fl_room {
    atomic_size_t
        guest; /* FL_VACANT, FL_TAKEN (by who will open or close it), or a block's index */
    size_t *length;
    float *c, *h, *between[2];
} fl_room;

/* What one thread needs to work on a tile. */
typedef struct fl_desk {
    const float **a;    /* [chunk_rows] row pointers for gemm */
    const float **h_in; /* [rows_max] */
    float **h_out;      /* [rows_max] */
    float *z;           /* [panels][chunk_rows][G] */
    float *full_h;      /* [rows_max][hidden_pad]: h before a projection, or r h of a reset */
    float *proj;        /* [rows_max][proj_pad], with a projection */
    float *flushed;     /* [chunk_rows][I]: rows of x that held tiny values */
    double flop;        /* since the last poll */
    int polls;          /* the caller's own desk: it alone asks whether to stop */
} fl_desk;

typedef struct fl_job {
    const fl_net *net;
    const fl_call *call;
    size_t threads, blocks, rooms, ring;
    size_t parts; /* of a lone stream's units; 1: they are not split */
    size_t rows_max, chunk_steps, chunk_rows;
    double patience;             /* seconds a thread looks for a ready tile before it naps */
    size_t hidden_pad, proj_pad; /* H and P in whole panels: row lengths of c, full_h, proj */
    size_t *order;               /* [B] rows, longest first; NULL without lengths */
    fl_block *block;             /* [blocks] */
    fl_room *room;               /* [rooms] */
    fl_desk *desk;               /* [threads] */
    struct fl_lone *lone;        /* NULL: the work is a grid of tiles */
    atomic_size_t next_block;
    atomic_size_t blocks_left; /* not finished yet */
    atomic_int stopped;        /* FL_OK, or why everyone should leave */
    size_t forks;              /* fl_team_forks() when the call began */
    atomic_size_t holders;     /* threads that may still use the workspace, this job and the net */
} fl_job;

/* The row pointer of (t, r). */
static inline float *fl_seq_at(const fl_seq *q, size_t t, size_t r)
{
    size_t row = q->order ? q->order[r] : r;
    return q->base + (ptrdiff_t)(t - q->start) * q->t_step + (ptrdiff_t)row * q->r_step;
}

/* Does a direction go from the end of each row to its beginning? */
static inline int fl_reverse(const fl_net *net, size_t dir) { return dir || net->config.reverse; }

/* Where a sequence has step s of row r; back: of a lane that goes so, and it is not by_step. */
static inline size_t fl_seq_time(const fl_block *block, int back, size_t r, size_t s)
{
    return back ? block->length[r] - 1 - s : s;
}

/* Why a call stops in a child that the poll itself has forked (a signal handler of Python's may):
   the workers are not there, and the tiles they had are in pieces. The child starts the call again.
 */
enum { FL_FORKED = -100 };

/* What moving n floats counts for: a float that comes from memory, or is the first on its page. */
static inline double fl_moved(size_t n) { return 64.0 * (double)n; }

/* Is it time to ask the caller's poll, and was its answer, or someone's before, to stop? */
int fl_stop(fl_job *j, fl_desk *desk, double flop);

/* Fills j->order: rows by length, longest first, equal lengths in their own order. */
void fl_sort_rows(fl_job *j);

/* A block's rows and initial states, in a room; its final states, and zeros past its rows' lengths,
   to the caller: last, since y may have served between two layers. */
void fl_start_block(fl_job *j, fl_desk *desk, size_t number, const fl_room *room);
void fl_end_block(const fl_job *j, const fl_block *block);

/* The caller's arrays as the rows of a block see them, and what chunk k of a layer writes to and
   the layer above reads from. */
fl_seq fl_outer(const fl_job *j, const fl_block *block, const float *base, ptrdiff_t t,
                ptrdiff_t b);
fl_seq fl_output(const fl_job *j, const fl_block *block, size_t layer, size_t k);

/* Is every block done, or the call stopped? */
int fl_finished(fl_job *j);

/* One thread's part of the grid of tiles. arg is the job. */
void fl_work(void *arg, size_t worker);

/* A room that waits for a block, and one that is being opened or closed. */
#define FL_VACANT SIZE_MAX
#define FL_TAKEN (SIZE_MAX - 1)

/* The rows of a block still running at step s, given how many ran before. */
size_t fl_active(const fl_block *block, size_t rows, size_t s);

/* A kernel's work with polls in between: all panels of g, panels p0 .. p1 - 1 of s, kept if it
   says where. FL_OK, or FL_INTERRUPTED with the work in pieces. (s by address: a copy is made
   of wide loads, which wait for the narrow stores before them, and those for the step before: 85
   ns, not 72, at H = 16.) */
int fl_run_gemm(fl_job *j, fl_desk *desk, fl_gemm g);
int fl_run_step(fl_job *j, fl_desk *desk, fl_step *s);

/* Steps s0 .. s1 - 1 of one layer and direction of a block's rows: from `in` to `out`. FL_OK, or
   FL_INTERRUPTED with the lane left in pieces. */
int fl_tile(fl_job *j, fl_desk *desk, const fl_block *block, size_t layer, size_t dir,
            const fl_seq *in, const fl_seq *out, size_t s0, size_t s1);

/*
 * The lone stream: one direction, one block of few rows (lone.c). Its units are split among the
 * threads, step by step. A partner may still be at work when the call is over: it then
 * touches the job, its desk, the tables and the weights, nothing else.
 */

/* Into how many parts to split the units of such a call, on at most `threads` threads; 1: do not.
 */
size_t fl_lone_parts(const fl_net *net, const fl_call *call, size_t threads);

/* The memory that lone.c needs, in bytes (SIZE_MAX: too many), and its setting up, in memory
   aligned to FL_ALIGN. */
size_t fl_lone_bytes(const fl_job *j);
void fl_lone_init(fl_job *j, void *memory);

/* Worker 0's part: all steps of the block. And everyone else's: to help until j->blocks_left is 0.
 */
void fl_lone_lead(fl_job *j, const fl_block *block);
void fl_lone_follow(fl_job *j, size_t worker);

#endif
