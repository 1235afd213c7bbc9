# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True, binding=False
"""The boundary between Python and csrc/: check every buffer, get memory, drop the GIL, call C once.

Nothing here is public. `Net.forward` takes canonical arrays (buffers.pxd) and answers None to
anything else, touching nothing: engine/arguments.py makes arrays canonical or says what is wrong.

    csrc.pxd     declarations of csrc/            threads.pxd  the default number of threads
    buffers.pxd  arrays as pointers and strides   variant.pxd  a Variant as C has it
    signals.pxd  Ctrl-C during a call
    _core.pyx    Net and State
    machine.pxi, operators.pxi, training.pxi, compare.pxi, probes.pxi
                 parts of this file: instruction sets, compiler, threads; whole models; training;
                 arrays told apart; single kernels for tests and benchmarks

All of it is one extension module because each module that links csrc/ would have its own copy of
what csrc/ keeps for the process: worker threads, memory blocks for reuse, the number of threads.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

from .buffers cimport (Held, Rows, disjoint, lengths_of, new_of, release, rows_of, state_of,
                       weight_of)
from .csrc cimport *
from .signals cimport Poll, PyThread_get_thread_ident, fl_main_thread, raise_of, watch
from .threads cimport fastlstm_get_num_threads, fastlstm_set_num_threads
from .variant cimport activation_of, read_variant

import os
import threading

import numpy

cdef object _empty = numpy.empty
cdef object _float32 = numpy.dtype(numpy.float32)

CELLS = ("lstm", "gru", "gru_before", "rnn_tanh", "rnn_relu")  # in the order of fastlstm.h
# Of packed matrices: the formats of fastlstm.h; those of bfloat16 with 1, 2 and 3 parts.
DTYPES = ("float32", "float16", "int8", "bfloat16", "bfloat16x1", "bfloat16x3", "bfloat16x6")
cdef dict _PARTS = {"bfloat16x3": 2, "bfloat16x6": 3}


include "machine.pxi"


# ---- the network ----


cdef int codes_of(fl_int8 *to, matrix, size_t rows, size_t columns) except -1:
    """The codes and scales of an engine.int8.Codes (rows, columns), which must live as long as `to`
    is used. ValueError if it has another shape or is not contiguous."""
    cdef const int8_t[:, ::1] codes = matrix.codes
    cdef const float[::1] scales = matrix.scales
    if (<size_t>codes.shape[0] != rows or <size_t>codes.shape[1] != columns
            or <size_t>scales.shape[0] != rows):
        raise ValueError("weights do not have the network's shapes")
    to.codes, to.scales = &codes[0, 0], &scales[0]
    return 0


cdef class Net:
    """A stack of recurrent layers with its weights packed for one instruction set. Never changes
    once filled, so any number of threads may call it at once; new weights go into a new Net.

    Net(cell, input, hidden, proj, layers, dirs, isa, variant=None, dtype="float32", inputs="int16")

    cell     a name in CELLS
    input, hidden, proj, layers, dirs
             I, H, P (0: no projection), L and D, ints, checked by the caller
    isa      an instruction set of isas() that runs here; None: the best
    variant  an engine.variants.Variant; None: torch's own cell
    dtype    what set() rounds the weight matrices to: "float32", or "float16", which takes half the
             memory and is for inference alone; sums and states are float32 in both. "int8": set()
             takes engine.int8.Codes, also for inference alone. "bfloat16": set() rounds the
             matrices, calls round x and h; for inference alone too. "bfloat16x1", "bfloat16x3" and
             "bfloat16x6": weights are float32 numbers, and they, x, h and gradients are split into
             1, 2 and 3 parts of bfloat16, of which products are made. Of one part calls are those
             of "bfloat16", but it trains
    inputs   with "int8": what a first layer's x is made into, "int16" or "int8" codes

    ValueError for a cell, isa, variant or dtype that there is not; MemoryError.
    """

    cdef fl_net *net
    cdef fl_config config
    cdef readonly str cell, dtype
    cdef readonly bint has_c  # is the state (h, c)? Else it is h alone
    cdef size_t gates  # G
    cdef size_t width  # K: features of h and of one direction's output
    cdef size_t tracks  # L D: layers times directions
    # For the caller to use: the arrays that were packed, and a BackwardWeights or None.
    cdef public object weights, backward_weights
    cdef int descending  # which end of the weights the next call starts at

    def __cinit__(self, str cell, input, hidden, proj, layers, dirs, str isa, variant=None,
                  str dtype="float32", str inputs="int16"):
        cdef const fl_kernels *kernels = kernels_of(isa)
        cdef fl_table *table = <fl_table *>kernels
        self.config.cell = CELLS.index(cell)
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        self.config.format = min(DTYPES.index(dtype), FL_BFLOAT16)
        self.config.parts = _PARTS.get(dtype, 1)
        self.config.input_bits = 16 if inputs == "int16" else 8
        self.cell = cell
        self.dtype = dtype
        self.gates = table.cell[self.config.cell].gates
        self.has_c = table.cell[self.config.cell].has_c
        self.config.input = input
        self.config.hidden = hidden
        self.config.proj = proj
        self.config.layers = layers
        self.config.dirs = dirs
        self.width = self.config.proj or self.config.hidden
        self.tracks = self.config.layers * self.config.dirs
        if variant is not None:
            read_variant(&self.config, cell, variant)
        if not fl_isa_can_run(kernels, &self.config):
            raise ValueError(f"instruction set {isa!r} has no kernels for {dtype}")
        with nogil:
            self.net = fl_net_new(&self.config, kernels)
        if self.net == NULL:
            raise MemoryError(f"no memory to pack the weights of hidden_size {hidden}")

    def __dealloc__(self):
        fl_net_free(self.net)

    @property
    def nbytes(self):
        """Bytes of the packed weights."""
        return fl_net_bytes(self.net)

    cdef int matrices(self, fl_grads *to, Held *held, size_t layer, size_t direction, w_ih, w_hh,
                      w_hr, int flags) except -1:
        """Pointers to the matrices of one layer and direction, or to their gradients: w_ih
        (G H, I or D K), w_hh (G H, K), w_hr (P, H), None without a projection. ValueError if one is
        not canonical and contiguous or has another shape."""
        cdef size_t rows = self.gates * self.config.hidden
        cdef size_t wide = self.config.input if layer == 0 else self.config.dirs * self.width
        if (layer >= self.config.layers or direction >= self.config.dirs
                or (self.config.proj != 0) != (w_hr is not None)):
            raise ValueError("weights do not have the network's shapes")
        to.w_ih = weight_of(held, w_ih, rows, wide, flags)
        to.w_hh = weight_of(held, w_hh, rows, self.width, flags)
        to.w_hr = NULL
        if w_hr is not None:
            to.w_hr = weight_of(held, w_hr, self.config.proj, self.config.hidden, flags)
        return 0

    cdef int vectors(self, fl_grads *to, Held *held, b_ih, b_hh, peephole, int flags) except -1:
        """The same of the vectors: biases (G H,) or None; peephole (3 H,), None in networks that
        have none."""
        cdef size_t rows = self.gates * self.config.hidden
        if (self.config.variant.peepholes != 0) != (peephole is not None):
            raise ValueError("weights do not have the network's shapes")
        to.b_ih = to.b_hh = to.peepholes = NULL
        if b_ih is not None:
            to.b_ih = weight_of(held, b_ih, rows, 0, flags)
        if b_hh is not None:
            to.b_hh = weight_of(held, b_hh, rows, 0, flags)
        if peephole is not None:
            to.peepholes = weight_of(held, peephole, 3 * self.config.hidden, 0, flags)
        return 0

    def set(self, size_t layer, size_t direction, w_ih, w_hh, b_ih, b_hh, w_hr, peephole=None,
            size_t threads=1):
        """Packs one layer and direction. The arrays are copied, large ones on up to `threads`
        threads (0: default_threads()). What a signal's handler raises leaves them half packed.
        All are contiguous float32, in torch's shapes and order of gates: w_ih (G H, I or D K), w_hh
        (G H, K), b_ih and b_hh (G H,) or None, w_hr (P, H) or None, and of a variant with peepholes
        peephole (3 H,), of i, f and o. ValueError for others.
        """
        cdef fl_grads from_
        cdef Held held
        cdef Poll poll
        cdef fl_caller caller
        cdef int status
        held.count = 0
        fill_caller(&caller, &poll, threads)
        if self.config.format == FL_INT8:
            return self.set_int8(layer, direction, w_ih, w_hh, b_ih, b_hh, w_hr, peephole, &caller)
        try:
            self.matrices(&from_, &held, layer, direction, w_ih, w_hh, w_hr, 0)
            self.vectors(&from_, &held, b_ih, b_hh, peephole, 0)
            with nogil:
                if from_.peepholes != NULL:
                    fl_net_set_peepholes(self.net, layer, direction, from_.peepholes)
                status = fl_net_pack(self.net, layer, direction, from_.w_ih, from_.w_hh,
                                     from_.b_ih, from_.b_hh, from_.w_hr, &caller)
        finally:
            release(&held)
        if status == FL_INTERRUPTED: raise_of(&poll)

    cdef set_int8(self, size_t layer, size_t direction, w_ih, w_hh, b_ih, b_hh, w_hr, peephole,
                  const fl_caller *caller):
        """set() for matrices that are engine.int8.Codes."""
        cdef fl_grads from_
        cdef int status
        cdef Held held
        cdef size_t rows = self.gates * self.config.hidden
        cdef size_t wide = self.config.input if layer == 0 else self.config.dirs * self.width
        cdef fl_int8 ih, hh, hr
        memset(&hr, 0, sizeof(fl_int8))
        held.count = 0
        if (layer >= self.config.layers or direction >= self.config.dirs
                or (self.config.proj != 0) != (w_hr is not None)):
            raise ValueError("weights do not have the network's shapes")
        codes_of(&ih, w_ih, rows, wide)
        codes_of(&hh, w_hh, rows, self.width)
        if w_hr is not None:
            codes_of(&hr, w_hr, self.config.proj, self.config.hidden)
        try:
            self.vectors(&from_, &held, b_ih, b_hh, peephole, 0)
            with nogil:
                if from_.peepholes != NULL:
                    fl_net_set_peepholes(self.net, layer, direction, from_.peepholes)
                status = fl_net_pack_int8(self.net, layer, direction, ih, hh, from_.b_ih,
                                          from_.b_hh, hr, caller)
        finally:
            release(&held)
        if status == FL_INTERRUPTED: raise_of(<Poll *>caller.poll_arg)

    # One call, from arrays to an fl_call. Net.forward, State.advance and forward_train share these.

    cdef bint fill_input(self, fl_call *call, Held *held, x, int ndim,
                         bint batch_first) except -1:
        """Starts `call` and `held` with x, (T, B, I), (B, T, I) with batch_first, or (B, I), one
        step. False if it is not canonical, is empty or has another I."""
        cdef Rows rows
        memset(call, 0, sizeof(fl_call))
        if not rows_of(&rows, held, x, ndim, self.config.input, batch_first, 0):
            return False
        call.steps, call.batch = rows.steps, rows.batch
        call.x, call.x_t, call.x_b = rows.data, rows.t_stride, rows.b_stride
        return rows.steps != 0 and rows.batch != 0

    cdef object fill_output(self, fl_call *call, Held *held, out, int ndim, bint batch_first):
        """Adds y, laid out as x is, with D K features, and returns it: `out`, or a new array of
        `ndim` axes. None if `out` is not canonical, has another shape, or overlaps an input or
        itself."""
        cdef Rows rows
        cdef size_t n = self.config.dirs * self.width
        cdef object y
        if out is not None:
            if (not rows_of(&rows, held, out, ndim, n, batch_first, PyBUF_WRITABLE)
                    or rows.batch != call.batch or (ndim == 3 and rows.steps != call.steps)
                    or not disjoint(held)):
                return None
            call.y, call.y_t, call.y_b = rows.data, rows.t_stride, rows.b_stride
            return out
        if ndim == 2:
            y = _empty((call.batch, n), _float32)
            call.y_b = n
        elif batch_first:
            y = _empty((call.batch, call.steps, n), _float32)
            call.y_t, call.y_b = n, call.steps * n
        else:
            y = _empty((call.steps, call.batch, n), _float32)
            call.y_t, call.y_b = call.batch * n, n
        call.y = new_of(held, y)
        return y

    cdef object fill(self, fl_call *call, Held *held, x, state, out, lengths, bint sequences,
                     bint batch_first):
        """Fills `call` from the arguments of forward(), all but the final state; y, which is `out`
        or new, or None if something is not canonical. What C reads and writes stays in `held`."""
        cdef object y
        if not self.fill_input(call, held, x, 3, batch_first):
            return None
        if lengths is not None:
            call.lengths = lengths_of(held, lengths, call.batch)
            if call.lengths == NULL:
                return None
        if state is not None:
            h, c = state, None
            if self.has_c:
                if type(state) is not tuple or len(<tuple>state) != 2:
                    return None
                h, c = <tuple>state
            call.h0 = state_of(held, h, self.tracks, call.batch, self.width, 0)
            if call.h0 == NULL:
                return None
            if self.has_c:
                call.c0 = state_of(held, c, self.tracks, call.batch, self.config.hidden, 0)
                if call.c0 == NULL:
                    return None
        y = self.fill_output(call, held, out, 3 if sequences else 2, batch_first)
        if not sequences:
            call.y = NULL  # only the final h is wanted, which goes elsewhere first
        return y

    cdef object fill_final_state(self, fl_call *call, Held *held):
        """New arrays for the final state: (h, c), or h."""
        cdef object shape = (self.tracks, call.batch, self.width), h = _empty(shape, _float32), c
        call.hn = new_of(held, h)
        if not self.has_c:
            return h
        if self.config.proj:
            shape = (self.tracks, call.batch, self.config.hidden)
        c = _empty(shape, _float32)
        call.cn = new_of(held, c)
        return h, c

    cdef int run(self, fl_call *call, size_t threads) except -1:
        """fl_forward without the GIL. MemoryError, or what a signal's handler raised."""
        cdef Poll poll
        cdef int status
        call.poll = watch(&poll)
        call.poll_arg = &poll
        call.threads = threads or <size_t>fastlstm_get_num_threads()
        call.descending = self.descending
        self.descending ^= 1  # only a hint: calls at the same time may take the same direction
        with nogil:
            status = fl_forward(self.net, call)
        if status == FL_NO_MEMORY:
            raise MemoryError(
                f"no memory for a workspace of {fl_forward_workspace(self.net, call)} bytes"
            )
        if status == FL_INTERRUPTED:
            raise_of(&poll)
        return 0

    def forward(self, x, state, out, lengths, bint sequences, bint batch_first, size_t threads):
        """(y, (h, c)), or (y, h) of cells without c; or None when an array is not canonical, and
        then nothing has been written.

        x          (T, B, I), or (B, T, I) with batch_first; T and B at least 1
        state      None for zeros, or the tuple (h0, c0), or h0: (L D, B, K) and (L D, B, H)
        out        None for a new array, or one for y
        lengths    None, or (B,) int64 in 0 .. T, checked by the caller
        sequences  True: y is every step's output, in x's layout, D K features;
                   False: the last layer's final h, (B, D K)
        threads    how many may work on the call; 0: default_threads()

        MemoryError, KeyboardInterrupt or what another signal's handler raises.
        """
        cdef fl_call call
        cdef Held held
        cdef object y, final, top
        held.count = 0
        try:
            y = self.fill(&call, &held, x, state, out, lengths, sequences, batch_first)
            if y is None:
                return None
            final = self.fill_final_state(&call, &held)
            self.run(&call, threads)
        finally:
            release(&held)
        if not sequences:
            top = (final[0] if self.has_c else final)[self.tracks - self.config.dirs:]
            y[...] = top.swapaxes(0, 1).reshape(y.shape)
        return y, final


