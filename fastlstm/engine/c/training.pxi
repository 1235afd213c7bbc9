# SPDX-License-Identifier: MIT
# A part of _core.pyx: training. Arrays come in canonical (fastlstm/training/ sees to that); what is
# not is a ValueError. Networks whose weights are not float32 are refused with TypeError.


cdef int check_trainable(Net net) except -1:
    if net.dtype in ("float16", "int8", "bfloat16"):
        raise TypeError(f"a {net.dtype} network is for inference alone: train one of float32")
    return 0


cdef class Tape:
    """What one forward_train call keeps for backward. Never changes once the call is over."""

    cdef fl_tape *tape
    cdef readonly Net net
    cdef readonly Py_ssize_t steps, batch
    cdef readonly bint batch_first

    def __dealloc__(self):
        fl_tape_free(self.tape)

    @property
    def nbytes(self):
        """Bytes of it."""
        return fl_tape_bytes(self.tape)


cdef class BackwardWeights:
    """A Net's weights once more, transposed and packed for backward. Filled, it never changes. The
    Net refers to it and it does not refer to the Net: no cycle keeps the memory of either.

    BackwardWeights(net): of a Net whose `weights` are set already; MemoryError.
    """

    cdef fl_backward_weights *packed
    cdef object weights  # the Net's `weights`, by which backward knows whose this is

    def __cinit__(self, Net net):
        check_trainable(net)
        self.weights = net.weights
        with nogil:
            self.packed = fl_backward_weights_new(net.net)
        if self.packed == NULL:
            raise MemoryError("no memory to pack the weights for backward")

    def __dealloc__(self):
        fl_backward_weights_free(self.packed)

    @property
    def nbytes(self):
        """Bytes of the packed weights."""
        return fl_backward_weights_bytes(self.packed)

    def set(self, Net net, size_t layer, size_t direction, w_ih, w_hh, w_hr, size_t threads=1):
        """Packs one layer and direction of the Net this was made for; arrays and threads as in
        Net.set."""
        cdef fl_grads from_
        cdef Held held
        cdef Poll poll
        cdef fl_caller caller
        cdef int status
        held.count = 0
        fill_caller(&caller, &poll, threads)
        try:
            net.matrices(&from_, &held, layer, direction, w_ih, w_hh, w_hr, 0)
            with nogil:
                status = fl_backward_weights_pack(self.packed, net.net, layer, direction,
                                                  from_.w_ih, from_.w_hh, from_.w_hr, &caller)
        finally:
            release(&held)
        if status == FL_INTERRUPTED:
            raise_of(&poll)


def forward_train(Net net, x, state, lengths, float dropout, uint64_t seed, bint batch_first,
                  size_t threads, size_t first_step=0, size_t all_steps=0):
    """(y, the final state, Tape): a forward call whose gradients `backward` gives.

    x, lengths, y and threads are as in Net.forward. States are tuples, (h, c), or (h,) of cells
    without c; the initial one may be None, zeros. dropout: the probability of zeroing an output on
    its way to the next layer; the masks follow from `seed`. first_step, all_steps: x is a part of a
    sequence, whose masks are meant; 0 and 0 for all of it.
    """
    cdef fl_call call
    cdef Held held
    cdef Tape tape = Tape.__new__(Tape)
    check_trainable(net)
    if state is not None and len(state) != 1 + net.has_c:
        raise ValueError("the state does not fit the network")
    held.count = 0
    try:
        initial = state
        if state is not None:
            initial = tuple(state) if net.has_c else state[0]
        y = net.fill(&call, &held, x, initial, None, lengths, True, batch_first)
        if y is None:
            raise ValueError("x, the state or the lengths do not fit the network")
        final = net.fill_final_state(&call, &held)
        tape.net = net
        tape.steps = call.steps
        tape.batch = call.batch
        tape.batch_first = batch_first
        with nogil:
            tape.tape = fl_tape_new(net.net, &call, dropout, seed, first_step,
                                    all_steps or call.steps)
        if tape.tape == NULL:
            raise MemoryError(f"no memory for the tape of {call.steps} steps of {call.batch} rows")
        call.tape = tape.tape
        net.run(&call, threads)
    finally:
        release(&held)
    return y, (final if net.has_c else (final,)), tape


