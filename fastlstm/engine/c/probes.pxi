# SPDX-License-Identifier: MIT
# A part of _core.pyx: kernels one by one, for tests and benchmarks. isa: an instruction set that
# runs here, None for the best; ValueError for another.


cdef fl_table *table_of(isa) except NULL:
    return <fl_table *>kernels_of(isa)


cdef object mapped(const float[::1] x, isa, bint tanh):
    cdef fl_table *k = table_of(isa)
    cdef object y = _empty(x.shape[0], _float32)
    cdef float[::1] out = y
    cdef size_t n = x.shape[0]
    if n:
        with nogil:
            (k.tanh if tanh else k.sigmoid)(&out[0], &x[0], n)
    return y


def sigmoid(x, isa=None):
    """The gates' sigmoid over a contiguous float32 vector, as the kernels compute it: a new one."""
    return mapped(x, isa, False)


def tanh(x, isa=None):
    """The gates' tanh over a contiguous float32 vector, as the kernels compute it: a new one."""
    return mapped(x, isa, True)


def activate(activation, const float[::1] x, isa=None):
    """f(x) and its derivative f'(x), two new vectors, of an engine.variants.Activation f."""
    cdef const fl_table *k = table_of(isa)
    cdef fl_activation f = activation_of(activation)
    y, slope = _empty(x.shape[0], _float32), _empty(x.shape[0], _float32)
    cdef float[::1] y_ = y
    cdef float[::1] slope_ = slope
    if x.shape[0]:
        with nogil:
            k.activate(&f, &y_[0], &slope_[0], &x[0], x.shape[0])
    return y, slope


def fma_peak(isa=None, seconds=0.1, dtype="float32"):
    """GFLOP/s of independent multiply-adds on this CPU core, those that products of a dtype are made
    of (float32, int8, bfloat16): the best of many short samples in `seconds`."""
    if dtype not in ("float32", "int8", "bfloat16"):
        raise ValueError(f"dtype is float32, int8 or bfloat16, got {dtype}")
    cdef int format = DTYPES.index(dtype)
    cdef const fl_table *k = <const fl_table *>fl_permitted_kernels(kernels_of(isa), format > 1)
    cdef double best = 0, start, end, flop
    cdef double stop = fl_clock() + seconds
    while fl_clock() < stop:
        with nogil:
            start = fl_clock()
            flop = k.probe[format](100_000)
            end = fl_clock()
        best = max(best, flop / (end - start))
    return best / 1e9


def read_bandwidth(nbytes, seconds=0.1, isa=None):
    """GB/s of reading `nbytes` of float32 in order, again and again: the best sample
    in `seconds`."""
    cdef fl_table *k = table_of(isa)
    cdef size_t n = max(nbytes // 4, <object>1024), i, rounds
    rounds = max(<size_t>1, (4 << 20) // (4 * n))
    data = numpy.zeros(n + 16, _float32)
    cdef const float[::1] v = data
    cdef const float *x = <const float *>((<uintptr_t>&v[0] + 63) // 64 * 64)
    cdef double best = 0, start, end
    cdef double stop = fl_clock() + seconds
    cdef volatile float sink
    while fl_clock() < stop:
        with nogil:
            start = fl_clock()
            for i in range(rounds):
                sink = k.probe_read(x, n)
            end = fl_clock()
        best = max(best, 4.0 * n * rounds / (end - start))
    return best / 1e9


cdef class KernelProbe:
    """Two kernels on random float32 numbers, run in a loop in C and timed there.

    KernelProbe(isa, rows, k, hidden, cell="lstm"): `gemm` makes the sums of all gates of `hidden`
    units over k inputs; `step` is one time step of a cell (not "gru_before") whose state has k
    features. ValueError, MemoryError.
    """

    cdef fl_table *table
    cdef fl_cell *cell
    cdef fl_gemm g
    cdef fl_step s
    cdef list keep
    cdef const float **rows_in
    cdef float **rows_out

    def __cinit__(self, isa, size_t rows, size_t k, size_t hidden, str cell="lstm"):
        self.table = table_of(isa)
        self.cell = &self.table.cell[CELLS.index(cell)]
        if cell == "gru_before":
            raise ValueError("gru_before has no step of its own")
        cdef size_t units = self.cell.units * self.table.lanes
        cdef size_t group = self.cell.vectors * self.table.lanes
        cdef size_t panels = (hidden + units - 1) // units, r
        self.keep = []
        self.rows_in = <const float **>fl_alloc(rows * sizeof(float *))
        self.rows_out = <float **>fl_alloc(rows * sizeof(float *))
        if self.rows_in == NULL or self.rows_out == NULL:
            raise MemoryError
        cdef float *a = self.floats(rows * k)
        cdef float *h = self.floats(rows * hidden)
        for r in range(rows):
            self.rows_in[r] = a + r * k
            self.rows_out[r] = h + r * hidden
        self.g.rows = rows
        self.g.vectors = self.cell.vectors
        self.g.panels = panels
        self.g.k = k
        self.g.cut = 1  # as in calls
        self.g.a = self.rows_in
        self.g.a_step = 1
        self.g.panel = self.floats(panels * k * group)
        self.g.panel_bytes = k * group * sizeof(float)
        self.g.init = self.floats(panels * group)
        self.g.c = self.floats(panels * rows * group)
        self.g.c_panel = rows * group
        self.g.c_row = group
        self.s.rows = rows
        self.s.p1 = panels
        self.s.k = k
        self.s.hidden = hidden
        self.s.panel = self.g.panel
        self.s.panel_bytes = self.g.panel_bytes
        self.s.z = self.floats(panels * rows * group)
        self.s.z_panel = rows * group
        self.s.h = self.rows_in
        self.s.h_out = self.rows_out
        self.s.b_hn = self.floats(panels * units)
        self.s.c = self.floats(rows * panels * units)
        self.s.c_row = panels * units
        self.s.gemm = self.table.gemm[FL_FLOAT32]

    def __dealloc__(self):
        fl_free(<void *>self.rows_in)
        fl_free(<void *>self.rows_out)

    cdef float *floats(self, size_t n) except NULL:
        """n random floats around 0, 64-byte aligned, kept alive."""
        array = numpy.random.default_rng(len(self.keep)).standard_normal(n + 16, numpy.float32)
        array *= 0.1
        self.keep.append(array)
        cdef float[::1] v = array
        return <float *>((<uintptr_t>&v[0] + 63) // 64 * 64)

    def gemm(self, size_t repeats=1):
        """Seconds that one of `repeats` runs took."""
        cdef size_t i
        cdef double start
        with nogil:
            start = fl_clock()
            for i in range(repeats):
                self.table.gemm[FL_FLOAT32](&self.g)
            start = fl_clock() - start
        return start / repeats

    def step(self, size_t repeats=1):
        """Seconds that one of `repeats` runs took."""
        cdef size_t i
        cdef double start
        with nogil:
            start = fl_clock()
            for i in range(repeats):
                self.s.descending = i & 1
                self.cell.step[FL_FLOAT32](&self.s)
            start = fl_clock() - start
        return start / repeats

    def result(self):
        """What the last step() wrote: (rows, hidden)."""
        cdef size_t r, rows = self.s.rows
        h = _empty((rows, self.s.hidden), _float32)
        cdef float[:, ::1] v = h
        for r in range(rows):
            memcpy(&v[r, 0], self.rows_out[r], self.s.hidden * sizeof(float))
        return h
