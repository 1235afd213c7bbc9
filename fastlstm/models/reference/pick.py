# SPDX-License-Identifier: MIT
"""Operators that pick elements by indices, and put them by indices: Gather, Scatter, OneHot ..."""

import numpy as np

from .call import operator


def indices_of(call, indices, size, what="an index"):
    """The indices counted from 0; ModelError for one outside an axis of `size`."""
    call.kind(indices, "iu", "indices")
    indices = indices.astype(np.int64)
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < -size or high >= size:
            raise call.error(f"{what} {low if low < -size else high} of an axis of {size}")
    return np.where(indices < 0, indices + size, indices)


@operator("Gather", 2)
def gather(call, x, indices):
    axis = call.axis(call.attr("axis", 0), x.ndim)
    call.allowed(x.shape[:axis] + indices.shape + x.shape[axis + 1 :], x.dtype)
    return np.take(x, indices_of(call, indices, x.shape[axis]), axis)


@operator("GatherElements", 2)
def gather_elements(call, x, indices):
    call.ndim(indices, x.ndim, "indices")
    axis = call.axis(call.attr("axis", 0), x.ndim)
    call.allowed(indices.shape, np.int64)
    return x[_places(call, x, indices, axis)]


def _places(call, x, indices, axis):
    """Index arrays: those of `indices` along `axis`, each element's own place along the others."""
    if any(m > n for i, (m, n) in enumerate(zip(indices.shape, x.shape)) if i != axis):
        raise call.error(f"indices of the shape {indices.shape} for {x.shape}")
    grid = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    grid[axis] = indices_of(call, indices, x.shape[axis])
    return tuple(grid)


@operator("GatherND", 2)
def gather_nd(call, x, indices):
    batch = call.attr("batch_dims", 0)
    if not 0 <= batch < min(x.ndim, indices.ndim) or x.shape[:batch] != indices.shape[:batch]:
        raise call.error(f"batch_dims {batch} of the shapes {x.shape} and {indices.shape}")
    depth = indices.shape[-1]
    if not 1 <= depth <= x.ndim - batch:
        raise call.error(f"indices of {depth} numbers for the shape {x.shape}")
    call.allowed(indices.shape[:-1] + x.shape[batch + depth :], x.dtype)
    parts = [indices_of(call, indices[..., i], x.shape[batch + i]) for i in range(depth)]
    grid = np.ogrid[tuple(slice(n) for n in x.shape[:batch])]
    tail = indices.ndim - 1 - batch
    grid = [g.reshape(g.shape + (1,) * tail) for g in grid]
    return x[(*grid, *parts)]


_REDUCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _put(call, y, where, updates):
    """y[where] = updates, or combined with what is there as the attribute reduction says."""
    reduction = call.attr("reduction", "none")
    if reduction == "none":
        y[where] = updates
    elif reduction in _REDUCTIONS:
        _REDUCTIONS[reduction].at(y, where, updates)
    else:
        raise call.error(f"reduction is {reduction!r}")
    return y


@operator("ScatterElements", 3)
def scatter_elements(call, x, indices, updates):
    call.same(x, updates)
    call.ndim(indices, x.ndim, "indices")
    if updates.shape != indices.shape:
        raise call.error(f"updates {updates.shape} for indices {indices.shape}")
    axis = call.axis(call.attr("axis", 0), x.ndim)
    call.allowed(x.shape, x.dtype)
    return _put(call, x.copy(), _places(call, x, indices, axis), updates)


@operator("ScatterND", 3)
def scatter_nd(call, x, indices, updates):
    call.same(x, updates)
    call.ndim(indices, range(1, 64), "indices")
    depth = indices.shape[-1]
    if not 1 <= depth <= x.ndim or updates.shape != indices.shape[:-1] + x.shape[depth:]:
        raise call.error(f"the shapes {x.shape}, {indices.shape} and {updates.shape} do not fit")
    call.allowed(x.shape, x.dtype)
    where = tuple(indices_of(call, indices[..., i], x.shape[i]) for i in range(depth))
    return _put(call, x.copy(), where, updates)


@operator("OneHot", 3)
def one_hot(call, indices, depth, values):
    call.kind(indices, "fiu", "indices")
    if values.shape != (2,):
        raise call.error(f"values of the shape {values.shape}: (2,) is due")
    depth = int(call.scalar(depth, "depth"))
    axis = call.axis(call.attr("axis", -1), indices.ndim + 1)
    shape = [*indices.shape[:axis], depth, *indices.shape[axis:]]
    call.allowed(shape, max(values.dtype, np.dtype(np.int64), key=lambda d: d.itemsize))
    indices = np.expand_dims(indices.astype(np.int64), axis)
    indices = np.where((indices >= -depth) & (indices < 0), indices + depth, indices)
    places = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.where(indices == places, values[1], values[0])


@operator("NonZero", 1)
def non_zero(call, x):
    call.allowed([max(x.ndim, 1), x.size], np.int64)
    found = np.nonzero(x) if x.ndim else np.nonzero(x.reshape(1))
    return np.array(found, np.int64).reshape(len(found), -1)


@operator("Compress", 2)
def compress(call, x, condition):
    call.kind(condition, "b", "its condition")
    call.ndim(condition, 1, "its condition")
    axis = call.attr("axis")
    axis = None if axis is None else call.axis(axis, x.ndim)
    if condition.size > (x.size if axis is None else x.shape[axis]):
        raise call.error(f"a condition of {condition.size} for the shape {x.shape}")
    return np.compress(condition, x, axis)


@operator("Unique", 1)
def unique(call, x):
    axis = call.attr("axis")
    axis = None if axis is None else call.axis(axis, x.ndim)
    call.allowed([x.size], np.int64)
    y, first, inverse, counts = np.unique(x, True, True, True, axis)
    if not call.attr("sorted", 1):
        order = np.argsort(first, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        y = np.take(y, order, 0 if axis is None else axis)
        first, counts, inverse = first[order], counts[order], rank[inverse]
    return y, *(a.reshape(-1).astype(np.int64) for a in (first, inverse, counts))


@operator("TensorScatter", 2, 3)
def tensor_scatter(call, past, update, write=None):
    """A cache with new steps put in from a place for each row on, "circular" or not."""
    call.same(past, update)
    call.ndim(update, past.ndim, "update")
    axis = call.axis(call.attr("axis", -2), past.ndim)
    circular = call.attr("mode", "linear") == "circular"
    size, steps = past.shape[axis], update.shape[axis]
    if axis == 0 or past.shape[:axis] != update.shape[:axis] or steps > size:
        raise call.error(f"an update of the shape {update.shape} for {past.shape}")
    write = np.zeros(past.shape[0], np.int64) if write is None else write
    if write.shape != past.shape[:1]:
        raise call.error(f"write_indices of the shape {write.shape} for {past.shape}")
    call.allowed(past.shape, past.dtype)
    places = write.astype(np.int64)[:, None] + np.arange(steps)
    places = places % size if circular else indices_of(call, places, size)
    y = past.copy()
    for row, place in enumerate(places):
        np.moveaxis(y[row], axis - 1, 0)[place] = np.moveaxis(update[row], axis - 1, 0)
    return y