def backward(BackwardWeights weights, Tape tape, dy, tuple dstate, bint input_grad,
             bint state_grad, list grads, size_t threads):
    """(dx, the gradients of the initial state), each None where it is not wanted.

    dy, like y, and each array in dstate, like the final state, may be None for zeros. grads: for
    each layer and direction [dw_ih, dw_hh, db_ih, db_hh, dw_hr] and, with peepholes, a sixth:
    contiguous float32 arrays of the weights' shapes, filled here. Those that a layer does not have
    are None, and so may both biases be. ValueError for other shapes and for the weights of another
    Net; MemoryError; what a signal's handler raises.
    """
    cdef Net net = tape.net
    cdef fl_backward_call call
    cdef fl_grads *to
    cdef Held held, held_weights
    cdef Rows rows
    cdef Poll poll
    cdef int status
    cdef size_t batch = tape.batch, i
    cdef object dx = None, dh0 = None, dc0 = None
    memset(&call, 0, sizeof(call))
    memset(&rows, 0, sizeof(rows))
    if net.weights is None or weights.weights is not net.weights:
        raise ValueError("the weights are not the tape's")
    if len(dstate) != 1 + net.has_c or <size_t>len(grads) != net.tracks:
        raise ValueError("gradients for another network")
    to = <fl_grads *>fl_alloc(net.tracks * sizeof(fl_grads))
    if to == NULL:
        raise MemoryError("no memory for backward")
    held.count = held_weights.count = 0
    try:
        if dy is not None:
            if (not rows_of(&rows, &held, dy, 3, net.config.dirs * net.width, tape.batch_first, 0)
                    or rows.steps != <size_t>tape.steps or rows.batch != batch):
                raise ValueError("dy does not fit the tape")
            call.dy, call.dy_t, call.dy_b = rows.data, rows.t_stride, rows.b_stride
        if dstate[0] is not None:
            call.dhn = state_of(&held, dstate[0], net.tracks, batch, net.width, 0)
            if call.dhn == NULL:
                raise ValueError("dh does not fit the tape")
        if net.has_c and dstate[1] is not None:
            call.dcn = state_of(&held, dstate[1], net.tracks, batch, net.config.hidden, 0)
            if call.dcn == NULL:
                raise ValueError("dc does not fit the tape")
        if input_grad:
            if tape.batch_first:
                dx = _empty((batch, tape.steps, net.config.input), _float32)
            else:
                dx = _empty((tape.steps, batch, net.config.input), _float32)
            rows_of(&rows, &held, dx, 3, net.config.input, tape.batch_first, PyBUF_WRITABLE)
            call.dx, call.dx_t, call.dx_b = rows.data, rows.t_stride, rows.b_stride
        if state_grad:
            dh0 = _empty((net.tracks, batch, net.width), _float32)
            call.dh0 = state_of(&held, dh0, net.tracks, batch, net.width, PyBUF_WRITABLE)
            if net.has_c:
                dc0 = _empty((net.tracks, batch, net.config.hidden), _float32)
                call.dc0 = state_of(&held, dc0, net.tracks, batch, net.config.hidden,
                                    PyBUF_WRITABLE)
        for i in range(net.tracks):
            dw_ih, dw_hh, db_ih, db_hh, dw_hr = grads[i][:5]
            peephole = grads[i][5] if len(grads[i]) > 5 else None
            if (db_ih is None) != (db_hh is None):
                raise ValueError("gradients for another network")
            net.matrices(&to[i], &held_weights, i // net.config.dirs, i % net.config.dirs, dw_ih,
                         dw_hh, dw_hr, PyBUF_WRITABLE)
            net.vectors(&to[i], &held_weights, db_ih, db_hh, peephole, PyBUF_WRITABLE)
            release(&held_weights)  # `grads` keeps the arrays, and so their memory, where they are
        call.tape = tape.tape
        call.grads = to
        call.threads = threads or <size_t>fastlstm_get_num_threads()
        call.poll = watch(&poll)
        call.poll_arg = &poll
        with nogil:
            status = fl_backward(net.net, weights.packed, &call)
    finally:
        release(&held_weights)
        release(&held)
        fl_free(to)
    if status == FL_NO_MEMORY:
        raise MemoryError("no memory for backward's workspace")
    if status == FL_INTERRUPTED:
        raise_of(&poll)
    if not state_grad:
        return dx, None
    return dx, ((dh0, dc0) if net.has_c else (dh0,))


def drop(float[:, :, ::1] y, float rate, uint64_t seed, size_t layer):
    """Dropout in place of layer number `layer`'s outputs (T, B, D K), or of their gradients, with
    the masks of forward_train."""
    cdef size_t t, b, steps = y.shape[0], batch = y.shape[1], row = y.shape[2]
    with nogil:
        for t in range(steps):
            for b in range(batch):
                fl_dropout(&y[t, b, 0], &y[t, b, 0], row, rate, seed,
                           (layer * steps + t) * batch + b, 0)
