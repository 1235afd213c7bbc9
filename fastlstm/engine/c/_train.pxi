# SPDX-License-Identifier: MIT
# Part of _core.pyx: training. Arrays come in canonical (fastlstm/training/ sees to that): float32,
# the right shapes, unit stride in the last axis; only what memory safety needs is checked again.


cdef class Tape:
    """What one forward call keeps for backward. Never changes once the call is over."""

    cdef fl_tape *tape
    cdef readonly Net net
    cdef readonly Py_ssize_t steps, batch
    cdef readonly bint batch_first

    def __dealloc__(self):
        fl_tape_free(self.tape)

    @property
    def nbytes(self):
        return fl_tape_bytes(self.tape)


cdef class Turned:
    """A Net's weights once more, packed for backward. Filled, it never changes. The Net refers to
    it, not it to the Net: no cycle keeps the memory of either.

    Turned(net)
    """

    cdef fl_backward_weights *turned
    cdef object weights  # the Net's, which tell whose this is

    def __cinit__(self, Net net):
        self.weights = net.weights
        with nogil:
            self.turned = fl_backward_weights_new(net.net)
        if self.turned == NULL:
            raise MemoryError("no memory to pack the weights for backward")

    def __dealloc__(self):
        fl_backward_weights_free(self.turned)

    @property
    def nbytes(self):
        return fl_backward_weights_bytes(self.turned)

    def set(self, Net net, size_t layer, size_t direction, const float[:, ::1] w_ih,
            const float[:, ::1] w_hh, const float[:, ::1] w_hr):
        """Pack one layer and direction of the Net this was made for."""
        cdef const float *hr = NULL
        check_weights(net, layer, direction, w_ih.shape, w_hh.shape,
                      None if w_hr is None else w_hr.shape)
        if w_hr is not None:
            hr = &w_hr[0, 0]
        with nogil:
            fl_backward_weights_set(self.turned, net.net, layer, direction, &w_ih[0, 0], &w_hh[0, 0], hr)


cdef int check_weights(Net net, size_t layer, size_t direction, w_ih, w_hh, w_hr) except -1:
    cdef size_t gates = net.gates * net.config.hidden
    cdef size_t wide = net.config.input if layer == 0 else net.config.dirs * net.width
    hr = (net.config.proj, net.config.hidden) if net.config.proj else None
    if (layer >= net.config.layers or direction >= net.config.dirs
            or tuple(w_ih)[:2] != (gates, wide) or tuple(w_hh)[:2] != (gates, net.width)
            or (None if w_hr is None else tuple(w_hr)[:2]) != hr):
        raise ValueError("weights do not have the network's shapes")
    return 0


def forward_train(Net net, const float[:, :, :] x, state, const int64_t[::1] lengths,
                  float dropout, uint64_t seed, bint batch_first, size_t threads,
                  size_t first_step=0, size_t all_steps=0):
    """y, the final state, Tape. x as in Net.forward; states are (h, c), or (h,) of cells without c;
    the initial one None or such a tuple. first_step, all_steps: x is a part of a sequence (for
    dropout's masks); 0, 0: all of it."""
    cdef fl_call call
    cdef const float[:, :, ::1] h0
    cdef const float[:, :, ::1] c0
    cdef int t = 1 if batch_first else 0
    cdef size_t lanes = net.config.layers * net.config.dirs
    cdef size_t first = net.config.dirs * net.width
    cdef Tape tape = Tape.__new__(Tape)
    memset(&call, 0, sizeof(call))
    call.steps = x.shape[t]
    call.batch = x.shape[1 - t]
    if (call.steps == 0 or call.batch == 0 or <size_t>x.shape[2] != net.config.input
            or (x.strides[2] != 4 and x.shape[2] > 1)
            or (lengths is not None and <size_t>lengths.shape[0] != call.batch)):
        raise ValueError("x does not fit")
    if state is not None:
        h0 = state[0]
        if len(state) != 1 + net.has_c or <size_t>h0.size != lanes * call.batch * net.width:
            raise ValueError("the state does not fit")
        call.h0 = &h0[0, 0, 0]
        if net.has_c:
            c0 = state[1]
            if <size_t>c0.size != lanes * call.batch * net.config.hidden:
                raise ValueError("the state does not fit")
            call.c0 = &c0[0, 0, 0]
    y = _empty((x.shape[0], x.shape[1], first), _float32)
    h = _empty((lanes, call.batch, net.width), _float32)
    state = (h,)
    cdef float[:, :, ::1] y_ = y
    cdef float[:, :, ::1] h_ = h
    cdef float[:, :, ::1] c_
    call.x = &x[0, 0, 0]
    call.x_t = x.strides[t] // 4
    call.x_b = x.strides[1 - t] // 4
    call.y = &y_[0, 0, 0]
    call.y_t = y_.strides[t] // 4
    call.y_b = y_.strides[1 - t] // 4
    call.hn = &h_[0, 0, 0]
    if net.has_c:
        c_ = c = _empty((lanes, call.batch, net.config.hidden), _float32)
        call.cn = &c_[0, 0, 0]
        state = (h, c)
    if lengths is not None:
        call.lengths = &lengths[0]
    call.threads = threads
    tape.net = net
    tape.steps = call.steps
    tape.batch_first = batch_first
    tape.batch = call.batch
    with nogil:
        tape.tape = fl_tape_new(net.net, &call, dropout, seed, first_step,
                                all_steps or call.steps)
    if tape.tape == NULL:
        raise MemoryError(f"no memory for the tape of {call.steps} steps of {call.batch} rows")
    call.tape = tape.tape
    net.run(&call)
    return y, state, tape


