# SPDX-License-Identifier: MIT
"""Protocol buffers, the encoding of ONNX files: the fields of a message, decoded where they lie in
the file's buffer. By protobuf.dev/programming-guides/encoding.

A message is a run of fields, each a key (a varint: field number << 3 | wire type) and a value:
    VARINT 0: a varint, 7 bits in each byte, low ones first, the top bit set but in the last
    I64 1: 8 bytes        I32 5: 4 bytes, little-endian        LEN 2: a varint length, so many bytes
LEN is a string, bytes, a message, or a packed list of numbers; which of them, the reader of the
field knows. Groups (wire types 3 and 4) are refused: ONNX has none.

The protobuf library would make an object of every message inside before a limit could act, and an
empty node takes only 2 bytes of a file. Here a message stays a Span of the buffer until its fields
are asked for. What the fields mean is not known here.
"""

import struct

VARINT, I64, LEN, I32 = 0, 1, 2, 5
# Fields decoded in one file, counted each time. A node with its attributes has a few dozen, so that
# a graph of 100,000 nodes passes. It bounds the time.
MAX_FIELDS = 4_000_000


class Span:
    """Bytes start .. end of a file's buffer. wire: the Wire that has the buffer."""

    __slots__ = ("end", "start", "wire")

    def __init__(self, wire, start, end):
        self.wire, self.start, self.end = wire, start, end

    def __len__(self):
        return self.end - self.start

    def bytes(self):
        return bytes(self.wire.view[self.start : self.end])

    def text(self, limit=65536):
        """The bytes as text. The limit is far above what exporters name nodes and values."""
        if len(self) > limit:
            raise self.error(f"a text of {len(self)} bytes, {limit} is the limit")
        self.wire.charge(64 + len(self))
        try:
            return str(self.wire.view[self.start : self.end], "utf-8")
        except UnicodeDecodeError:
            raise self.error("a text that is not UTF-8") from None

    def error(self, rule):
        return self.wire.source.error(f"byte {self.start}", rule)

    def fields(self):
        """(number, wire type, value) of each field. The value is an int, or a Span for LEN."""
        wire, at, end = self.wire, self.start, self.end
        while at < end:
            key, at = wire.varint(at, end)
            number, wire_type = key >> 3, key & 7
            wire.fields -= 1
            if wire.fields < 0:
                raise self.error(f"more than {MAX_FIELDS} fields")
            if not 0 < number < 1 << 29:
                raise wire.source.error(f"byte {at}", "a field number out of range")
            if wire_type == VARINT:
                value, at = wire.varint(at, end)
            elif wire_type == LEN:
                size, at = wire.varint(at, end)
                if size > end - at:
                    raise wire.source.error(f"byte {at}", f"{size} bytes due, {end - at} are left")
                value = Span(wire, at, at + size)
                at += size
            elif wire_type in (I64, I32):
                size = 8 if wire_type == I64 else 4
                if size > end - at:
                    raise wire.source.error(f"byte {at}", f"{size} bytes due, {end - at} are left")
                value = int.from_bytes(wire.view[at : at + size], "little")
                at += size
            else:
                raise wire.source.error(f"byte {at}", f"wire type {wire_type} is not used")
            yield number, wire_type, value

    def varints(self):
        """The numbers of a packed list of varints."""
        at = self.start
        while at < self.end:
            value, at = self.wire.varint(at, self.end)
            yield value


class Wire:
    """A file's bytes, and how much may still be made of them.

    source   the open file, for errors        data, view   its bytes: an array, and a memoryview
    fields   how many may still be decoded
    budget   bytes that nodes, names and the like may still take: 24 MiB and the file's size, as the
             graph of a large model is small beside its weights
    values   bytes that computed constants may still take: 16 MiB and 6 for each byte of the file
             and of other files with its tensors, as dequantised int8 weights are 4 times as large
             and may be copied once into shape
    others   {path: bytes that tensors may still take of that file}: twice its size, as tensors may
             share bytes
    size     bytes of this file and of the others that were read
    """

    def __init__(self, source, data):
        self.source, self.data, self.view = source, data, memoryview(data)
        self.fields = MAX_FIELDS
        self.budget = (24 << 20) + len(self.view)
        self.values = (16 << 20) + 6 * len(self.view)
        self.others, self.size = {}, len(self.view)

    def span(self):
        return Span(self, 0, len(self.view))

    def charge(self, count):
        """Take `count` bytes of the budget; LoadError if it is used up."""
        self.budget -= count
        if self.budget < 0:
            raise self.source.error("graph", "its nodes need far more memory than the file is long")

    def charge_value(self, count):
        """The same for `count` bytes of arrays that are computed from those in the file."""
        self.values -= count
        if self.values < 0:
            raise self.source.error("graph", "its constants need far more memory than the file")

    def charge_other_file(self, path, size, count):
        """Take `count` bytes of the file `path`, which has `size`; LoadError if its tensors take
        far more than it has. A file's size adds to what may be computed when it is first used."""
        if path not in self.others:
            self.others[path] = 2 * size
            self.size += size
            self.values += 6 * size
        self.others[path] -= count
        if self.others[path] < 0:
            raise self.source.error(
                "graph", "its tensors take far more bytes than another file has"
            )

    def varint(self, at, end):
        """(value, position behind it) of the varint at `at`, which must end before `end`. At most
        10 bytes, of which the low 64 bits count."""
        view, value, shift = self.view, 0, 0
        while at < end:
            byte = view[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, at
            shift += 7
            if shift > 63:
                break
        raise self.source.error(f"byte {at}", "a number without end")


def signed(value):
    """A varint's value as an int64, in two's complement."""
    return value - (1 << 64) if value >> 63 else value


def float32(value):
    """The value of an I32 field as a float."""
    return struct.unpack("<f", value.to_bytes(4, "little"))[0]