cdef class State:
    """The state of a stream's rows, zeros at first, kept in C: the one before a call and the one
    after it, so that a call that fails leaves the state as it was.

    State(net, batch, batch_first): of a one-directional Net; MemoryError.
    """

    cdef Net net
    cdef Py_ssize_t batch
    cdef bint batch_first
    cdef float *memory
    cdef size_t size_h, size_c  # numbers of h and of c, which stands behind it
    cdef int current  # which of the two states is the one now: 0 or 1

    def __cinit__(self, Net net, Py_ssize_t batch, bint batch_first):
        cdef size_t width_c = net.config.hidden if net.has_c else 0
        cdef object numbers = <object>net.tracks * batch * (net.width + width_c)
        self.net = net
        self.batch = batch
        self.batch_first = batch_first
        self.size_h = net.tracks * <size_t>batch * net.width  # fits, if `numbers` passes below
        self.size_c = net.tracks * <size_t>batch * width_c
        if numbers < 2**60:
            self.memory = <float *>fl_alloc(2 * (self.size_h + self.size_c) * sizeof(float))
        if self.memory == NULL:
            raise MemoryError(f"no memory for the states of {batch} rows")
        memset(self.memory, 0, 2 * (self.size_h + self.size_c) * sizeof(float))

    def __dealloc__(self):
        fl_free(self.memory)

    cdef float *h(self, int which) noexcept:
        return self.memory + which * (self.size_h + self.size_c)

    def get(self):
        """(h, c), copies, (L, B, K) and (L, B, H); of cells without c, h."""
        cdef object h = _empty((self.net.tracks, self.batch, self.net.width), _float32), c
        cdef float[:, :, ::1] to_h = h
        cdef float[:, :, ::1] to_c
        memcpy(&to_h[0, 0, 0], self.h(self.current), self.size_h * sizeof(float))
        if not self.net.has_c:
            return h
        to_c = c = _empty((self.net.tracks, self.batch, self.net.config.hidden), _float32)
        memcpy(&to_c[0, 0, 0], self.h(self.current) + self.size_h, self.size_c * sizeof(float))
        return h, c

    def set(self, const float[:, :, ::1] h, const float[:, :, ::1] c=None):
        """Takes copies of h (L, B, K) and c (L, B, H); ValueError if the sizes differ."""
        if <size_t>h.size != self.size_h or (0 if c is None else <size_t>c.size) != self.size_c:
            raise ValueError("the state does not have the stream's shape")
        memcpy(self.h(self.current), &h[0, 0, 0], self.size_h * sizeof(float))
        if c is not None:
            memcpy(self.h(self.current) + self.size_h, &c[0, 0, 0], self.size_c * sizeof(float))

    def advance(self, x, out, bint single, size_t threads):
        """y for the next steps x, and the state moves on; or None when an array is not canonical,
        and the state stays. single: x is one step (B, I) and y (B, K); otherwise both are as in
        Net.forward. out: None or an array for y. Raises as Net.forward does."""
        cdef fl_call call
        cdef Held held
        cdef Net net = self.net
        cdef int ndim = 2 if single else 3
        cdef object y
        held.count = 0
        try:
            if (not net.fill_input(&call, &held, x, ndim, self.batch_first)
                    or call.batch != <size_t>self.batch):
                return None
            y = net.fill_output(&call, &held, out, ndim, self.batch_first)
            if y is None:
                return None
            call.h0 = self.h(self.current)
            call.c0 = self.h(self.current) + self.size_h
            call.hn = self.h(1 - self.current)
            call.cn = self.h(1 - self.current) + self.size_h
            net.run(&call, threads)
            self.current = 1 - self.current
            return y
        finally:
            release(&held)


include "operators.pxi"
include "training.pxi"
include "compare.pxi"
include "probes.pxi"
include "onnxruntime.pxi"