def backward(Turned turned, Tape tape, const float[:, :, :] dy, tuple dstate, bint input_grad,
             bint state_grad, list grads, size_t threads):
    """dx and the gradients of the initial state, None where not wanted. States are as in
    forward_train; dy and what is in dstate None for zeros.

    grads: for each layer and direction (w_ih, w_hh, b_ih, b_hh, w_hr), contiguous float32 arrays,
    filled here; the last three may be None. With peepholes theirs are a sixth.
    """
    cdef Net net = tape.net
    cdef fl_back_call call
    cdef const float[:, :, ::1] dh = dstate[0]
    cdef const float[:, :, ::1] dc = dstate[1] if net.has_c else None
    cdef Poll poll
    cdef int e, t = 1 if tape.batch_first else 0
    cdef Py_ssize_t lanes = net.config.layers * net.config.dirs, i
    cdef float[:, :, ::1] dx_, dh0_, dc0_
    cdef float[:, ::1] m
    cdef float[::1] v, w
    dx = down = None
    cdef object error
    memset(&call, 0, sizeof(call))
    poll.asked = 0
    poll.error = NULL
    if net.weights is None or turned.weights is not net.weights:
        raise ValueError("the weights are not the tape's")
    if dy is not None:
        if (dy.shape[t] != tape.steps or dy.shape[1 - t] != tape.batch
                or <size_t>dy.shape[2] != net.config.dirs * net.width
                or (dy.strides[2] != 4 and dy.shape[2] > 1)):
            raise ValueError("dy does not fit")
        call.dy = &dy[0, 0, 0]
        call.dy_t = dy.strides[t] // 4
        call.dy_b = dy.strides[1 - t] // 4
    if dh is not None:
        if dh.size != lanes * tape.batch * <Py_ssize_t>net.width:
            raise ValueError("dh does not fit")
        call.dhn = &dh[0, 0, 0]
    if dc is not None:
        if dc.size != lanes * tape.batch * <Py_ssize_t>net.config.hidden:
            raise ValueError("dc does not fit")
        call.dcn = &dc[0, 0, 0]
    if input_grad:
        shape = [tape.steps, tape.steps, net.config.input]
        shape[1 - t] = tape.batch
        dx = _empty(shape, _float32)
        dx_ = dx
        call.dx = &dx_[0, 0, 0]
        call.dx_t = dx_.strides[t] // 4
        call.dx_b = dx_.strides[1 - t] // 4
    if state_grad:
        dh0_ = dh0 = _empty((lanes, tape.batch, net.width), _float32)
        call.dh0 = &dh0_[0, 0, 0]
        down = (dh0,)
        if net.has_c:
            dc0_ = dc0 = _empty((lanes, tape.batch, net.config.hidden), _float32)
            call.dc0 = &dc0_[0, 0, 0]
            down = (dh0, dc0)
    cdef fl_grads *to = <fl_grads *>fl_alloc(lanes * sizeof(fl_grads))
    if to == NULL:
        raise MemoryError("no memory for backward")
    try:
        memset(to, 0, lanes * sizeof(fl_grads))
        if len(grads) != lanes:
            raise ValueError("gradients for another network")
        for i in range(lanes):
            w_ih, w_hh, b_ih, b_hh, w_hr = grads[i][:5]
            check_weights(net, i // net.config.dirs, i % net.config.dirs, w_ih.shape, w_hh.shape,
                          None if w_hr is None else w_hr.shape)
            m = w_ih
            to[i].w_ih = &m[0, 0]
            m = w_hh
            to[i].w_hh = &m[0, 0]
            if b_ih is not None:
                v = b_ih
                w = b_hh
                if (<size_t>v.shape[0] != net.gates * net.config.hidden
                        or w.shape[0] != v.shape[0]):
                    raise ValueError("gradients for another network")
                to[i].b_ih = &v[0]
                to[i].b_hh = &w[0]
            if w_hr is not None:
                m = w_hr
                to[i].w_hr = &m[0, 0]
            if net.config.variant.peepholes:
                v = grads[i][5]
                if <size_t>v.shape[0] != 3 * net.config.hidden:
                    raise ValueError("gradients for another network")
                to[i].peepholes = &v[0]
        call.tape = tape.tape
        call.grads = to
        call.threads = threads or <size_t>fastlstm_get_num_threads()
        if PyThread_get_thread_ident() == main_thread:
            call.poll = on_poll
            call.poll_arg = &poll
        with nogil:
            e = fl_backward(net.net, turned.turned, &call)
    finally:
        fl_free(to)
    if e == FL_NO_MEMORY:
        raise MemoryError("no memory for backward's workspace")
    if e == FL_INTERRUPTED:
        error = <object>poll.error
        Py_DECREF(error)
        raise error
    return dx, down


def drop(float[:, :, ::1] y, float rate, uint64_t seed, size_t layer):
    """Dropout in place of a layer's outputs (T, B, D K), or of their gradients, with the masks of
    forward_train."""
    cdef size_t t, b, steps = y.shape[0], batch = y.shape[1], row = y.shape[2]
    with nogil:
        for t in range(steps):
            for b in range(batch):
                fl_dropout(&y[t, b, 0], &y[t, b, 0], row, rate, seed, (layer * steps + t) * batch + b,
                        0)
