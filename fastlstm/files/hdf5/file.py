# SPDX-License-Identifier: MIT
"""HDF5, as much of it as h5py writes by default: groups, attributes, arrays that are contiguous, or
chunked and perhaps shuffled and deflated (chunks.py).

Not through libhdf5: one flipped bit of a small file can make it crash or hang. Every structure is
an address in the file's buffer; each is checked before it is followed, and all arrays together are
hardly larger than the file.

    superblock -> root object header -> messages: symbol table (a group's members, a B-tree of
    symbol nodes with names in a local heap), link, dataspace, datatype, layout, attribute ...

Source: HDF5 File Format Specification 3.0. Refused: external and soft links, virtual datasets,
external storage, other filters, chunks as of libver="latest", committed types, dense groups.
"""

import struct

import numpy as np

from ..source import show
from .chunks import array_of
from .types import UNDEFINED, Text, VariableText, dataspace, datatype

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 100_000  # groups and datasets
MAX_MESSAGES = 4096  # in one object's header
MAX_LINKS = 100_000
MAX_DEPTH = 64
MAX_TEXT = 16 << 20  # bytes of all attributes
ARRAYS, INFLATED = 16 << 20, 16 << 20  # bytes of all arrays, of chunks inflated, beyond the file's
CHUNK_ENTRY, HEAP_ENTRY = 32, 16  # bytes of a chunk in a B-tree, of an object's head in a heap

(_SPACE, _LINK_INFO, _TYPE, _LINK, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUED, _SYMBOLS,
 _ATTRIBUTE_INFO) = (1, 2, 3, 6, 7, 8, 0xB, 0xC, 0x10, 0x11, 0x15)  # fmt: skip


class Hdf5:
    """An HDF5 file in memory. root: the Object of its root group.

    source: for messages; data: a uint8 array or bytes; place: "" or where in the file `data` is.
    """

    def __init__(self, source, data, place=""):
        self.source, self.data, self.place = source, data, place
        self.view = memoryview(data)
        self.objects, self.links, self.text = MAX_OBJECTS, MAX_LINKS, MAX_TEXT
        self.arrays = len(self.view) + ARRAYS  # what is left of these limits
        self.inflated = 2 * len(self.view) + INFLATED
        self.chunks = len(self.view) // CHUNK_ENTRY
        self.heaps, self.heap_entries = {}, len(self.view) // HEAP_ENTRY
        self.root = Object(self, self._superblock(), "/")

    def error(self, where, rule):
        return self.source.error(f"{self.place}{where}", rule)

    def take(self, at, count, what):
        """`count` bytes at `at`."""
        if at < 0 or count < 0 or at + count > len(self.view):
            raise self.error(f"byte {at}", f"{what}: {count} bytes due, there are {len(self.view)}")
        return self.view[at : at + count]

    def unpack(self, form, at, what):
        form = struct.Struct("<" + form)
        return form.unpack(self.take(at, form.size, what))

    def _superblock(self):
        """The address of the root group's object header."""
        if bytes(self.take(0, 8, "signature")) != SIGNATURE:
            raise self.error("byte 0", "no HDF5 signature")
        (version,) = self.unpack("B", 8, "superblock")
        if version in (0, 1):
            sizes = self.unpack("2B", 13, "superblock")
            at = 24 if version == 0 else 28
            base, _, _, _, _, root = self.unpack("6Q", at, "superblock")
        elif version in (2, 3):
            sizes = self.unpack("2B", 9, "superblock")
            base, _, _, root = self.unpack("4Q", 12, "superblock")
        else:
            raise self.error("superblock", f"version {version} is not read")
        if sizes != (8, 8) or base:
            raise self.error("superblock", "addresses of 8 bytes from the file's start are due")
        return root

    def heap_object(self, address, index):
        """Object `index` of the global heap collection at `address`."""
        if address not in self.heaps:
            self.heaps[address] = self._heap(address)
        if index not in self.heaps[address]:
            raise self.error(f"byte {address}", f"the global heap has no object {index}")
        return self.take(*self.heaps[address][index], "global heap")

    def _heap(self, address):
        """{index: (start, bytes)} of a collection; each is read once."""
        sign, version, size = self.unpack("4sB3xQ", address, "global heap")
        if sign != b"GCOL" or version != 1:
            raise self.error(f"byte {address}", "a global heap is due")
        at, end, found = address + 16, min(address + size, len(self.view)), {}
        while at + HEAP_ENTRY <= end:
            number, length = self.unpack("H6xQ", at, "global heap")
            if number == 0:  # what is free
                break
            found.setdefault(number, (at + HEAP_ENTRY, length))
            at += HEAP_ENTRY + (length + 7) // 8 * 8
            self.heap_entries -= 1
            if self.heap_entries < 0:
                raise self.error("global heaps", "more objects than the file has room for")
        return found

    def charge_text(self, count):
        self.text -= count
        if self.text < 0:
            raise self.error("attributes", f"more than {MAX_TEXT} bytes")

    def charge_inflated(self, count):
        self.inflated -= count
        if self.inflated < 0:
            raise self.error("chunks", "they inflate to far more bytes than the file has")

    def charge_chunks(self, count):
        self.chunks -= count
        if self.chunks < 0:
            raise self.error("chunks", "more than the file has room for")


