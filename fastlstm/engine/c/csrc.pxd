# SPDX-License-Identifier: MIT
"""What the extension uses of csrc/: the C API of fastlstm.h, memory, time, worker threads, and the
table of one instruction set's kernels. The comments on each name are in those headers. At the end:
the compiler's name and version.
"""

from libc.stdint cimport int8_t, int64_t, uint64_t

ctypedef int (*fl_poll)(void *) noexcept nogil


cdef extern from "fastlstm.h" nogil:
    ctypedef struct fl_kernels:
        pass

    enum:
        FL_OK
        FL_NO_MEMORY
        FL_INTERRUPTED

    int fl_isa_count()
    const char *fl_isa_name(int i)
    int fl_isa_built(int i)
    int fl_isa_runnable(int i)
    const fl_kernels *fl_isa_kernels(int i)
    size_t fl_isa_lanes(const fl_kernels *k)

    enum:
        FL_SIGMOID
        FL_SCALED_TANH
        FL_AFFINE
        FL_THRESHOLDED_RELU
        FL_LEAKY_RELU
        FL_HARD_SIGMOID
        FL_ELU
        FL_SOFTSIGN
        FL_SOFTPLUS
        FL_SILU
        FL_GELU
        FL_EXPONENTIAL

    enum:
        FL_FLOAT32
        FL_FLOAT16
        FL_INT8, FL_BFLOAT16

    ctypedef struct fl_activation:
        int function
        float alpha, beta

    ctypedef struct fl_variant:
        int differs
        fl_activation activation[2][3]
        float clip
        int input_forget, peepholes

    ctypedef struct fl_config:
        int cell
        size_t input, hidden, proj, layers, dirs
        int reverse, format, input_bits, parts
        fl_variant variant

    ctypedef struct fl_net:
        pass

    int fl_isa_can_run(const fl_kernels *kernels, const fl_config *config)
    fl_net *fl_net_new(const fl_config *config, const fl_kernels *kernels)
    void fl_net_free(fl_net *net)
    size_t fl_net_bytes(const fl_net *net)

    ctypedef struct fl_int8:
        const int8_t *codes
        const float *scales

    void fl_net_set_peepholes(fl_net *net, size_t layer, size_t dir, const float *peepholes)

    ctypedef struct fl_tape:
        pass

    ctypedef struct fl_call:
        size_t steps, batch
        const float *x
        ptrdiff_t x_t, x_b
        float *y
        ptrdiff_t y_t, y_b
        const float *h0
        const float *c0
        float *hn
        float *cn
        const int64_t *lengths
        int descending
        size_t threads
        fl_poll poll
        void *poll_arg
        fl_tape *tape

    int fl_forward(const fl_net *net, const fl_call *call)
    size_t fl_forward_workspace(const fl_net *net, const fl_call *call)

    fl_tape *fl_tape_new(const fl_net *net, const fl_call *call, float dropout, uint64_t seed,
                         size_t first, size_t all)
    void fl_tape_free(fl_tape *tape)
    size_t fl_tape_bytes(const fl_tape *tape)

    void fl_dropout(float *y, const float *x, size_t n, float rate, uint64_t seed, uint64_t row,
                 size_t first)

    ctypedef struct fl_backward_weights:
        pass

    fl_backward_weights *fl_backward_weights_new(const fl_net *net)
    void fl_backward_weights_free(fl_backward_weights *weights)
    size_t fl_backward_weights_bytes(const fl_backward_weights *weights)

    ctypedef struct fl_grads:
        float *w_ih
        float *w_hh
        float *b_ih
        float *b_hh
        float *w_hr
        float *peepholes

    ctypedef struct fl_backward_call:
        const fl_tape *tape
        const float *dy
        ptrdiff_t dy_t, dy_b
        const float *dhn
        const float *dcn
        float *dx
        ptrdiff_t dx_t, dx_b
        float *dh0
        float *dc0
        const fl_grads *grads
        size_t threads
        fl_poll poll
        void *poll_arg

    int fl_backward(const fl_net *net, const fl_backward_weights *weights, const fl_backward_call *call)


cdef extern from "base/alloc.h" nogil:
    void *fl_alloc(size_t bytes)
    void fl_free(void *p)
    void fl_alloc_fail_after(long n)


cdef extern from "base/clock.h" nogil:
    double fl_clock()


cdef extern from "kernels/parallel.h" nogil:
    ctypedef struct fl_caller:
        size_t threads
        fl_poll poll
        void *poll_arg


cdef extern from "network/pack_forward.h" nogil:
    int fl_net_pack(fl_net *net, size_t layer, size_t dir, const float *w_ih, const float *w_hh,
                    const float *b_ih, const float *b_hh, const float *w_hr,
                    const fl_caller *caller)
    int fl_net_pack_int8(fl_net *net, size_t layer, size_t dir, fl_int8 w_ih, fl_int8 w_hh,
                         const float *b_ih, const float *b_hh, fl_int8 w_hr,
                         const fl_caller *caller)


