/* SPDX-License-Identifier: MIT */
/*
 * The public interface of the C core: networks, forward calls and backward calls. The core knows no
 * Python, no files and no environment variables, and all memory it allocates comes from
 * base/alloc.h. Sizes are in elements and strides in floats, unless a name says bytes.
 *
 * Letters: T time, B batch, I input, H hidden, P projection, L layers, D directions, G gates;
 * K = P if there is a projection, else H: the width of a state h and of one direction's output.
 */
#ifndef FASTLSTM_H
#define FASTLSTM_H

#include <stddef.h>
#include <stdint.h>

typedef struct fl_kernels fl_kernels;

enum { FL_OK = 0, FL_NO_MEMORY = -1, FL_INTERRUPTED = -2 };

/* ---- instruction sets ---- */

/* The instruction sets that the library knows, numbered i = 0 .. fl_isa_count() - 1 with the best
   first. A set has a number and a name even where it is not compiled in. */
int fl_isa_count(void);
const char *fl_isa_name(int i);
int fl_isa_built(int i);                        /* compiled into this library */
int fl_isa_runnable(int i);                     /* built, and this CPU and its system can run it */
const fl_kernels *fl_isa_kernels(int i);        /* NULL unless runnable */
size_t fl_isa_lanes(const fl_kernels *kernels); /* floats in a vector */

/* ---- a network: shapes and packed weights. Once set it is only read, so any number of threads may
        run it at the same time ---- */

/* The cells, with PyTorch's equations. FL_GRU_BEFORE, which PyTorch does not have, multiplies h by
   r before the recurrent product of n, as Keras does with reset_after=False. Only FL_LSTM has a
   state c and projections. */
enum { FL_LSTM, FL_GRU, FL_GRU_BEFORE, FL_RNN_TANH, FL_RNN_RELU, FL_CELLS };

/*
 * Activations, with a for alpha and b for beta. tanh is scaled_tanh with a = b = 1, and relu is
 * thresholded_relu with a = 0. The usual elu has b = 1; selu is elu with another b.
 *
 *     sigmoid      1 / (1 + exp(-x))      scaled_tanh       a tanh(b x)
 *     affine       a x + b                thresholded_relu  x if x > a else 0
 *     hard_sigmoid max(0, min(1, a x + b))  leaky_relu      x if x >= 0 else a x
 *     elu          b x if x >= 0 else a b (exp(x) - 1)
 *     softsign     x / (1 + |x|)          softplus          ln(1 + exp(x))
 *     silu         x sigmoid(x)           exponential       exp(x)
 *     gelu         x times the cumulative function of the normal distribution
 */
enum {
    FL_SIGMOID,
    FL_SCALED_TANH,
    FL_AFFINE,
    FL_THRESHOLDED_RELU,
    FL_LEAKY_RELU,
    FL_HARD_SIGMOID,
    FL_ELU,
    FL_SOFTSIGN,
    FL_SOFTPLUS,
    FL_SILU,
    FL_GELU,
    FL_EXPONENTIAL,
    FL_FUNCTIONS
};

typedef struct fl_activation {
    int function;
    float alpha, beta;
} fl_activation;

/* What a network has that PyTorch's layers do not, as ONNX describes it. kernels/variants.h has the
   equations. */
typedef struct fl_variant {
    int differs; /* 0: the layer is PyTorch's, and the rest is not read */
    /* [direction][which]. LSTM: 0 for the gates i, f and o, 1 for g, 2 for the new c on its way to
       h. GRU: 0 for r and z, 1 for n. RNN: 0 for h. */
    fl_activation activation[2][3];
    float clip;       /* the gates' sums are cut to [-clip, clip] before their activations, the
                         LSTM's new c is not; INFINITY: nothing is cut */
    int input_forget; /* LSTM: f = 1 - i */
    int peepholes;    /* LSTM: there are peepholes, which are zeros until fl_net_set_peepholes */
} fl_variant;

/*
 * What the numbers of packed weight matrices are: float32; IEEE binary16, to which fl_net_set
 * rounds and which kernels convert to float32 exactly; 8-bit codes (kernels/codes.h), which
 * fl_net_set_int8 takes; or bfloat16, to which fl_net_set rounds, and calls round what the matrices
 * are multiplied by (kernels/bfloat16.h). Biases, peepholes, sums, gates and states are float32 in
 * every format.
 */
enum { FL_FLOAT32, FL_FLOAT16, FL_INT8, FL_BFLOAT16, FL_FORMATS };

