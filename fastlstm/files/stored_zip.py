# SPDX-License-Identifier: MIT
"""Zip archives, by PKWARE's APPNOTE.TXT 6.3: records that are stored or deflated, with zip64 sizes.

    [ local header, data, data descriptor? ] ...  records
    [ central directory header ] ...              the directory: one header for each record
    [ zip64 end record, zip64 locator ]?          if a count or size does not fit the end record
    [ end record ]                                the last 22 bytes of the file

The directory is checked as a whole before any record is read, and every byte of the file belongs
to at most one record. Python's `zipfile` is not used: it makes an object for every entry before a
limit can act, reads local headers only when asked, and accepts archives with duplicate names, with
overlapping records and with other bytes in front.

This module does not read archives in several parts, encrypted ones, archive comments, or methods
other than 0 (stored) and 8 (deflated). It does not know what the records mean.
"""

import struct
import zlib
from functools import partial

import numpy as np

from .inflate import BLOCK, inflate
from .source import show

# torch.save writes one record for each tensor's storage, so this is a model of 10,000 tensors. Each
# entry costs a few Python objects, which is why the number has a limit at all.
MAX_ENTRIES = 10_000
# Bytes of the central directory: MAX_ENTRIES of 1,700 bytes each, which is the longest name, the 46
# bytes of the header and 600 more for extra fields and a comment. torch.save takes about 60.
MAX_DIRECTORY = 16 << 20
MAX_NAME = 1024  # bytes of one record's name; the formats read here need about a hundred

# The structures of APPNOTE.TXT, in its order of fields: 4.3.16 end record, 4.3.14 zip64 end record,
# 4.3.15 zip64 locator, 4.3.12 central directory header, 4.3.7 local header.
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
# General purpose flags: CRC and sizes stand in a descriptor after the data; the name is UTF-8.
# Of a deflated record, how hard the writer tried, which changes nothing for the reader.
_DESCRIPTOR, _UTF8, _EFFORT = 0x0008, 0x0800, 0x0006
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # in a field: the value stands in the zip64 structure instead


def is_zip(source):
    return source.head.startswith((b"PK\3\4", b"PK\5\6"))


def directory(source):
    """The StoredZip of the open file `source`: read at the first call, then source.archive."""
    if source.archive is None:
        source.archive = StoredZip(source)
    return source.archive


class Entry:
    """One record, as its header in the central directory describes it.

    name, raw      its name, as text and as the bytes in the file
    flags, method  general purpose flags; 0 for stored, 8 for deflated
    crc            CRC-32 of the record's bytes once inflated
    packed, size   bytes in the file, and bytes once inflated
    offset         where in the file the record's local header begins
    start          where in the file its data begins: None until StoredZip.check has read the header
    """

    __slots__ = ("crc", "flags", "method", "name", "offset", "packed", "raw", "size", "start")

    def __init__(self, name, raw, flags, method, crc, packed, size, offset):
        self.name, self.raw, self.flags, self.method = name, raw, flags, method
        self.crc, self.packed, self.size, self.offset = crc, packed, size, offset
        self.start = None


