# SPDX-License-Identifier: MIT
"""Along one axis or several, under torch's names: sums, maxima, sorting, softmax."""

import collections

import numpy as np

from .array import axis_of, float32, plain, wrap
from .compute import apply, apply_all, packed, quick
from .elementwise import float_of, sqrt, tensor_of

_KINDS, _softmaxes, _sums = {}, {}, {}


def _pair(name):
    return _KINDS.setdefault(name, collections.namedtuple(name, ("values", "indices")))


def _dims(x, dim):
    """The axes that `dim`, an int, a sequence or None for all, names."""
    if dim is None or (not isinstance(dim, (int, np.integer)) and len(dim) == 0):
        return tuple(range(x.ndim))
    dims = (dim,) if isinstance(dim, (int, np.integer)) else dim
    found = tuple(axis_of(d, x.ndim) for d in dims)
    if len(set(found)) < len(found):
        raise RuntimeError(f"dim {found[-1]} appears multiple times in the list of dims")
    return found if x.ndim else ()


def _reduced(op, x, dim, keepdim):
    dims = _dims(x, dim)
    if not dims:
        return x
    return apply(op, [x], (dims,), keepdims=int(keepdim))


def sum(input, dim=None, keepdim=False, *, dtype=None):
    x = tensor_of(input)
    if dtype is not None:
        x = x.to(dtype)
    if dim is not None and x.dtype is float32:
        try:
            y = quick(_sums, (dim, keepdim, x.ndim), x)
        except TypeError:  # a list of axes
            y = None
        if y is not None:
            return y
        if isinstance(dim, (int, np.integer)) and x.ndim:
            found = packed("ReduceSum", [x], (_dims(x, dim),), keepdims=int(keepdim))
            _sums[dim, keepdim, x.ndim] = found.run
            return found(x)
    return _reduced("ReduceSum", x.long() if x.dtype.kind == "b" else x, dim, keepdim)


def mean(input, dim=None, keepdim=False, *, dtype=None):
    x = tensor_of(input)
    x = x if dtype is None else x.to(dtype)
    if x.dtype.kind != "f":
        kind = "Long" if x.dtype.kind == "i" else "Bool"
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {kind}"
        )
    return _reduced("ReduceMean", x, dim, keepdim)


def prod(input, dim=None, keepdim=False):
    x = tensor_of(input)
    return _reduced("ReduceProd", x.long() if x.dtype.kind == "b" else x, dim, keepdim)


def amax(input, dim=None, keepdim=False):
    return _extreme("amax", np.max, tensor_of(input), dim, keepdim)


def amin(input, dim=None, keepdim=False):
    return _extreme("amin", np.min, tensor_of(input), dim, keepdim)


def _extreme(name, function, x, dim, keepdim):
    dims = _dims(x, dim)
    if 0 in [x.shape[d] for d in dims]:
        raise IndexError(
            f"{name}(): Expected reduction dim {dim} to have non-zero size."
            if dim is not None
            else f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
            "Specify the reduction dim with the 'dim' argument."
        )
    return wrap(np.asarray(function(x.numpy(), axis=dims, keepdims=keepdim)))


def _best(name, function, where, input, dim, keepdim):
    """max and min: of all; of one axis, with places; or elementwise, of two arrays."""
    x = tensor_of(input)
    if dim is None:
        return _extreme(name, function, x, None, False)
    if not isinstance(dim, (int, np.integer)):
        ufunc = np.maximum if name == "max" else np.minimum
        return wrap(np.asarray(ufunc(x.numpy(), plain(dim))))
    values = _extreme(name, function, x, dim, keepdim)
    return _pair(name)(values, _place(where, x, dim, keepdim))


def max(input, dim=None, keepdim=False):
    return _best("max", np.max, np.argmax, input, dim, keepdim)


def min(input, dim=None, keepdim=False):
    return _best("min", np.min, np.argmin, input, dim, keepdim)


def _place(where, x, dim, keepdim):
    """The first place of the largest or smallest; NaN counts as it, as in NumPy."""
    name = where.__name__
    if x.numel() == 0 and (dim is None or x.shape[axis_of(dim, x.ndim)] == 0):
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
            "reduction dim with the 'dim' argument."
            if dim is None
            else f"{name}(): Expected reduction dim {axis_of(dim, x.ndim)} to have non-zero size."
        )
    if dim is not None:
        dim = axis_of(dim, x.ndim)
        if not x.ndim:
            return wrap(np.zeros((), np.int64))
    found = np.asarray(where(x.numpy(), axis=dim, keepdims=keepdim))
    return wrap(found.astype(np.int64, copy=False))


