# SPDX-License-Identifier: MIT
"""What a caller gives for an input of a model, checked and made ready for the C core."""

import collections
import keyword
import operator
import re
import unicodedata

import numpy as np

from .infer import narrow, run_dtype

_READY = 0x101  # of flags.num: contiguous and aligned


class Like:
    """Arrays that a call was given, for others like them: of the same dtypes and shapes, and such
    as the C core takes as they are.

    plan   the plan.Plan for them
    """

    def __init__(self, arrays, plan):
        self.signs, self.plan = [(array.dtype, array.shape) for array in arrays], plan

    def fits(self, arrays):
        if len(arrays) != len(self.signs):
            return False
        for array, (dtype, shape) in zip(arrays, self.signs, strict=True):
            if (
                type(array) is not np.ndarray
                or array.dtype is not dtype
                or array.shape != shape
                or array.flags.num & _READY != _READY
            ):
                return False
        return True


class Input:
    """One input of a model and what is to be checked of an array that is given for it.

    value    the graph.Value       dtype    as the C core holds it: float32, int64 or bool
    fixed    [(axis, size)] of the sizes that the file says
    """

    def __init__(self, value):
        self.value, self.name, self.dtype = value, value.name, run_dtype(value.dtype)
        self.ndim = None if value.shape is None else len(value.shape)
        self.fixed = [(i, n) for i, n in enumerate(value.shape or ()) if isinstance(n, int)]
        # the limits of integers of fewer than 64 bits
        self.limits = None if narrow(value.dtype) is None else np.iinfo(value.dtype)

    def array(self, given):
        """`given` as a contiguous array of the C core's type. TypeError if values would be lost,
        ValueError, with both shapes, if its shape does not fit."""
        array = given if type(given) is np.ndarray else np.asarray(given)
        if array.dtype is not self.dtype and array.dtype != self.dtype:
            array = self._converted(array)
        limits = self.limits
        if limits is not None and not self._within(array, limits):
            raise ValueError(f"input {self.value}: there are numbers beyond {limits.dtype}")
        self.check(array.shape)
        return array if array.flags.num & _READY == _READY else np.array(array, order="C")

    @staticmethod
    def _within(array, limits):
        return not array.size or (array.min() >= limits.min and array.max() <= limits.max)

    def check(self, shape):
        """ValueError, with both shapes, if an array of this shape does not fit."""
        fits = self.ndim is None or len(shape) == self.ndim
        for axis, size in self.fixed:
            fits = fits and shape[axis] == size
        if not fits:
            raise ValueError(f"input {self.value}: an array of the shape {shape} does not fit")

    def _converted(self, array):
        due, given = self.dtype, array.dtype
        integers = given.kind in "iu"
        if not np.can_cast(given, due, "same_kind") and not (due.kind == "f" and integers):
            raise TypeError(f"input {self.value} is not made of {given}")
        made = array.astype(due)
        if due.kind == "i" and integers and made.size and (made != array).any():
            raise ValueError(f"input {self.value}: {array.max()} is larger than int64 holds")
        return made

    def zeros(self, size):
        """An array of zeros whose free axes have this size."""
        shape = [n if isinstance(n, int) else size for n in self.value.shape or ()]
        return np.zeros(shape, self.dtype)


def checked_size(name, n):
    """`n` as an int of at least 1; TypeError, ValueError."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{name} must be an int, got {type(n).__name__}")
    n = operator.index(n)
    if n < 1:
        raise ValueError(f"{name} must be at least 1, got {n}")
    return n


def fields(names):
    """Names of outputs as Python allows them in a named tuple: what is none is output_0, ..., or
    the next of these that is free."""
    found = []
    for i, name in enumerate(names):
        field = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name)).strip("_")  # as Python does
        while not field.isidentifier() or keyword.iskeyword(field) or field in found:
            field, i = f"output_{i}", i + 1
        found.append(field)
    return tuple(found)


def tuple_class(names):
    """The named tuple's class for outputs of these names; its objects can be pickled."""
    made = collections.namedtuple("Outputs", fields(names))
    made.__reduce__ = lambda self: (outputs, (self._fields, tuple(self)))
    return made


def outputs(names, values):
    """A named tuple of outputs, from a pickle."""
    return tuple_class(names)(*values)
