# SPDX-License-Identifier: MIT
"""ONNX's protocol buffers, taken apart field by field where they lie: no tree is built.

A message is a run of fields: a varint key (number << 3 | wire type), then
    wire 0: a varint        wire 1: 8 bytes        wire 5: 4 bytes        wire 2: a length, bytes

The protobuf library would make an object of every submessage before any limit could act; a file of
empty nodes takes two bytes for each. Here a message is a Span of the file, decoded when it is used.
"""

import struct

VARINT, WIDE, BYTES, SHORT = 0, 1, 2, 5
MAX_FIELDS = 4_000_000  # decoded in one file


class Span:
    """Bytes start..end of the file's buffer. wire: the Wire it belongs to."""

    __slots__ = ("end", "start", "wire")

    def __init__(self, wire, start, end):
        self.wire, self.start, self.end = wire, start, end

    def __len__(self):
        return self.end - self.start

    def bytes(self):
        return bytes(self.wire.view[self.start : self.end])

    def text(self, limit=65536):
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
        """(number, wire type, value) of each field: an int, or a Span for bytes."""
        wire, at, end = self.wire, self.start, self.end
        while at < end:
            key, at = wire.varint(at, end)
            number, kind = key >> 3, key & 7
            wire.fields -= 1
            if wire.fields < 0:
                raise self.error(f"more than {MAX_FIELDS} fields")
            if not 0 < number < 1 << 29:
                raise wire.source.error(f"byte {at}", "a field number out of range")
            if kind == VARINT:
                value, at = wire.varint(at, end)
            elif kind == BYTES:
                size, at = wire.varint(at, end)
                if size > end - at:
                    raise wire.source.error(f"byte {at}", f"{size} bytes due, {end - at} are left")
                value = Span(wire, at, at + size)
                at += size
            elif kind in (WIDE, SHORT):
                size = 8 if kind == WIDE else 4
                if size > end - at:
                    raise wire.source.error(f"byte {at}", f"{size} bytes due, {end - at} are left")
                value = int.from_bytes(wire.view[at : at + size], "little")
                at += size
            else:
                raise wire.source.error(f"byte {at}", f"wire type {kind} is not used")
            yield number, kind, value

    def varints(self):
        """The numbers of a packed field."""
        at = self.start
        while at < self.end:
            value, at = self.wire.varint(at, self.end)
            yield value


class Wire:
    """A file's bytes, and the budget of what may be made of them."""

    def __init__(self, source, data):
        self.source, self.data, self.view = source, data, memoryview(data)
        self.fields = MAX_FIELDS
        self.budget = (24 << 20) + len(self.view)
        self.values = (16 << 20) + 6 * len(self.view)  # dequantised weights are 4 times as large

    def span(self):
        return Span(self, 0, len(self.view))

    def charge(self, count):
        self.budget -= count
        if self.budget < 0:
            raise self.source.error("graph", "its nodes need far more memory than the file is long")

    def charge_value(self, count):
        """For `count` bytes of arrays computed from those in the file."""
        self.values -= count
        if self.values < 0:
            raise self.source.error("graph", "its constants need far more memory than the file")

    def varint(self, at, end):
        """(value, position after it) of the varint at `at`."""
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
    """A varint's 64 bits as an int64."""
    return value - (1 << 64) if value >> 63 else value


def float32(value):
    """The 4 bytes of a fixed field as a float."""
    return struct.unpack("<f", value.to_bytes(4, "little"))[0]
