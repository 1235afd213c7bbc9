# SPDX-License-Identifier: MIT
"""HDF5's chunked storage, as h5py writes it by default: an array cut into blocks of one shape, the
chunks, each of which may be shuffled, deflated, or shuffled and then deflated. Shuffled means that
the first bytes of all elements come first, then the second bytes of all, and so on.

    layout message (version 3) -> B-tree (version 1) whose leaves hold, for each chunk,
    its bytes in the file, a mask of filters that were left out, its place in the array, its address

By the HDF5 File Format Specification 3.0, sections III.A.1, IV.A.2.i and IV.A.2.l. Not read: other
filters, and the indexes of libver="latest".

Every chunk must be there exactly once. A file can name one chunk many times, so four sums over the
whole file are bounded: the bytes of all arrays (Hdf5.arrays), the bytes inflated (Hdf5.inflated;
chunks at an array's edge are larger than what is used of them), the bytes that chunks have in the
file (Hdf5.once), and the entries of all B-trees (Hdf5.chunks), each of which takes at least 32
bytes of the file.
"""

import math
from functools import partial

import numpy as np

from ..inflate import inflate
from .types import UNDEFINED

MAX_CHUNK = 16 << 20  # bytes of one chunk; h5py chooses at most 1 MiB, users sometimes more
_DEFLATE, _SHUFFLE = 1, 2  # numbers of filters; those of others, for messages:
_NAMES = {
    3: "Fletcher32 checksums", 4: "szip", 5: "n-bit", 6: "scale-offset", 32000: "LZF",
    32001: "Blosc",
}  # fmt: skip


def _filters(owner, found, itemsize):
    """[number] of a dataset's filters, in the order in which they were applied when it was written.

    owner      the dataset, an Object
    found      (start, size) of the message that lists them, or None without one
    itemsize   bytes of one element, which shuffling must agree with
    """
    if found is None:
        return []
    (start, size), unpack = found, owner.file.unpack
    version, count = unpack("2B", start, "filters")
    if version not in (1, 2):
        raise owner.error(f"filters of version {version} are not read")
    at, numbers = start + (8 if version == 1 else 2), []
    for _ in range(count):
        (number,) = unpack("H", at, "filters")
        if version == 1 or number >= 256:
            name, _, values = unpack("3H", at + 2, "filters")
            at += 8
        else:
            name, (_, values) = 0, unpack("2H", at + 2, "filters")
            at += 6
        at += (name + 7) // 8 * 8 if version == 1 else name
        if number == _SHUFFLE and (not values or unpack("I", at, "filters") != (itemsize,)):
            raise owner.error("shuffled for elements of another size")
        at += 4 * (values + (values % 2 if version == 1 else 0))
        numbers.append(number)
    for number in numbers:
        if number not in (_DEFLATE, _SHUFFLE):
            name = _NAMES.get(number, f"number {number}")
            raise owner.error(f"the filter {name} is not read; save it with gzip, or without")
    if at > start + size or numbers not in ([_DEFLATE], [_SHUFFLE], [_SHUFFLE, _DEFLATE]):
        raise owner.error("its filters are malformed")
    return numbers


def _leaves(owner, address, ndim):
    """(bytes in the file, mask of filters left out, place in the array, address) of each chunk in
    the B-tree at `address`. A place is the tuple of the indexes of the chunk's first element, and
    `ndim` its length."""
    file, seen = owner.file, set()
    pending = [] if address == UNDEFINED else [address]
    key = f"II{ndim + 1}QQ"
    width = 24 + 8 * ndim
    while pending:
        at = pending.pop()
        if at in seen:
            raise owner.error("its B-tree has a cycle")
        seen.add(at)
        sign, node_type, level, used = file.unpack("4s2BH", at, "B-tree")
        if sign != b"TREE" or node_type != 1:  # 1: a tree of chunks
            raise owner.error("no B-tree of chunks is where it must be")
        file.charge_chunks(used)
        for n in range(used):
            size, mask, *place, child = file.unpack(key, at + 24 + n * width, "B-tree")
            if level:
                pending.append(child)
            else:
                yield size, mask, tuple(place[:-1]), child


def _chunk(owner, stored, filters, mask, nbytes):
    """(array of the chunk's `nbytes` bytes once inflated, whether they are shuffled).

    stored    its bytes in the file
    filters   the dataset's; those whose bit is set in `mask` were not applied to this chunk
    """
    used = [number for n, number in enumerate(filters) if not mask >> n & 1]
    if _DEFLATE in used:
        flat = np.empty(nbytes, np.uint8)
        owner.file.charge_inflated(nbytes)
        inflate(iter((stored,)), memoryview(flat), 15, partial(_malformed, owner))
    elif len(stored) == nbytes:
        flat = np.frombuffer(stored, np.uint8)
    else:
        raise owner.error(f"a chunk of {len(stored)} bytes, {nbytes} are due")
    return flat, _SHUFFLE in used


def _malformed(owner, rule):
    return owner.error(f"a chunk: {rule}")


def array_of(owner, start, filters, dtype, shape):
    """The array of a dataset whose layout message is at `start`, in the file's byte order.

    owner          the dataset, an Object
    filters        (start, size) of the message that lists its filters, or None without one
    dtype, shape   its type and shape; the caller has bounded the bytes they make
    """
    (sizes,) = owner.file.unpack("B", start + 2, "layout")
    (tree, *chunk) = owner.file.unpack(f"Q{sizes}I", start + 3, "layout")
    itemsize = dtype.itemsize
    if sizes != len(shape) + 1 or sizes < 2 or 0 in chunk or chunk.pop() != itemsize:
        raise owner.error("the chunks' shape does not fit the array's")
    nbytes = math.prod(chunk) * itemsize
    if nbytes > MAX_CHUNK:
        raise owner.error(f"chunks of {nbytes} bytes, {MAX_CHUNK} is the limit")
    due = math.prod(-(-size // step) for size, step in zip(shape, chunk, strict=True))
    filters = _filters(owner, filters, itemsize)
    array, places = np.empty(shape, dtype), set()
    planes = array.view(np.uint8).reshape(*shape, itemsize)
    for size, mask, place, address in _leaves(owner, tree, len(shape)):
        fits = all(at % step == 0 and at < n for at, step, n in zip(place, chunk, shape))
        if not fits or place in places:
            raise owner.error(f"a chunk at {place}, which is outside, askew or there twice")
        places.add(place)
        stored = owner.file.take_once(address, size, "chunk")
        flat, shuffled = _chunk(owner, stored, filters, mask, nbytes)
        block = flat.reshape(itemsize, *chunk) if shuffled else flat.reshape(*chunk, itemsize)
        part = tuple(slice(at, min(at + step, n)) for at, step, n in zip(place, chunk, shape))
        used = tuple(slice(0, each.stop - each.start) for each in part)
        if shuffled:
            for n in range(itemsize):
                planes[(*part, n)] = block[n][used]
        else:
            planes[part] = block[used]
    if len(places) != due:
        raise owner.error(f"{len(places)} of its {due} chunks are stored; the others have no data")
    return array
