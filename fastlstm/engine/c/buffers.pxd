# SPDX-License-Identifier: MIT
# cython: boundscheck=False, wraparound=False, cdivision=True
"""What an array must be like for C to read or write it in place, and how it is kept while C does.

Such an array is called canonical: an aligned buffer of native float32 with unit stride in its last
axis. Whatever is not canonical is answered with False or NULL, and is not touched.

    Held       the buffers that one call has open; it releases them all together
    Rows       a sequence (T, B, n) as a pointer and two strides
    hold       one array              rows_of    a sequence
    state_of   states (L D, B, n)     weight_of  a matrix or a vector of weights
    lengths_of numbers of steps (B,)  disjoint   is an output free of overlap?
    new_of     an array of float32 that NumPy has just made: nothing is left to look at
"""

from cpython.buffer cimport (
    PyBUF_FORMAT,
    PyBUF_STRIDES,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_CheckBuffer,
)
from cpython.exc cimport PyErr_Clear, PyErr_ExceptionMatches
from libc.stdint cimport int64_t, uintptr_t

# -1 leaves an exception set, which `opened` looks at: try and except would save the thread's
# exception before each array of a call.
cdef extern from "Python.h":
    int get_buffer "PyObject_GetBuffer"(object array, Py_buffer *view, int flags) noexcept


cdef enum:
    MOST_HELD = 7  # x, lengths, h0, c0, y, hn, cn of a call; six arrays of weights


cdef struct Held:
    Py_buffer view[MOST_HELD]
    int count  # set to 0 by the owner, who calls release() at the end


cdef inline int opened(Py_buffer *b, object array, int flags) except -1:
    """Opens the buffer of `array`, 1; 0 if it has none like that."""
    if not PyObject_CheckBuffer(array):
        return 0
    if get_buffer(array, b, PyBUF_STRIDES | PyBUF_FORMAT | flags) == 0:
        return 1
    if PyErr_ExceptionMatches(BufferError) or PyErr_ExceptionMatches(ValueError):
        PyErr_Clear()
        return 0
    return -1


cdef inline Py_buffer *hold(Held *held, object array, int ndim, int flags) except? NULL:
    """Opens the buffer of a canonical `array` of `ndim` axes and adds it to `held`; NULL if it is
    not canonical. `flags`: PyBUF_WRITABLE, or 0 to read."""
    cdef Py_buffer *b = &held.view[held.count]
    cdef bint fits
    cdef int i
    if not opened(b, array, flags):
        return NULL
    fits = (
        b.ndim == ndim
        and b.itemsize == 4
        and b.format != NULL
        and b.format[0] == c"f"
        and b.format[1] == 0
        and <uintptr_t>b.buf % 4 == 0
        and (b.strides[ndim - 1] == 4 or b.shape[ndim - 1] <= 1)
    )
    if fits:
        for i in range(ndim):
            fits = fits and b.strides[i] % 4 == 0
    if not fits:
        PyBuffer_Release(b)
        return NULL
    held.count += 1
    return b


cdef inline void release(Held *held) noexcept:
    while held.count:
        held.count -= 1
        PyBuffer_Release(&held.view[held.count])


cdef inline float *new_of(Held *held, object array) except NULL:
    """The numbers of a new array, contiguous and of float32. Its format is not asked for: NumPy
    writes one as text for each buffer that is to have it."""
    cdef Py_buffer *b = &held.view[held.count]
    if get_buffer(array, b, PyBUF_WRITABLE) != 0:
        return NULL
    held.count += 1
    return <float *>b.buf


cdef struct Rows:
    float *data  # element (t, b, i) at data + t * t_stride + b * b_stride + i
    size_t steps, batch  # T, B
    ptrdiff_t t_stride, b_stride  # in floats


cdef inline bint rows_of(Rows *rows, Held *held, object array, int ndim, size_t n,
                         bint batch_first, int flags) except -1:
    """Fills `rows` from a canonical array of n features: (T, B, n), or (B, T, n) with batch_first,
    or, of two axes, (B, n), which is one step. False if it is not canonical or has another n."""
    cdef Py_buffer *b = hold(held, array, ndim, flags)
    cdef int t = 1 if batch_first else 0  # the axis of time; the other one is the batch's
    if b == NULL or <size_t>b.shape[ndim - 1] != n:
        return False
    rows.data = <float *>b.buf
    if ndim == 2:
        rows.steps = 1
        rows.batch = b.shape[0]
        rows.t_stride = 0
        rows.b_stride = b.strides[0] // 4
    else:
        rows.steps = b.shape[t]
        rows.batch = b.shape[1 - t]
        rows.t_stride = b.strides[t] // 4
        rows.b_stride = b.strides[1 - t] // 4
    return True


