# SPDX-License-Identifier: MIT
"""What PyTorch's pickles call to make tensors, and what becomes of it here: Tensor, a checked view
of a Storage, or Unread, for a tensor that has no counterpart in NumPy or whose form is not read.

In the pickle a storage is a persistent id, ("storage", class, key, device, number of elements), and
a tensor is a call of torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, ...) or of
its older and newer forms. PyTorch does not specify this; it is what torch/_utils.py and
torch/_tensor.py do. Where the storages' bytes are is not known here.
"""

import math

import numpy as np

from ..pickle_tree import (
    BYTES,
    LIST,
    OBJECT,
    ORDERED,
    SET,
    TUPLE,
    Global,
    Node,
    Plain,
    Unread,
)
from ..source import show

MAX_DIMS = 64  # what NumPy 2 and PyTorch allow
# The product of the sizes that are not 0, for a tensor without elements: its storage does not bound
# them. Far from where NumPy refuses a shape, at 2^63 bytes.
MAX_DIM = 1 << 40

EXPANDED = (
    "a view with more elements than its storage (from `expand`; save a copy, `tensor.clone()`)"
)
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
# {storage class: bytes of an element} of quantised tensors: their sizes are checked, their numbers
# are not read.
_QUANTISED = {"QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4,
              "QUInt4x2Storage": 1, "QUInt2x4Storage": 1}  # fmt: skip


class Storage:
    """A run of elements in the file.

    key     the file's name for it
    entry   where its bytes are: a zip Entry, or what the caller of Storages reads them by
    dtype   NumPy's name, BF16, None if each tensor says it, or, of quantised numbers, which are not
            read, the bytes of one as an int
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
    """Bytes of one element: in the file, or (loaded) in the array that is made of it. dtype: as a
    Storage's."""
    if dtype is BF16:
        return 4 if loaded else 2
    if dtype is None or dtype.__class__ is int:
        return dtype or 1
    return np.dtype(dtype).itemsize


def storage_of(run, pid):
    """Storage of a persistent id, with None for `entry`; for other persistent ids the value that
    they stand for.

    A pickle of before PyTorch 1.6 has a class of modules as ("module", class, file, source), and a
    sixth item in a storage, which is None or says that it is a view of another: Unread.
    """
    items = pid.items if pid.__class__ is Node and pid.type_name is TUPLE else []
    if len(items) == 4 and items[0] == "module" and items[1].__class__ is Global:
        return items[1]
    classes = [item.__class__ for item in items]
    if classes[:5] != [str, Global, str, str, int] or items[0] != "storage" or len(items) > 6:
        raise run.error("not a storage: ('storage', class, key, device, count) is due")
    _, storage_class, key, _, numel = items[:5]
    name = storage_class.name.removeprefix("torch.")
    dtype = _STORAGES.get(name) or _QUANTISED.get(name)
    if dtype is None and storage_class.name != _UNTYPED:
        raise run.error(f"{show(storage_class.name)} is no storage")
    if numel < 0:
        raise run.error("a storage of fewer than 0 elements")
    return Storage(key, None, dtype, numel)


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


def _unread(run, why):
    run.charge(64 + len(why))
    return Unread(why)


def _view(run, storage, dtype, offset, shape, strides):
    """The Tensor of these fields, if it lies inside its storage. Unread if it has more elements
    than the storage: a small file could ask for any amount of memory."""
    if storage.__class__ is Unread:
        return storage
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
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if last >= storage.numel:
            raise run.error("the view reaches past the end of its storage")
        if math.prod(shape) > storage.numel:
            return _unread(run, EXPANDED)
    if dtype.__class__ is int:
        return _unread(run, "a quantised tensor")
    run.charge(512)  # the Tensor, and the array and the name that are made of it
    return Tensor(storage, dtype, offset, shape, strides)


def _hooks(run, args, at):
    """Check the arguments requires_grad, at args[at], and hooks, behind it."""
    if args[at].__class__ is not bool:
        raise run.error("requires_grad must be a bool")
    hooks = args[at + 1]
    if hooks is not None and (hooks.__class__ is not Node or hooks.type_name is not ORDERED):
        raise run.error("hooks must be an OrderedDict")


def _metadata(run, tensor, extra):
    """`tensor` with the argument metadata, [] or [value]: Unread unless that is empty, as others
    say that the numbers in the storage are to be conjugated or negated."""
    for node in extra:
        if node is None:
            continue
        if node.__class__ is not Node or node.type_name is TUPLE:
            raise run.error("the metadata of a tensor must be a dict")
        if node.items or node.type_name is OBJECT:
            return _unread(
                run, "a lazily conjugated or negated tensor (save a copy, `tensor.clone()`)"
            )
    return tensor


def _count(run, args, *allowed):
    """Check that there are as many arguments as one of `allowed` says."""
    if len(args) not in allowed:
        raise run.error(f"{len(args)} arguments, {' or '.join(map(str, allowed))} are due")


def _tensor_v1(run, args):
    _count(run, args, 4)
    storage, offset, shape, strides = args
    tensor = _view(run, storage, getattr(storage, "dtype", None), offset, shape, strides)
    if tensor.__class__ is Tensor and tensor.dtype is None:
        raise run.error("an untyped storage needs a dtype")
    return tensor


def _tensor_v2(run, args):
    _count(run, args, 6, 7)
    _hooks(run, args, 4)
    return _metadata(run, _tensor_v1(run, args[:4]), args[6:])


