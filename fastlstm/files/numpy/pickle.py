# SPDX-License-Identifier: MIT
"""A plain pickle of NumPy arrays: one array, or dicts and lists of them.

NumPy pickles (numpy/_core/src/multiarray/methods.c, descriptor.c)
    an array  as _reconstruct(ndarray, (0,), b"b") with the state
              (version, shape, dtype, whether in Fortran's order, bytes);
              in protocol 5 as _frombuffer(bytes, dtype, shape, "C" or "F")
    a dtype   as dtype("f4", ...) with the state (version, byte order "<", ">" or "|", ...)
and the pickle is run by inert_pickle's Interpreter. Arrays of Python objects, of text and of
records are not read, nor are PyTorch's tensors in a plain pickle.
"""

import math
import re

import numpy as np

from ..contents import Contents
from ..flatten import flatten
from ..inert_pickle import Interpreter
from ..pickle_machine import MAX_PICKLE
from ..pickle_tree import ORDERED, TUPLE, Node, Plain, Unread

MAX_DIMS = 32  # what NumPy 1 allows
MAX_EMPTY = 1 << 40  # the product of the sizes that are not 0, which no elements bound
_DTYPE = re.compile(r"[<>|=]?(f2|f4|f8|i1|i2|i4|i8|u1|u2|u4|u8|b1|c8|c16)")
_VALUE = Plain("value")
_TORCH = Unread("a tensor of PyTorch in a plain pickle (use torch.save)")


def is_pickle(source):
    head = source.head
    if head[4:9] == b"\0\0\0\0{":  # safetensors, whose header's length may begin with any bytes
        return False
    return head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")


class Bytes:
    """A run of bytes. view: a memoryview of the pickle, or of a text that was encoded to bytes."""

    __slots__ = ("view",)

    def __init__(self, view):
        self.view = view


class Dtype:
    """A dtype. name: NumPy's, such as "f4", or None for one that is not read; order: the byte order
    of its state, "|" before that is known."""

    __slots__ = ("name", "order")

    def __init__(self, name):
        self.name, self.order = name, "|"


class Array:
    """An array of the pickle. value: None until its state is known, then NumPy's array, or Unread
    for one that is not read."""

    __slots__ = ("value",)

    def __init__(self, value=None):
        self.value = value


def _made(run, raw, shape, dtype, fortran):
    """The array made of Bytes `raw`, a tuple Node `shape` and a Dtype. LoadError if they are other
    things or do not fit together. fortran: whether the elements are in Fortran's order."""
    if dtype.__class__ is not Dtype:
        raise run.error("an array needs a dtype")
    if dtype.name is None:
        return Unread("an array of Python objects, text or records")
    if raw.__class__ is str:  # of Python 2, whose byte strings may have been text
        run.charge(64 + len(raw))
        raw = Bytes(memoryview(raw.encode()))
    if raw.__class__ is not Bytes or shape.__class__ is not Node or shape.type_name is not TUPLE:
        raise run.error("an array needs bytes and a tuple of sizes")
    sizes = shape.items
    if len(sizes) > MAX_DIMS or any(n.__class__ is not int or n < 0 for n in sizes):
        raise run.error(f"the sizes must be at most {MAX_DIMS} ints of 0 or more")
    stored = np.dtype(dtype.name).newbyteorder(dtype.order if dtype.order in "<>" else "=")
    due = math.prod(sizes) * stored.itemsize
    if due != len(raw.view):
        raise run.error(f"{due} bytes are due, it has {len(raw.view)}")
    if 0 in sizes and math.prod(n or 1 for n in sizes) > MAX_EMPTY:
        raise run.error("the sizes of an empty array are too large")
    run.charge(400)
    flat = np.frombuffer(raw.view, stored) if due else np.empty(0, stored)
    if stored.kind == "b" and due and flat.view(np.uint8).max() > 1:
        raise run.error("a bool that is neither 0 nor 1")
    flat = flat.astype(stored.newbyteorder("="))  # a copy: aligned, in the machine's byte order
    return flat.reshape(tuple(sizes), order="F" if fortran else "C")


# ---- the functions that the pickle calls: each f(interpreter, list of arguments) -> value


