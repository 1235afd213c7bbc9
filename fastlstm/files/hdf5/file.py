# SPDX-License-Identifier: MIT
"""HDF5 files, as far as h5py writes them by default: groups, attributes, and arrays that are stored
as one piece or in chunks. By the HDF5 File Format Specification 3.0.

    superblock -> object header of the root group -> messages, among them
        of a group     symbol table: a B-tree of symbol nodes, whose names are in a local heap;
                       or link: one member each
        of a dataset   datatype, dataspace (the shape), layout (where the elements are), filters
        of both        attribute

Everything is found by its address in the file's buffer, and is checked before it is used. libhdf5
is not used: one flipped bit of a small file can make it crash or hang.

Refused: soft and external links, a second name for an object, external storage, virtual datasets,
filters but shuffle and deflate, the chunk indexes of libver="latest", committed datatypes, groups
and attributes stored densely. What the names mean, to Keras say, is not known here.
"""

import struct
import sys

import numpy as np

from ..source import show
from .chunks import array_of
from .types import HEAP_ENTRY, UNDEFINED, Text, VariableText, dataspace, datatype

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# A Keras model has 3 to 10 groups and datasets for each layer: these are models of 10,000 layers.
MAX_OBJECTS = 100_000  # groups and datasets
MAX_LINKS = 100_000  # names in groups
MAX_MESSAGES = 4096  # in one object's header: one for each attribute, and ten others
MAX_DEPTH = 64  # groups inside groups; Keras nests ten
# Bytes that all attributes may take. The longest is a model's configuration, of which 2 MiB at most
# are read; then lists of names of weights.
MAX_TEXT = 16 << 20
# All arrays may take the file's size and ARRAYS bytes; chunks may inflate to twice the file's size
# and INFLATED bytes. Deflated weights are hardly smaller than the weights; the two constants are
# for arrays of zeros, which are.
ARRAYS, INFLATED = 16 << 20, 16 << 20
# All paths and names may take the file's size and PATHS bytes. Each names an object, a weight or a
# layer, which takes more of a sound file.
PATHS = 8 << 20
# The least bytes that a chunk takes in a B-tree, where a sound file has each entry once.
CHUNK_ENTRY = 32

# Types of messages in an object header.
(_SPACE, _LINK_INFO, _TYPE, _LINK, _EXTERNAL, _LAYOUT, _FILTERS, _ATTRIBUTE, _CONTINUED, _SYMBOLS,
 _ATTRIBUTE_INFO) = (1, 2, 3, 6, 7, 8, 0xB, 0xC, 0x10, 0x11, 0x15)  # fmt: skip


