# SPDX-License-Identifier: MIT
"""ONNX's tensors: the message TensorProto of onnx.proto (onnx/onnx on GitHub), as arrays.

Field numbers: dims 1, data_type 2, float_data 4, int32_data 5, int64_data 7, name 8, raw_data 9,
double_data 10, uint64_data 11, external_data 13 (key 1, value 2), data_location 14 (1: external).

The elements stand in raw_data, little-endian, and are then a view of the file's buffer; or in the
list of their type, one by one or packed; or in another file. That file is read if it is called like
the model with ".data" behind, as PyTorch's exporter writes it, or if the caller allows others; and
it must be a regular file inside the model's folder, as long as its tensors need. Strings, float8
and 4-bit numbers are not read. Graphs are not known here.
"""

import math
import os

import numpy as np

from ...engine.bfloat16 import Bfloat16
from ..source import Source, show
from .wire import I32, I64, LEN, VARINT

MAX_DIMS = 32  # what NumPy 1 allows
# Elements of a tensor stored as varints, which are decoded one by one in Python. Exporters store
# shapes and axes so; weights are floats, in raw_data or packed.
MAX_NUMBERS = 2_000_000
MAX_EMPTY = 1 << 40  # the product of the sizes that are not 0, which no elements bound
_LOCATION = 4096  # characters of another file's name
BF16 = 16  # data_type of bfloat16, which NumPy does not have
# data_type: NumPy's name of an element in the file; bfloat16's 16 bits are read as uint16.
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64",
    15: "complex128", BF16: "uint16",
}  # fmt: skip
# For elements not in raw_data: (number of the list's field, NumPy's type of one number there, or
# None where they are varints). A complex element is two numbers. Types that are not named here, the
# small integers, bool, float16 and bfloat16, are varints in int32_data, field 5.
_TYPED = {
    "float32": (4, "<f4"), "complex64": (4, "<f4"), "float64": (10, "<f8"),
    "complex128": (10, "<f8"), "int64": (7, None), "uint32": (11, None), "uint64": (11, None),
}  # fmt: skip


def dtype_of(code):
    """NumPy's name of the array for a data_type (float32 for bfloat16); None if it is not read."""
    return "float32" if code == BF16 else _DTYPES.get(code)


def dequantized(array, scale, zero):
    """(array - zero) * scale as float32, in one new array. scale and zero are broadcast to the
    array's shape; ValueError if they cannot be."""
    real = np.empty(array.shape, np.float32)
    np.subtract(array, np.asarray(zero, np.float32), out=real, dtype=np.float32, casting="unsafe")
    real *= scale
    return real


def inside(folder, location, path=os.path):
    """The full path of the file `location` in `folder`, links followed; None if that is not inside
    the folder. path: the system's os.path."""
    folder = path.realpath(folder)
    full = path.realpath(path.join(folder, location))
    try:
        common = path.commonpath([folder, full])
    except ValueError:  # on Windows: on two drives
        return None
    return None if path.isabs(location) or common != folder else full


