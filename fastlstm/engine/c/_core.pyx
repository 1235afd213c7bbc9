# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""The boundary between Python and csrc/: check every buffer, get memory, drop the GIL, call C once.

Nothing here is public. `Net.forward` takes canonical arrays (float32, the right shapes, unit stride
in the last axis) and answers None to anything else, touching nothing: engine/arguments.py then makes
the arrays canonical, or says what is wrong with them.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
    PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memset

import os
import threading
import time

import numpy

cdef object _empty = numpy.empty
cdef object _float32 = numpy.dtype(numpy.float32)

cdef extern from "base/clock.h" nogil:
    double fl_clock()


# ---- instruction sets ----


def isas():
    """Every instruction set the engine knows, best first: (name, built, runnable here)."""
    cdef int i
    return [
        (fl_isa_name(i).decode(), bool(fl_isa_built(i)), bool(fl_isa_runnable(i)))
        for i in range(fl_isa_count())
    ]


cdef extern from *:
    """
    #if defined(__clang__)
    #define FL_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FL_COMPILER "gcc " __VERSION__
    #elif defined(_MSC_VER)
    #define FL_STRING2(x) #x
    #define FL_STRING(x) FL_STRING2(x)
    #define FL_COMPILER "msvc " FL_STRING(_MSC_VER)
    #else
    #define FL_COMPILER "unknown"
    #endif
    """
    const char *FL_COMPILER


def compiler():
    """What compiled this extension."""
    return FL_COMPILER.decode()


cdef const fl_kernels *kernels_of(str isa) except NULL:
    cdef int i
    for i in range(fl_isa_count()):
        if fl_isa_runnable(i) and (isa is None or fl_isa_name(i).decode() == isa):
            return fl_isa_kernels(i)
    raise ValueError(f"instruction set {isa!r} does not run here")


# ---- the network ----

CELLS = ("lstm", "gru", "gru_before", "rnn_tanh", "rnn_relu")  # as in fastlstm.h

include "_threads.pxi"
include "_buffers.pxi"
include "_variant.pxi"

DEF X = 0
DEF Y = 1
DEF H0 = 2
DEF C0 = 3
DEF HN = 4
DEF CN = 5