class Hdf5:
    """An HDF5 file in memory.

    source   the open file, for errors
    data     its bytes, a uint8 array or bytes
    place    "", or what messages call the part of the source that `data` is
    root     the Object of the root group

    objects, links, text, paths, arrays, inflated, once, chunks, heap_entries: what is left of the
    limits. heaps: {address: {index: (start, bytes)}} of the global heaps that were used."""

    def __init__(self, source, data, place=""):
        self.source, self.data, self.place = source, data, place
        self.view = memoryview(data)
        self.objects, self.links, self.text = MAX_OBJECTS, MAX_LINKS, MAX_TEXT
        self.once, self.paths = len(self.view), len(self.view) + PATHS
        self.arrays = len(self.view) + ARRAYS
        self.inflated = 2 * len(self.view) + INFLATED
        self.chunks = len(self.view) // CHUNK_ENTRY
        self.heaps, self.heap_entries = {}, len(self.view) // HEAP_ENTRY
        self.root = Object(self, self._superblock(), "/")

    def error(self, where, rule):
        return self.source.error(f"{self.place}{where}", rule)

    def take(self, at, count, what):
        """The `count` bytes at `at`, a memoryview. `what` they are, an error says."""
        if at < 0 or count < 0 or at + count > len(self.view):
            raise self.error(f"byte {at}", f"{what}: {count} bytes due, there are {len(self.view)}")
        return self.view[at : at + count]

    def take_once(self, at, count, what):
        """As take, of headers, B-trees and chunks, none of which a sound file uses twice: together
        they are no longer than the file."""
        taken = self.take(at, count, what)
        self.once -= count
        if self.once < 0:
            raise self.error(f"byte {at}", f"{what}: the file uses a part of it many times")
        return taken

    def unpack(self, form, at, what):
        """The numbers at `at`, as struct's format `form` says, little-endian."""
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

    # Each of the charge functions counts against its limit, and raises LoadError beyond it.

    def charge_text(self, count):
        self.text -= count
        if self.text < 0:
            raise self.error("attributes", f"more than {MAX_TEXT} bytes")

    def charge_path(self, path, times=1):
        self.paths -= times * sys.getsizeof(path)
        if self.paths < 0:
            raise self.error("paths and names", "they take far more bytes than the file has")

    def charge_inflated(self, count):
        self.inflated -= count
        if self.inflated < 0:
            raise self.error("chunks", "they inflate to far more bytes than the file has")

    def charge_chunks(self, count):
        self.chunks -= count
        if self.chunks < 0:
            raise self.error("chunks", "more than the file has room for")