class StoredZip:
    """The directory of an archive.

    source      the open file
    entries     {name: Entry} in the directory's order
    directory   where in the file the directory begins, which is where the records must end

    The constructor reads only the directory: several formats are zip archives, and the names of
    the records tell which one a file is. `check` must pass before `read` or `read_into` is called.
    Everything malformed is a LoadError.
    """

    def __init__(self, source):
        self.source = source
        count, size, self.directory = self._end()
        self.entries = self._central(source.read(self.directory, size), count)

    def _end(self):
        """(number of entries, size, offset) of the central directory, from the end record."""
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
        fields = (disk, first, here, count, size, offset)
        end = at  # where the directory must end: at the end record, or at the zip64 end record
        if at >= _LOCATOR.size:
            spot = at - _LOCATOR.size
            sign, disk64, offset64, disks = _LOCATOR.unpack(source.read(spot, _LOCATOR.size))
            if sign == b"PK\6\7":
                end = offset64
                fields = self._end64(spot, disk64, offset64, disks, fields)
        disk, first, here, count, size, offset = fields
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

    def _end64(self, spot, disk64, offset, disks, fields):
        """The six fields of the zip64 end record at `offset`, as wide as they are there.

        spot      where the zip64 locator stands, directly behind the zip64 end record
        disk64, disks   the locator's numbers of disks
        fields    the end record's; each must be equal to the zip64 end record's, or all ones
        """
        source = self.source
        if disk64 or disks > 1 or offset + _END64.size != spot:
            raise source.error("zip64 locator", "it must point at the zip64 record just before it")
        sign, length, _, _, *wide = _END64.unpack(source.read(offset, _END64.size))
        if sign != b"PK\6\6" or length != _END64.size - 12:
            raise source.error("zip64 end record", "signature or length is wrong")
        limits = (_FULL16, _FULL16, _FULL16, _FULL16, _FULL32, _FULL32)
        for old, new, full in zip(fields, wide, limits, strict=True):
            if old not in (new, full):
                raise source.error("zip64 end record", f"{new} here, {old} in the end record")
        return tuple(wide)

    def _central(self, data, count):
        """{name: Entry} of the `count` headers that the directory's bytes `data` consist of."""
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
        """A record's name as text. It must be a relative path without empty parts, "." or "..":
        no loader writes files, but names are looked up and shown."""
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
        """[size, packed size, offset] of an entry. Of `fields`, those that are all ones in the
        header are replaced by 64-bit values of the zip64 extra field, which holds only them."""
        at, wide = 0, None
        while at + 4 <= len(extra):
            header_id, length = struct.unpack_from("<HH", extra, at)
            at += 4
            if at + length > len(extra):
                raise self.source.error(place, "an extra field runs past its end")
            if header_id == 1:  # the zip64 field
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

    def check(self, may_deflate=lambda name: False):
        """Check all records: each is stored, lies inside the file before the directory, shares no
        byte with another, and has a local header that says the same as the directory.

        may_deflate   f(name) -> True for a record that may be deflated as well
        """
        source, end = self.source, 0
        for entry in sorted(self.entries.values(), key=lambda entry: entry.offset):
            place = f"record {show(entry.name)}"
            known = _DESCRIPTOR | _UTF8 | (_EFFORT if entry.method == 8 else 0)
            if entry.flags & ~known:
                raise source.error(place, f"zip flags {entry.flags:#06x}: encrypted or unknown")
            deflated = entry.method == 8 and may_deflate(entry.name)
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
        """Where the data of `entry` begins. LoadError if its local header, the bytes `header` with
        the name behind them, differs from the directory. With the descriptor flag CRC and sizes
        may be 0 in the local header; with zip64 the sizes may be all ones."""
        (
            sign, _, flags, method, _, _, crc, packed, size, name_len, extra_len,
        ) = _LOCAL.unpack_from(header)  # fmt: skip
        described = flags & _DESCRIPTOR
        same = (
            sign == b"PK\3\4"
            and (flags, method, name_len) == (entry.flags, entry.method, len(entry.raw))
            and header[_LOCAL.size :] == entry.raw
            and (crc == entry.crc or (described and crc == 0))
            and (packed in (entry.packed, _FULL32) or (described and packed == 0))
            and (size in (entry.size, _FULL32) or (described and size == 0))
        )
        if not same:
            raise self.source.error(place, "its header and the directory differ")
        return entry.offset + _LOCAL.size + name_len + extra_len

    def read_into(self, entry, array):
        """Fill the contiguous `array`, which has entry.size bytes, with the record's bytes, and
        give it back. Deflated bytes are inflated. LoadError if the CRC is wrong."""
        place, view = f"record {show(entry.name)}", memoryview(array.reshape(-1).view(np.uint8))
        if entry.method:
            inflate(self._blocks(entry), view, -15, partial(self.source.error, place))
        else:
            self.source.read_into(entry.start, array)
        if zlib.crc32(view) != entry.crc:
            raise self.source.error(place, "its CRC is wrong")
        return array

    def _blocks(self, entry):
        """The record's bytes as they stand in the file, at most BLOCK of them at a time."""
        for at in range(0, entry.packed, BLOCK):
            yield self.source.read(entry.start + at, min(BLOCK, entry.packed - at))

    def read(self, entry, limit):
        """The record's bytes. LoadError before anything is read if they are more than `limit`."""
        if entry.size > limit:
            raise self.source.error(
                f"record {show(entry.name)}", f"{entry.size} bytes, {limit} is the limit"
            )
        return self.read_into(entry, np.empty(entry.size, np.uint8)).tobytes()