typedef struct fl_config {
    int cell;
    size_t input, hidden, proj; /* the first two at least 1; proj = 0: none */
    size_t layers, dirs;        /* layers at least 1; dirs = 1 or 2 */
    int reverse;                /* with dirs = 1, 1: go from each row's last step to its first.
                                   0 with dirs = 2 */
    int format;                 /* of the packed weight matrices */
    int input_bits;             /* with FL_INT8: 16 or 8, of the codes of the first layer's input.
                                   Codes of states and of the layers' outputs have 8 */
    int parts;                  /* with FL_BFLOAT16: into how many such numbers each is split, 1 to
                                   3 (kernels/bfloat16.h); 0 counts as 1 */
    fl_variant variant;         /* with variant.differs FL_RNN_TANH and FL_RNN_RELU are the same */
} fl_config;

typedef struct fl_net fl_net;

/* Whether an instruction set has the kernels of a configuration: those of its cell in its format.
   At present every set has all of them. */
int fl_isa_can_run(const fl_kernels *kernels, const fl_config *config);

/* A new network, whose weights are zeros; NULL when memory is short or fl_isa_can_run is false. The
   configuration's numbers are not checked otherwise. It belongs to the caller, who gives it back
   with fl_net_free; NULL may be given back too. */
fl_net *fl_net_new(const fl_config *config, const fl_kernels *kernels);
void fl_net_free(fl_net *net);
size_t fl_net_bytes(const fl_net *net); /* of its memory, packed weights included */

/*
 * Packs copies of the weights of one layer and direction; the arrays stay the caller's. They are
 * contiguous, in PyTorch's layout and gate order (i f g o; r z n), for G gates:
 *
 *     w_ih (G H, I), above the first layer (G H, D K)      w_hh (G H, K)
 *     b_ih, b_hh (G H), each of which may be NULL for zeros
 *     w_hr (P, H), not read without a projection
 *
 * It is for all formats but FL_INT8. Weights and peepholes are set before the first call: threads
 * of a call may still read the network when the call has returned.
 */
void fl_net_set(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                const float *b_ih, const float *b_hh, const float *w_hr);

/* A matrix of codes: element (row, k) is codes[row * K + k] * scales[row], with codes in -127 ..
   127 and scales that are not negative. */
typedef struct fl_int8 {
    const int8_t *codes;
    const float *scales;
} fl_int8;

/* fl_net_set for a network of format FL_INT8. The matrices have the shapes that fl_net_set says;
   that of w_hr is not read without a projection. */
void fl_net_set_int8(fl_net *net, size_t layer, size_t dir, fl_int8 w_ih, fl_int8 w_hh,
                     const float *b_ih, const float *b_hh, fl_int8 w_hr);

/* Sets the peepholes of one layer and direction of an LSTM, whose configuration says that it has
   some: (3 H), for i, f and o. Those of i and f are multiplied by c before the step, that of o by c
   after it, and the products are added to the gates' sums. */
void fl_net_set_peepholes(fl_net *net, size_t layer, size_t dir, const float *peepholes);

/* ---- one forward call ---- */

/* What a forward call in training keeps for fl_backward. */
typedef struct fl_tape fl_tape;

/* Numbers of x, h0 and c0 below 2^-62 in magnitude count as 0 (kernels/contract.h). */
typedef struct fl_call {
    size_t steps, batch; /* T, B; both at least 1 */
    const float *x;      /* element (t, b, i) at x + t * x_t + b * x_b + i */
    ptrdiff_t x_t, x_b;
    float *y; /* (t, b, d * K + j) at y + t * y_t + b * y_b + d * K + j; NULL: not wanted. It is
                 zero past a row's length, and must not overlap an input. */
    ptrdiff_t y_t, y_b;
    ptrdiff_t y_d;          /* how far the directions' outputs are apart: element (t, b, d, j) at
                               y + t * y_t + b * y_b + d * y_d + j. 0 stands for K, and is the
                               only value with several layers or a tape */
    const float *h0, *c0;   /* (L * D, B, K) and (L * D, B, H), contiguous; NULL: zeros */
    float *hn, *cn;         /* the same shapes; NULL: not wanted. They may be h0 and c0 themselves,
                               unless the poll may fork. Cells without c ignore c0 and cn */
    const int64_t *lengths; /* B values in 0 .. T, which is not checked; NULL: all T */
    int descending;         /* 0 or 1: in which of two orders weights are read; the results are the
                               same. When calls on a network follow one another, take 0 and 1 in
                               turn: each call then begins with the weights that the call before it
                               has left in the caches */
    size_t threads;         /* the most threads that work on the call; 0 and 1: the caller's only */
    /* Runs the work on other threads than the team's (base/threads.h); NULL: on the team. It calls
       work(arg, i) once for i = 0, and once or not at all for each of i = 1 .. threads - 1, on any
       threads, and returns when all have returned. The call for i = 0 must be the first to begin,
       because the others wait for it. With a `run` the poll must be NULL. */
    void (*run)(void *run_arg, size_t threads, void (*work)(void *arg, size_t worker), void *arg);
    void *run_arg;
    /* Called about every millisecond of work; a nonzero answer ends the call with
       FL_INTERRUPTED. NULL: never. */
    int (*poll)(void *);
    void *poll_arg;
    fl_tape *tape; /* from fl_tape_new for this call; NULL: inference. Without dropout y, hn and cn
                      have the same bits either way */
} fl_call;