cdef extern from "network/pack_backward.h" nogil:
    int fl_backward_weights_pack(fl_backward_weights *weights, const fl_net *net, size_t layer,
                                 size_t dir, const float *w_ih, const float *w_hh,
                                 const float *w_hr, const fl_caller *caller)


cdef extern from "base/threads.h" nogil:
    size_t fl_team_size()


cdef extern from "kernels/contract.h" nogil:
    ctypedef struct fl_gemm:
        size_t rows, vectors, panels, k
        int descending, cut
        const float **a
        ptrdiff_t a_step
        const void *panel
        size_t panel_bytes
        const float *init
        float *c
        size_t c_panel, c_row

    ctypedef struct fl_step:
        size_t rows, p0, p1, k, hidden
        int descending
        const void *panel
        size_t panel_bytes
        const float *z
        size_t z_panel
        const float *b_hn
        const float **h
        float **h_out
        float *c
        size_t c_row
        void (*gemm)(const fl_gemm *) noexcept nogil

    ctypedef struct fl_cell:
        size_t gates, vectors, units
        int has_c
        void (*step[2])(const fl_step *) noexcept nogil

    # fl_kernels with its members: fastlstm.h has the name alone
    ctypedef struct fl_table "fl_kernels":
        size_t lanes
        fl_cell cell[5]
        void (*gemm[2])(const fl_gemm *) noexcept nogil
        void (*sigmoid)(float *y, const float *x, size_t n) noexcept nogil
        void (*tanh)(float *y, const float *x, size_t n) noexcept nogil
        void (*activate)(const fl_activation *f, float *y, float *slope, const float *x,
                         size_t n) noexcept nogil
        double (*probe[4])(size_t n) noexcept nogil
        float (*probe_read)(const float *x, size_t n) noexcept nogil


cdef extern from "kernels/dispatch.h" nogil:
    const fl_kernels *fl_permitted_kernels(const fl_kernels *kernels, int tiles)


# whole models: operators, and programs of them
cdef extern from "ops/operator.h" nogil:
    enum:
        FL_MAX_AXES
    enum:
        FL_F32
        FL_I64
        FL_BOOL
        FL_CODES
        FL_TYPES
    enum:
        FL_BAD_SHAPE
        FL_BAD_VALUE

    ctypedef struct fl_shape:
        size_t axes
        size_t size[8]

    ctypedef struct fl_array:
        fl_shape shape
        int type
        void *at

    size_t fl_array_bytes(const fl_array *array)

    ctypedef struct fl_operator_type:
        int (*pack)(fl_operator *op, const fl_array *weights, size_t count) noexcept nogil
        int (*shape)(const fl_operator *op, const fl_array *ins, size_t n, fl_array *out,
                     size_t outs) noexcept nogil
        int is_view
        size_t (*bytes)(const fl_operator *op, const fl_array *ins, size_t n,
                        size_t threads) noexcept nogil
        int (*run)(const fl_operator *op, const fl_array *ins, size_t n, const fl_array *out,
                   size_t outs, void *arena, const fl_caller *caller) noexcept nogil
        void (*free)(fl_operator *op) noexcept nogil

    ctypedef struct fl_operator:
        const fl_operator_type *type


cdef extern from "ops/registry.h" nogil:
    ctypedef struct fl_attributes:
        const fl_kernels *kernels
        const int64_t *ints
        size_t int_count
        const float *floats
        size_t float_count

    int fl_operator_new(const char *name, const fl_attributes *attributes, fl_operator **op)


cdef extern from "ops/recurrent.h" nogil:
    fl_operator *fl_recurrent_of(fl_net *net)


cdef extern from "ops/program.h" nogil:
    size_t FL_NOWHERE

    ctypedef struct fl_program:
        pass

    ctypedef struct fl_layout:
        pass

    fl_program *fl_program_new()
    void fl_program_free(fl_program *program)
    int fl_program_input(fl_program *program, int type, size_t axes)
    int fl_program_constant(fl_program *program, const fl_array *array)
    int fl_program_step(fl_program *program, fl_operator *op, int early, const size_t *ins,
                        size_t n, const size_t *out, size_t outs)
    int fl_program_output(fl_program *program, size_t place)
    size_t fl_program_places(const fl_program *program)
    int fl_layout_new(const fl_program *program, const fl_array *inputs, size_t count,
                      size_t threads, fl_layout **layout, size_t *step)
    void fl_layout_free(fl_layout *layout)
    size_t fl_layout_arena(const fl_layout *layout)
    const fl_array *fl_layout_place(const fl_layout *layout, size_t place)
    int fl_program_run(const fl_program *program, const fl_layout *layout, void **inputs,
                       void **outputs, void *arena, const fl_caller *caller, size_t *step)


cdef extern from "onnxruntime/register.h":
    void RegisterCustomOps()  # its arguments are ONNX Runtime's, which calls it


# the compiler that makes this extension
cdef extern from *:
    """
    #if defined(__clang__)
    #define FL_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FL_COMPILER "gcc " __VERSION__
    #else
    #define FL_COMPILER "unknown"
    #endif
    """
    const char *FL_COMPILER
