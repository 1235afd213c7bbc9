# SPDX-License-Identifier: MIT
"""Exported programs, `torch.export.save` (.pt2): the tensors, without the program's graph.

PyTorch 2.9 and newer ("PT2 Archive Spec" of its documentation), a zip archive of stored records
inside one folder:
    <root>/archive_format      "pt2"
    <root>/byteorder           as in checkpoints
    <root>/models/<model>.json                the program, which is not looked at
    <root>/data/weights/<model>_weights_config.json       the index of parameters and buffers
    <root>/data/weights/weight_<n>                        the bytes of one storage
    <root>/data/constants/<model>_constants_config.json, tensor_<n>     other tensors, likewise
    index: {"config": {name: {"path_name": "weight_0", "use_pickle": false, "tensor_meta": {
        "dtype": 7, "sizes": [{"as_int": 4}], "strides": [{"as_int": 1}],
        "storage_offset": {"as_int": 0}, "layout": 7, ...}, ...}, ...}}
Before, the state dict and the constants were each a checkpoint of torch.save inside the archive:
    PyTorch 2.8             <root>/data/weights/<model>.pt, <root>/data/constants/<model>.pt
    PyTorch 2.1 to 2.7      serialized_state_dict.pt, serialized_constants.pt (2.1: .json), beside
                            serialized_exported_program.json

Tensors that PyTorch pickles (of subclasses), of other layouts than strided, and of dtypes that
NumPy does not have are left out; a layer that needs one says so. Packages of AOTInductor, which are
compiled code, are refused.
"""

import json
import math
import re

from ..contents import Contents
from ..source import show
from ..stored_zip import directory, is_zip
from .nested import read_checkpoint
from .rebuild import BF16, EXPANDED, MAX_DIM, MAX_DIMS, Storage, Tensor, itemsize
from .zip import Storages, arrays_of, byte_order

# Bytes of an index: json.loads makes objects of some 20 times the text's size. 300 bytes are a
# tensor's, and SPARSE a list's or an object's, of which too many take long.
MAX_INDEX, SPARSE = 2 << 20, 12
_FORMAT = "archive_format"
# The numbers of dtypes in the index (ScalarType of torch/_export/serde/schema.py).
_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
    8: "float64", 10: "complex64", 11: "complex128", 12: "bool", 13: BF16, 28: "uint16",
    34: "uint32", 35: "uint64",
}  # fmt: skip
_STRIDED = 7  # of the index's layouts
_OLD = ("serialized_state_dict", "serialized_constants")


class _Unread(Exception):
    """What a tensor that is left out is."""


def _root(source):
    """The archive's top folder, with a slash; "" for PyTorch 2.1 to 2.7; None if it is no exported
    program."""
    names = directory(source).entries if is_zip(source) else ()
    if "serialized_exported_program.json" in names:
        return ""
    roots = [name[: -len(_FORMAT)] for name in names if re.fullmatch(f"[^/]+/{_FORMAT}", name)]
    return roots[0] if len(roots) == 1 else None


def is_pt2(source):
    return _root(source) is not None


def _index(archive, entry):
    """{name: what the index says of the tensor} of an index's record."""
    place, text = f"record {show(entry.name)}", archive.read(entry, MAX_INDEX)
    if text.count(b"[") + text.count(b"{") > len(text) // SPARSE + 100:
        raise archive.source.error(place, "it has far more lists than tensors have")
    try:
        config = json.loads(text)["config"]
        if not isinstance(config, dict):
            raise TypeError
        "".join(config).encode()  # that the names are Unicode: JSON may hold halves of characters
    except (ValueError, TypeError, KeyError, RecursionError):
        raise archive.source.error(place, "it is no JSON, or has no index of tensors") from None
    return config


def _int(value):
    """The number of {"as_int": number}; TypeError or ValueError if it is none of 0 or more."""
    number = value["as_int"]
    if type(number) is not int:
        raise TypeError
    if number < 0:
        raise ValueError
    return number


