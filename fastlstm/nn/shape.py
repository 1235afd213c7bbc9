# SPDX-License-Identifier: MIT
"""Elements moved, picked and joined, under torch's names, by NumPy: nothing is rounded here."""

import numpy as np

from .array import axis_of, float32, held_dtype, plain, sizes_of, wrap
from .elementwise import tensor_of


def _common(arrays):
    """Arrays of one type: float32 if one is, else int64 if one is."""
    arrays = [plain(a) for a in arrays]
    kinds = {a.dtype for a in arrays}
    if len(kinds) > 1:
        due = np.float32 if any(k.kind == "f" for k in kinds) else np.int64
        arrays = [a.astype(due) for a in arrays]
    return arrays


def cat(tensors, dim=0):
    arrays = _common(tensors)
    if not arrays:
        raise ValueError("expected a non-empty list of Tensors")
    kept = [a for a in arrays if a.shape != (0,)] or arrays[:1]
    first = kept[0]
    dim = axis_of(dim, first.ndim)
    if first.ndim == 0:
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    for i, a in enumerate(kept):
        if a.ndim != first.ndim:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {first.ndim} and {a.ndim}"
            )
        for d, (n, m) in enumerate(zip(first.shape, a.shape)):
            if n != m and d != dim:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {n} but "
                    f"got size {m} for tensor number {i} in the list."
                )
    return wrap(np.concatenate(kept, dim))


concat = concatenate = cat


def stack(tensors, dim=0):
    arrays = _common(tensors)
    if not arrays:
        raise RuntimeError("stack expects a non-empty TensorList")
    for i, a in enumerate(arrays):
        if a.shape != arrays[0].shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(arrays[0].shape)} at "
                f"entry 0 and {list(a.shape)} at entry {i}"
            )
    return wrap(np.stack(arrays, axis_of(dim, arrays[0].ndim + 1)))


def hstack(tensors):
    return wrap(np.hstack(_common(tensors)))


def vstack(tensors):
    return wrap(np.vstack(_common(tensors)))


