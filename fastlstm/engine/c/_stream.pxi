# SPDX-License-Identifier: MIT
# Part of _core.pyx: the state of a stream.


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
        cdef size_t c = net.config.hidden if net.has_c else 0
        cdef object floats = <object>lanes * batch * (net.width + c)
        self.net = net
        self.batch = batch
        self.batch_first = batch_first
        self.size_h = lanes * <size_t>batch * net.width  # no overflow if `floats` passes below
        self.size_c = lanes * <size_t>batch * c
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
        """(h, c): copies, (L, B, K) and (L, B, H); of cells without c, h."""
        cdef size_t lanes = self.net.config.layers
        cdef object h = _empty((lanes, self.batch, self.net.width), _float32), c
        cdef float[:, :, ::1] to_h = h
        cdef float[:, :, ::1] to_c
        memcpy(&to_h[0, 0, 0], self.h(self.current), self.size_h * sizeof(float))
        if not self.net.has_c:
            return h
        to_c = c = _empty((lanes, self.batch, self.net.config.hidden), _float32)
        memcpy(&to_c[0, 0, 0], self.h(self.current) + self.size_h, self.size_c * sizeof(float))
        return h, c

    def set(self, const float[:, :, ::1] h, const float[:, :, ::1] c=None):
        if <size_t>h.size != self.size_h or (0 if c is None else <size_t>c.size) != self.size_c:
            raise ValueError("the state does not have the stream's shape")
        memcpy(self.h(self.current), &h[0, 0, 0], self.size_h * sizeof(float))
        if c is not None:
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
