# SPDX-License-Identifier: MIT
"""A reader for zip archives whose records are stored, as `torch.save` writes them, or deflated.

Python's `zipfile` builds its objects before a cap could act, reads local headers only when asked,
and accepts duplicate, overlapping and prefixed archives. Here the directory is checked as a whole
before any record is read, and every byte of the file belongs to at most one record.

The archive, from the end:
    [ local header, data, descriptor? ] ...  [ central directory ]  [ zip64 end, locator ]?  [ end ]
"""

import struct
import zlib
from functools import partial

import numpy as np

from .inflate import BLOCK, inflate
from .source import show

MAX_ENTRIES = 10_000
MAX_DIRECTORY = 16 << 20  # bytes of central directory; 10,000 entries of 1,700 bytes
MAX_NAME = 1024

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR, _UTF8 = 0x0008, 0x0800  # general purpose flags: sizes follow the data; UTF-8 name
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "look in the zip64 field"


def is_zip(source):
    return source.head.startswith((b"PK\3\4", b"PK\5\6"))


def directory(source):
    """The StoredZip of an open file; read once, and kept with it."""
    if source.archive is None:
        source.archive = StoredZip(source)
    return source.archive


class Entry:
    """One record: its name, where its bytes are, and what the directory says of them."""

    __slots__ = ("crc", "flags", "method", "name", "offset", "packed", "raw", "size", "start")

    def __init__(self, name, raw, flags, method, crc, packed, size, offset):
        self.name, self.raw, self.flags, self.method = name, raw, flags, method
        self.crc, self.packed, self.size, self.offset = crc, packed, size, offset
        self.start = None  # offset of the data: known once StoredZip.check has read the header