def argmax(input, dim=None, keepdim=False):
    return _place(np.argmax, tensor_of(input), dim, keepdim)


def argmin(input, dim=None, keepdim=False):
    return _place(np.argmin, tensor_of(input), dim, keepdim)


def any(input, dim=None, keepdim=False):
    x = tensor_of(input)
    return wrap(np.asarray(np.any(x.numpy(), _dims(x, dim), keepdims=keepdim)))


def all(input, dim=None, keepdim=False):
    x = tensor_of(input)
    return wrap(np.asarray(np.all(x.numpy(), _dims(x, dim), keepdims=keepdim)))


def var(input, dim=None, unbiased=True, keepdim=False, *, correction=None):
    x = float_of(input)
    dims = _dims(x, dim)
    count = int(np.prod([x.shape[d] for d in dims]))
    less = int(bool(unbiased)) if correction is None else correction
    away = x - _reduced("ReduceMean", x, dims, True) if dims else x - x
    total = _reduced("ReduceSum", away * away, dims, keepdim)
    return total / np.float32(count - less) if count > less else total * np.float32(np.nan)


def std(input, dim=None, unbiased=True, keepdim=False, *, correction=None):
    return sqrt(var(input, dim, unbiased, keepdim, correction=correction))


def norm(input, p=2, dim=None, keepdim=False):
    x = float_of(input)
    if p in (1, 2, "fro"):
        return _reduced("ReduceL1" if p == 1 else "ReduceL2", x, dim, keepdim)
    if p == float("inf"):
        return amax(abs_(x), dim, keepdim)
    raise RuntimeError(f"norm(): p = {p} is not computed; 1, 2 and inf are")


def abs_(x):
    return wrap(np.abs(x.numpy()))


def logsumexp(input, dim, keepdim=False):
    return _reduced("ReduceLogSumExp", float_of(input), dim, keepdim)


def cumsum(input, dim, *, dtype=None):
    x = tensor_of(input)
    x = x.to(dtype) if dtype is not None else x.long() if x.dtype.kind == "b" else x
    dim = axis_of(dim, x.ndim)
    return apply("CumSum", [x], (dim,)) if x.ndim else x


def topk(input, k, dim=-1, largest=True, sorted=True):
    x = tensor_of(input)
    dim = axis_of(dim, x.ndim)
    if not 0 <= k <= (x.shape[dim] if x.ndim else 1):
        raise RuntimeError("selected index k out of range")
    made = apply_all("TopK", [x], ((k,),), 2, axis=dim, largest=int(largest))
    return _pair("topk")(*made)


def sort(input, dim=-1, descending=False, stable=False):
    x = tensor_of(input)
    places = argsort(x, dim, descending)
    dim = axis_of(dim, x.ndim)
    return _pair("sort")(wrap(np.take_along_axis(x.numpy(), places.numpy(), dim)), places)


def argsort(input, dim=-1, descending=False, stable=False):
    x = tensor_of(input).numpy()
    dim = axis_of(dim, x.ndim)
    if not descending:
        return wrap(np.argsort(x, dim, kind="stable"))
    places = np.argsort(np.flip(x, dim), dim, kind="stable")  # equal ones stay in order
    return wrap(np.ascontiguousarray(np.flip(x.shape[dim] - 1 - places, dim)))


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """exp(x - max) / sum, along `dim`."""
    x = float_of(input)
    y = quick(_softmaxes, (dim, x.ndim), x)
    if y is None and not x.ndim:
        return x * 0 + 1
    if y is None:
        found = packed("Softmax", [x], axis=_softmax_dim(x, dim))
        _softmaxes[dim, x.ndim] = found.run
        y = found(x)
    return y


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    x = float_of(input)
    return apply("LogSoftmax", [x], axis=_softmax_dim(x, dim)) if x.ndim else x * 0


def _softmax_dim(x, dim):
    if dim is None:  # torch's old rule, of which it warns
        return 0 if x.ndim in (0, 1, 3) else 1
    return axis_of(dim, x.ndim)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    return softmax(-float_of(input), dim)