class Tensor:
    """A TensorProto.

    span        the message          name, dims, code   its name, dims and data_type
    raw         the Span of raw_data, or None
    typed       [(number, wire type, value)] of the fields of the lists of elements
    location    1: the elements are in another file, which `external`, a list of Spans, describes
    value       None, or what array() made
    """

    __slots__ = ("code", "dims", "external", "location", "name", "raw", "span", "typed", "value")

    def __init__(self, span):
        self.span, self.name, self.code, self.dims, self.value = span, "", 0, [], None
        self.raw, self.typed, self.external, self.location = None, [], [], 0
        span.wire.charge(200)
        for number, wire_type, value in span.fields():
            if number == 1:
                self._dims(wire_type, value)
            elif number == 2 and wire_type == VARINT:
                self.code = value
            elif number == 8 and wire_type == LEN:
                self.name = value.text()
            elif number == 9 and wire_type == LEN:
                self.raw = value
            elif number in (4, 5, 7, 10, 11):
                span.wire.charge(120)
                self.typed.append((number, wire_type, value))
            elif number == 13 and wire_type == LEN:
                span.wire.charge(64)
                self.external.append(value)
            elif number == 14 and wire_type == VARINT:
                self.location = value

    def _dims(self, wire_type, value):
        values = value.varints() if wire_type == LEN else [value] if wire_type == VARINT else []
        for size in values:
            if len(self.dims) >= MAX_DIMS or size >= 1 << 62:
                raise self.error(f"more than {MAX_DIMS} sizes, or a negative one")
            self.dims.append(size)

    def error(self, rule):
        return self.span.wire.source.error(f"tensor {show(self.name)}", rule)

    @property
    def readable(self):
        return self.code in _DTYPES

    def array(self, external=False):
        """The value, made at the first call; bfloat16 becomes float32. LoadError if it is
        malformed. external: whether files other than <model>.data may be read."""
        if self.value is None:
            self.value = self._array(external)
        return self.value

    def _array(self, external):
        if not self.readable:
            raise self.error(f"element type {self.code} is not read")
        stored = _DTYPES[self.code]
        if 0 in self.dims and math.prod(n or 1 for n in self.dims) > MAX_EMPTY:
            raise self.error("the sizes of an empty tensor are too large")
        count = math.prod(self.dims)
        size = count * np.dtype(stored).itemsize
        if self.location:
            flat = self._external(size, external).view(np.dtype(stored).newbyteorder("<"))
        elif self.raw is not None:
            if len(self.raw) != size:
                raise self.error(f"{size} bytes are due, it has {len(self.raw)}")
            little = np.dtype(stored).newbyteorder("<")
            flat = np.frombuffer(self.span.wire.data, little, count, self.raw.start)
        else:
            flat = self._typed(stored, count)
        if stored == "bool" and count and flat.view(np.uint8).max() > 1:
            raise self.error("a bool that is neither 0 nor 1")
        if self.code == BF16:
            self.span.wire.charge_value(4 * flat.size)
            flat = Bfloat16(flat).astype(np.float32)
        flat = flat.astype(dtype_of(self.code), copy=not flat.flags.aligned)
        return flat.reshape(self.dims)

    def _typed(self, stored, count):
        """The `count` elements of NumPy's type `stored` that stand in the list of their type."""
        field, wide = _TYPED.get(stored, (5, None))
        if any(number != field for number, _, _ in self.typed):
            raise self.error(f"its elements are not where those of {stored} are stored")
        due = count * (2 if stored.startswith("complex") else 1)
        if wide:
            return self._fixed(stored, due, wide)
        if due > MAX_NUMBERS:
            raise self.error(f"{due} elements stored one by one, {MAX_NUMBERS} is the limit")
        self.span.wire.charge_value(8 * due)
        values, at = np.empty(due, np.uint64), 0
        for _, wire_type, value in self.typed:
            for each in value.varints() if wire_type == LEN else [value]:
                if at >= due or (wire_type not in (LEN, VARINT)):
                    raise self.error(f"more than the {due} elements of its sizes")
                values[at] = each
                at += 1
        if at != due:
            raise self.error(f"{due} elements are due, it has {at}")
        if stored in ("float16",) or self.code == BF16:
            return values.astype(np.uint16).view(stored)
        if stored == "bool":
            return values.astype(np.uint8).view(bool)
        return values.astype(stored)

    def _fixed(self, stored, due, wide):
        """The elements of a list of `due` floats or doubles, of NumPy's type `wide`."""
        size = np.dtype(wide).itemsize
        parts = self.typed
        if len(parts) == 1 and parts[0][1] == LEN:
            span = parts[0][2]
            if len(span) != due * size:
                raise self.error(f"{due} elements are due, it has {len(span) / size:g}")
            flat = np.frombuffer(self.span.wire.data, wide, due, span.start)
        else:
            raw = bytearray()
            for _, wire_type, value in parts:
                if wire_type == LEN:
                    raw += value.bytes()
                elif wire_type == (I32 if size == 4 else I64):
                    raw += value.to_bytes(size, "little")
            if len(raw) != due * size:
                raise self.error(f"{due} elements are due, it has {len(raw) / size:g}")
            flat = np.frombuffer(bytes(raw), wide)
        # frombuffer may give an unaligned array, of which no view with larger elements can be made;
        # a complex element is a pair of numbers.
        return np.ascontiguousarray(flat).view(np.dtype(stored).newbyteorder("<"))

    def _place(self):
        """{"location": name of the other file, "offset": text, "length": text}, as far as given."""
        entries = {}
        for span in self.external:
            pair = {n: v.text() for n, wire_type, v in span.fields() if wire_type == LEN}
            entries[pair.get(1, "")] = pair.get(2, "")
        return entries

    def may_read(self, external):
        """Whether the elements may be read where they are. external: see `array`."""
        return not self.location or external or self._beside(self._place().get("location", ""))

    def _beside(self, location):
        """Whether `location` is the model's own name with ".data" behind, in the same folder. A
        model in memory has neither name nor folder."""
        source = self.span.wire.source
        own = f"{os.path.basename(source.name)}.data"
        return source.folder is not None and location == own

    def _external(self, size, external):
        """The `size` bytes of a tensor that is kept in another file, which must lie inside the
        model's folder once links are followed. LoadError if that file may not be read."""
        entries = self._place()
        location = entries.get("location", "")
        source = self.span.wire.source
        if not (external or self._beside(location)):
            raise self.error(
                f"its data is in another file, {show(location)}: "
                + ("give the model's path, not its content, to read it" if source.folder is None
                   else "pass external_data=True to read it")
            )  # fmt: skip
        try:
            offset = int(entries.get("offset") or 0)
            length = int(entries.get("length") or size)
        except ValueError:
            raise self.error("offset or length is no number") from None
        if offset < 0 or length != size:
            raise self.error(f"{size} bytes are due, it has {length} from {offset}")
        if not location or "\0" in location or len(location) > _LOCATION:
            raise self.error("the name of the other file is empty, too long or has a zero byte")
        path = inside(source.folder or ".", location)
        if path is None:
            raise self.error(
                f"the other file, {show(location)}, is outside the model's folder; links that lead "
                "out of it are not followed"
            )
        try:
            with Source(path) as other:
                if offset + size > other.size:
                    raise self.error(f"{size} bytes from {offset} of a file of {other.size}")
                self.span.wire.charge_other_file(path, other.size, size)
                return other.read_into(offset, np.empty(size, np.uint8))
        except OSError as reason:
            raise self.error(f"the other file, {show(location)}: {reason.strerror}") from None
