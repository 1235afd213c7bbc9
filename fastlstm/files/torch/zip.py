# SPDX-License-Identifier: MIT
"""Checkpoints of `torch.save` (PyTorch 1.6 and newer), read without torch and without `pickle`.

The file is a zip archive of stored records below one folder:
    <root>/data.pkl     the saved object; each tensor names its storage, offset, sizes and strides
    <root>/data/<key>   the bytes of storage <key>, shared by all tensors that are views of it
    <root>/byteorder    "little" or "big"; absent before PyTorch 2.1, then little

Every storage is read once; tensors that share it in the file share it here.
"""

import math
import sys

import numpy as np

from .. import inert_pickle
from ..flatten import flatten
from ..inert_pickle import LIST, ORDERED, SET, TUPLE, Global, Node, Opaque
from ..source import show
from ..stored_zip import directory, is_zip

MAX_DIMS = 64
MAX_DIM = 1 << 40  # of a tensor without elements, whose other sizes nothing else bounds
NAMES_FACTOR = 8  # bytes of all names together (shared ones counted each time), per byte of file
NAMES_SLACK = 16 << 20
_BLOCK = 1 << 20  # elements of bfloat16 widened at a time

BF16 = "bfloat16"  # NumPy has none: becomes float32, which holds every bfloat16 exactly
_STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": BF16,
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_UNTYPED = (
    "torch.storage.UntypedStorage"  # with the dtype beside it, for dtypes newer than storages
)
_DTYPES = (*_STORAGES.values(), "uint16", "uint32", "uint64")


class Storage:
    """Where a run of bytes is: the zip entry, and its dtype (None: the tensor tells)."""

    __slots__ = ("dtype", "entry", "key", "numel")

    def __init__(self, key, entry, dtype, numel):
        self.key, self.entry, self.dtype, self.numel = key, entry, dtype, numel


class Tensor:
    """A view of a storage, checked to lie inside it. Offset and strides are in elements."""

    __slots__ = ("dtype", "offset", "shape", "storage", "strides")

    def __init__(self, storage, dtype, offset, shape, strides):
        self.storage, self.dtype = storage, dtype
        self.offset, self.shape, self.strides = offset, shape, strides

    @property
    def nbytes(self):
        return math.prod(self.shape) * itemsize(self.dtype, loaded=True)


def itemsize(dtype, loaded=False):
    """Bytes of one element: in the file, or as loaded."""
    return (4 if loaded else 2) if dtype is BF16 else np.dtype(dtype).itemsize


# ---- what the allowed globals make of their arguments


def _ints(run, node, what):
    if node.__class__ is not Node or node.kind is not TUPLE or len(node.items) > MAX_DIMS:
        raise run.error(f"the {what} must be a tuple of at most {MAX_DIMS} ints")
    for value in node.items:
        if value.__class__ is not int or value < 0:
            raise run.error(f"the {what} must be ints of 0 or more")
    return tuple(node.items)


def _view(run, storage, dtype, offset, shape, strides):
    """The Tensor, after every rule of a view inside its storage."""
    if storage.__class__ is not Storage:
        raise run.error("a tensor needs a storage")
    shape, strides = _ints(run, shape, "sizes"), _ints(run, strides, "strides")
    if len(shape) != len(strides):
        raise run.error(f"{len(shape)} sizes and {len(strides)} strides")
    if offset.__class__ is not int or not 0 <= offset <= storage.numel:
        raise run.error(f"the offset must be an int from 0 to {storage.numel}")
    if 0 in shape:
        if math.prod(size or 1 for size in shape) > MAX_DIM:
            raise run.error("the sizes of an empty tensor are too large")
    else:
        if math.prod(shape) > storage.numel:
            raise run.error(
                "a view with more elements than its storage (from `expand`?); "
                "save a copy, `tensor.clone()`, instead"
            )
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if last >= storage.numel:
            raise run.error("the view reaches past the end of its storage")
    run.charge(512)  # this, and the array and name made of it
    return Tensor(storage, dtype, offset, shape, strides)


def _tail(run, args, at):
    """The arguments from `at`: requires_grad, hooks, ... and maybe a dict of metadata."""
    if args[at].__class__ is not bool:
        raise run.error("requires_grad must be a bool")
    hooks = args[at + 1]
    if hooks is not None and (hooks.__class__ is not Node or hooks.kind is not ORDERED):
        raise run.error("hooks must be an OrderedDict")


