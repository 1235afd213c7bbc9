# SPDX-License-Identifier: MIT
# Part of _core.pyx: what a NumPy array must be like for C to read or write it in place.


cdef bint view(object array, int ndim, int flags, Py_buffer *b) except -1:
    """Is `array` an aligned native float32 buffer of `ndim` axes, unit stride in the last? Fills b,
    which the caller releases, if so."""
    if not PyObject_CheckBuffer(array):
        return False
    b.buf = NULL  # what says, here and below, that nothing is held
    try:
        PyObject_GetBuffer(array, b, PyBUF_STRIDES | PyBUF_FORMAT | flags)
    except (BufferError, ValueError):
        return False
    cdef int i
    cdef bint fits = (
        b.ndim == ndim
        and b.itemsize == 4
        and b.format != NULL
        and b.format[0] == c"f"
        and b.format[1] == 0
        and <uintptr_t>b.buf % 4 == 0
        and (b.strides[ndim - 1] == 4 or b.shape[ndim - 1] <= 1)
    )
    for i in range(b.ndim):
        fits = fits and b.strides[i] % 4 == 0
    if not fits:
        PyBuffer_Release(b)
        b.buf = NULL
    return fits


cdef bint contiguous(Py_buffer *b) noexcept:
    cdef Py_ssize_t expect = 4
    cdef int i
    for i in range(b.ndim - 1, -1, -1):
        if b.shape[i] != 1 and b.strides[i] != expect:
            return False
        expect *= b.shape[i]
    return True


cdef void extent(Py_buffer *b, uintptr_t *low, uintptr_t *high) noexcept:
    """The addresses [low, high) a view with no empty axis can touch."""
    cdef int i
    low[0] = high[0] = <uintptr_t>b.buf
    for i in range(b.ndim):
        if b.strides[i] < 0:
            low[0] += (b.shape[i] - 1) * b.strides[i]
        else:
            high[0] += (b.shape[i] - 1) * b.strides[i]
    high[0] += 4


cdef bint disjoint(Py_buffer *out, Py_buffer *other) noexcept:
    cdef uintptr_t a0, a1, b0, b1
    extent(out, &a0, &a1)
    extent(other, &b0, &b1)
    return a1 <= b0 or b1 <= a0


cdef bint rows_apart(Py_buffer *y) noexcept:
    """Do no two rows of a (T, B, n) output share memory?"""
    cdef Py_ssize_t row = y.shape[2] * 4, s0 = abs(y.strides[0]), s1 = abs(y.strides[1])
    cdef Py_ssize_t n0 = y.shape[0], n1 = y.shape[1]
    if n0 == 1 or n1 == 1:
        return (n0 == 1 or s0 >= row) and (n1 == 1 or s1 >= row)
    if s0 >= s1:
        return s1 >= row and s0 >= (n1 - 1) * s1 + row
    return s0 >= row and s1 >= (n0 - 1) * s0 + row
