# SPDX-License-Identifier: MIT
"""Checkpoints of `torch.save` before PyTorch 1.6, or with _use_new_zipfile_serialization=False.

Five pickles stand one after the other, then the storages:
    magic number, protocol version, {"little_endian": True, ...}, the saved object, [key, ...]
    for each key: the number of elements (8 bytes), the elements; both little-endian, also where a
    big-endian machine wrote the file

In the saved object each tensor names its storage by a key. Files of Python 2 hold byte strings
where newer ones hold text; these must be UTF-8. A storage that is a view of another is refused.
PyTorch does not specify the format; this is what _legacy_save in torch/serialization.py writes.
"""

from typing import ClassVar

import numpy as np

from ..flatten import flatten
from ..inert_pickle import MAX_PICKLE, TABLE, Interpreter
from ..pickle_tree import LIST, TUPLE, Node
from ..source import show
from .zip import ALLOWED, Storage, Storages, Tensor, arrays_of, itemsize, storage_fields

_MAGIC_NUMBER, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # the opcode LONG1 with the magic number


def is_torch_stream(source):
    # Before the magic number stand the opcode PROTO (2 bytes) and from protocol 4 on FRAME (9).
    return _MAGIC in source.head[:24]


class _Stream(Interpreter):
    """Takes the byte strings of Python 2 as well, as text."""

    table: ClassVar = list(TABLE)


_Stream.table[0x54] = (Interpreter.push_text, 4)  # BINSTRING
_Stream.table[0x55] = (Interpreter.push_text, 1)  # SHORT_BINSTRING


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
        items = pid.items if pid.__class__ is Node and pid.type_name is TUPLE else []
        if items[5:] not in ([], [None]):
            raise run.error("a storage that is a view of another: not read")
        dtype, key, numel = storage_fields(run, items[:5])
        if key not in known:
            run.charge(320)
            known[key] = Storage(key, None, dtype, numel)
        if (known[key].dtype, known[key].numel) != (dtype, numel):
            raise run.error(f"storage {show(key)} is told twice, and differs")
        return known[key]

    return storage


def _pickle(source, data, place, start, persistent=None):
    """(value, where it ends, Interpreter) of the pickle that begins at `start` of `data`.

    place        what to call it in messages
    persistent   the function for persistent ids; without one they are refused
    """

    def refuse(run, pid):
        raise run.error("a storage where none can be")

    run = _Stream(data, place, source, ALLOWED, persistent or refuse, start)
    return run.run(), run.pos, run


def read(source, options=None):
    """{name: array} of a checkpoint, in the file's order; names and dtypes as in zip.read."""
    data = source.read(0, min(source.size, MAX_PICKLE))
    magic, at, _ = _pickle(source, data, "magic number", 0)
    version, at, _ = _pickle(source, data, "protocol version", at)
    if magic != _MAGIC_NUMBER or version != _VERSION:
        raise source.error("protocol version", f"{show(repr(version))}, {_VERSION} is due")
    _, at, _ = _pickle(source, data, "system information", at)
    known = {}
    root, at, run = _pickle(source, data, "saved object", at, _persistent(known))
    tensors = flatten(root, Tensor, run)
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
        size = storage.numel * itemsize(storage.dtype) if storage.dtype else storage.numel
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
    return arrays_of(tensors, Storages(_Records(source), b"little"), source, "saved object")