def _tensor_v3(run, args):
    _count(run, args, 7, 8)
    storage, offset, shape, strides = args[:4]
    _hooks(run, args, 4)
    if storage.__class__ is Unread:
        return storage
    if storage.__class__ is not Storage or storage.dtype is not None:
        raise run.error("a tensor with a dtype beside it needs an untyped storage")
    dtype = args[6]
    if dtype.__class__ is not Global:
        raise run.error("a tensor's dtype must be a name")
    name = dtype.name.removeprefix("torch.")
    if name not in _DTYPES:
        return _unread(run, f"a tensor of dtype {show(name)}")
    dtype = BF16 if name == BF16 else name
    if storage.numel % itemsize(dtype):
        raise run.error(f"a storage of {storage.numel} bytes cannot be {name}")
    whole = Storage(storage.key, storage.entry, dtype, storage.numel // itemsize(dtype))
    return _metadata(run, _view(run, whole, dtype, offset, shape, strides), args[7:])


def _parameter(run, args):
    _count(run, args, 3)
    _hooks(run, args, 1)
    tensor = args[0]
    if tensor.__class__ is Node and tensor.type_name is OBJECT:
        return _unread(run, f"a parameter of {show(tensor.origin)}")
    if tensor.__class__ not in (Tensor, Unread):
        raise run.error("a parameter needs a tensor")
    return tensor


def _parameter_with_state(run, args):
    _count(run, args, 4)
    return _parameter(run, args[:3])


def _from_type(run, args):
    """A tensor of a subclass, or with attributes. The arguments are its rebuild function, its
    class, the arguments of that function and the attributes; class and attributes are left out."""
    _count(run, args, 4)
    function, cls, inner, _ = args
    is_tuple = inner.__class__ is Node and inner.type_name is TUPLE
    if function.__class__ is not Global or not is_tuple:
        raise run.error("a rebuild function and a tuple are due")
    if run.allowed.get(function.name) in (_tensor_v2, _tensor_v3):
        return run.call(function, inner.items)
    name = cls.name if cls.__class__ is Global else function.name
    return _unread(run, f"a tensor of the class {show(name)}")


def _ordered(run, args):
    """OrderedDict(), or, as Python 2 has it, of a list of pairs."""
    _count(run, args, 0, 1)
    items = []
    if args:
        if args[0].__class__ is not Node or args[0].type_name not in (LIST, TUPLE):
            raise run.error("an OrderedDict is made of a list")
        for pair in args[0].items:
            if pair.__class__ is not Node or pair.type_name not in (LIST, TUPLE):
                raise run.error("an OrderedDict is made of pairs")
            if len(pair.items) != 2:
                raise run.error("an OrderedDict is made of pairs")
            items += pair.items
    run.container(ORDERED, items)
    return run.pop()


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


# NumPy's numbers and dtypes, devices and the like: values beside the tensors.
_PLAIN = Plain("value")


def _gives(value):
    """A function for the pickle that gives `value` whatever its arguments."""
    return lambda run, args: value


def _kind(why):
    """A function for the pickle that makes a tensor of a kind that is not read."""
    return lambda run, args: _unread(run, why)


def _allowed():
    """{"module.name": function} of all globals that a checkpoint's pickle may call: see
    Interpreter. All others are names, and what they are called for becomes an object."""
    utils = {
        "tensor": _tensor_v1,
        "tensor_v2": _tensor_v2,
        "tensor_v3": _tensor_v3,
        "parameter": _parameter,
        "parameter_with_state": _parameter_with_state,
        "sparse_tensor": _kind("a sparse tensor"),
        "sparse_csr_tensor": _kind("a sparse tensor"),
        "nested_tensor": _kind("a nested tensor"),
        "qtensor": _kind("a quantised tensor"),
        "meta_tensor_no_storage": _kind("a tensor without numbers (of the device meta)"),
        "wrapper_subclass": _kind("a tensor of a subclass without numbers of its own"),
        "device_tensor_from_numpy": _kind("a tensor that was kept as a NumPy array"),
        "device_tensor_from_cpu_tensor": _kind("a tensor of another device"),
        "xla_tensor": _kind("a tensor of XLA"),
    }
    table = {f"torch._utils._rebuild_{name}": function for name, function in utils.items()}
    table |= {
        "collections.OrderedDict": _ordered,
        "collections.Counter": _gives(_PLAIN),
        "torch.Size": _size,
        "torch.device": _gives(_PLAIN),
        "torch._tensor._rebuild_from_type_v2": _from_type,
        "torch._tensor._rebuild_from_type": _from_type,
        "torch.tensor._rebuild_from_type": _from_type,  # PyTorch 1.7 and 1.8
        "torch.nn.parameter.UninitializedParameter": _kind("a parameter without a shape"),
        "torch.nn.parameter.UninitializedBuffer": _kind("a buffer without a shape"),
        "_codecs.encode": _encode,
        "numpy.dtype": _gives(_PLAIN),
    }
    array = _kind("a NumPy array in a file of PyTorch")
    for module in ("numpy._core", "numpy.core"):
        table[f"{module}.multiarray.scalar"] = _gives(_PLAIN)
        table[f"{module}.multiarray._reconstruct"] = table[f"{module}.numeric._frombuffer"] = array
    for module in ("builtins", "__builtin__"):
        table |= {f"{module}.{name}": _gives(SET) for name in ("set", "frozenset")}
        table |= {f"{module}.{name}": _gives(_PLAIN) for name in ("bytearray", "bytes", "complex")}
    return table


ALLOWED = _allowed()
