# SPDX-License-Identifier: MIT
"""Operators of whole models, and programs of them: csrc/ops as Python objects. Part of _core.pyx.

Arrays are C-contiguous float32, int64 or bool; the callers (fastlstm/models) make them so.
"""

cdef object _int64 = numpy.dtype(numpy.int64)
cdef object _bool = numpy.dtype(numpy.bool_)
cdef tuple _DTYPES = (_float32, _int64, _bool)  # in the order of FL_F32, FL_I64, FL_BOOL


class OperatorError(ValueError):
    """Arrays that do not fit an operator or a program; `step` is the number of the step, or None
    where it is the program's own inputs that do not fit."""

    def __init__(self, text, step=None):
        super().__init__(text)
        self.step = step


cdef int raise_status(int status, str what, Poll *poll, object step) except -1:
    if status == FL_NO_MEMORY:
        raise MemoryError(f"no memory for {what}")
    if status == FL_INTERRUPTED:
        raise_of(poll)
    if status == FL_BAD_VALUE:
        raise OperatorError(f"{what}: an index or length is out of range", step)
    if status != FL_OK:
        raise OperatorError(f"{what}: shapes or types do not fit", step)
    return 0


cdef int describe(fl_array *to, object array, bint data, bint codes=False) except -1:
    """Type, shape and, if `data`, memory of an array; None is one that is not given. codes: int8 is
    taken too."""
    cdef Py_ssize_t i
    memset(to, 0, sizeof(fl_array))
    to.type = FL_TYPES
    if array is None:
        return 0
    if type(array) is not numpy.ndarray or array.ndim > FL_MAX_AXES or not (
            array.dtype in _DTYPES or (codes and array.dtype == numpy.int8)):
        raise TypeError("an operator takes arrays of float32, int64 or bool, of at most 8 axes")
    if not array.flags.c_contiguous or not array.flags.aligned:
        raise ValueError("an operator takes contiguous arrays")
    to.type = _DTYPES.index(array.dtype) if array.dtype in _DTYPES else FL_CODES
    to.shape.axes = array.ndim
    for i in range(array.ndim):
        to.shape.size[i] = array.shape[i]
    if data:
        to.at = <void *><uintptr_t>array.ctypes.data
    return 0


cdef bytes own_copy(void **at, size_t count):
    """`count` bytes of the caller's, copied; *at is then the copy. Indices and lengths are checked
    and later read again, and another thread may write to the caller's array meanwhile."""
    cdef bytes copy = (<const char *>at[0])[:count]
    at[0] = <void *><char *>copy
    return copy


cdef object new_array(tuple shape, object dtype):
    """An array that is not written yet. NumPy refuses some without an element, as (0, 2**62, 4)."""
    try:
        return _empty(shape, dtype)
    except ValueError:
        raise MemoryError(f"an array of the shape {shape} is larger than NumPy holds") from None


cdef tuple shape_of(const fl_array *like):
    return tuple([like.shape.size[i] for i in range(like.shape.axes)])


cdef enum:
    MOST_ARRAYS = 64  # of one operator that runs alone
    MOST_STEP_ARRAYS = 512  # inputs, or outputs, of one step
    MOST_PROGRAM_ARRAYS = 128  # inputs, or outputs, of a program
    MOST_LAYOUTS = 16  # kept by a program
    MOST_ARENAS = 8  # kept by a program: as many calls at the same time take no memory anew


