# SPDX-License-Identifier: MIT
"""Checkpoints of `torch.save` (PyTorch 1.6 and newer), read without torch and without `pickle`.

The file is a zip archive of stored records inside one folder:
    <root>/data.pkl     the saved object; each tensor names its storage, offset, sizes and strides
    <root>/data/<key>   the bytes of storage <key>, shared by all tensors that are views of it
    <root>/byteorder    "little" or "big"; absent before PyTorch 2.1, then little

In the pickle a storage is a persistent id, ("storage", class, key, device, number of elements), and
a tensor is a call of torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, ...) or of
its older and newer forms. PyTorch does not specify this; it is what torch/serialization.py and
torch/_utils.py do.

Every storage is read once, and tensors that share one in the file share memory here. Not read:
whole modules (their code would be needed), sparse and quantised tensors, float8.
"""

import math
import sys

import numpy as np

from ..flatten import flatten
from ..inert_pickle import MAX_PICKLE, Interpreter
from ..pickle_tree import BYTES, LIST, ORDERED, SET, TUPLE, Global, Node, Opaque
from ..source import show
from ..stored_zip import directory, is_zip

MAX_DIMS = 64  # what NumPy 2 and PyTorch allow
# The product of the sizes that are not 0, for a tensor without elements: its storage does not bound
# them. Far from where NumPy refuses a shape, at 2^63 bytes.
MAX_DIM = 1 << 40
# Bytes of all tensors together, with shared memory counted for each tensor: NAMES_FACTOR for each
# byte of the file, and NAMES_SLACK. Whoever copies all tensors, as saving does, takes that much.
NAMES_FACTOR, NAMES_SLACK = 8, 16 << 20
_BLOCK = 1 << 20  # elements of bfloat16 widened at a time: 6 MiB of memory besides the result

BF16 = "bfloat16"  # NumPy has no such dtype: read as float32, which holds every bfloat16 exactly
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
# The class of storages whose dtype stands with the tensor: for dtypes that have no storage class.
_UNTYPED = "torch.storage.UntypedStorage"
_DTYPES = (*_STORAGES.values(), "uint16", "uint32", "uint64")


class Storage:
    """A run of elements in the file.

    key     the file's name for it
    entry   where its bytes are: a zip Entry, or what the caller of Storages reads them by
    dtype   NumPy's name, BF16, or None if each tensor says it
    numel   elements, or bytes if dtype is None
    """

    __slots__ = ("dtype", "entry", "key", "numel")

    def __init__(self, key, entry, dtype, numel):
        self.key, self.entry, self.dtype, self.numel = key, entry, dtype, numel


class Tensor:
    """A view of a storage, checked to lie inside it. offset and strides count elements."""

    __slots__ = ("dtype", "offset", "shape", "storage", "strides")

    def __init__(self, storage, dtype, offset, shape, strides):
        self.storage, self.dtype = storage, dtype
        self.offset, self.shape, self.strides = offset, shape, strides

    @property
    def nbytes(self):
        return math.prod(self.shape) * itemsize(self.dtype, loaded=True)


def itemsize(dtype, loaded=False):
    """Bytes of one element: in the file, or (loaded) in the array that is made of it."""
    return (4 if loaded else 2) if dtype is BF16 else np.dtype(dtype).itemsize


# ---- the functions that the pickle calls: each f(interpreter, list of arguments) -> value, named
# like torch's. A wrong argument is a LoadError. _ints, _view, _hooks, _metadata, _count help them.


def _ints(run, node, what):
    """The ints of a tuple: `what` is "sizes" or "strides", for the message."""
    if node.__class__ is not Node or node.type_name is not TUPLE or len(node.items) > MAX_DIMS:
        raise run.error(f"the {what} must be a tuple of at most {MAX_DIMS} ints")
    for value in node.items:
        if value.__class__ is not int or value < 0:
            raise run.error(f"the {what} must be ints of 0 or more")
    return tuple(node.items)


def _view(run, storage, dtype, offset, shape, strides):
    """The Tensor of these fields, if it lies inside its storage and has no more elements."""
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
    run.charge(512)  # the Tensor, and the array and the name that are made of it
    return Tensor(storage, dtype, offset, shape, strides)


def _hooks(run, args, at):
    """Check the arguments requires_grad, at args[at], and hooks, behind it."""
    if args[at].__class__ is not bool:
        raise run.error("requires_grad must be a bool")
    hooks = args[at + 1]
    if hooks is not None and (hooks.__class__ is not Node or hooks.type_name is not ORDERED):
        raise run.error("hooks must be an OrderedDict")


def _metadata(run, extra):
    """Check the argument metadata, [] or [value]: only an empty one, as others say that the numbers
    in the storage are to be conjugated or negated."""
    for node in extra:
        if node is None:
            continue
        if node.__class__ is not Node or node.type_name is TUPLE or node.items:
            raise run.error("a lazily conjugated or negated tensor; save `tensor.clone()` instead")


def _count(run, args, *allowed):
    """Check that there are as many arguments as one of `allowed` says."""
    if len(args) not in allowed:
        raise run.error(f"{len(args)} arguments, {' or '.join(map(str, allowed))} are due")