def split(tensor, split_size_or_sections, dim=0):
    x = tensor_of(tensor)
    dim = axis_of(dim, x.ndim)
    n, sizes = x.shape[dim], split_size_or_sections
    if isinstance(sizes, (int, np.integer)):
        if sizes < 0 or (sizes == 0 and n):
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={sizes}"
                if sizes < 0
                else "split_size can only be 0 if dimension size is 0, but got dimension size of "
                f"{n}"
            )
        count = max(1, -(-n // sizes)) if sizes else 1
        sizes = [min(sizes, n - i * sizes) for i in range(count)] if sizes else [0]
    elif sum(sizes) != n:
        raise RuntimeError(
            "split_with_sizes expects split_sizes to sum exactly to "
            f"{n} (input tensor's size at dimension {dim}), but got split_sizes={list(sizes)}"
        )
    made, start = [], 0
    for size in sizes:
        made.append(x[(*[slice(None)] * dim, slice(start, start + size))])
        start += size
    return tuple(made)


def chunk(input, chunks, dim=0):
    x = tensor_of(input)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = x.shape[axis_of(dim, x.ndim)]
    return split(x, max(1, -(-n // chunks)), dim) if n else (x,) * chunks


def unbind(input, dim=0):
    x = tensor_of(input)
    dim = axis_of(dim, x.ndim)
    return tuple(x.select(dim, i) for i in range(x.shape[dim]))


def _view(name):
    """A function that a Tensor has as its method."""

    def function(input, *args, **kwargs):
        return getattr(tensor_of(input), name)(*args, **kwargs)

    return function


reshape, flatten, unflatten = _view("reshape"), _view("flatten"), _view("unflatten")
permute, transpose, t, movedim = _view("permute"), _view("transpose"), _view("t"), _view("movedim")
swapaxes = swapdims = transpose
squeeze, unsqueeze, narrow = _view("squeeze"), _view("unsqueeze"), _view("narrow")
select, clone, numel = _view("select"), _view("clone"), _view("numel")
is_floating_point = _view("is_floating_point")


def broadcast_to(input, size):
    return tensor_of(input).expand(size)


def tile(input, dims):
    return wrap(np.tile(plain(input), sizes_of((dims,))))


def repeat(input, *sizes):
    """The method repeat: copies along each axis, new axes in front."""
    sizes = sizes_of(sizes)
    x = plain(input)
    if len(sizes) < x.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    return wrap(np.tile(x, sizes))


def repeat_interleave(input, repeats, dim=None):
    repeats = repeats if isinstance(repeats, int) else plain(repeats)
    return wrap(np.repeat(plain(input), repeats, dim))


def flip(input, *dims):
    x = plain(input)
    return wrap(np.ascontiguousarray(np.flip(x, [axis_of(d, x.ndim) for d in sizes_of(dims)])))


def roll(input, shifts, dims=None):
    return wrap(np.roll(plain(input), shifts, dims))


def tril(input, diagonal=0):
    return wrap(np.tril(plain(input), diagonal))


def triu(input, diagonal=0):
    return wrap(np.triu(plain(input), diagonal))


def index_select(input, dim, index):
    x, i = plain(input), plain(index)
    dim = axis_of(dim, x.ndim)
    _check_range(i, x.shape[dim])
    return wrap(np.take(x, i.reshape(-1), dim))


def gather(input, dim, index):
    x, i = plain(input), plain(index)
    dim = axis_of(dim, x.ndim)
    if i.ndim != x.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    outside = i[(i < 0) | (i >= x.shape[dim])]
    if outside.size:
        raise RuntimeError(
            f"index {outside[0]} is out of bounds for dimension {dim} with size {x.shape[dim]}"
        )
    cut = tuple(slice(None) if d == dim else slice(n) for d, n in enumerate(i.shape))
    return wrap(np.take_along_axis(x[cut], i, dim))


def _check_range(index, size):
    if index.size and not (index.min() >= 0 and index.max() < size):
        raise IndexError("index out of range in self")


def masked_select(input, mask):
    x, m = np.broadcast_arrays(plain(input), plain(mask))
    return wrap(x[m])


def nonzero(input, *, as_tuple=False):
    found = np.nonzero(plain(input))
    return tuple(map(wrap, found)) if as_tuple else wrap(np.stack(found, 1))


# ---- made anew


def _made(dtype):
    return float32 if dtype is None else held_dtype(dtype)


def zeros(*size, dtype=None, device=None, requires_grad=False, **ignored):
    return wrap(np.zeros(sizes_of(size or (ignored.get("size", ()),)), _made(dtype)))


def ones(*size, dtype=None, device=None, requires_grad=False, **ignored):
    return wrap(np.ones(sizes_of(size or (ignored.get("size", ()),)), _made(dtype)))


empty = zeros


def full(size, fill_value, *, dtype=None, device=None, requires_grad=False):
    held = plain(fill_value).dtype if dtype is None else held_dtype(dtype)
    return wrap(np.full(sizes_of((size,)), fill_value, held))


def _like(name, function):
    def like(input, *args, dtype=None, device=None, **ignored):
        x = tensor_of(input)
        return function(x.shape, *args, dtype=x.dtype if dtype is None else dtype)

    like.__name__ = name
    return like


zeros_like, ones_like = _like("zeros_like", zeros), _like("ones_like", ones)
full_like, empty_like = _like("full_like", full), zeros_like


def _new(name, function):
    """A method: a new array of the type of an old one."""

    def new(self, *args, dtype=None, device=None, requires_grad=False):
        return function(*args, dtype=self.dtype if dtype is None else dtype)

    new.__name__ = name
    return new


new_zeros, new_ones, new_full = (
    _new(f"new_{f.__name__}", f) for f in (zeros, ones, full)
)  # fmt: skip
new_empty = new_zeros


def arange(*args, dtype=None, device=None, requires_grad=False):
    made = np.arange(*[a.item() if isinstance(a, np.ndarray) else a for a in args])
    return wrap(made.astype(plain(made).dtype if dtype is None else held_dtype(dtype)))


def linspace(start, end, steps, *, dtype=None, device=None):
    return wrap(np.linspace(start, end, steps).astype(_made(dtype)))


def eye(n, m=None, *, dtype=None, device=None):
    return wrap(np.eye(n, m, dtype=_made(dtype)))


def tensor(data, *, dtype=None, device=None, requires_grad=False):
    """A copy of numbers, lists or arrays, float32, int64 or bool as they are."""
    made = np.array(plain(data))
    return wrap(made if dtype is None else made.astype(held_dtype(dtype)))


def as_tensor(data, dtype=None, device=None):
    made = tensor_of(data)
    return made if dtype is None else made.to(dtype)


def from_numpy(ndarray):
    """A Tensor of the array's memory, if it is of one of the three types."""
    return tensor_of(ndarray)
