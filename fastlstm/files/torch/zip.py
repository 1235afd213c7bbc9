# SPDX-License-Identifier: MIT
"""Checkpoints of `torch.save` (PyTorch 1.6 and newer), read without torch and without `pickle`.

The file is a zip archive of stored records inside one folder:
    <root>/data.pkl     the saved object; each tensor names its storage, offset, sizes and strides
    <root>/data/<key>   the bytes of storage <key>, shared by all tensors that are views of it
    <root>/byteorder    "little" or "big"; absent before PyTorch 2.1, then little

PyTorch does not specify this; it is what torch/serialization.py does. rebuild.py has what the
pickle calls.

Every storage is read once, and tensors that share one in the file share memory here.
"""

import sys
from typing import NamedTuple

import numpy as np

from ..contents import Contents
from ..flatten import flatten
from ..inert_pickle import Interpreter
from ..pickle_machine import MAX_PICKLE
from ..source import show
from ..stored_zip import StoredZip, directory, is_zip
from .rebuild import ALLOWED, BF16, Storage, Tensor, itemsize, storage_of

# Bytes of all tensors together, with shared memory counted for each tensor: NAMES_FACTOR for each
# byte of the file, and NAMES_SLACK. Whoever copies all tensors, as saving does, takes that much.
NAMES_FACTOR, NAMES_SLACK = 8, 16 << 20
_BLOCK = 1 << 20  # elements of bfloat16 widened at a time: 6 MiB of memory besides the result


def _root(source):
    """The name of the only top folder that has a data.pkl; None if there is none, or several."""
    names = directory(source).entries
    roots = [name.split("/")[0] for name in names if name.endswith("/data.pkl")]
    roots = [root for root in roots if f"{root}/data.pkl" in names]
    return roots[0] if len(roots) == 1 else None


def is_torch_zip(source):
    return is_zip(source) and _root(source) is not None


def storages_in(archive, folder):
    """The Interpreter's function for persistent ids, which are
    ("storage", storage class, key, device, number of elements).

    folder   of the archive, that holds the records of the storages
    """

    def storage(run, pid):
        found = storage_of(run, pid)
        if found.__class__ is not Storage:
            return found
        found.entry = archive.entries.get(f"{folder}/{found.key}")
        if found.entry is None:
            raise run.error(f"there is no record for storage {show(found.key)}")
        due, size = found.numel * itemsize(found.dtype), found.entry.size
        if due != size:
            raise run.error(f"storage {show(found.key)}: {due} bytes due, its record has {size}")
        run.charge(160)
        return found

    return storage


class Storages:
    """The storages of a file as arrays, each read when it is first used.

    archive   a StoredZip, or what else has read_into(entry, array) and source
    order     the file's byte order, b"little" or b"big"
    """

    def __init__(self, archive, order):
        self.archive, self.swap = archive, order != sys.byteorder.encode()
        self.known = {}  # key: (dtype, array)

    def array(self, storage):
        """The one-dimensional array of a storage. LoadError if two tensors give it two dtypes."""
        if storage.key not in self.known:
            self.known[storage.key] = (storage.dtype, self._read(storage))
        dtype, array = self.known[storage.key]
        if dtype != storage.dtype:
            raise self.archive.source.error(
                f"record {show(storage.entry.name)}", f"used as {dtype} and as {storage.dtype}"
            )
        return array

    def _read(self, storage):
        if storage.dtype is BF16:
            return self._widened(storage)
        array = np.empty(storage.numel, storage.dtype)
        self.archive.read_into(storage.entry, array)
        if self.swap:
            array.byteswap(inplace=True)
        if storage.dtype == "bool" and array.size and array.view(np.uint8).max() > 1:
            raise self.archive.source.error(
                f"record {show(storage.entry.name)}", "a bool that is neither 0 nor 1"
            )
        return array

    def _widened(self, storage):
        """A storage of bfloat16 as float32, whose upper 16 bits it is. It is read into the second
        half of the result and widened from the front, so that it needs no memory besides."""
        count = storage.numel
        bits = np.empty(count, np.uint32)
        half = bits.view(np.uint16)[count:]
        self.archive.read_into(storage.entry, half)
        for start in range(0, count, _BLOCK):
            block = half[start : start + _BLOCK]
            if self.swap:
                block = block.byteswap()
            bits[start : start + len(block)] = block.astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32)


def _array(tensor, storages):
    """The array of a Tensor, a view of its storage's."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, np.float32 if tensor.dtype is BF16 else tensor.dtype)
    base = storages.array(tensor.storage)
    step = base.itemsize
    strides = [
        stride * step if size > 1 else step
        for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    ]
    return np.ndarray(tensor.shape, base.dtype, base, tensor.offset * step, strides)


def arrays_of(tensors, storages, source, record):
    """{name: array} for `tensors`, {name: Tensor}. LoadError if they add up to more bytes than
    NAMES_FACTOR and NAMES_SLACK allow. record: what to call the pickle in that message."""
    limit = NAMES_FACTOR * source.size + NAMES_SLACK
    if sum(tensor.nbytes for tensor in tensors.values()) > limit:
        raise source.error(record, f"its tensors add up to more than {limit} bytes")
    made = {}
    for tensor in tensors.values():
        if id(tensor) not in made:
            made[id(tensor)] = _array(tensor, storages)
    return {name: made[id(tensor)] for name, tensor in tensors.items()}


def byte_order(archive, root):
    """The byte order that the archive's record says, b"little" or b"big"; little without one."""
    order = archive.entries.get(f"{root}/byteorder")
    order = b"little" if order is None else archive.read(order, 16)
    if order not in (b"little", b"big"):
        raise archive.source.error(
            f"record {show(root + '/byteorder')}", f"{show(order)} is no byte order"
        )
    return order


def contents_of(found, leaves, storages, source, record):
    """Contents of `found`, what `flatten` gave. leaves: as of the Interpreter; record: what to call
    the pickle in messages. LoadError if no tensor of the file can be read."""
    refusal = found.refusal(leaves)
    if refusal:
        raise source.error(record, refusal)
    arrays = arrays_of(found.tensors, storages, source, record)
    return Contents(arrays, None, unread=found.unread, opaque=found.opaque)


class Checkpoint(NamedTuple):
    """A checkpoint's archive, whose records are sound, and its pickle.

    folder    of the archive, that holds the records of the storages
    order     the byte order, b"little" or b"big"
    record    what to call the pickle in messages
    """

    archive: StoredZip
    folder: str
    order: bytes
    record: str
    pickle: bytes


def opened(source):
    """The Checkpoint in a file."""
    archive, root = directory(source), _root(source)
    archive.check()
    return Checkpoint(
        archive, f"{root}/data", byte_order(archive, root), f"record {show(root + '/data.pkl')}",
        archive.read(archive.entries[f"{root}/data.pkl"], MAX_PICKLE),
    )  # fmt: skip


def contents(checkpoint):
    """Contents of a Checkpoint, in the file's order.

    float32, float64, float16, integers, bool and complex keep their dtype; bfloat16 becomes
    float32. Keys of nested dicts are joined with dots, elements of lists and tuples are numbered.
    What is not a tensor is left out.
    """
    archive, folder, order, record, pickle = checkpoint
    find = storages_in(archive, folder)
    run = Interpreter(pickle, record, archive.source, ALLOWED, find)
    found, leaves = flatten(run.run(), Tensor, run), run.leaves
    return contents_of(found, leaves, Storages(archive, order), archive.source, record)