def _tensor_v1(run, args):
    _count(run, args, 4)
    storage, offset, shape, strides = args
    return _view(run, storage, getattr(storage, "dtype", None), offset, shape, strides)


def _typed(run, args):
    """_tensor_v1 of a storage that has a dtype."""
    tensor = _tensor_v1(run, args)
    if tensor.dtype is None:
        raise run.error("an untyped storage needs a dtype")
    return tensor


def _tensor_v2(run, args):
    _count(run, args, 6, 7)
    _hooks(run, args, 4)
    _metadata(run, args[6:])
    return _typed(run, args[:4])


def _tensor_v3(run, args):
    _count(run, args, 7, 8)
    storage, offset, shape, strides = args[:4]
    _hooks(run, args, 4)
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
    _hooks(run, args, 1)
    if args[0].__class__ is not Tensor:
        raise run.error("a parameter needs a tensor")
    return args[0]


def _parameter_with_state(run, args):
    _count(run, args, 4)
    return _parameter(run, args[:3])


def _from_type(run, args):
    """A tensor of a subclass, or with attributes. The arguments are its rebuild function, its
    class, the arguments of that function and the attributes; class and attributes are left out."""
    _count(run, args, 4)
    function, _, inner, _ = args
    is_tuple = inner.__class__ is Node and inner.type_name is TUPLE
    if function.__class__ is not Global or not is_tuple:
        raise run.error("a rebuild function and a tuple are due")
    # A TorchScript pickle may also name classes, which are not in the table.
    if run.allowed.get(function.name) not in (_tensor_v2, _tensor_v3):
        raise run.error(f"{show(function.name)} does not rebuild a tensor")
    return run.call(function, inner.items)


def _ordered(run, args):
    _count(run, args, 0)
    run.charge(144)
    return Node(ORDERED, [])


def _size(run, args):
    _count(run, args, 1)
    items = args[0]
    if items.__class__ is Node and items.type_name is LIST:
        run.charge(144 + 8 * len(items.items))
        items = Node(TUPLE, list(items.items))
    _ints(run, items, "sizes")
    return items


def _encode(run, args):
    if [arg.__class__ for arg in args] != [str, str]:
        raise run.error("two strings are due")
    return BYTES


# What NumPy's arrays and scalars, and devices and the like, become: values beside the tensors.
_NUMPY, _PLAIN = Opaque("numpy"), Opaque("value")


def _gives(value):
    """A function for the pickle that gives `value` whatever its arguments."""
    return lambda run, args: value


def _allowed():
    """{"module.name": function, or None for names alone} of all globals that a checkpoint may name:
    see Interpreter."""
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
        table |= {f"{module}.{name}": _gives(SET) for name in ("set", "frozenset")}
        table |= {f"{module}.{name}": _gives(_PLAIN) for name in ("bytearray", "bytes", "complex")}
    table |= {f"torch.{name}": None for name in (*_STORAGES, *_DTYPES)}
    # The float8 dtypes may be named so that the error can say which dtype is not read.
    table |= {f"torch.float8_{name}": None for name in ("e4m3fn", "e5m2", "e4m3fnuz", "e5m2fnuz")}
    return table


ALLOWED = _allowed()


# ---- the archive


def _root(source):
    """The name of the only top folder that has a data.pkl; None if there is none, or several."""
    names = directory(source).entries
    roots = [name.split("/")[0] for name in names if name.endswith("/data.pkl")]
    roots = [root for root in roots if f"{root}/data.pkl" in names]
    return roots[0] if len(roots) == 1 else None


def is_torch_zip(source):
    return is_zip(source) and _root(source) is not None


def storage_fields(run, items):
    """(dtype or None, key, number of elements) of the items of a storage's persistent id."""
    classes = [item.__class__ for item in items]
    if classes != [str, Global, str, str, int] or items[0] != "storage":
        raise run.error("not a storage: ('storage', class, key, device, count) is due")
    _, storage_class, key, _, numel = items
    name = storage_class.name.removeprefix("torch.")
    if storage_class.name != _UNTYPED and name not in _STORAGES:
        raise run.error(f"{show(storage_class.name)} is no storage")
    return _STORAGES.get(name), key, numel


def storages_in(archive, folder):
    """The Interpreter's function for persistent ids, which are
    ("storage", storage class, key, device, number of elements).

    folder   of the archive, that holds the records of the storages
    """

    def storage(run, pid):
        items = pid.items if pid.__class__ is Node and pid.type_name is TUPLE else ()
        dtype, key, numel = storage_fields(run, items)
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


def read(source, options=None):
    """{name: array} of a checkpoint, in the file's order.

    float32, float64, float16, integers, bool and complex keep their dtype; bfloat16 becomes
    float32. Keys of nested dicts are joined with dots, elements of lists and tuples are numbered;
    what is not a tensor is left out.
    """
    archive, root = directory(source), _root(source)
    archive.check()
    order = byte_order(archive, root)
    record = f"record {show(root + '/data.pkl')}"
    pickle = archive.read(archive.entries[f"{root}/data.pkl"], MAX_PICKLE)
    find = storages_in(archive, f"{root}/data")
    run = Interpreter(pickle, record, source, ALLOWED, find)
    tensors = flatten(run.run(), Tensor, run)
    del run, pickle
    return arrays_of(tensors, Storages(archive, order), source, record)
