# SPDX-License-Identifier: MIT
"""One operator's call: its arguments checked, what it may make bounded, its errors in words.

A function of an operator is

    @operator("Add", 2)                    # it needs 2 inputs, and takes no more
    def add(call, a, b):
        call.allowed(np.broadcast_shapes(a.shape, b.shape), a.dtype)
        return a + b

Inputs that a node does not give are None. It returns an array or a tuple of arrays.
"""

import functools
import math

import numpy as np

from ..graph import ModelError

TABLE = {}  # {operator: f(node, [array or None], max_bytes) -> [arrays]}
MAX_BYTES = 1 << 30
MAX_WORK = 1 << 42  # multiply-adds of one node: minutes
MAX_NDIM = 32

# TensorProto.DataType: NumPy's name. bfloat16 (16) is computed as float32.
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64",
    15: "complex128", 16: "float32",
}  # fmt: skip


class Call:
    """A node's call. max_bytes: the size of the largest array that may be made."""

    def __init__(self, node, max_bytes):
        self.node, self.max_bytes = node, max_bytes
        self.attr = node.attrs.get  # f(name, default=None)
        self.error = node.error

    def allowed(self, shape, dtype, what="its output"):
        """`shape` as a tuple of ints; ModelError if an array of that shape may not be made."""
        shape = tuple(int(n) for n in shape)
        if len(shape) > MAX_NDIM or any(n < 0 for n in shape):
            raise self.error(f"{what} would have the shape {_shown(shape)}")
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if size > self.max_bytes or math.prod(max(n, 1) for n in shape) >= 1 << 62:
            raise self.error(
                f"{what}, {np.dtype(dtype)} of the shape {_shown(shape)}, would take {size} bytes; "
                f"{self.max_bytes} is the limit"
            )
        return shape

    def work(self, count):
        """ModelError if so many multiply-adds are too many."""
        if count > MAX_WORK:
            raise self.error(f"it would take {count} multiply-adds, {MAX_WORK} is the limit")

    def broadcast(self, *arrays, dtype=None):
        """The shape of the arrays broadcast together, which may be made."""
        try:
            shape = np.broadcast_shapes(*(a.shape for a in arrays))
        except ValueError:
            shapes = " and ".join(str(a.shape) for a in arrays[:8])
            raise self.error(f"inputs of the shapes {shapes} cannot be broadcast") from None
        return self.allowed(shape, arrays[0].dtype if dtype is None else dtype)

    def same(self, *arrays):
        """ModelError unless all have one dtype."""
        if any(a.dtype != arrays[0].dtype for a in arrays):
            kinds = ", ".join(str(a.dtype) for a in arrays[:8])
            raise self.error(f"its inputs are {kinds}: one type is due")

    def kind(self, array, kinds, what):
        """ModelError unless the array's dtype.kind is one of the letters `kinds`."""
        if array.dtype.kind not in kinds:
            raise self.error(f"{what} is {array.dtype}")

    def ndim(self, array, count, what):
        """ModelError unless the array has `count` axes, an int or a range."""
        if array.ndim != count if isinstance(count, int) else array.ndim not in count:
            due = count if isinstance(count, int) else f"{count.start} or more"
            raise self.error(f"{what} has the shape {array.shape}: {due} axes are due")

    def ints(self, array, what, count=None):
        """The ints of an input of at most one axis, as a list of at most 64."""
        if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > 64:
            raise self.error(f"{what} is {array.dtype} of the shape {array.shape}")
        values = [int(n) for n in array.reshape(-1)]
        if count is not None and len(values) != count:
            raise self.error(f"{what} has {len(values)} numbers, {count} are due")
        return values

    def scalar(self, array, what):
        """The one element of an input, as a Python number."""
        if array.size != 1:
            raise self.error(f"{what} has the shape {array.shape}: one number is due")
        return array.reshape(-1)[0].item()

    def axis(self, value, ndim, what="axis"):
        """An axis counted from 0."""
        if not isinstance(value, int) or not -ndim <= value < ndim:
            raise self.error(f"{what} is {value}, of {ndim} axes")
        return value % ndim

    def axes(self, values, ndim, what="axes"):
        """Axes counted from 0, each once, in the order given."""
        found = tuple(self.axis(value, ndim, what) for value in values)
        if len(set(found)) != len(found):
            raise self.error(f"{what} {list(values)} name one twice")
        return found

    def dtype(self, code, what="to"):
        if code not in DTYPES:
            raise self.error(f"{what}={code}: elements of that type are not computed with")
        return np.dtype(DTYPES[code])


def _shown(shape):
    return shape if len(shape) <= 8 else f"{shape[:8]}... ({len(shape)} axes)"


def mean(x, axes, keepdims=True):
    """NumPy's, of nothing NaN without a warning."""
    wide = np.float32 if x.dtype == np.float16 else x.dtype
    total = x.sum(axes, keepdims=keepdims, dtype=wide)
    count = math.prod(x.shape[axis] for axis in axes)
    return (total / np.asarray(count, wide)).astype(x.dtype)


def operator(op, least, most=None, many=False):
    """Registers a function for the operator `op`.

    least   how many inputs must be given        most   how many may be; None: as many
    many    any number of inputs, all of which must be given; the function has them as a list
    """
    most = least if most is None else most

    def register(function):
        @functools.wraps(function)
        def checked(node, arrays, max_bytes=MAX_BYTES):
            call = Call(node, max_bytes)
            given = sum(array is not None for array in arrays[: None if many else least])
            if given < (max(least, len(arrays)) if many else least):
                raise node.error(f"an input is missing: {least} are due")
            if len(arrays) > most and not many:
                raise node.error(f"{len(arrays)} inputs, it takes {most}")
            arguments = (arrays,) if many else [*arrays, *[None] * (most - len(arrays))]
            try:
                with np.errstate(all="ignore"):
                    found = function(call, *arguments)
            except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as reason:
                if isinstance(reason, ModelError):
                    raise
                raise node.error(_misfit(arrays)) from None
            except MemoryError:
                raise node.error("there is not enough memory for its output") from None
            found = found if isinstance(found, tuple | list) else (found,)
            return [a if isinstance(a, np.ndarray) else np.asarray(a) for a in found]

        TABLE[op] = checked
        return function

    return register


def _misfit(arrays):
    said = ", ".join("none" if a is None else f"{a.dtype} {_shown(a.shape)}" for a in arrays[:8])
    return f"its inputs ({said}) and attributes do not fit together"
