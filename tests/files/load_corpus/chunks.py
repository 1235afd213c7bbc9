# SPDX-License-Identifier: MIT
"""Malformed HDF5 files with chunked and deflated arrays, most of them one small sound file with a
few bytes changed.
"""

import functools
import io
import struct
import zlib

import h5py
import numpy as np

_SHAPE, _CHUNK = (5, 3), (3, 2)  # 2 x 2 chunks, of which three reach past the array
# Bytes of an entry of the B-tree: size 4, mask 4, place 8 for each axis, 8 for the place inside an
# element, address 8.
_ENTRY = 24 + 8 * len(_SHAPE)
FAR = struct.pack("<Q", 1 << 40)  # an address behind the file's end


def values():
    """The array in tiny_chunked's file."""
    return np.arange(15, dtype="f4").reshape(_SHAPE)


@functools.cache
def tiny_chunked():
    """A sound file with one array "k", shuffled and deflated."""
    file = io.BytesIO()
    with h5py.File(file, "w", libver=("v108", "v108")) as h5:  # the smallest groups
        h5.create_dataset("k", data=values(), chunks=_CHUNK, compression="gzip", shuffle=True)
    return file.getvalue()


def _places(data):
    """Where in the file the layout message, the filters' message and the B-tree of chunks begin."""
    from fastlstm.files.hdf5.file import Hdf5, walk

    class Nowhere:  # a Source of a sound file: it makes no error
        def error(self, *text):
            return AssertionError(text)

    ((_, each),) = walk(Hdf5(Nowhere(), data))
    layout = each.first(8)[0]
    return layout, each.first(0xB)[0], int.from_bytes(data[layout + 3 : layout + 11], "little")


def _patched(data, at, raw):
    return data[:at] + raw + data[at + len(raw) :]


def cases():
    """(name, file, what the error says), with one structure or chunk of the sound file wrong."""
    good = tiny_chunked()
    layout, filters, tree = _places(good)
    first = tree + 24
    address = first + _ENTRY - 8
    entry = good[first : first + _ENTRY]
    (size,) = struct.unpack("<I", entry[:4])
    chunk = int.from_bytes(entry[-8:], "little")
    stored = good[chunk : chunk + size]
    plain = zlib.decompress(stored)
    for name, at, raw, says in (
        ("rank", layout + 2, b"\4", "does not fit"),
        ("rank-0", layout + 2, b"\0", "does not fit"),
        ("zero", layout + 11, b"\0\0\0\0", "does not fit"),
        ("item", layout + 19, b"\2\0\0\0", "does not fit"),
        ("large", layout + 11, b"\0\0\0\x10", "is the limit"),
        ("wide", layout + 11, b"\xff\xff\xff\xff" * 2, "is the limit"),
        ("fewer", layout + 11, struct.pack("<I", 2), ""),
        ("tree-far", layout + 3, FAR, "bytes due"),
        ("tree-none", layout + 3, b"\xff" * 8, "0 of its 4 chunks"),
        ("tree-sign", tree, b"NONE", "no B-tree of chunks"),
        ("tree-type", tree + 4, b"\0", "no B-tree of chunks"),
        ("tree-level", tree + 5, b"\1", "no B-tree of chunks"),
        ("tree-used", tree + 6, b"\xff\xff", "room for"),
        ("tree-few", tree + 6, b"\3", "3 of its 4 chunks"),
        ("tree-empty", tree + 6, b"\0", "0 of its 4 chunks"),
        ("size-far", first, b"\xff\xff\xff\xff", "bytes due"),
        ("size-0", first, bytes(4), "no end"),
        ("size-less", first, struct.pack("<I", size - 1), "no end"),
        ("size-more", first, struct.pack("<I", size + 1), "bytes follow"),
        ("mask", first + 4, b"\2", f"a chunk of {size} bytes, {len(plain)} are due"),
        ("askew", first + 8, b"\1", "askew"),
        ("outside", first + 8, b"\x09", "outside"),
        ("twice", first, entry[:-8] + good[address : address + 8] + entry, "twice"),
        ("address", address, FAR, "bytes due"),
        ("zlib-head", chunk, b"\0", "malformed"),
        ("zlib-check", chunk + size - 1, bytes([stored[-1] ^ 1]), "malformed"),
        ("filters-version", filters, b"\7", "version 7"),
        ("filters-none", filters + 1, b"\0", "malformed"),
        ("filters-many", filters + 1, b"\xff", ""),
        ("shuffle-size", filters + 8, b"\2", "another size"),
        ("shuffle-empty", filters + 6, b"\0", "another size"),
        ("filters-same", filters + 2, b"\1", "malformed"),
        ("filters-number", filters + 12, b"\x63", "the filter number 99"),
        ("filters-name", filters + 13, b"\x7d", ""),
    ):  # fmt: skip
        changed = _patched(good, at, raw)
        assert changed != good, name
        yield name, changed, says
    for name, data in (("short", plain[:-1]), ("long", plain + b"\0"), ("bomb", bytes(8 << 20))):
        packed = zlib.compress(data, 9)
        moved = good + packed  # behind the file's end, where it may be longer than the old chunk
        moved = _patched(moved, first, struct.pack("<I", len(packed)))
        moved = _patched(moved, address, struct.pack("<Q", len(good)))
        yield f"chunk-{name}", moved, "are due" if name == "short" else "more than"
    yield "self", _patched(_patched(good, tree + 5, b"\1"), address, struct.pack("<Q", tree)), ""
    loop = _patched(good, tree + 5, b"\1\1\0")
    yield "cycle", _patched(loop, address, struct.pack("<Q", tree)), "cycle"