cdef class Operator:
    """One operator of csrc/ops, by its name in registry.c.

    Operator(name, ints=(), floats=(), isa=None): the numbers are those that its header lists.
    OperatorError if they do not fit, MemoryError.
    """

    cdef fl_operator *op  # NULL once a program has it
    cdef readonly str name
    cdef list keep  # what must live as long as the operator

    def __cinit__(self, str name, ints=(), floats=(), str isa=None):
        cdef fl_attributes a
        cdef int64_t[::1] whole = numpy.array([*ints, 0], numpy.int64)
        cdef float[::1] real = numpy.array([*floats, 0], numpy.float32)
        cdef bytes raw = name.encode()
        self.name = name
        a.kernels = kernels_of(isa)
        a.ints, a.int_count = &whole[0], whole.shape[0] - 1
        a.floats, a.float_count = &real[0], real.shape[0] - 1
        if name == "recurrent":
            return  # recurrent() makes it
        raise_status(fl_operator_new(raw, &a, &self.op), name, NULL, None)

    def __dealloc__(self):
        if self.op != NULL:
            self.op.type.free(self.op)

    def pack(self, *weights):
        """Copies weights, arrays or None, into the operator; OperatorError if they do not fit."""
        cdef fl_array arrays[MOST_ARRAYS]
        cdef int status
        cdef size_t n = len(weights)
        if n > MOST_ARRAYS or self.op == NULL or self.op.type.pack == NULL:
            raise OperatorError(f"{self.name} takes no weights, or not so many")
        for i, weight in enumerate(weights):
            describe(&arrays[i], weight, True, True)
        with nogil:
            status = self.op.type.pack(self.op, arrays, n)
        raise_status(status, self.name, NULL, None)

    def run(self, inputs, size_t outputs=1, size_t threads=1):
        """The list of the first `outputs` outputs, new arrays, of a list of arrays or None."""
        cdef fl_array arrays[MOST_ARRAYS]
        cdef Poll poll
        cdef fl_caller caller
        cdef int status
        cdef size_t ins = len(inputs), i, bytes = 0
        cdef void *arena = NULL
        cdef tuple own = ()
        if self.op == NULL or ins + outputs > MOST_ARRAYS or outputs < 1:
            raise OperatorError(f"{self.name}: too many arrays, or a program has this operator")
        caller.threads = threads or <size_t>fastlstm_get_num_threads()
        for i in range(ins):
            describe(&arrays[i], inputs[i], True)
            if arrays[i].type == FL_I64:
                own += (own_copy(&arrays[i].at, fl_array_bytes(&arrays[i])),)
        for i in range(outputs):
            describe(&arrays[ins + i], None, False)
        raise_status(self.op.type.shape(self.op, arrays, ins, arrays + ins, outputs), self.name,
                     NULL, None)
        if self.op.type.is_view:
            return [inputs[0].reshape(shape_of(&arrays[ins]))]
        made = [
            new_array(shape_of(&arrays[ins + i]), _DTYPES[arrays[ins + i].type])
            for i in range(outputs)
        ]
        for i in range(outputs):
            describe(&arrays[ins + i], made[i], True)
        if self.op.type.bytes != NULL:
            bytes = self.op.type.bytes(self.op, arrays, ins, caller.threads)
        if bytes:
            arena = fl_alloc(bytes) if bytes < <size_t>-1 else NULL
            if arena == NULL:
                raise MemoryError(f"no memory for {bytes} bytes of {self.name}")
        caller.poll = watch(&poll)
        caller.poll_arg = &poll
        with nogil:
            status = self.op.type.run(self.op, arrays, ins, arrays + ins, outputs, arena, &caller)
            fl_free(arena)
        raise_status(status, self.name, &poll, None)
        return made


def recurrent(Net net):
    """The Operator that runs a Net: x (T, B, I), lengths (B,) or None, h0, c0 -> y, hn, cn."""
    cdef Operator made = Operator("recurrent")
    made.op = fl_recurrent_of(net.net)
    if made.op == NULL:
        raise MemoryError("no memory for an operator")
    return made


cdef class Layout:
    """Where a program's arrays lie for inputs of certain shapes (csrc/ops/program.h).

    nbytes    of the memory of one run, beside inputs and outputs
    shapes    of the outputs
    """

    cdef fl_layout *layout
    cdef size_t threads  # at most so many work on a run
    cdef readonly tuple shapes
    cdef tuple like  # (shape, dtype) of each output

    def __dealloc__(self):
        fl_layout_free(self.layout)

    @property
    def nbytes(self):
        return fl_layout_arena(self.layout)

    def place(self, size_t number):
        """The shape of any place."""
        return shape_of(fl_layout_place(self.layout, number))