class Object:
    """A group or a dataset, by the messages of its header. path: for messages."""

    def __init__(self, file, address, path):
        self.file, self.address, self.path = file, address, path
        file.objects -= 1
        if file.objects < 0:
            raise file.error(f"object {show(path)}", f"more than {MAX_OBJECTS} objects")
        self.messages = []
        self._header(address)

    def error(self, rule):
        return self.file.error(f"object {show(self.path)}", rule)

    def _header(self, address):
        head = bytes(self.file.take(address, 4, "object header"))
        if head == b"OHDR":
            self._header2(address)
        elif head[0] == 1:
            (size,) = self.file.unpack("8xI", address, "object header")
            self._messages1(address + 16, size)
        else:
            raise self.error(f"no object header at byte {address}")

    def _put(self, kind, flags, start, size):
        if len(self.messages) >= MAX_MESSAGES:
            raise self.error(f"more than {MAX_MESSAGES} messages")
        if flags & 2 and kind in (_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _FILTERS):
            raise self.error("a shared message (a committed type): not read")
        self.messages.append((kind, start, size))

    def _messages1(self, start, size):
        blocks = [(start, size)]
        for at, length in blocks:  # grows by the continuations found
            end = at + length
            self.file.take(at, length, "object header")
            while at + 8 <= end:
                kind, size, flags = self.file.unpack("HHB3x", at, "message")
                at += 8
                if at + size > end:
                    raise self.error("a message runs past its block")
                self._put(kind, flags, at, size)
                if kind == _CONTINUED:
                    blocks.append(self._continued(at, blocks))
                at += size

    def _continued(self, at, blocks):
        block = self.file.unpack("QQ", at, "continuation")
        if len(blocks) > 256 or block in blocks:
            raise self.error("its header has too many continuations")
        return block

    def _header2(self, address):
        version, flags = self.file.unpack("4x2B", address, "object header")
        if version != 2:
            raise self.error(f"object header version {version} is not read")
        at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(self.file.take(at, width, "object header"), "little")
        blocks = [(at + width, size)]
        head = 6 if flags & 4 else 4
        for index, (at, length) in enumerate(blocks):
            end = at + length
            self.file.take(at, length, "object header")
            if index:  # a continuation: signature before, checksum after
                if bytes(self.file.take(at, 4, "continuation")) != b"OCHK":
                    raise self.error("a continuation without its signature")
                at, end = at + 4, end - 4
            while at + head <= end:
                kind, size, flag = self.file.unpack("BHB", at, "message")
                at += head
                if at + size > end:
                    raise self.error("a message runs past its block")
                self._put(kind, flag, at, size)
                if kind == _CONTINUED:
                    blocks.append(self._continued(at, blocks))
                at += size

    def first(self, kind):
        """(start, size) of the first message of a kind, or None."""
        return next((m[1:] for m in self.messages if m[0] == kind), None)

    @property
    def is_group(self):
        return any(m[0] in (_SYMBOLS, _LINK_INFO, _LINK) for m in self.messages)

    @property
    def is_dataset(self):
        return self.first(_LAYOUT) is not None

    # ---- groups

    def members(self):
        """{name: address} of a group's hard links."""
        found = {}
        symbols = self.first(_SYMBOLS)
        if symbols:
            tree, heap = self.file.unpack("QQ", symbols[0], "symbol table")
            self._tree(tree, self._heap(heap), found)
        info = self.first(_LINK_INFO)
        if info:
            _, flags = self.file.unpack("2B", info[0], "link info")
            (dense,) = self.file.unpack("Q", info[0] + (10 if flags & 1 else 2), "link info")
            if dense != UNDEFINED:
                raise self.error("a group stored densely is not read; save it without track_order")
        for kind, start, size in self.messages:
            if kind == _LINK:
                self._link(start, start + size, found)
        return found

    def _add(self, found, raw, address):
        try:
            name = str(raw, "utf-8")
        except UnicodeDecodeError:
            raise self.error(f"the name {show(bytes(raw))} is not UTF-8") from None
        if not name or "/" in name or name in found or len(name) > 1024:
            raise self.error(f"the name {show(name)} is empty, too long, there twice, or has a '/'")
        self.file.links -= 1
        if self.file.links < 0:
            raise self.error(f"more than {MAX_LINKS} names")
        found[name] = address

    def _heap(self, address):
        sign, _, size, _, start = self.file.unpack("4sB3xQQQ", address, "local heap")
        if sign != b"HEAP":
            raise self.error("its local heap has no signature")
        return self.file.take(start, size, "local heap")

    def _tree(self, address, heap, found):
        pending, seen = [address], set()
        while pending:
            at = pending.pop()
            if at in seen:
                raise self.error("its B-tree has a cycle")
            seen.add(at)
            sign = bytes(self.file.take(at, 4, "B-tree"))
            if sign == b"TREE":
                kind, used = self.file.unpack("4xBxH", at, "B-tree")
                if kind != 0:
                    raise self.error("its B-tree is not a group's")
                entries = self.file.unpack(f"{2 * used + 1}Q", at + 24, "B-tree")
                pending += reversed(entries[1::2])
            elif sign == b"SNOD":
                (used,) = self.file.unpack("6xH", at, "symbol node")
                for n in range(used):
                    name, header, cache = self.file.unpack("QQI", at + 8 + 40 * n, "symbol node")
                    if cache == 2:
                        raise self.error("a soft link: not followed")
                    end = bytes(heap[name : name + 1025]).find(b"\0") if name < len(heap) else -1
                    if end < 0:
                        raise self.error("a name outside its heap, or without end")
                    self._add(found, heap[name : name + end], header)
            else:
                raise self.error("its B-tree has no signature")

    def _link(self, at, end, found):
        version, flags = self.file.unpack("2B", at, "link")
        at += 2
        kind = 0
        if flags & 8:
            (kind,) = self.file.unpack("B", at, "link")
            at += 1
        at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(self.file.take(at, width, "link"), "little")
        name = self.file.take(at + width, length, "link")
        at += width + length
        if kind:
            which = {1: "a soft link", 64: "an external link"}.get(kind, f"a link of type {kind}")
            raise self.error(f"{show(bytes(name))} is {which}: not followed")
        if version != 1 or at + 8 > end:
            raise self.error("a link message is malformed")
        self._add(found, name, *self.file.unpack("Q", at, "link"))

    # ---- attributes and data

    def attributes(self):
        """{name: value}: str, number, or a list of them; those of other types are left out."""
        if self.first(_ATTRIBUTE_INFO):
            start, _ = self.first(_ATTRIBUTE_INFO)
            (flags,) = self.file.unpack("xB", start, "attribute info")
            (dense,) = self.file.unpack("Q", start + (4 if flags & 1 else 2), "attribute info")
            if dense != UNDEFINED:
                raise self.error("attributes stored densely are not read")
        found = {}
        for kind, start, size in self.messages:
            if kind == _ATTRIBUTE:
                name, value = self._attribute(start, size)
                if name in found:
                    raise self.error(f"two attributes {show(name)}")
                if value is not None:
                    found[name] = value
        return found

    def _attribute(self, start, size):
        version, flags, names, types, spaces = self.file.unpack("2B3H", start, "attribute")
        at, end = start + (9 if version == 3 else 8), start + size
        if version not in (1, 2, 3) or (version > 1 and flags & 3):
            raise self.error(f"an attribute of version {version}, or with a shared type")
        pad = 8 if version == 1 else 1
        parts = []
        for length in (names, types, spaces):
            parts.append((at, length))
            at += (length + pad - 1) // pad * pad
        if at > end:
            raise self.error("an attribute runs past its message")
        raw = bytes(self.file.take(*parts[0], "attribute")).split(b"\0")[0]
        self.file.charge_text(len(raw))
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raise self.error("an attribute's name that is not UTF-8") from None
        kind = datatype(self, *parts[1])
        shape = dataspace(self, *parts[2])
        if kind is None or shape is None:
            return name, None
        return name, kind.values(self, self.file.take(at, end - at, "attribute"), shape)

    def array(self):
        """A dataset's value, a view of the file's bytes where they are stored as one."""
        if self.first(_EXTERNAL):
            raise self.error("its data is in another file: not read")
        found = [self.first(kind) for kind in (_TYPE, _SPACE)]
        if None in found:
            raise self.error("a dataset without a type or a shape")
        kind, shape = datatype(self, *found[0]), dataspace(self, *found[1])
        if kind is None or shape is None or isinstance(kind, Text | VariableText):
            return None
        count = 1
        for size in shape:
            count *= size
        size = count * kind.dtype.itemsize
        self.file.arrays -= size
        if self.file.arrays < 0:
            raise self.error(f"the datasets declare more bytes than the file and {ARRAYS}")
        native = kind.dtype.newbyteorder("=")
        if not count:
            return np.empty(shape, native)
        start, _ = self.first(_LAYOUT)
        version, storage = self.file.unpack("2B", start, "layout")
        if (version, storage) == (3, 2):
            array = array_of(self, start, self.first(_FILTERS), kind.dtype, shape)
        else:
            at = self._where(start, version, storage, size)
            array = np.frombuffer(self.file.take(at, size, "data"), kind.dtype).reshape(shape)
        if kind.dtype == bool and array.view(np.uint8).max() > 1:
            raise self.error("a bool that is neither 0 nor 1")
        return array.astype(native, copy=not array.flags.aligned)

    def _where(self, start, version, storage, size):
        """The address of a dataset's `size` bytes, stored as one."""
        if version not in (3, 4):
            raise self.error(f"layout version {version} is not read")
        if storage == 0:
            (stored,) = self.file.unpack("H", start + 2, "layout")
            at = start + 4
        elif storage == 1:
            at, stored = self.file.unpack("QQ", start + 2, "layout")
        else:
            what = {2: "chunked as of libver='latest'", 3: "virtual"}.get(storage, "unknown")
            raise self.error(f"its storage is {what}, which is not read; save it contiguous")
        if stored < size or at == UNDEFINED:
            raise self.error(f"{size} bytes are due, {0 if at == UNDEFINED else stored} are stored")
        return at


def walk(file):
    """(path, Object) of every object below the root, groups before what is in them; hard links that
    lead to a group above are refused, and an object is given once."""
    seen = {file.root.address}
    pending = [("", file.root, 0)]
    while pending:
        path, group, depth = pending.pop()
        below = []
        for name, address in group.members().items():
            if address in seen:
                raise group.error(f"{show(name)} is a second name of an object")
            seen.add(address)
            full = f"{path}/{name}" if path else name
            if depth >= MAX_DEPTH or len(full) > 4096:
                raise group.error(f"groups nested deeper than {MAX_DEPTH}")
            each = Object(file, address, full)
            yield full, each
            if each.is_group:
                below.append((full, each, depth + 1))
        pending += reversed(below)
