# SPDX-License-Identifier: MIT
"""Reductions along axes, and what is ordered or summed along one."""

import numpy as np

from .call import operator


def reduced_axes(call, x, axes):
    """The axes as a tuple; None where nothing is reduced."""
    values = call.attr("axes") if axes is None else call.ints(axes, "axes")
    if not values:
        return None if call.attr("noop_with_empty_axes", 0) else tuple(range(x.ndim))
    return call.axes(values, x.ndim)


def _log_sum_exp(x, axes, keep):
    top = x.max(axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    y = np.log(np.exp(x - top).sum(axes, keepdims=True, dtype=x.dtype)) + top
    return y if keep else np.squeeze(y, axes)


_REDUCE = {
    "ReduceSum": ("fiu", lambda x, axes, keep: x.sum(axes, keepdims=keep, dtype=x.dtype)),
    "ReduceMean": ("fiu", lambda x, axes, keep: x.mean(axes, keepdims=keep)),
    "ReduceMax": ("fiub", lambda x, axes, keep: x.max(axes, keepdims=keep)),
    "ReduceMin": ("fiub", lambda x, axes, keep: x.min(axes, keepdims=keep)),
    "ReduceProd": ("fiu", lambda x, axes, keep: x.prod(axes, keepdims=keep, dtype=x.dtype)),
    "ReduceL1": ("fiu", lambda x, axes, keep: np.abs(x).sum(axes, keepdims=keep, dtype=x.dtype)),
    "ReduceL2": (
        "fiu",
        lambda x, axes, keep: np.sqrt((x * x).sum(axes, keepdims=keep, dtype=x.dtype)),
    ),
    "ReduceSumSquare": (
        "fiu",
        lambda x, axes, keep: (x * x).sum(axes, keepdims=keep, dtype=x.dtype),
    ),
    "ReduceLogSum": (
        "fiu",
        lambda x, axes, keep: np.log(x.sum(axes, keepdims=keep, dtype=x.dtype)),
    ),
    "ReduceLogSumExp": ("fiu", _log_sum_exp),
}


def _reduction(op, kinds, function):
    @operator(op, 1, 2)
    def call_reduction(call, x, axes=None):
        call.kind(x, kinds, "its input")
        found = reduced_axes(call, x, axes)
        if found is None:
            found = ()  # each element by itself: the sum of one square is still a square
            if op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
                return x
        if not all(x.shape[axis] for axis in found):
            return _of_nothing(call, op, x, found)
        wide = x.astype(np.float64) if op == "ReduceLogSumExp" and x.dtype.kind != "f" else x
        return np.asarray(function(wide, found, bool(call.attr("keepdims", 1))), x.dtype)


def _of_nothing(call, op, x, axes):
    """What the reduction of no elements gives."""
    shape = [
        1 if i in axes else n
        for i, n in enumerate(x.shape)
        if call.attr("keepdims", 1) or i not in axes
    ]
    call.allowed(shape, x.dtype)
    fill = {"ReduceProd": 1, "ReduceLogSum": -np.inf, "ReduceLogSumExp": -np.inf}.get(op, 0)
    if op in ("ReduceMax", "ReduceMin"):
        sign = -1 if op == "ReduceMax" else 1
        if x.dtype.kind == "f":
            fill = sign * np.inf
        elif x.dtype.kind == "b":
            fill = sign > 0
        else:
            fill = np.iinfo(x.dtype).max if sign > 0 else np.iinfo(x.dtype).min
    elif op == "ReduceMean":
        fill = np.nan
    return np.full(shape, fill, x.dtype)


for _op, (_kinds, _function) in _REDUCE.items():
    _reduction(_op, _kinds, _function)


def _arg(op, function):
    @operator(op, 1)
    def call_arg(call, x):
        call.kind(x, "fiu", "its input")
        axis = call.axis(call.attr("axis", 0), x.ndim)
        if not x.shape[axis]:
            raise call.error(f"the axis {axis} of the shape {x.shape} is empty")
        if call.attr("select_last_index", 0):
            y = x.shape[axis] - 1 - function(np.flip(x, axis), axis)
        else:
            y = function(x, axis)
        y = np.asarray(y, np.int64)
        return np.expand_dims(y, axis) if call.attr("keepdims", 1) else y


_arg("ArgMax", np.argmax)
_arg("ArgMin", np.argmin)


def _running(op, function, start):
    @operator(op, 2)
    def call_running(call, x, axis):
        call.kind(x, "fiu", "its input")
        at = call.axis(int(call.scalar(axis, "axis")), x.ndim)
        call.allowed(x.shape, x.dtype)
        y = np.flip(x, at) if call.attr("reverse", 0) else x
        if call.attr("exclusive", 0):
            first = np.full([1 if i == at else n for i, n in enumerate(x.shape)], start, x.dtype)
            keep = np.arange(max(x.shape[at] - 1, 0))
            y = np.concatenate([first, np.take(y, keep, at)], at) if x.shape[at] else y
        y = function(y, at, dtype=x.dtype)
        return np.flip(y, at) if call.attr("reverse", 0) else y


_running("CumSum", np.cumsum, 0)
_running("CumProd", np.cumprod, 1)


@operator("TopK", 2)
def top_k(call, x, k):
    """The largest or smallest elements, sorted, and their indices; of equals the first counts."""
    call.kind(x, "fiu", "its input")
    axis = call.axis(call.attr("axis", -1), x.ndim)
    count = int(call.scalar(k, "k"))
    if not 0 <= count <= x.shape[axis]:
        raise call.error(f"k is {count}, of an axis of {x.shape[axis]}")
    call.allowed(x.shape, np.int64)
    if call.attr("largest", 1):  # sorted backwards with the first of equals last, then reversed
        order = np.flip(x.shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, "stable"), axis)
    else:
        order = np.argsort(x, axis, "stable")
    order = np.take(order, np.arange(count), axis).astype(np.int64)
    return np.take_along_axis(x, order, axis), order
