# SPDX-License-Identifier: MIT
"""NumPy's .npz: a zip archive of .npy records, stored (numpy.savez) or deflated (savez_compressed).

A .npy record, by the specification in numpy/lib/format.py, versions 1 to 3:
    "\\x93NUMPY", version (2 bytes), length of the header (2 bytes; from version 2 on 4), header,
    elements
    header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }

The header is Python text. It is matched with a regular expression and not evaluated. Arrays of
Python objects are pickles, and refused; arrays of text and dates are left out. NumPy itself reads
nothing here.
"""

import math
import re

import numpy as np

from ..source import show
from ..stored_zip import directory, is_zip

MAX_HEADER = 10_000  # bytes; numpy.load's own limit (max_header_size)
MAX_EMPTY = 1 << 40  # the product of the sizes that are not 0, which no elements bound
# Bytes of all arrays together, FACTOR for each byte of the file and SLACK: stored arrays take 1 for
# each byte, deflated weights hardly more; only zeros and the like inflate far.
FACTOR, SLACK = 2, 32 << 20

# Groups: the dtype, whether the elements are in Fortran's order, the sizes (at most 32 of them, of
# at most 18 digits: a number that fits 64 bits).
_HEADER = re.compile(
    rb"\{ *'descr': '([<>|=]?[a-zA-Z][0-9]{0,6})', *'fortran_order': (True|False), *"
    rb"'shape': \(((?:[0-9]{1,18}(?:, *|(?=\)))){0,32})\),? *\} *\n?"
)
_NUMBERS = re.compile(r"[<>|=]?(f2|f4|f8|i1|i2|i4|i8|u1|u2|u4|u8|b1|c8|c16)")


def is_npz(source):
    names = directory(source).entries if is_zip(source) else ()
    return len(names) > 0 and all(name.endswith(".npy") for name in names)


def _array(source, name, raw):
    """The array in a record's bytes `raw`, a view of them where byte order allows; None if it is
    one of text or dates. name: the record's, for messages."""
    place = f"record {show(name)}"
    if raw[:6].tobytes() != b"\x93NUMPY" or len(raw) < 12 or raw[6] not in (1, 2, 3):
        raise source.error(place, "it does not begin as a .npy array of version 1 to 3")
    width = 2 if raw[6] == 1 else 4
    length = int.from_bytes(raw[8 : 8 + width].tobytes(), "little")
    start = 8 + width + length
    if length > MAX_HEADER or start > len(raw):
        raise source.error(place, f"a header of {length} bytes, {MAX_HEADER} is the limit")
    match = _HEADER.fullmatch(raw[8 + width : start].tobytes())
    if match is None:
        raise source.error(place, "its header is not that of an array of numbers")
    descr = match[1].decode()
    if "O" in descr:
        raise source.error(place, "an array of Python objects is a pickle, and not read")
    if not _NUMBERS.fullmatch(descr):
        return None
    dtype = np.dtype(descr)
    shape = tuple(int(n) for n in match[3].split(b",") if n.strip())
    if 0 in shape and math.prod(n or 1 for n in shape) > MAX_EMPTY:
        raise source.error(place, "the sizes of an empty array are too large")
    due = math.prod(shape) * dtype.itemsize
    if start + due != len(raw):
        raise source.error(place, f"{due} bytes are due, {len(raw) - start} follow the header")
    flat = raw[start:].view(dtype) if due else np.empty(0, dtype)
    if dtype.kind == "b" and due and flat.view(np.uint8).max() > 1:
        raise source.error(place, "a bool that is neither 0 nor 1")
    flat = flat.astype(dtype.newbyteorder("="), copy=False)
    return flat.reshape(shape, order="F" if match[2] == b"True" else "C")


def read(source, options=None):
    """{record's name without ".npy": array} in the archive's order, of the arrays of numbers."""
    archive = directory(source)
    archive.check(may_deflate=lambda name: True)
    limit = FACTOR * source.size + SLACK
    total = sum(entry.size for entry in archive.entries.values())
    if total > limit:
        raise source.error("zip directory", f"{total} bytes of arrays, {limit} is the limit")
    found = {}
    for name, entry in archive.entries.items():
        raw = archive.read_into(entry, np.empty(entry.size, np.uint8))
        array = _array(source, name, raw)
        if array is not None:
            found[name.removesuffix(".npy")] = array
    return found
