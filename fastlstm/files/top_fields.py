# SPDX-License-Identifier: MIT
"""The first fields of a file, read as one message of protocol buffers. Several formats are such a
message, and protocol buffers have no signature: the fields tell which one a file is.

The fields are skipped over, not read: their numbers, and the first bytes of what they hold, are
enough. The encoding is described in onnx/wire.py.
"""

import dataclasses

_MAX_FIELDS = 8  # at the beginning; no format needs more to be told
_PEEK = 64  # bytes of a field that are read


@dataclasses.dataclass(frozen=True)
class Field:
    """number; value: the int of a varint, else None; size, first: of a field with a length, its
    bytes, and the first 64 of them, else 0 and b""."""

    number: int
    value: int | None = None
    size: int = 0
    first: bytes = b""

    @property
    def is_text(self):
        """Whether the field may be a name: UTF-8 without control characters."""
        text = self.first.decode("utf-8", "ignore" if self.size > len(self.first) else "replace")
        return text.isprintable() and "\ufffd" not in text


def _varint(data, at):
    """(value, where it ends) of the varint at `at` of `data`; (None, at) if it has no end there."""
    value = 0
    for n, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * n
        if byte < 128:
            return value, at + n + 1
    return None, at


def top_fields(source):
    """[Field] of the open file, _MAX_FIELDS at most: as far as it is a message."""
    found, at = [], 0
    while at < source.size and len(found) < _MAX_FIELDS:
        data = source.read(at, min(20, source.size - at))
        key, used = _varint(data, 0)
        if key is None or not 0 < key >> 3 < 1 << 29:
            break
        number, wire_type = key >> 3, key & 7
        if wire_type in (0, 2):
            value, used = _varint(data, used)
            if value is None:
                break
        at += used
        if wire_type == 0:
            found.append(Field(number, value))
        elif wire_type == 2:
            there = min(value, source.size - at)
            found.append(Field(number, None, value, source.read(at, min(there, _PEEK))))
            at += value
        elif wire_type in (1, 5):
            found.append(Field(number))
            at += 8 if wire_type == 1 else 4
        else:
            break
    return found