/* FL_OK, FL_NO_MEMORY (nothing written) or FL_INTERRUPTED (outputs partly written). */
int fl_forward(const fl_net *net, const fl_call *call);

/*
 * Makes the tape for one call on a network of format FL_FLOAT32 or FL_BFLOAT16; the format is not
 * checked. Of the call, sizes and lengths are read. The tape belongs to the caller, who gives it
 * back with fl_tape_free. NULL when memory is short.
 *
 * dropout, 0 .. 1, is the probability of zeroing an output of a layer below the last. The masks
 * follow from the seed and the numbers of layer, time, row and feature. A call may be a part of a
 * longer sequence: its times 0 .. T - 1 are then the times first .. first + T - 1 of a sequence of
 * `all`, and it has the masks of these. For a whole sequence first is 0 and all is T.
 *
 * If fl_forward did not end with FL_OK, the only use of its tape is fl_tape_free.
 */
fl_tape *fl_tape_new(const fl_net *net, const fl_call *call, float dropout, uint64_t seed,
                     size_t first, size_t all);
void fl_tape_free(fl_tape *tape);
size_t fl_tape_bytes(const fl_tape *tape);

/*
 * Dropout: y[i] = x[i] m / (1 - rate) for i = 0 .. n - 1, where element i is feature first + i of a
 * row; y may be x. m is 0 with probability `rate` and otherwise 1; with a rate of 1 all y are 0. m
 * is a function of the seed, of `row` and of the feature, so it depends neither on threads nor on
 * order. fl_forward's rows are (layer * T + t) * B + b, with T and t of the whole sequence.
 */
void fl_dropout(float *y, const float *x, size_t n, float rate, uint64_t seed, uint64_t row,
                size_t first);

/* ---- backward ---- */

/* A second copy of the weights of a network of format FL_FLOAT32 or FL_BFLOAT16, packed as backward
   reads them. Once set it is only read. */
typedef struct fl_backward_weights fl_backward_weights;

/* Zeros, for the geometry of net; NULL when memory is short. The caller gives them back with
   fl_backward_weights_free. */
fl_backward_weights *fl_backward_weights_new(const fl_net *net);
void fl_backward_weights_free(fl_backward_weights *weights);
size_t fl_backward_weights_bytes(const fl_backward_weights *weights);
/* Packs copies of the same arrays as fl_net_set; net is the one that the weights were made for. */
void fl_backward_weights_set(fl_backward_weights *weights, const fl_net *net, size_t layer,
                             size_t dir, const float *w_ih, const float *w_hh, const float *w_hr);

/* Gradients of the weights of one layer and direction: contiguous arrays in PyTorch's layout. What
   they held before is overwritten. */
typedef struct fl_grads {
    float *w_ih, *w_hh; /* (G H, I or, above the first layer, D K), (G H, K); not NULL */
    float *b_ih, *b_hh; /* (G H); both NULL: not wanted */
    float *w_hr;        /* (P, H); NULL without a projection */
    float *peepholes;   /* (3 H); NULL without peepholes */
} fl_grads;

typedef struct fl_backward_call {
    const fl_tape *tape;
    const float *dy; /* (t, b, d * K + j) as y in fl_call; NULL: zeros. Not read past lengths. */
    ptrdiff_t dy_t, dy_b;
    const float *dhn, *dcn; /* as hn, cn; NULL: zeros */
    float *dx;              /* as x, 0 past a row's length; NULL: not wanted. It must not overlap an
                               input */
    ptrdiff_t dx_t, dx_b;
    float *dh0, *dc0;      /* as h0, c0; NULL: not wanted */
    const fl_grads *grads; /* [L][D], not NULL */
    size_t threads;        /* this and the poll as in fl_call */
    int (*poll)(void *);
    void *poll_arg;
} fl_backward_call;

/* FL_OK, FL_NO_MEMORY (nothing written) or FL_INTERRUPTED (outputs partly written). The bits do not
   depend on `threads`. The tape is not changed, so it may serve again. */
int fl_backward(const fl_net *net, const fl_backward_weights *weights,
                const fl_backward_call *call);

/* How many bytes of workspace fl_forward takes for this call, for reports of memory; SIZE_MAX if
   there are more than a size_t counts. */
size_t fl_forward_workspace(const fl_net *net, const fl_call *call);

#endif
