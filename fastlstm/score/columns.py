# SPDX-License-Identifier: MIT
"""Columns of sequences as arrays, and outputs as columns.

A column of sequences holds lists of numbers or of rows of numbers, all rows of one width: list<T>,
list<list<T>>, list<fixed_size_list<T>> and so on, or a fixed-shape tensor. Outputs are lists of
float32 (or of what the model gives).
"""

import dataclasses
import math

import numpy as np
import pyarrow as pa


@dataclasses.dataclass
class Sequences:
    """values   (N, ..): the steps of all sequences, one after the other
    starts     (n,) where each begins in it       lengths   (n,) its steps
    valid      (n,) bool: False for a null
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    valid: np.ndarray

    def __len__(self):
        return len(self.starts)

    def row(self, i):
        return self.values[self.starts[i] : self.starts[i] + self.lengths[i]]


def _is_list(kind):
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _spans(array):
    """(starts, lengths, the child) of the lists of an array, in its own order."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        starts = (array.offset + np.arange(len(array), dtype=np.int64)) * size
        return starts, np.full(len(array), size), array.values
    offsets = array.offsets.to_numpy().astype(np.int64)
    return offsets[:-1], np.diff(offsets), array.values


def _dense(array, name):
    """A child array, all of it, as (N, ..)."""
    kind = array.type
    if array.null_count:
        raise ValueError(f"column {name!r}: there are nulls inside sequences")
    if pa.types.is_fixed_size_list(kind) or _is_list(kind):
        starts, lengths, child = _spans(array)
        widths = np.unique(lengths)
        if len(widths) > 1:
            raise ValueError(
                f"column {name!r}: steps have {widths[0]} to {widths[-1]} numbers; one width is due"
            )
        width = int(widths[0]) if len(widths) else 0
        first = int(starts[0]) if len(starts) else 0
        inner = _dense(child.slice(first, len(array) * width), name)
        return inner.reshape(len(array), width, *inner.shape[1:])
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise TypeError(f"column {name!r}: {kind} is no number")
    return array.to_numpy(zero_copy_only=False)


def sequences(column, name):
    """The Sequences of a column, an Array or ChunkedArray. TypeError or ValueError, which name it,
    if it holds none."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # of no chunks, or of more than an Array holds
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    shape = None
    if isinstance(array.type, pa.FixedShapeTensorType):
        order = array.type.permutation
        if order is not None and list(order) != sorted(order):
            raise ValueError(f"column {name!r}: tensors whose axes are permuted, {order}")
        shape, array = tuple(array.type.shape), array.storage
    if not (pa.types.is_fixed_size_list(array.type) or _is_list(array.type)):
        raise TypeError(f"column {name!r} is {array.type}; lists of numbers are due")
    if array.null_count:  # a null of fixed size has numbers, or nulls, under it
        array = array.drop_null()
    begins, sizes, child = _spans(array)
    low = int(begins[0]) if len(begins) else 0
    high = int(begins[-1] + sizes[-1]) if len(begins) else 0
    values, begins = _dense(child.slice(low, high - low), name), begins - low
    if shape is not None:
        values = values.reshape(-1, *shape[1:])
        begins, sizes = begins // math.prod(shape[1:]), np.full(len(begins), shape[0])
    starts, lengths = np.zeros((2, len(valid)), np.int64)
    starts[valid], lengths[valid] = begins, sizes
    return Sequences(values, starts, lengths, valid)


def column(rows, kind):
    """A pa.Array of the type `kind` of arrays, or None for null, in `rows`."""
    return _lists([None if row is None else np.asarray(row) for row in rows], kind)


def _lists(rows, kind):
    mask = np.array([row is None for row in rows], bool)
    if not (_is_list(kind) or pa.types.is_fixed_size_list(kind)):
        flat = [np.zeros((), kind.to_pandas_dtype()) if row is None else row for row in rows]
        return pa.array(np.array(flat, kind.to_pandas_dtype()).reshape(-1), kind, mask=mask)
    if pa.types.is_fixed_size_list(kind):
        rows = [np.zeros(kind.list_size, np.float32) if r is None else r for r in rows]
    lengths = [0 if row is None else len(row) for row in rows]
    child = kind.value_type
    if _is_list(child):
        values = _lists([step for row in rows if row is not None for step in row], child)
    elif pa.types.is_fixed_size_list(child):
        values = pa.FixedSizeListArray.from_arrays(_flat(rows, child.value_type), child.list_size)
    else:
        values = _flat(rows, child)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=pa.array(mask))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    large = pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=pa.array(mask))
    return large.cast(kind)


def _flat(rows, kind):
    """A pa.Array of the numbers of all rows, one after the other."""
    dtype = kind.to_pandas_dtype()
    parts = [row.reshape(-1) for row in rows if row is not None]
    return pa.array(np.concatenate(parts or [np.zeros(0)]).astype(dtype, copy=False), kind)