def _same_tree(count, shape, chunk, **options):
    """A file of `count` chunked datasets of zeros, whose layout messages all have the address of
    the first one's B-tree. options: of h5py's create_dataset."""

    def write(file):
        file.create_dataset("0", data=np.zeros(shape, "f4"), chunks=chunk, compression="gzip",
                            **options)  # fmt: skip
        for n in range(1, count):
            file.create_dataset(f"{n}", shape, "f4", chunks=chunk, compression="gzip", **options)

    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        write(h5)
    data = bytearray(file.getvalue())
    mark = bytes([3, 2, 1 + len(shape)])
    form = mark + b"%s" + struct.pack(f"<{len(chunk) + 1}I", *chunk, 4)
    tree = None
    at = data.find(mark)
    while at >= 0:
        here = bytes(data[at + 3 : at + 11])
        if bytes(data[at : at + len(form) + 6]) == form % here:
            if here != b"\xff" * 8:
                tree = here
            else:
                data[at + 3 : at + 11] = tree
        at = data.find(mark, at + 1)
    return bytes(data)


def bombs():
    """(name, file, what the error says): chunks that are used many times over, and arrays for which
    nothing is stored."""
    yield "inflated", _same_tree(60, (1,), (1 << 20,), maxshape=(None,)), "far more bytes"
    yield "entries", _same_tree(400, (1500,), (1,)), "room for"
    yield "arrays", _same_tree(60, (1 << 20,), (1 << 20,)), "declare more bytes"
    for name, options in (("never-written", {}), ("filled", {"fillvalue": 0})):
        file = io.BytesIO()
        with h5py.File(file, "w") as h5:
            h5.create_dataset("x", (1 << 21,), "f4", compression="gzip", **options)
        yield name, file.getvalue(), "chunks are stored"


def slow_cases():
    """(name, file) of sound files that take as much memory as the limits allow, and are read."""
    for name, options in (("plain", {}), ("shuffled", {"shuffle": True})):
        file = io.BytesIO()
        with h5py.File(file, "w") as h5:
            h5.create_dataset("x", data=np.zeros((1900, 1024), "f4"), chunks=(100, 1024),
                              compression="gzip", **options)  # fmt: skip
            for n in range(9):
                h5.create_dataset(f"y{n}", data=np.zeros((199, 1024), "f4"), chunks=(200, 1024),
                                  maxshape=(None, None), compression="gzip", **options)  # fmt: skip
        yield f"chunks-{name}", file.getvalue()
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.create_dataset("x", data=np.ones(4000, "f4"), chunks=(1,))
    yield "chunks-of-one", file.getvalue()