def _metadata(run, extra):
    for node in extra:
        if node is not None and (node.__class__ is not Node or node.kind is TUPLE or node.items):
            raise run.error("a lazily conjugated or negated tensor; save `tensor.clone()` instead")


def _count(run, args, *allowed):
    if len(args) not in allowed:
        raise run.error(f"{len(args)} arguments, {' or '.join(map(str, allowed))} are due")


def _tensor_v1(run, args):
    _count(run, args, 4)
    storage, offset, shape, strides = args
    return _view(run, storage, getattr(storage, "dtype", None), offset, shape, strides)


def _typed(run, args):
    tensor = _tensor_v1(run, args)
    if tensor.dtype is None:
        raise run.error("an untyped storage needs a dtype")
    return tensor


def _tensor_v2(run, args):
    _count(run, args, 6, 7)
    _tail(run, args, 4)
    _metadata(run, args[6:])
    return _typed(run, args[:4])


def _tensor_v3(run, args):
    _count(run, args, 7, 8)
    storage, offset, shape, strides = args[:4]
    _tail(run, args, 4)
    _metadata(run, args[7:])
    if storage.__class__ is not Storage or storage.dtype is not None:
        raise run.error("a tensor with a dtype beside it needs an untyped storage")
    dtype = args[6]
    name = dtype.name.removeprefix("torch.") if dtype.__class__ is Global else ""
    if name not in _DTYPES:
        raise run.error(f"tensors of dtype {show(name)} are not read")
    dtype = BF16 if name == BF16 else name
    if storage.numel % itemsize(dtype):
        raise run.error(f"a storage of {storage.numel} bytes cannot be {name}")
    whole = Storage(storage.key, storage.entry, dtype, storage.numel // itemsize(dtype))
    return _view(run, whole, dtype, offset, shape, strides)


def _parameter(run, args):
    _count(run, args, 3)
    _tail(run, args, 1)
    if args[0].__class__ is not Tensor:
        raise run.error("a parameter needs a tensor")
    return args[0]


def _parameter_with_state(run, args):
    _count(run, args, 4)
    return _parameter(run, args[:3])


def _from_type(run, args):
    """A tensor with attributes: (rebuild function, class, its arguments, attributes)."""
    _count(run, args, 4)
    function, _, inner, _ = args
    if function.__class__ is not Global or inner.__class__ is not Node or inner.kind is not TUPLE:
        raise run.error("a rebuild function and a tuple are due")
    if run.allowed[function.name] not in (_tensor_v2, _tensor_v3):
        raise run.error(f"{function.name} does not rebuild a tensor")
    return run.call(function, inner.items)


def _ordered(run, args):
    _count(run, args, 0)
    run.charge(144)
    return Node(ORDERED, [])


def _size(run, args):
    _count(run, args, 1)
    items = args[0]
    if items.__class__ is Node and items.kind is LIST:
        run.charge(144 + 8 * len(items.items))
        items = Node(TUPLE, list(items.items))
    _ints(run, items, "sizes")
    return items


def _encode(run, args):
    if [arg.__class__ for arg in args] != [str, str]:
        raise run.error("two strings are due")
    return inert_pickle.BYTES


_NUMPY, _PLAIN = Opaque("numpy"), Opaque("value")


def _gives(value):
    return lambda run, args: value


def _allowed():
    table = {
        "collections.OrderedDict": _ordered,
        "collections.Counter": _gives(_PLAIN),
        "torch.Size": _size,
        "torch.device": _gives(_PLAIN),
        "torch.Tensor": None,
        "torch.nn.parameter.Parameter": None,
        "torch._utils._rebuild_tensor": _typed,
        "torch._utils._rebuild_tensor_v2": _tensor_v2,
        "torch._utils._rebuild_tensor_v3": _tensor_v3,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
        "torch._tensor._rebuild_from_type_v2": _from_type,
        "_codecs.encode": _encode,
        _UNTYPED: None,
        "numpy.dtype": _gives(_NUMPY),
        "numpy.ndarray": None,
        "numpy._core.numeric._frombuffer": _gives(_NUMPY),
        "numpy.core.numeric._frombuffer": _gives(_NUMPY),
    }
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        table[f"{module}.scalar"] = table[f"{module}._reconstruct"] = _gives(_NUMPY)
    for module in ("builtins", "__builtin__"):
        table |= {f"{module}.{kind}": _gives(SET) for kind in ("set", "frozenset")}
        table |= {f"{module}.{kind}": _gives(_PLAIN) for kind in ("bytearray", "bytes", "complex")}
    table |= {f"torch.{name}": None for name in (*_STORAGES, *_DTYPES)}
    # Named so that the message can say which dtype is not read.
    table |= {f"torch.float8_{kind}": None for kind in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")}
    return table


ALLOWED = _allowed()


# ---- the archive


def _root(source):
    """The one top folder with data.pkl; None if the zip archive is no checkpoint."""
    names = directory(source).entries
    roots = [name.split("/")[0] for name in names if name.endswith("/data.pkl")]
    roots = [root for root in roots if f"{root}/data.pkl" in names]
    return roots[0] if len(roots) == 1 else None


def is_torch_zip(source):
    return is_zip(source) and _root(source) is not None


def told_storage(run, items):
    """(dtype or None, key, element count) of a persistent id's items."""
    kinds = [item.__class__ for item in items]
    if kinds != [str, Global, str, str, int] or items[0] != "storage":
        raise run.error("not a storage: ('storage', class, key, device, count) is due")
    _, kind, key, _, numel = items
    name = kind.name.removeprefix("torch.")
    if kind.name != _UNTYPED and name not in _STORAGES:
        raise run.error(f"{kind.name} is no storage")
    return _STORAGES.get(name), key, numel


def storages_in(archive, folder):
    """The interpreter's function for ("storage", storage class, key, device, element count)."""

    def storage(run, pid):
        items = pid.items if pid.__class__ is Node and pid.kind is TUPLE else ()
        dtype, key, numel = told_storage(run, items)
        entry = archive.entries.get(f"{folder}/{key}")
        if entry is None:
            raise run.error(f"there is no record for storage {show(key)}")
        due = numel * (itemsize(dtype) if dtype else 1)
        if due != entry.size:
            raise run.error(f"storage {show(key)}: {due} bytes due, its record has {entry.size}")
        run.charge(160)
        return Storage(key, entry, dtype, numel)

    return storage


class Storages:
    """The storages as arrays, each read at its first use."""

    def __init__(self, archive, order):
        self.archive, self.swap = archive, order != sys.byteorder.encode()
        self.known = {}  # key: (dtype, array)

    def array(self, storage):
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
        """bfloat16 as float32: its 16 bits are the upper half. Read into the end of the result and
        widened from the front, so that the storage is in memory once."""
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
    """{name: array} for {name: Tensor}, after the rule that bounds what names may add up to."""
    limit = NAMES_FACTOR * source.size + NAMES_SLACK
    if sum(tensor.nbytes for tensor in tensors.values()) > limit:
        raise source.error(record, f"its tensors add up to more than {limit} bytes")
    made = {}
    for tensor in tensors.values():
        if id(tensor) not in made:
            made[id(tensor)] = _array(tensor, storages)
    return {name: made[id(tensor)] for name, tensor in tensors.items()}


def byte_order(archive, root):
    """b"little" or b"big"."""
    order = archive.entries.get(f"{root}/byteorder")
    order = b"little" if order is None else archive.read(order, 16)
    if order not in (b"little", b"big"):
        raise archive.source.error(
            f"record {show(root + '/byteorder')}", f"{show(order)} is no byte order"
        )
    return order


def read(source, options=None):
    """{name: array} of a checkpoint, in the file's order.

    float32, float64, float16, integers, bool and complex as they are; bfloat16 as float32.
    Names of nested dicts are joined with dots, elements of lists and tuples are numbered; what is
    not a tensor is left out.
    """
    archive, root = directory(source), _root(source)
    archive.check()
    order = byte_order(archive, root)
    record = f"record {show(root + '/data.pkl')}"
    pickle = archive.read(archive.entries[f"{root}/data.pkl"], inert_pickle.MAX_PICKLE)
    find = storages_in(archive, f"{root}/data")
    run = inert_pickle.Interpreter(pickle, record, source, ALLOWED, find)
    tensors = flatten(run.run(), Tensor, run)
    del run, pickle
    return arrays_of(tensors, Storages(archive, order), source, record)
