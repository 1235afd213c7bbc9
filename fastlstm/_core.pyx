# SPDX-License-Identifier: MIT
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: freethreading_compatible=True
"""The boundary between Python and csrc/: check every buffer, get memory, drop the GIL, call C once.

Nothing here is public. `Net.forward` takes canonical arrays (float32, the right shapes, unit stride
in the last axis) and answers None to anything else, touching nothing: fastlstm/checks.py then makes
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

cdef extern from "clock.h" nogil:
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

include "_threads.pxi"
include "_buffers.pxi"

DEF X = 0
DEF Y = 1
DEF H0 = 2
DEF C0 = 3
DEF HN = 4
DEF CN = 5


cdef class Net:
    """Packed weights. Never changes once filled, so any number of threads may call it at once;
    new weights go into a new Net.

    Net(input, hidden, proj, layers, dirs, isa)
    """

    cdef fl_net *net
    cdef fl_config config
    cdef size_t width  # K: of h, and of one direction's output
    cdef public object weights, turned  # training.py's: what was packed, and a Turned or None
    cdef int turn

    def __cinit__(self, input, hidden, proj, layers, dirs, str isa):
        cdef const fl_kernels *kernels = kernels_of(isa)
        self.config.input = input
        self.config.hidden = hidden
        self.config.proj = proj
        self.config.layers = layers
        self.config.dirs = dirs
        self.width = self.config.proj or self.config.hidden
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
            const float[:, ::1] w_hr):
        """Pack one layer and direction; torch's shapes; biases and w_hr may be None."""
        cdef size_t gates = 4 * self.config.hidden
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

    def forward(self, x, state, out, const int64_t[::1] lengths, bint sequences,
                bint batch_first, size_t threads):
        """(y, (h, c)), or None when an array is not canonical.

        x (T, B, I) or, with batch_first, (B, T, I); state None or (h0, c0) contiguous; out None or
        an array for y; lengths None or (B,), already checked; sequences: y is every step's output,
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
        cdef object y = None, h, c
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
                if type(state) is not tuple or len(<tuple>state) != 2:
                    return None
                for i in range(2):
                    if not view((<tuple>state)[i], 3, 0, &views[H0 + i]):
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
            c = _empty((lanes, call.batch, self.config.hidden), _float32)
            if not (view(h, 3, PyBUF_WRITABLE, &views[HN])
                    and view(c, 3, PyBUF_WRITABLE, &views[CN])):
                return None
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
            return y, (h, c)
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
        call.turn = self.turn
        self.turn ^= 1  # only a hint: calls at the same time may take the same turn
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


cdef class State:
    """A stream's state, kept in C: two sets, so that a call that fails leaves the last one whole.

    State(net, batch, batch_first)
    """

    cdef Net net
    cdef Py_ssize_t batch
    cdef bint batch_first
    cdef float *memory
    cdef size_t size_h, size_c  # floats in h and c
    cdef int current

    def __cinit__(self, Net net, Py_ssize_t batch, bint batch_first):
        cdef size_t lanes = net.config.layers * net.config.dirs
        cdef object floats = <object>lanes * batch * (net.width + net.config.hidden)
        self.net = net
        self.batch = batch
        self.batch_first = batch_first
        self.size_h = lanes * <size_t>batch * net.width  # no overflow if `floats` passes below
        self.size_c = lanes * <size_t>batch * net.config.hidden
        if floats < 2**60:
            self.memory = <float *>fl_alloc(2 * (self.size_h + self.size_c) * sizeof(float))
        if self.memory == NULL:
            raise MemoryError(f"no memory for the states of {batch} rows")
        memset(self.memory, 0, 2 * (self.size_h + self.size_c) * sizeof(float))

    def __dealloc__(self):
        fl_free(self.memory)

    cdef float *h(self, int which) noexcept:
        return self.memory + which * (self.size_h + self.size_c)

    def get(self):
        """(h, c): copies, (L, B, K) and (L, B, H)."""
        cdef size_t lanes = self.net.config.layers
        cdef object h = _empty((lanes, self.batch, self.net.width), _float32)
        cdef object c = _empty((lanes, self.batch, self.net.config.hidden), _float32)
        cdef float[:, :, ::1] to_h = h
        cdef float[:, :, ::1] to_c = c
        memcpy(&to_h[0, 0, 0], self.h(self.current), self.size_h * sizeof(float))
        memcpy(&to_c[0, 0, 0], self.h(self.current) + self.size_h, self.size_c * sizeof(float))
        return h, c

    def set(self, const float[:, :, ::1] h, const float[:, :, ::1] c):
        if <size_t>h.size != self.size_h or <size_t>c.size != self.size_c:
            raise ValueError("the state does not have the stream's shape")
        memcpy(self.h(self.current), &h[0, 0, 0], self.size_h * sizeof(float))
        memcpy(self.h(self.current) + self.size_h, &c[0, 0, 0], self.size_c * sizeof(float))

    def advance(self, x, out, bint single, size_t threads):
        """y for a chunk x, and the state moves on; or None when an array is not canonical, and the
        state stays. single: x is one step (B, I), y (B, K); otherwise x and y are as in forward."""
        cdef Py_buffer x_, y_
        cdef Net net = self.net
        cdef fl_call call
        cdef int t = 1 if self.batch_first else 0
        cdef int axis = 1 if single else 2
        cdef object y = out
        memset(&call, 0, sizeof(call))
        x_.buf = y_.buf = NULL
        try:
            if not view(x, axis + 1, 0, &x_):
                return None
            call.steps = 1 if single else x_.shape[t]
            call.batch = self.batch
            if (call.steps == 0
                    or x_.shape[0 if single else 1 - t] != self.batch
                    or <size_t>x_.shape[axis] != net.config.input):
                return None
            if y is None:
                if single:
                    y = _empty((x_.shape[0], net.width), _float32)
                else:
                    y = _empty((x_.shape[0], x_.shape[1], net.width), _float32)
            if not view(y, axis + 1, PyBUF_WRITABLE, &y_):
                return None
            if (y_.shape[0] != x_.shape[0] or (not single and y_.shape[1] != x_.shape[1])
                    or <size_t>y_.shape[axis] != net.width):
                return None
            if out is not None:
                if not disjoint(&y_, &x_):
                    return None
                if single:
                    if self.batch > 1 and abs(y_.strides[0]) < y_.shape[1] * 4:
                        return None
                elif not rows_apart(&y_):
                    return None
            call.x = <const float *>x_.buf
            call.y = <float *>y_.buf
            call.x_b = x_.strides[0 if single else 1 - t] // 4
            call.y_b = y_.strides[0 if single else 1 - t] // 4
            if not single:
                call.x_t = x_.strides[t] // 4
                call.y_t = y_.strides[t] // 4
            call.h0 = self.h(self.current)
            call.c0 = self.h(self.current) + self.size_h
            call.hn = self.h(1 - self.current)
            call.cn = self.h(1 - self.current) + self.size_h
            call.threads = threads
            net.run(&call)
            self.current = 1 - self.current
            return y
        finally:
            if x_.buf != NULL:
                PyBuffer_Release(&x_)
            if y_.buf != NULL:
                PyBuffer_Release(&y_)


include "_train.pxi"
include "_probes.pxi"