class Object:
    """A group or a dataset: the object whose header is at `address` of the Hdf5 `file`.

    path       its name from the root on, for errors
    messages   [(message type, start, size)] of its header, in order
    """

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
        """Read the object header at `address`, of version 1 or 2."""
        head = bytes(self.file.take(address, 4, "object header"))
        if head == b"OHDR":
            self._header2(address)
        elif head[0] == 1:
            (size,) = self.file.unpack("8xI", address, "object header")
            self._messages1(address + 16, size)
        else:
            raise self.error(f"no object header at byte {address}")

    def _put(self, message_type, flags, start, size):
        """Add a message. Bit 1 of its flags says that it is shared: another object has it."""
        if len(self.messages) >= MAX_MESSAGES:
            raise self.error(f"more than {MAX_MESSAGES} messages")
        if flags & 2 and message_type in (_SPACE, _TYPE, _LAYOUT, _ATTRIBUTE, _FILTERS):
            raise self.error("a shared message (a committed type): not read")
        self.messages.append((message_type, start, size))

    def _messages1(self, start, size):
        """The messages of a header of version 1, whose first block is at `start`."""
        blocks = [(start, size)]
        for at, length in blocks:  # the loop appends the blocks that continuation messages name
            end = at + length
            self.file.take_once(at, length, "object header")
            while at + 8 <= end:
                message_type, size, flags = self.file.unpack("HHB3x", at, "message")
                at += 8
                if at + size > end:
                    raise self.error("a message runs past its block")
                self._put(message_type, flags, at, size)
                if message_type == _CONTINUED:
                    blocks.append(self._continued(at, blocks))
                at += size

    def _continued(self, at, blocks):
        """(start, size) of the block that a continuation message at `at` names, behind `blocks`.
        h5py writes a handful of blocks; 256 stops chains without end."""
        block = self.file.unpack("QQ", at, "continuation")
        if len(blocks) > 256 or block in blocks:
            raise self.error("its header has too many continuations")
        return block

    def _header2(self, address):
        """Read a header of version 2, with its signature OHDR at `address`."""
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
            self.file.take_once(at, length, "object header")
            if index:  # a continuation has a signature before its messages, a checksum behind
                if bytes(self.file.take(at, 4, "continuation")) != b"OCHK":
                    raise self.error("a continuation without its signature")
                at, end = at + 4, end - 4
            while at + head <= end:
                message_type, size, flag = self.file.unpack("BHB", at, "message")
                at += head
                if at + size > end:
                    raise self.error("a message runs past its block")
                self._put(message_type, flag, at, size)
                if message_type == _CONTINUED:
                    blocks.append(self._continued(at, blocks))
                at += size

    def first(self, message_type):
        """(start, size) of the first message of a type, or None."""
        return next((m[1:] for m in self.messages if m[0] == message_type), None)

    @property
    def is_group(self):
        return any(m[0] in (_SYMBOLS, _LINK_INFO, _LINK) for m in self.messages)

    @property
    def is_dataset(self):
        return self.first(_LAYOUT) is not None

    # ---- groups

    def members(self):
        """{name: address of the object header} of a group's members."""
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
        for message_type, start, size in self.messages:
            if message_type == _LINK:
                self._link(start, start + size, found)
        return found

    def _add(self, found, raw, address):
        """Put a member into `found`, {name: address}; `raw` are the bytes of its name."""
        try:
            name = str(raw, "utf-8")
        except UnicodeDecodeError:
            raise self.error(f"the name {show(bytes(raw))} is not UTF-8") from None
        if not name or "/" in name or name in found or len(name) > 1024:
            raise self.error(f"the name {show(name)} is empty, too long, there twice, or has a '/'")
        self.file.links -= 1
        if self.file.links < 0:
            raise self.error(f"more than {MAX_LINKS} names")
        self.file.charge_path(name)
        found[name] = address

    def _heap(self, address):
        """The bytes of the local heap at `address`: names, each with a zero byte behind it."""
        sign, _, size, _, start = self.file.unpack("4sB3xQQQ", address, "local heap")
        if sign != b"HEAP":
            raise self.error("its local heap has no signature")
        return self.file.take(start, size, "local heap")

    def _tree(self, address, heap, found):
        """Put the members in the B-tree at `address` into `found`; their names are in `heap`."""
        pending, seen = [address], set()
        while pending:
            at = pending.pop()
            if at in seen:
                raise self.error("its B-tree has a cycle")
            seen.add(at)
            sign = bytes(self.file.take(at, 4, "B-tree"))
            if sign == b"TREE":
                node_type, used = self.file.unpack("4xBxH", at, "B-tree")
                if node_type != 0:
                    raise self.error("its B-tree is not a group's")
                self.file.take_once(at, 32 + 16 * used, "B-tree")
                entries = self.file.unpack(f"{2 * used + 1}Q", at + 24, "B-tree")
                pending += reversed(entries[1::2])
            elif sign == b"SNOD":
                (used,) = self.file.unpack("6xH", at, "symbol node")
                self.file.take_once(at, 8 + 40 * used, "symbol node")
                for n in range(used):
                    name, header, cache = self.file.unpack("QQI", at + 8 + 40 * n, "symbol node")
                    if cache == 2:  # the entry's cache type for a soft link
                        raise self.error("a soft link: not followed")
                    end = bytes(heap[name : name + 1025]).find(b"\0") if name < len(heap) else -1
                    if end < 0:
                        raise self.error("a name outside its heap, or without end")
                    self._add(found, heap[name : name + end], header)
            else:
                raise self.error("its B-tree has no signature")

    def _link(self, at, end, found):
        """Put the member that the link message at `at` .. `end` describes into `found`."""
        version, flags = self.file.unpack("2B", at, "link")
        at += 2
        link_type = 0  # a hard link
        if flags & 8:
            (link_type,) = self.file.unpack("B", at, "link")
            at += 1
        at += (8 if flags & 4 else 0) + (1 if flags & 16 else 0)
        width = 1 << (flags & 3)
        length = int.from_bytes(self.file.take(at, width, "link"), "little")
        name = self.file.take(at + width, length, "link")
        at += width + length
        if link_type:
            names = {1: "a soft link", 64: "an external link"}
            which = names.get(link_type, f"a link of type {link_type}")
            raise self.error(f"{show(bytes(name))} is {which}: not followed")
        if version != 1 or at + 8 > end:
            raise self.error("a link message is malformed")
        self._add(found, name, *self.file.unpack("Q", at, "link"))

    # ---- attributes and data

    def attributes(self):
        """{name: value}: str, number, or a list of them; those of types not read are left out."""
        if self.first(_ATTRIBUTE_INFO):
            start, _ = self.first(_ATTRIBUTE_INFO)
            (flags,) = self.file.unpack("xB", start, "attribute info")
            (dense,) = self.file.unpack("Q", start + (4 if flags & 1 else 2), "attribute info")
            if dense != UNDEFINED:
                raise self.error("attributes stored densely are not read")
        found = {}
        for message_type, start, size in self.messages:
            if message_type == _ATTRIBUTE:
                name, value = self._attribute(start, size)
                if name in found:
                    raise self.error(f"two attributes {show(name)}")
                if value is not None:
                    found[name] = value
        return found

    def _attribute(self, start, size):
        """(name, value or None) of the attribute message at `start`. In it stand, padded to 8 bytes
        in version 1, the name, the type and the shape, then the value."""
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
        value_type = datatype(self, *parts[1])
        shape = dataspace(self, *parts[2])
        if value_type is None or shape is None:
            return name, None
        return name, value_type.values(self, self.file.take(at, end - at, "attribute"), shape)

    def array(self):
        """A dataset's array, in the machine's byte order, or None if it is not one of numbers. It
        is a view of the file's bytes where they stand as one, aligned and in that order."""
        if self.first(_EXTERNAL):
            raise self.error("its data is in another file: not read")
        found = [self.first(message_type) for message_type in (_TYPE, _SPACE)]
        if None in found:
            raise self.error("a dataset without a type or a shape")
        numbers, shape = datatype(self, *found[0]), dataspace(self, *found[1])
        if numbers is None or shape is None or isinstance(numbers, Text | VariableText):
            return None
        dtype = numbers.dtype
        count = 1
        for size in shape:
            count *= size
        size = count * dtype.itemsize
        self.file.arrays -= size
        if self.file.arrays < 0:
            raise self.error(f"the datasets declare more bytes than the file and {ARRAYS}")
        native = dtype.newbyteorder("=")
        if not count:
            return np.empty(shape, native)
        start, _ = self.first(_LAYOUT)
        version, storage = self.file.unpack("2B", start, "layout")
        if (version, storage) == (3, 2):
            array = array_of(self, start, self.first(_FILTERS), dtype, shape)
        else:
            at = self._where(start, version, storage, size)
            array = np.frombuffer(self.file.take(at, size, "data"), dtype).reshape(shape)
        if numbers.dtype == bool and array.view(np.uint8).max() > 1:
            raise self.error("a bool that is neither 0 nor 1")
        return array.astype(native, copy=not array.flags.aligned)

    def _where(self, start, version, storage, size):
        """The address of a dataset's `size` bytes that are stored as one piece, by the layout
        message at `start`; its class `storage` is 0 if the message itself holds them, 1 if not."""
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
    """(path, Object) of every object of the Hdf5 `file` but the root, groups before their members.
    LoadError if an object has two names, which also finds a group that contains itself."""
    seen = {file.root.address}
    # The members, not the Object, whose messages may be many.
    pending = [("", file.root.members(), 0)]
    while pending:
        path, members, depth = pending.pop()
        groups = []
        for name, address in members.items():
            if address in seen:
                what = f"{show(name)} is a second name of an object"
                raise file.error(f"object {show(path or '/')}", what)
            seen.add(address)
            full = f"{path}/{name}" if path else name
            if depth >= MAX_DEPTH or len(full) > 4096:
                raise file.error(f"object {show(path)}", f"groups nested deeper than {MAX_DEPTH}")
            file.charge_path(full)
            each = Object(file, address, full)
            yield full, each
            if each.is_group:
                groups.append((full, each.members(), depth + 1))
        pending += reversed(groups)