cdef class Program:
    """A list of operators that runs as one call (csrc/ops/program.h). Built by input, constant,
    step and output, in this order for outputs; then any number of threads may run it at once.

    memory_limit    bytes; inputs for which the arrays of a run, outputs among them, need more are
                    a MemoryError
    """

    cdef fl_program *program
    cdef list keep  # arrays whose memory the program reads
    cdef list ndims, dtypes  # of the inputs
    cdef list outs  # places of the outputs
    cdef dict layouts  # {(shapes, threads): Layout}, the latest MOST_LAYOUTS; in critical sections
    cdef Layout latest  # of the last run
    cdef list input_places
    cdef list arenas  # [(bytes, address)] that no run uses now
    cdef public object memory_limit

    def __cinit__(self):
        self.program = fl_program_new()
        if self.program == NULL:
            raise MemoryError("no memory for a program")
        self.keep, self.ndims, self.dtypes, self.outs, self.arenas = [], [], [], [], []
        self.input_places = []
        self.layouts = {}
        self.memory_limit = 1 << 30

    def __dealloc__(self):
        cdef uintptr_t at
        fl_program_free(self.program)
        for _, address in self.arenas or ():
            at = address
            fl_free(<void *>at)

    def input(self, dtype, size_t ndim):
        """Adds an input of float32, int64 or bool with `ndim` axes; its place."""
        cdef size_t place = fl_program_places(self.program)
        cdef int kind = _DTYPES.index(numpy.dtype(dtype))
        if len(self.ndims) >= MOST_PROGRAM_ARRAYS:
            raise OperatorError(f"more than {MOST_PROGRAM_ARRAYS} inputs")
        raise_status(fl_program_input(self.program, kind, ndim), "input", NULL, None)
        self.ndims.append(ndim)
        self.dtypes.append(_DTYPES[kind])
        self.input_places.append(place)
        return place

    def constant(self, array):
        """Adds an array, which is kept and not copied; its place."""
        cdef fl_array a
        cdef size_t place = fl_program_places(self.program)
        describe(&a, array, True)
        raise_status(fl_program_constant(self.program, &a), "constant", NULL, None)
        self.keep.append(array)
        return place

    def step(self, Operator op, inputs, size_t outputs=1, bint early=False, wanted=None):
        """Adds an operator, which the program takes, with a list of places or None as its inputs.
        The list of the places of its outputs; wanted: which of them are made, a list of bools
        (None: all), and the others' places are None."""
        cdef size_t places[2 * MOST_STEP_ARRAYS]
        cdef size_t i, ins = len(inputs), next = fl_program_places(self.program)
        cdef fl_operator *taken = op.op
        cdef list made = []
        if ins > MOST_STEP_ARRAYS or outputs > MOST_STEP_ARRAYS or op.op == NULL:
            raise OperatorError(f"{op.name}: too many arrays, or a program has this operator")
        for i in range(ins):
            places[i] = FL_NOWHERE if inputs[i] is None else inputs[i]
        for i in range(outputs):
            if wanted is None or wanted[i]:
                made.append(next)
                places[ins + i] = next
                next += 1
            else:
                made.append(None)
                places[ins + i] = FL_NOWHERE
        op.op = NULL
        raise_status(fl_program_step(self.program, taken, early, places, ins, places + ins, outputs),
                     op.name, NULL, None)
        return made

    def output(self, size_t place):
        """Adds an output. Nothing else may be added after it."""
        if len(self.outs) >= MOST_PROGRAM_ARRAYS:
            raise OperatorError(f"more than {MOST_PROGRAM_ARRAYS} outputs")
        raise_status(fl_program_output(self.program, place), "output", NULL, None)
        self.outs.append(place)

    def layout(self, shapes, size_t threads=1):
        """The Layout for inputs of these shapes, a tuple of tuples. OperatorError whose `step` is
        the step that does not fit; MemoryError for more than memory_limit."""
        cdef Layout made
        cdef fl_array *inputs
        cdef size_t i, j, step = 0, count = len(self.ndims)
        cdef int status
        key = (shapes, threads)
        with cython.critical_section(self):
            found = self.layouts.get(key)
        if found is not None:
            return found
        if <size_t>len(shapes) != count:
            raise OperatorError(f"{count} inputs are due, got {len(shapes)}")
        made = Layout()
        made.threads = threads
        inputs = <fl_array *>fl_alloc((count + 1) * sizeof(fl_array))
        if inputs == NULL:
            raise MemoryError("no memory for a layout")
        try:
            memset(inputs, 0, (count + 1) * sizeof(fl_array))
            for i in range(count):
                if <size_t>len(shapes[i]) != <size_t>self.ndims[i]:
                    raise OperatorError(f"input {i} has {self.ndims[i]} axes, got {shapes[i]}")
                inputs[i].type = _DTYPES.index(self.dtypes[i])
                inputs[i].shape.axes = self.ndims[i]
                for j in range(inputs[i].shape.axes):
                    inputs[i].shape.size[j] = shapes[i][j]
            with nogil:
                status = fl_layout_new(self.program, inputs, count, threads, &made.layout, &step)
        finally:
            fl_free(inputs)
        raise_status(status, "program", NULL, None if step == FL_NOWHERE else step)
        like = []
        needed = made.nbytes
        for place in self.outs:
            a = fl_layout_place(made.layout, place)
            like.append((shape_of(a), _DTYPES[a.type]))
            needed += <object>fl_array_bytes(a)
        if self.memory_limit is not None and needed > self.memory_limit:
            raise MemoryError(
                f"inputs of {shapes} need {needed} bytes, memory_limit is {self.memory_limit}"
            )
        made.like = tuple(like)
        made.shapes = tuple([shape for shape, _ in like])
        with cython.critical_section(self):
            if len(self.layouts) >= MOST_LAYOUTS:
                self.layouts.pop(next(iter(self.layouts)), None)
            self.layouts[key] = made
        return made

    cdef void *arena(self, size_t bytes, size_t *capacity) except? NULL:
        """Memory for one run: what an earlier one has given back, if it is large enough."""
        cdef uintptr_t at
        cdef void *memory
        try:
            capacity[0], address = self.arenas.pop()
        except IndexError:
            capacity[0], address = 0, 0
        at = address
        if capacity[0] >= bytes and at:
            return <void *>at
        fl_free(<void *>at)
        memory = fl_alloc(bytes + 64)
        if memory == NULL:
            raise MemoryError(f"no memory for {bytes} bytes of a model's arrays")
        capacity[0] = bytes
        return memory

    # Threads run one program at once, and without a GIL an attribute that is set anew while it is
    # read, or twice, loses a reference.

    cdef Layout last_layout(self):
        with cython.critical_section(self):
            return self.latest

    cdef int keep_layout(self, Layout layout) except -1:
        with cython.critical_section(self):
            self.latest = layout
        return 0

    cdef bint fits(self, Layout layout, const Py_buffer *views, size_t threads):
        """Was the layout made for inputs of these shapes and so many threads?"""
        cdef const fl_shape *shape
        cdef size_t i
        cdef int j
        if layout is None or layout.threads != threads:
            return False
        for i in range(<size_t>len(self.ndims)):
            shape = &fl_layout_place(layout.layout, self.input_places[i]).shape
            if <size_t>views[i].ndim != shape.axes:
                return False
            for j in range(views[i].ndim):
                if <size_t>views[i].shape[j] != shape.size[j]:
                    return False
        return True

    def run(self, list inputs, size_t threads=1, list out=None):
        """The list of outputs, new arrays or those of `out`, where None stands for a new one, of a
        list of arrays that have the inputs' types and are contiguous. OperatorError, MemoryError;
        what a handler raised."""
        cdef void *pointers[2 * MOST_PROGRAM_ARRAYS]
        cdef Py_buffer views[2 * MOST_PROGRAM_ARRAYS]
        cdef Layout layout
        cdef Poll poll
        cdef fl_caller caller
        cdef void *memory
        cdef size_t capacity = 0, step = 0, ins = len(inputs), i, held = 0
        cdef size_t outs = len(self.outs)
        cdef int status
        cdef list made
        cdef tuple own = ()
        if ins != <size_t>len(self.ndims):
            raise OperatorError(f"{len(self.ndims)} inputs are due, got {ins}")
        caller.threads = threads or <size_t>fastlstm_get_num_threads()
        if out is not None and <size_t>len(out) != outs:
            raise OperatorError(f"{outs} outputs are due, got {len(out)}")
        made = []
        try:
            for i in range(ins):
                array, dtype = inputs[i], self.dtypes[i]
                if array.dtype is not dtype and array.dtype != dtype:
                    raise OperatorError(f"input {i} is {array.dtype}, {dtype} is due")
                PyObject_GetBuffer(array, &views[held], PyBUF_C_CONTIGUOUS)
                pointers[i] = views[held].buf
                held += 1
                if dtype is _int64:
                    own += (own_copy(&pointers[i], views[held - 1].len),)
            layout = self.last_layout()
            if not self.fits(layout, views, caller.threads):
                layout = self.layout(tuple([x.shape for x in inputs]), caller.threads)
                self.keep_layout(layout)
            for i in range(outs):
                shape, dtype = layout.like[i]
                array = None if out is None else out[i]
                if array is None:
                    array = new_array(shape, dtype)
                elif array.dtype != dtype or array.shape != shape:
                    raise OperatorError(f"output {i} must be {shape}, of {dtype}")
                made.append(array)
                PyObject_GetBuffer(array, &views[held], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
                pointers[ins + i] = views[held].buf
                held += 1
            memory = self.arena(fl_layout_arena(layout.layout), &capacity)
            caller.poll = watch(&poll)
            caller.poll_arg = &poll
            with nogil:
                status = fl_program_run(self.program, layout.layout, pointers, pointers + ins,
                                        memory, &caller, &step)
            if len(self.arenas) < MOST_ARENAS:
                self.arenas.append((capacity, <uintptr_t>memory))
            else:
                fl_free(memory)
        finally:
            while held:
                held -= 1
                PyBuffer_Release(&views[held])
        raise_status(status, "program", &poll, step)
        return made
