# SPDX-License-Identifier: MIT
"""Checkpoints of `torch.save` before PyTorch 1.6, or with _use_new_zipfile_serialization=False.

Five pickles stand one after the other, then the storages:
    magic number, protocol version, {"little_endian": True, ...}, the saved object, [key, ...]
    for each key: the number of elements (8 bytes), the elements; both little-endian, also where a
    big-endian machine wrote the file

In the saved object each tensor names its storage by a key. Files of Python 2 hold byte strings
where newer ones hold text. A storage that is a view of another is not read.
PyTorch does not specify the format; this is what _legacy_save in torch/serialization.py writes.
"""

import numpy as np

from ..flatten import flatten
from ..inert_pickle import Interpreter
from ..pickle_machine import MAX_PICKLE
from ..pickle_tree import LIST, Node, Unread
from ..source import show
from .rebuild import ALLOWED, Storage, Tensor, itemsize, storage_of
from .zip import Storages, contents_of

_MAGIC_NUMBER, _VERSION = 0x1950A86A20F9469CFC6C, 1001
# The magic number as the opcode LONG1, and as protocols 0 and 1 write it.
_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")
_MAGIC_LINE = b"L%dL\n." % _MAGIC_NUMBER


def is_torch_stream(source):
    # Before the magic number stand the opcode PROTO (2 bytes) and from protocol 4 on FRAME (9).
    return _MAGIC in source.head[:24] or source.head.startswith(_MAGIC_LINE)


class _Record:
    """Where a storage's bytes begin in the file; `name` for messages. It stands where a storage of
    an archive has a zip Entry."""

    def __init__(self, key, start):
        self.name, self.start = key, start


class _Records:
    """Reads a storage's bytes, where a StoredZip reads those of an archive."""

    def __init__(self, source):
        self.source = source

    def read_into(self, record, array):
        return self.source.read_into(record.start, array)


def _persistent(known):
    """The Interpreter's function for persistent ids, which are
    ("storage", storage class, key, device, number of elements, view or None).

    known   {key: Storage}, filled as storages are named; their entry stays None until the list of
            storages behind the pickles says where they are
    """

    def storage(run, pid):
        found = storage_of(run, pid)
        if found.__class__ is not Storage:
            return found
        key = found.key
        if key not in known:
            run.charge(320)
            known[key] = found
        if (known[key].dtype, known[key].numel) != (found.dtype, found.numel):
            raise run.error(f"storage {show(key)} is told twice, and differs")
        if pid.items[5:] not in ([], [None]):
            return Unread("a tensor in a storage that is a view of another")
        return known[key]

    return storage


def _pickle(source, data, place, start, persistent=None):
    """(value, where it ends, Interpreter) of the pickle that begins at `start` of `data`.

    place        what to call it in messages
    persistent   the function for persistent ids; without one they are refused
    """

    def refuse(run, pid):
        raise run.error("a storage where none can be")

    run = Interpreter(data, place, source, ALLOWED, persistent or refuse, start)
    return run.run(), run.pos, run


def read(source, options=None):
    """Contents of a checkpoint, in the file's order; names and dtypes as in zip.read."""
    data = source.read(0, min(source.size, MAX_PICKLE))
    magic, at, _ = _pickle(source, data, "magic number", 0)
    version, at, _ = _pickle(source, data, "protocol version", at)
    if magic != _MAGIC_NUMBER or version != _VERSION:
        raise source.error("protocol version", f"{show(repr(version))}, {_VERSION} is due")
    _, at, _ = _pickle(source, data, "system information", at)
    known = {}
    root, at, run = _pickle(source, data, "saved object", at, _persistent(known))
    found, leaves = flatten(root, Tensor, run), run.leaves
    keys, at, _ = _pickle(source, data, "list of storages", at)
    del data, root, run
    if keys.__class__ is not Node or keys.type_name is not LIST:
        raise source.error("list of storages", "it is no list")
    for key in keys.items:
        storage = known.get(key) if key.__class__ is str else None
        if storage is None or storage.entry is not None:
            raise source.error("list of storages", f"the key {show(str(key))} is unknown, or twice")
        place = f"storage {show(key)}"
        count = int(np.frombuffer(source.read(at, 8), "<i8")[0])
        size = storage.numel * itemsize(storage.dtype)
        if count != storage.numel or at + 8 + size > source.size:
            raise source.error(
                place, f"{storage.numel} elements are due, it has {count}, or the file ends in it"
            )
        storage.entry = _Record(key, at + 8)
        at += 8 + size
    missing = [key for key, storage in known.items() if storage.entry is None]
    if missing or at != source.size:
        what = f"storage {show(missing[0])} is missing" if missing else "bytes follow the last one"
        raise source.error("list of storages", what)
    storages = Storages(_Records(source), b"little")
    return contents_of(found, leaves, storages, source, "saved object")