cdef inline bint contiguous(const Py_buffer *b) noexcept:
    cdef Py_ssize_t expect = 4
    cdef int i
    for i in range(b.ndim - 1, -1, -1):
        if b.shape[i] != 1 and b.strides[i] != expect:
            return False
        expect *= b.shape[i]
    return True


cdef inline float *state_of(Held *held, object array, size_t tracks, size_t batch, size_t n,
                            int flags) except? NULL:
    """The numbers of a contiguous canonical array (tracks, batch, n); NULL of any other."""
    cdef Py_buffer *b = hold(held, array, 3, flags)
    if (b == NULL or <size_t>b.shape[0] != tracks or <size_t>b.shape[1] != batch
            or <size_t>b.shape[2] != n or not contiguous(b)):
        return NULL
    return <float *>b.buf


cdef inline const int64_t *lengths_of(Held *held, object array, size_t batch) except? NULL:
    """The numbers of a contiguous array (batch,) of int64; NULL of any other."""
    cdef Py_buffer *b = &held.view[held.count]
    if not opened(b, array, 0):
        return NULL
    if (b.ndim != 1 or b.itemsize != 8 or b.format == NULL
            or (b.format[0] != c"l" and b.format[0] != c"q") or b.format[1] != 0
            or <uintptr_t>b.buf % 8 != 0 or <size_t>b.shape[0] != batch
            or (b.strides[0] != 8 and batch > 1)):
        PyBuffer_Release(b)
        return NULL
    held.count += 1
    return <const int64_t *>b.buf


cdef inline float *weight_of(Held *held, object array, size_t rows, size_t columns,
                             int flags) except NULL:
    """The numbers of a contiguous canonical matrix (rows, columns), or vector (rows,) where columns
    is 0; ValueError of any other."""
    cdef int ndim = 2 if columns else 1
    cdef Py_buffer *b = hold(held, array, ndim, flags)
    if (b == NULL or <size_t>b.shape[0] != rows or (columns and <size_t>b.shape[1] != columns)
            or not contiguous(b)):
        raise ValueError("weights do not have the network's shapes")
    return <float *>b.buf


cdef inline void extent(const Py_buffer *b, uintptr_t *low, uintptr_t *high) noexcept:
    """The addresses [low, high) that a view without an empty axis can touch."""
    cdef int i
    low[0] = high[0] = <uintptr_t>b.buf
    for i in range(b.ndim):
        if b.strides[i] < 0:
            low[0] += (b.shape[i] - 1) * b.strides[i]
        else:
            high[0] += (b.shape[i] - 1) * b.strides[i]
    high[0] += b.itemsize


cdef inline bint rows_disjoint(const Py_buffer *y) noexcept:
    """Is no memory shared by two rows of y, (T, B, n) or (B, n)?"""
    cdef Py_ssize_t row = y.shape[y.ndim - 1] * 4, n0 = y.shape[0], s0 = abs(y.strides[0]), n1, s1
    if y.ndim == 2:
        return n0 == 1 or s0 >= row
    n1 = y.shape[1]
    s1 = abs(y.strides[1])
    if n0 == 1 or n1 == 1:
        return (n0 == 1 or s0 >= row) and (n1 == 1 or s1 >= row)
    if s0 >= s1:
        return s1 >= row and s0 >= (n1 - 1) * s1 + row
    return s0 >= row and s1 >= (n0 - 1) * s0 + row


cdef inline bint disjoint(const Held *held) noexcept:
    """Does the array that was held last, an output, share no memory with those held before it, and
    do no two of its own rows overlap?"""
    cdef uintptr_t low, high, other_low, other_high
    cdef int i
    if not rows_disjoint(&held.view[held.count - 1]):
        return False
    extent(&held.view[held.count - 1], &low, &high)
    for i in range(held.count - 1):
        extent(&held.view[i], &other_low, &other_high)
        if not (high <= other_low or other_high <= low):
            return False
    return True