cdef class Net:
    """Packed weights. Never changes once filled, so any number of threads may call it at once;
    new weights go into a new Net.

    Net(cell, input, hidden, proj, layers, dirs, isa, variant), cell a name in CELLS, variant a
    fastlstm.variants.Variant or None for torch's cells
    """

    cdef fl_net *net
    cdef fl_config config
    cdef readonly str cell
    cdef size_t gates
    cdef readonly bint has_c  # else the state is h alone
    cdef size_t width  # K: of h, and of one direction's output
    cdef public object weights, turned  # training/'s: what was packed, and a Turned or None
    cdef int descending

    def __cinit__(self, str cell, input, hidden, proj, layers, dirs, str isa, variant=None):
        cdef const fl_kernels *kernels = kernels_of(isa)
        self.cell = cell
        self.config.cell = CELLS.index(cell)
        self.gates = (<fl_table *>kernels).cell[self.config.cell].gates
        self.has_c = (<fl_table *>kernels).cell[self.config.cell].has_c
        self.config.input = input
        self.config.hidden = hidden
        self.config.proj = proj
        self.config.layers = layers
        self.config.dirs = dirs
        self.width = self.config.proj or self.config.hidden
        if variant is not None:
            read_variant(&self.config, cell, variant)
        with nogil:
            self.net = fl_net_new(&self.config, kernels)
        if self.net == NULL:
            raise MemoryError(f"no memory to pack the weights of hidden_size {hidden}")

    def __dealloc__(self):
        fl_net_free(self.net)

    @property
    def nbytes(self):
        return fl_net_bytes(self.net)

    def set(self, size_t layer, size_t direction, const float[:, ::1] w_ih,
            const float[:, ::1] w_hh, const float[::1] b_ih, const float[::1] b_hh,
            const float[:, ::1] w_hr, const float[::1] peephole=None):
        """Pack one layer and direction; torch's shapes; biases and w_hr may be None. peephole: (3 H,)
        i f o, of variants that have them."""
        cdef size_t gates = self.gates * self.config.hidden
        cdef size_t wide = self.config.input if layer == 0 else self.config.dirs * self.width
        if (
            layer >= self.config.layers
            or direction >= self.config.dirs
            or <size_t>w_ih.shape[0] != gates
            or <size_t>w_ih.shape[1] != wide
            or <size_t>w_hh.shape[0] != gates
            or <size_t>w_hh.shape[1] != self.width
            or (b_ih is not None and <size_t>b_ih.shape[0] != gates)
            or (b_hh is not None and <size_t>b_hh.shape[0] != gates)
            or (self.config.proj != 0) != (w_hr is not None)
            or (w_hr is not None and (<size_t>w_hr.shape[0] != self.config.proj
                                      or <size_t>w_hr.shape[1] != self.config.hidden))
            or (self.config.variant.peepholes != 0) != (peephole is not None)
            or (peephole is not None and <size_t>peephole.shape[0] != 3 * self.config.hidden)
        ):
            raise ValueError("weights do not have the network's shapes")
        cdef const float *bi = NULL
        cdef const float *bh = NULL
        cdef const float *hr = NULL
        if b_ih is not None:
            bi = &b_ih[0]
        if b_hh is not None:
            bh = &b_hh[0]
        if w_hr is not None:
            hr = &w_hr[0, 0]
        with nogil:
            fl_net_set(self.net, layer, direction, &w_ih[0, 0], &w_hh[0, 0], bi, bh, hr)
            if peephole is not None:
                fl_net_set_peepholes(self.net, layer, direction, &peephole[0])

    def forward(self, x, state, out, const int64_t[::1] lengths, bint sequences,
                bint batch_first, size_t threads):
        """(y, (h, c)), or (y, h) of cells without c, or None when an array is not canonical.

        x (T, B, I) or, with batch_first, (B, T, I); state None or (h0, c0), or h0 contiguous;
        out None or an array for y; lengths None or (B,), already checked; sequences: y is every step's output,
        otherwise the last layer's final h, (B, D * K); threads: how many may work on it.
        """
        cdef Py_buffer views[6]
        cdef fl_call call
        cdef int i, held = 0
        cdef Py_buffer *x_ = &views[X]
        cdef Py_buffer *y_ = &views[Y]
        cdef size_t lanes = self.config.layers * self.config.dirs
        cdef size_t first = self.config.dirs * self.width
        cdef size_t a, b
        cdef object y = None, h, c = None
        cdef int parts = 2 if self.has_c else 1
        memset(&call, 0, sizeof(call))
        for i in range(6):
            views[i].buf = NULL
        try:
            if not view(x, 3, 0, x_):
                return None
            call.steps = x_.shape[1 if batch_first else 0]
            call.batch = x_.shape[0 if batch_first else 1]
            if (call.steps == 0 or call.batch == 0
                    or <size_t>x_.shape[2] != self.config.input
                    or (lengths is not None and <size_t>lengths.shape[0] != call.batch)):
                return None
            call.x = <const float *>x_.buf
            call.x_t = x_.strides[1 if batch_first else 0] // 4
            call.x_b = x_.strides[0 if batch_first else 1] // 4

            if state is not None:
                if self.has_c and (type(state) is not tuple or len(<tuple>state) != 2):
                    return None
                for i in range(parts):
                    if not view((<tuple>state)[i] if self.has_c else state, 3, 0, &views[H0 + i]):
                        return None
                    a = self.config.hidden if i else self.width
                    if (<size_t>views[H0 + i].shape[0] != lanes
                            or <size_t>views[H0 + i].shape[1] != call.batch
                            or <size_t>views[H0 + i].shape[2] != a
                            or not contiguous(&views[H0 + i])):
                        return None
                call.h0 = <const float *>views[H0].buf
                call.c0 = <const float *>views[C0].buf

            if sequences:
                y = out
                if y is None:
                    y = _empty((x_.shape[0], x_.shape[1], first), _float32)
                if not view(y, 3, PyBUF_WRITABLE, y_):
                    return None
                if (y_.shape[0] != x_.shape[0] or y_.shape[1] != x_.shape[1]
                        or <size_t>y_.shape[2] != first):
                    return None
                if out is not None:
                    if not rows_apart(y_):
                        return None
                    for i in range(4):
                        if i != Y and views[i].buf != NULL and not disjoint(y_, &views[i]):
                            return None
                call.y = <float *>y_.buf
                call.y_t = y_.strides[1 if batch_first else 0] // 4
                call.y_b = y_.strides[0 if batch_first else 1] // 4

            elif out is not None:
                if not view(out, 2, PyBUF_WRITABLE, y_):
                    return None
                if (<size_t>y_.shape[0] != call.batch or <size_t>y_.shape[1] != first
                        or (y_.shape[0] > 1 and abs(y_.strides[0]) < y_.shape[1] * 4)):
                    return None
                for i in range(4):
                    if i != Y and views[i].buf != NULL and not disjoint(y_, &views[i]):
                        return None

            h = _empty((lanes, call.batch, self.width), _float32)
            if self.has_c:
                c = _empty((lanes, call.batch, self.config.hidden), _float32)
                view(c, 3, PyBUF_WRITABLE, &views[CN])
            view(h, 3, PyBUF_WRITABLE, &views[HN])
            call.hn = <float *>views[HN].buf
            call.cn = <float *>views[CN].buf
            if lengths is not None:
                call.lengths = &lengths[0]
            call.threads = threads
            self.run(&call)

            if not sequences:
                y = _empty((call.batch, first), _float32) if out is None else out
                top = h[lanes - self.config.dirs:]
                y[...] = top.swapaxes(0, 1).reshape(call.batch, first)
            return y, ((h, c) if self.has_c else h)
        finally:
            for i in range(6):
                if views[i].buf != NULL:
                    PyBuffer_Release(&views[i])

    cdef int run(self, fl_call *call) except -1:
        """fl_forward without the GIL; signals are looked after; errors become exceptions."""
        cdef Poll poll
        cdef int e
        cdef object error
        poll.asked = 0
        poll.error = NULL
        if PyThread_get_thread_ident() == main_thread:
            call.poll = on_poll
            call.poll_arg = &poll
        if call.threads == 0:
            call.threads = fastlstm_get_num_threads()
        call.descending = self.descending
        self.descending ^= 1  # only a hint: calls at the same time may take the same direction
        with nogil:
            e = fl_forward(self.net, call)
        if e == FL_NO_MEMORY:
            raise MemoryError(
                f"no memory for a workspace of {fl_forward_workspace(self.net, call)} bytes"
            )
        if e == FL_INTERRUPTED:
            error = <object>poll.error
            Py_DECREF(error)
            raise error
        return 0


include "_stream.pxi"
include "_train.pxi"
include "_probes.pxi"
