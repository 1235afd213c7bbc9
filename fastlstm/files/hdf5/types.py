# SPDX-License-Identifier: MIT
"""HDF5's datatype and dataspace messages, the ones that arrays of numbers and text need."""

import dataclasses

import numpy as np

MAX_DIMS = 32
UNDEFINED = (1 << 64) - 1  # the address of what is not there
_FIXED, _FLOAT, _STRING, _ENUM, _VARIABLE = 0, 1, 3, 8, 9
# (size, exponent at, bits, mantissa at, bits, bias) of IEEE's formats
_FLOATS = {
    2: (10, 5, 0, 10, 15), 4: (23, 8, 0, 23, 127), 8: (52, 11, 0, 52, 1023),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Numbers:
    dtype: np.dtype

    def values(self, owner, raw, shape):
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if count * self.dtype.itemsize > len(raw):
            raise owner.error("an attribute is shorter than its shape")
        owner.file.charge_text(40 * count)
        found = np.frombuffer(raw, self.dtype, count).tolist()
        return found if shape else found[0]


@dataclasses.dataclass(frozen=True)
class Text:
    size: int

    def values(self, owner, raw, shape):
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if count * self.size > len(raw):
            raise owner.error("an attribute is shorter than its shape")
        owner.file.charge_text(count * (self.size + 60))
        pieces = [bytes(raw[n * self.size : (n + 1) * self.size]) for n in range(count)]
        found = [_decoded(owner, piece.rstrip(b"\0 ")) for piece in pieces]
        return found if shape else found[0]


@dataclasses.dataclass(frozen=True)
class VariableText:
    def values(self, owner, raw, shape):
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
            piece = owner.file.heap_object(address, index)
            if len(piece) < length:
                raise owner.error("a text is shorter than told")
            found.append(_decoded(owner, bytes(piece[:length]).rstrip(b"\0")))
        return found if shape else found[0]


def _decoded(owner, raw):
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise owner.error("a text that is not UTF-8") from None


def datatype(owner, at, size):
    """Numbers, Text, VariableText, or None for a type that is not read."""
    if size < 8:
        raise owner.error("a datatype is malformed")
    first, low, _, _, width = owner.file.unpack("4BI", at, "datatype")
    kind, order = first & 15, ">" if low & 1 else "<"
    if kind == _FIXED:
        if width not in (1, 2, 4, 8) or owner.file.unpack("HH", at + 8, "datatype") != (
            0,
            8 * width,
        ):
            return None
        return Numbers(np.dtype(f"{order}{'i' if low & 8 else 'u'}{width}"))
    if kind == _FLOAT:
        told = owner.file.unpack("HH4BI", at + 8, "datatype")
        if width not in _FLOATS or told != (0, 8 * width, *_FLOATS[width]) or low & 0x40:
            return None
        return Numbers(np.dtype(f"{order}f{width}"))
    if kind == _STRING:
        return Text(width) if width else None
    if kind == _VARIABLE:
        return VariableText() if low & 15 == 1 and width == 16 else None
    if kind == _ENUM and width == 1:  # h5py's bool
        count = low | owner.file.unpack("BB", at + 1, "datatype")[1] << 8
        names = bytes(owner.file.take(at, size, "datatype"))
        if count == 2 and b"FALSE\0" in names and b"TRUE\0" in names:
            return Numbers(np.dtype(bool))
    return None


def dataspace(owner, at, size):
    """The shape, or None for the null dataspace."""
    version, ndim, kind = owner.file.unpack("2BxB", at, "dataspace")
    if version not in (1, 2) or ndim > MAX_DIMS:
        raise owner.error(f"a dataspace of version {version} with {ndim} sizes")
    if version == 2 and kind == 2:
        return None
    start = at + (8 if version == 1 else 4)
    if start + 8 * ndim > at + size:
        raise owner.error("a dataspace is malformed")
    shape = owner.file.unpack(f"{ndim}Q", start, "dataspace")
    if any(n >= 1 << 40 for n in shape):
        raise owner.error(f"a size of {max(shape)}")
    return shape
