# SPDX-License-Identifier: MIT
"""HDF5's messages for an array's type (datatype) and shape (dataspace), as far as arrays of numbers
and text need them.

By the HDF5 File Format Specification 3.0, sections IV.A.2.d and IV.A.2.b. Other types (compounds,
references, arrays, floats that are not IEEE's ...) are not read: their arrays are left out.
"""

import dataclasses

import numpy as np

MAX_DIMS = 32  # the specification's limit, and what NumPy 1 allows
UNDEFINED = (1 << 64) - 1  # in place of an address: nothing is stored
# The least bytes that an object takes in a global heap. The file may have as many as fit into it,
# since a sound file has each once.
HEAP_ENTRY = 16
_FIXED, _FLOAT, _STRING, _ENUM, _VARIABLE = 0, 1, 3, 8, 9  # classes of datatypes
# IEEE's formats by bytes: exponent's first bit, its bits, mantissa's first bit, its bits, bias.
_FLOATS = {
    2: (10, 5, 0, 10, 15), 4: (23, 8, 0, 23, 127), 8: (52, 11, 0, 52, 1023),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A type of numbers, or bool, with the file's byte order."""

    dtype: np.dtype

    def values(self, owner, raw, shape):
        """An attribute's value out of its bytes `raw`: a number, or a list for a shape that is not
        (). `owner`, the Object that has the attribute, makes the errors and counts the bytes."""
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if count * self.dtype.itemsize > len(raw):
            raise owner.error("an attribute is shorter than its shape")
        owner.file.charge_text(40 * count)
        found = np.frombuffer(raw, self.dtype, count).tolist()
        return found if shape else found[0]


@dataclasses.dataclass(frozen=True)
class Text:
    """Text of `size` bytes, padded with zeros or spaces."""

    size: int

    def values(self, owner, raw, shape):
        """As Numbers.values: a str, or a list of them."""
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if count * self.size > len(raw):
            raise owner.error("an attribute is shorter than its shape")
        owner.file.charge_text(count * (self.size + 60))
        pieces = [bytes(raw[n * self.size : (n + 1) * self.size]) for n in range(count)]
        found = [_decoded(owner, piece.rstrip(b"\0 ")) for piece in pieces]
        return found if shape else found[0]


@dataclasses.dataclass(frozen=True)
class VariableText:
    """Text of any length, kept in a global heap. Each element is its length (4 bytes), the address
    of the heap (8) and an index in it (4)."""

    def values(self, owner, raw, shape):
        """As Numbers.values: a str, or a list of them."""
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if 16 * count > len(raw):
            raise owner.error("an attribute is shorter than its shape")
        found = []
        for n in range(count):
            at = 16 * n
            length = int.from_bytes(raw[at : at + 4], "little")
            address = int.from_bytes(raw[at + 4 : at + 12], "little")
            index = int.from_bytes(raw[at + 12 : at + 16], "little")
            owner.file.charge_text(60 + length)
            if not length:
                found.append("")
                continue
            piece = _heap_object(owner.file, address, index)
            if len(piece) < length:
                raise owner.error("a text is shorter than told")
            found.append(_decoded(owner, bytes(piece[:length]).rstrip(b"\0")))
        return found if shape else found[0]


def _heap_object(file, address, index):
    """The bytes of object `index` of the global heap collection at `address` of an Hdf5 file."""
    if address not in file.heaps:
        file.heaps[address] = _heap(file, address)
    if index not in file.heaps[address]:
        raise file.error(f"byte {address}", f"the global heap has no object {index}")
    return file.take(*file.heaps[address][index], "global heap")


def _heap(file, address):
    """{index: (start, bytes)} of the objects of the global heap collection at `address`."""
    sign, version, size = file.unpack("4sB3xQ", address, "global heap")
    if sign != b"GCOL" or version != 1:
        raise file.error(f"byte {address}", "a global heap is due")
    at, end, found = address + 16, min(address + size, len(file.view)), {}
    while at + HEAP_ENTRY <= end:
        number, length = file.unpack("H6xQ", at, "global heap")
        if number == 0:  # the free space, which is last
            break
        found.setdefault(number, (at + HEAP_ENTRY, length))
        at += HEAP_ENTRY + (length + 7) // 8 * 8
        file.heap_entries -= 1
        if file.heap_entries < 0:
            raise file.error("global heaps", "more objects than the file has room for")
    return found


def _decoded(owner, raw):
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise owner.error("a text that is not UTF-8") from None


def datatype(owner, at, size):
    """The Numbers, Text or VariableText that the datatype message at `at`, of `size` bytes, says;
    None for a type that is not read. owner: the Object it belongs to."""
    if size < 8:
        raise owner.error("a datatype is malformed")
    first, low, _, _, width = owner.file.unpack("4BI", at, "datatype")
    type_class, order = first & 15, ">" if low & 1 else "<"
    if type_class == _FIXED:
        if width not in (1, 2, 4, 8) or owner.file.unpack("HH", at + 8, "datatype") != (
            0,
            8 * width,
        ):
            return None
        return Numbers(np.dtype(f"{order}{'i' if low & 8 else 'u'}{width}"))
    if type_class == _FLOAT:
        bits = owner.file.unpack("HH4BI", at + 8, "datatype")
        if width not in _FLOATS or bits != (0, 8 * width, *_FLOATS[width]) or low & 0x40:
            return None
        return Numbers(np.dtype(f"{order}f{width}"))
    if type_class == _STRING:
        return Text(width) if width else None
    if type_class == _VARIABLE:
        return VariableText() if low & 15 == 1 and width == 16 else None
    if type_class == _ENUM and width == 1:  # h5py's bool: an enumeration of FALSE and TRUE
        count = low | owner.file.unpack("BB", at + 1, "datatype")[1] << 8
        names = bytes(owner.file.take(at, size, "datatype"))
        if count == 2 and b"FALSE\0" in names and b"TRUE\0" in names:
            return Numbers(np.dtype(bool))
    return None


def dataspace(owner, at, size):
    """The shape that the dataspace message at `at`, of `size` bytes, says; None for a null
    dataspace, which has no elements. 2^40 elements along an axis are more than a file holds."""
    version, ndim, space_type = owner.file.unpack("2BxB", at, "dataspace")
    if version not in (1, 2) or ndim > MAX_DIMS:
        raise owner.error(f"a dataspace of version {version} with {ndim} sizes")
    if version == 2 and space_type == 2:
        return None
    start = at + (8 if version == 1 else 4)
    if start + 8 * ndim > at + size:
        raise owner.error("a dataspace is malformed")
    shape = owner.file.unpack(f"{ndim}Q", start, "dataspace")
    if any(n >= 1 << 40 for n in shape):
        raise owner.error(f"a size of {max(shape)}")
    return shape