class StoredZip:
    """The directory of an archive: `entries` is {name: Entry} in the directory's order.

    The constructor reads only the directory, so that an archive of another kind can be told by
    its names; `check` must pass before `read` or `read_into`.
    """

    def __init__(self, source):
        self.source = source
        count, size, self.directory = self._end()
        self.entries = self._central(source.read(self.directory, size), count)

    def _end(self):
        """(number of entries, size, offset) of the central directory."""
        source = self.source
        at = source.size - _END.size
        if at < 0:
            raise source.error("zip end record", "the file is too short for a zip archive")
        sign, disk, first, here, count, size, offset, comment = _END.unpack(
            source.read(at, _END.size)
        )
        if sign != b"PK\5\6" or comment:
            raise source.error(
                "zip end record",
                "not at the end of the file: the file was cut short, or bytes follow the archive",
            )
        told = (disk, first, here, count, size, offset)
        end = at
        if at >= _LOCATOR.size:
            spot = at - _LOCATOR.size
            sign, disk64, offset64, disks = _LOCATOR.unpack(source.read(spot, _LOCATOR.size))
            if sign == b"PK\6\7":
                end = offset64
                told = self._end64(spot, disk64, offset64, disks, told)
        disk, first, here, count, size, offset = told
        if disk or first or here != count:
            raise source.error("zip end record", "an archive in several parts is not read")
        if count > MAX_ENTRIES:
            raise source.error("zip end record", f"{count} entries, {MAX_ENTRIES} is the limit")
        if size > MAX_DIRECTORY:
            raise source.error(
                "zip end record", f"a directory of {size} bytes, {MAX_DIRECTORY} is the limit"
            )
        if offset + size != end:
            raise source.error(
                "zip end record", f"the directory, {size} bytes from {offset}, must end at {end}"
            )
        return count, size, offset

    def _end64(self, spot, disk64, offset, disks, told):
        """The zip64 end record, whose fields replace those of `told` and must not differ."""
        source = self.source
        if disk64 or disks > 1 or offset + _END64.size != spot:
            raise source.error("zip64 locator", "it must point at the zip64 record just before it")
        sign, length, _, _, *wide = _END64.unpack(source.read(offset, _END64.size))
        if sign != b"PK\6\6" or length != _END64.size - 12:
            raise source.error("zip64 end record", "signature or length is wrong")
        limits = (_FULL16, _FULL16, _FULL16, _FULL16, _FULL32, _FULL32)
        for old, new, full in zip(told, wide, limits, strict=True):
            if old not in (new, full):
                raise source.error("zip64 end record", f"{new} here, {old} in the end record")
        return tuple(wide)

    def _central(self, data, count):
        source, entries, at = self.source, {}, 0
        for index in range(count):
            place = f"zip directory, entry {index}"
            if at + _CENTRAL.size > len(data):
                raise source.error(place, "the directory ends before it")
            (
                sign, _, _, flags, method, _, _, crc, packed, size, name_len, extra_len,
                comment_len, disk, _, _, offset,
            ) = _CENTRAL.unpack_from(data, at)  # fmt: skip
            at += _CENTRAL.size
            if sign != b"PK\1\2":
                raise source.error(place, "its signature is wrong")
            if at + name_len + extra_len + comment_len > len(data):
                raise source.error(place, "the directory ends inside it")
            if name_len > MAX_NAME:
                raise source.error(place, f"a name of {name_len} bytes, {MAX_NAME} is the limit")
            raw = data[at : at + name_len]
            extra = data[at + name_len : at + name_len + extra_len]
            at += name_len + extra_len + comment_len
            name = self._name(place, raw)
            if name in entries:
                raise source.error(place, f"the name {show(name)} is there twice")
            size, packed, offset = self._wide(place, extra, size, packed, offset)
            if disk not in (0, _FULL16):
                raise source.error(place, "an archive in several parts is not read")
            entries[name] = Entry(name, raw, flags, method, crc, packed, size, offset)
        if at != len(data):
            raise source.error("zip directory", f"{len(data) - at} bytes too many for {count}")
        return entries

    def _name(self, place, raw):
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.source.error(place, f"the name {show(raw)} is not UTF-8") from None
        parts = name.removesuffix("/").split("/")
        if "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise self.source.error(
                place, f"the name {show(name)} is absolute, or has an empty part, '..' or '\\'"
            )
        return name

    def _wide(self, place, extra, *fields):
        """size, packed size and offset, those that are full taken from the zip64 extra field."""
        at, wide = 0, None
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            at += 4
            if at + length > len(extra):
                raise self.source.error(place, "an extra field runs past its end")
            if kind == 1:
                if wide is not None:
                    raise self.source.error(place, "two zip64 fields")
                wide = extra[at : at + length]
            at += length
        result = []
        for value in fields:
            if value == _FULL32:
                if wide is None or len(wide) < 8:
                    raise self.source.error(place, "a zip64 size is missing")
                value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
            result.append(value)
        return result

    def check(self, packed=lambda name: False):
        """Each record stored, inside the file, alone there, and as its own header says it.

        packed   f(name) -> True for the records that may be deflated
        """
        source, end = self.source, 0
        for entry in sorted(self.entries.values(), key=lambda entry: entry.offset):
            place = f"record {show(entry.name)}"
            if entry.flags & ~(_DESCRIPTOR | _UTF8):
                raise source.error(place, f"zip flags {entry.flags:#06x}: encrypted or unknown")
            deflated = entry.method == 8 and packed(entry.name)
            if not deflated and (entry.method or entry.packed != entry.size):
                raise source.error(place, "compressed; records must be stored as they are")
            if entry.offset < end:
                raise source.error(place, "it overlaps the record before it")
            length = _LOCAL.size + len(entry.raw)
            if entry.offset + length > self.directory:
                raise source.error(place, "its header runs into the directory")
            entry.start = self._local(place, entry, source.read(entry.offset, length))
            end = entry.start + entry.packed
            if end > self.directory:
                raise source.error(place, "it runs into the directory")

    def _local(self, place, entry, header):
        """Offset of the data, after the local header agreed with the directory's entry."""
        (
            sign, _, flags, method, _, _, crc, packed, size, name_len, extra_len,
        ) = _LOCAL.unpack_from(header)  # fmt: skip
        later = flags & _DESCRIPTOR
        same = (
            sign == b"PK\3\4"
            and (flags, method, name_len) == (entry.flags, entry.method, len(entry.raw))
            and header[_LOCAL.size :] == entry.raw
            and (crc == entry.crc or (later and crc == 0))
            and (packed in (entry.packed, _FULL32) or (later and packed == 0))
            and (size in (entry.size, _FULL32) or (later and size == 0))
        )
        if not same:
            raise self.source.error(place, "its header and the directory differ")
        return entry.offset + _LOCAL.size + name_len + extra_len

    def read_into(self, entry, array):
        """Fill the contiguous `array`, which has the record's size, and check the CRC."""
        place, view = f"record {show(entry.name)}", memoryview(array.reshape(-1).view(np.uint8))
        if entry.method:
            inflate(self._blocks(entry), view, -15, partial(self.source.error, place))
        else:
            self.source.read_into(entry.start, array)
        if zlib.crc32(view) != entry.crc:
            raise self.source.error(place, "its CRC is wrong")
        return array

    def _blocks(self, entry):
        """The record's bytes as they are stored, a block at a time."""
        for at in range(0, entry.packed, BLOCK):
            yield self.source.read(entry.start + at, min(BLOCK, entry.packed - at))

    def read(self, entry, limit):
        """The record's bytes, at most `limit` of them."""
        if entry.size > limit:
            raise self.source.error(
                f"record {show(entry.name)}", f"{entry.size} bytes, {limit} is the limit"
            )
        return self.read_into(entry, np.empty(entry.size, np.uint8)).tobytes()