def _dtype(run, args):
    if not args or args[0].__class__ is not str:
        raise run.error("a dtype needs a name")
    match = _DTYPE.fullmatch(args[0])
    run.charge(64)
    return Dtype(match[1] if match else None)


def _reconstruct(run, args):
    run.leaves += 1
    run.charge(64)
    return Array()


def _frombuffer(run, args):
    if len(args) != 4 or args[3] not in ("C", "F"):
        raise run.error("bytes, dtype, sizes and an order are due")
    run.leaves += 1
    return Array(_made(run, args[0], args[2], args[1], args[3] == "F"))


def _encode(run, args):
    """Bytes as protocol 2 writes them: encode(text, "latin1"), where each character is a byte."""
    if len(args) != 2 or args[0].__class__ is not str or args[1] not in ("latin1", "latin-1"):
        raise run.error("text and 'latin1' are due")
    run.charge(64 + len(args[0]))
    try:
        return Bytes(memoryview(args[0].encode("latin-1")))
    except UnicodeEncodeError:
        raise run.error("text with characters that are no bytes") from None


def _bytes(run, args):
    """What bytes() and bytearray(Bytes) give. Other arguments give no bytes, and so no array."""
    return args[0] if args and args[0].__class__ is Bytes else Bytes(memoryview(b""))


def _ordered(run, args):
    run.charge(144)
    return Node(ORDERED, [])


def _tensor(run, args):
    run.leaves += 1
    return _TORCH


def _allowed():
    """{"module.name": function}: see Interpreter. NumPy 2 renamed numpy.core to numpy._core; both
    occur in files."""
    table = {"numpy.dtype": _dtype, "_codecs.encode": _encode}
    for name in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state"):
        table[f"torch._utils._rebuild_{name}"] = _tensor
    table["torch._tensor._rebuild_from_type_v2"] = _tensor
    table["collections.OrderedDict"] = _ordered
    for module in ("numpy.core", "numpy._core"):
        table[f"{module}.multiarray._reconstruct"] = _reconstruct
        table[f"{module}.multiarray.scalar"] = lambda run, args: _VALUE
        table[f"{module}.numeric._frombuffer"] = _frombuffer
    for module in ("builtins", "__builtin__"):
        table |= {f"{module}.{name}": _bytes for name in ("bytes", "bytearray")}
    return table


ALLOWED = _allowed()


class _Arrays(Interpreter):
    """Keeps bytes, as places in the pickle, and takes the states of arrays and dtypes."""

    def bytes_of(self, raw):
        self.charge(160)
        return Bytes(raw)

    def build(self, state, target):
        items = state.items if state.__class__ is Node and state.type_name is TUPLE else []
        if target.__class__ is Dtype and len(items) >= 3:
            if items[1] not in ("<", ">", "|", "=") or items[2] is not None:
                target.name = None  # a dtype with fields or a subarray: not read
            else:
                target.order = items[1]
        elif target.__class__ is Array and target.value is None and len(items) == 5:
            target.value = _made(self, items[4], items[1], items[2], items[3] is True)
        elif target.__class__ in (Dtype, Array, Bytes):
            raise self.error("a state that is no array's")
        else:
            super().build(state, target)


def read(source, options=None):
    """Contents, in the file's order. Keys of nested dicts are joined with dots, elements of lists
    and tuples are numbered; what is not an array is left out."""
    if source.size > MAX_PICKLE:
        raise source.error(
            "file", f"a pickle of {source.size} bytes, {MAX_PICKLE} is the limit; use numpy.savez"
        )
    data = source.read(0, source.size)

    def refuse(run, pid):
        raise run.error("a persistent id")

    run = _Arrays(data, "pickle", source, ALLOWED, refuse)
    found = flatten(run.run(), Array, run)
    if run.pos != len(data):
        raise source.error("pickle", f"{len(data) - run.pos} bytes follow it")
    arrays = {name: array.value for name, array in found.tensors.items()}
    if any(array is None for array in arrays.values()):
        raise source.error("pickle", "an array without a state")
    found.tensors = {name: each for name, each in arrays.items() if each.__class__ is not Unread}
    found.unread |= {name: each.why for name, each in arrays.items() if each.__class__ is Unread}
    refusal = found.refusal(run.leaves)
    if refusal:
        raise source.error("pickle", refusal)
    return Contents(found.tensors, None, unread=found.unread, opaque=found.opaque)