def _tensor(archive, folder, meta, known):
    """The Tensor that `meta`, an entry of an index, describes; _Unread if it is not read. Anything
    malformed is a TypeError, KeyError or ValueError, whose text is the reason if it has one.

    folder   of the records        known   {record's name: Storage} of the whole archive
    """
    if meta["use_pickle"]:
        raise _Unread("a tensor that PyTorch pickled, as it does those of subclasses")
    path, fields = meta["path_name"], meta["tensor_meta"]
    code, layout = fields["dtype"], fields["layout"]
    if layout != _STRIDED or code not in _DTYPES:
        raise _Unread(f"a tensor of dtype {code} and layout {layout} of PyTorch's")
    shape, strides = ([_int(n) for n in fields[key]] for key in ("sizes", "strides"))
    offset, dtype = _int(fields["storage_offset"]), _DTYPES[code]
    entry = archive.entries.get(f"{folder}{path}")
    if entry is None:
        raise ValueError(f"there is no record {show(str(path))}")
    if len(shape) != len(strides) or len(shape) > MAX_DIMS:
        raise ValueError(f"{len(shape)} sizes and {len(strides)} strides")
    if 0 in shape and math.prod(size or 1 for size in shape) > MAX_DIM:
        raise ValueError("the sizes of an empty tensor are too large")
    if entry.size % itemsize(dtype):
        raise ValueError(f"a record of {entry.size} bytes cannot be {dtype}")
    count = entry.size // itemsize(dtype)
    if 0 not in shape:
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if last >= count:
            raise ValueError(f"the view reaches past its {count} elements")
        if math.prod(shape) > count:
            raise _Unread(EXPANDED)
    storage = known.setdefault(entry.name, Storage(entry.name, entry, dtype, count))
    if storage.dtype != dtype:
        raise ValueError(f"its record is used as {storage.dtype} too")
    return Tensor(storage, dtype, offset, tuple(shape), tuple(strides))


def _indexed(archive, folder, entry, known):
    """({name: Tensor}, {name: what it is and is not read}) of the index `entry`, records in
    `folder`."""
    tensors, unread = {}, {}
    for name, meta in _index(archive, entry).items():
        try:
            tensors[name] = _tensor(archive, folder, meta, known)
        except _Unread as reason:
            unread[name] = str(reason)
        except (ValueError, TypeError, KeyError, AttributeError) as reason:
            why = str(reason) if type(reason) is ValueError and str(reason) else "it is malformed"
            place = f"record {show(entry.name)}"
            raise archive.source.error(place, f"tensor {show(name)}: {why}") from None
    return tensors, unread


def _add(contents, before, more):
    """Put all of the Contents `more`, its names with `before` in front, into `contents`."""
    for name in ("arrays", "unread", "opaque"):
        getattr(contents, name).update(
            (before + key, value) for key, value in getattr(more, name).items()
        )


def _old(archive):
    """Contents of an archive of PyTorch 2.1 to 2.7."""
    contents = Contents({}, None)
    for part in _OLD:
        for name in (f"{part}.pt", f"{part}.json"):
            entry = archive.entries.get(name)
            if entry is not None and entry.size:  # an empty record: no constants
                _add(contents, "", read_checkpoint(archive, entry))
    return contents


def read(source, options=None):
    """Contents: the parameters and buffers under their names in the module, then the constants. In
    an archive of several models each name begins with the model's."""
    archive, root = directory(source), _root(source)
    archive.check()
    if not root:
        return _old(archive)
    if archive.read(archive.entries[root + _FORMAT], 16) != b"pt2":
        raise source.error(f"record {show(root + _FORMAT)}", "'pt2' is due")
    order = byte_order(archive, root[:-1])
    parts = {}  # {model: [(folder, Entry)]}
    for name, entry in archive.entries.items():
        match = re.fullmatch(
            re.escape(root) + r"(data/(weights|constants)/)(?:(.+)_\2_config\.json|([^/]+)\.pt)",
            name,
        )
        if match:
            parts.setdefault(match[3] or match[4], []).append((root + match[1], entry))
    if not parts:
        raise source.error(
            "archive", "no index of weights: a package of AOTInductor is compiled code; save the "
            "exported program with torch.export.save, or model.state_dict() with torch.save",
        )  # fmt: skip
    contents, tensors, known = Contents({}, None), {}, {}
    for model, entries in parts.items():
        before = f"{model}." if len(parts) > 1 else ""
        for folder, entry in entries:
            if not entry.name.endswith(".pt"):
                found, unread = _indexed(archive, folder, entry, known)
                tensors |= {before + name: tensor for name, tensor in found.items()}
                contents.unread |= {before + name: what for name, what in unread.items()}
            elif entry.size:  # an empty record: no constants
                _add(contents, before, read_checkpoint(archive, entry))
    contents.arrays |= arrays_of(tensors, Storages(archive, order), source, "archive")
    return contents
