# SPDX-License-Identifier: MIT
# A part of _core.pyx: are weights what they were? By the C library's memcmp, which reads both at the
# speed of the memory and stops at the first difference.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memcmp


def same_bits(list ours, list theirs):
    """Do two lists of contiguous arrays, pairs of the same size, hold the same bytes? So NaN is
    equal to itself, and -0.0 differs from 0.0. ValueError for other arrays."""
    cdef Py_buffer a, b
    cdef bint same = True
    for one, other in zip(ours, theirs, strict=True):
        PyObject_GetBuffer(one, &a, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(other, &b, PyBUF_SIMPLE)
            try:
                if a.len != b.len:
                    raise ValueError("arrays of different sizes")
                if a.len < 1 << 16:  # some microseconds: less than the GIL may cost to get again
                    same = memcmp(a.buf, b.buf, a.len) == 0
                else:
                    with nogil:
                        same = memcmp(a.buf, b.buf, a.len) == 0
            finally:
                PyBuffer_Release(&b)
        finally:
            PyBuffer_Release(&a)
        if not same:
            return False
    return True
