# SPDX-License-Identifier: MIT
"""Tensor and Parameter: NumPy arrays that have torch's methods where the two differ.

A Tensor is an ndarray, so it goes wherever an array goes, and nothing is copied on the way. Its
methods are torch's: view, permute, size(), max(dim) ... Here are those that give a view of the
same memory, conversions and arithmetic; methods.py adds those that compute. Element types are
float32, int64 and bool; others become one of these.
"""

import numpy as np

from .device import check_device, device

float32, int64, bool_ = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)
_float64 = np.dtype(np.float64)
_HELD_AS = {"f": float32, "i": int64, "u": int64, "b": bool_}
_view = np.ndarray.view


def wrap(array):
    """An ndarray as a Tensor of the same memory."""
    return _view(array, Tensor)


def plain(value):
    """A Tensor, array, number, list or torch tensor as an ndarray of float32, int64 or bool."""
    if hasattr(value, "detach") and not isinstance(value, np.ndarray):  # torch's
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        value = value.numpy()
    array = np.asarray(value)
    held = _HELD_AS.get(array.dtype.kind)
    if held is None:
        raise TypeError(f"can't convert np.ndarray of type {array.dtype} to a Tensor")
    return array if array.dtype == held else array.astype(held)


def floats(value):
    """The same as float32."""
    array = plain(value)
    return array if array.dtype == float32 else array.astype(float32)


def held_dtype(dtype):
    """The NumPy dtype that Tensors have for a dtype, a NumPy scalar type or Python's float, int or
    bool; TypeError for another."""
    found = np.dtype(dtype)
    if found.kind not in _HELD_AS or (found.kind == "f" and found != float32):
        raise TypeError(f"{found} is not computed: Tensors are float32, int64 or bool")
    return _HELD_AS[found.kind]


def axis_of(dim, ndim):
    """`dim` counted from 0; IndexError in torch's words."""
    low, high = (-ndim, ndim - 1) if ndim else (-1, 0)
    if not low <= dim <= high:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{low}, {high}], but got {dim})"
        )
    return dim % max(ndim, 1)


def sizes_of(args):
    """Sizes or dims that were given one by one or as one sequence, as a tuple of int."""
    if len(args) == 1 and isinstance(args[0], (tuple, list, np.ndarray)) and np.ndim(args[0]):
        args = args[0]
    return tuple(int(n) for n in args)


class Tensor(np.ndarray):
    """An array with torch's methods. Tensor(x): x as float32; torch.tensor keeps its type."""

    requires_grad = False
    grad = None
    is_cuda = False

    def __new__(cls, *args):
        if len(args) == 1 and not isinstance(args[0], (int, np.integer)):
            return _view(np.array(floats(args[0])), cls)
        return _view(np.zeros(sizes_of(args), float32), cls)

    def __array_function__(self, function, types, args, kwargs):
        """NumPy's functions see plain arrays, since they use methods by NumPy's meaning."""
        return function(*_unwrapped(args), **_unwrapped(kwargs))

    # ---- what it is ----

    def size(self, dim=None):
        return self.shape if dim is None else self.shape[axis_of(dim, self.ndim)]

    def dim(self):
        return self.ndim

    def numel(self):
        return _numel(self)

    def element_size(self):
        return self.itemsize

    def stride(self, dim=None):
        strides = tuple(n // self.itemsize for n in self.strides)
        return strides if dim is None else strides[dim]

    def is_contiguous(self):
        return self.flags.c_contiguous

    def is_floating_point(self):
        return self.dtype.kind == "f"

    ndimension, nelement = dim, numel

    def __repr__(self):
        return repr(self.numpy()).replace("array(", "tensor(", 1)

    def __str__(self):
        return str(self.numpy())

    def __format__(self, spec):
        return format(self.item() if self.ndim == 0 else self.numpy(), spec)

    __hash__ = object.__hash__

    def __bool__(self):
        if self.numel() != 1:
            raise RuntimeError(
                f"Boolean value of Tensor with {'no' if not self.numel() else 'more than one'} "
                f"value{'s' if not self.numel() else ''} is ambiguous"
            )
        return bool(self.item())

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __len__(self):
        if not self.ndim:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, key):
        found = np.ndarray.__getitem__(self, key)
        return found if isinstance(found, np.ndarray) else wrap(np.asarray(found))

    def __setitem__(self, key, value):
        if not self.flags.writeable:
            raise RuntimeError(
                "this array is packed for a layer's calls, or expanded: assign a new one to the "
                "layer, or use load_state_dict, instead of writing into it"
            )
        np.ndarray.__setitem__(self, key, value)

    def item(self):
        if self.numel() != 1:
            raise RuntimeError(
                f"a Tensor with {self.numel()} elements cannot be converted to Scalar"
            )
        return np.ndarray.item(self)

    # ---- the same memory, other axes ----

    def view(self, *shape):
        if len(shape) == 1 and isinstance(shape[0], (type, np.dtype)):
            if np.dtype(shape[0]) != self.dtype:
                raise TypeError("view as another dtype is not supported; use to(dtype)")
            return self
        return self.reshape(*shape)

    def reshape(self, *shape):
        try:
            return np.ndarray.reshape(self, *shape)
        except (ValueError, TypeError):
            sizes = list(sizes_of(shape))
            raise RuntimeError(
                f"shape '{sizes}' is invalid for input of size {self.numel()}"
            ) from None

    def view_as(self, other):
        return self.reshape(other.shape)

    reshape_as = view_as

    def flatten(self, start_dim=0, end_dim=-1):
        if self.ndim == 0:
            return self.reshape(1)
        start, end = axis_of(start_dim, self.ndim), axis_of(end_dim, self.ndim)
        if start > end:
            raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
        return self.reshape(*self.shape[:start], _product(self.shape[start : end + 1]),
                            *self.shape[end + 1 :])  # fmt: skip

    def unflatten(self, dim, sizes):
        dim = axis_of(dim, self.ndim)
        sizes = sizes_of((sizes,))
        known = _product(n for n in sizes if n != -1)
        if sizes.count(-1) == 1 and known:
            sizes = tuple(self.shape[dim] // known if n == -1 else n for n in sizes)
        if _product(sizes) != self.shape[dim]:
            raise RuntimeError(
                f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim "
                f"{dim} ({self.shape[dim]}) in the input tensor"
            )
        return self.reshape(*self.shape[:dim], *sizes, *self.shape[dim + 1 :])

    def permute(self, *dims):
        dims = sizes_of(dims)
        if len(dims) != self.ndim:
            raise RuntimeError(
                "permute(sparse_coo): number of dimensions in the tensor input does not match the "
                f"length of the desired ordering of dimensions i.e. input.dim() = {self.ndim} is "
                f"not equal to len(dims) = {len(dims)}"
            )
        dims = [axis_of(d, self.ndim) for d in dims]
        if len(set(dims)) < len(dims):
            raise RuntimeError("permute(): duplicate dims are not allowed.")
        return np.ndarray.transpose(self, dims)

    def transpose(self, dim0, dim1):
        if not self.ndim:
            return self
        return np.ndarray.swapaxes(self, axis_of(dim0, self.ndim), axis_of(dim1, self.ndim))

    swapaxes = swapdims = transpose

    def t(self):
        if self.ndim > 2:
            raise RuntimeError(
                f"t() expects a tensor with <= 2 dimensions, but self is {self.ndim}D"
            )
        return np.ndarray.transpose(self)

    def unsqueeze(self, dim):
        dim = axis_of(dim, self.ndim + 1)
        return np.ndarray.reshape(self, (*self.shape[:dim], 1, *self.shape[dim:]))

    def squeeze(self, dim=None):
        dims = range(self.ndim) if dim is None else (dim,) if np.ndim(dim) == 0 else dim
        dims = [axis_of(d, self.ndim) for d in dims]
        kept = [n for i, n in enumerate(self.shape) if not (n == 1 and i in dims)]
        return np.ndarray.reshape(self, kept)

    def movedim(self, source, destination):
        return wrap(np.moveaxis(self.numpy(), source, destination))

    def expand(self, *sizes):
        sizes = sizes_of(sizes)
        new = len(sizes) - self.ndim
        want = tuple(
            self.shape[i - new] if n == -1 and i >= new else n for i, n in enumerate(sizes)
        )
        try:
            return wrap(np.broadcast_to(self.numpy(), want))
        except ValueError:
            wrong = [
                i for i in range(max(new, 0), len(want)) if self.shape[i - new] not in (1, want[i])
            ]
            if new < 0 or not wrong:
                raise RuntimeError(
                    f"expand(torch.FloatTensor{{{list(self.shape)}}}, size={list(sizes)}): the "
                    f"number of sizes provided ({len(sizes)}) must be greater or equal to the "
                    f"number of dimensions in the tensor ({self.ndim})"
                ) from None
            i = wrong[-1]
            raise RuntimeError(
                f"The expanded size of the tensor ({want[i]}) must match the existing size "
                f"({self.shape[i - new]}) at non-singleton dimension {i}.  Target sizes: "
                f"{list(sizes)}.  Tensor sizes: {list(self.shape)}"
            ) from None

    def expand_as(self, other):
        return self.expand(other.shape)

    def select(self, dim, index):
        return self[(*[slice(None)] * axis_of(dim, self.ndim), index)]

    def narrow(self, dim, start, length):
        dim = axis_of(dim, self.ndim)
        if start < 0 or start + length > self.shape[dim]:
            raise RuntimeError(
                f"start ({start}) + length ({length}) exceeds dimension size ({self.shape[dim]})."
            )
        return self[(*[slice(None)] * dim, slice(start, start + length))]

    def unfold(self, dimension, size, step):
        dim = axis_of(dimension, self.ndim)
        if size > self.shape[dim]:
            raise RuntimeError(
                f"maximum size for tensor at dimension {dimension} is {self.shape[dim]} but size "
                f"is {size}"
            )
        windows = np.lib.stride_tricks.sliding_window_view(self.numpy(), size, dim)
        return wrap(windows[(*[slice(None)] * dim, slice(None, None, step))])

    @property
    def mT(self):
        return self.transpose(-2, -1)

    # ---- conversions ----

    def numpy(self, *, force=False):
        return _view(self, np.ndarray)

    @property
    def data(self):
        return self

    @property
    def device(self):
        return device("cpu")

    def detach(self):
        return self

    def cpu(self):
        return self

    def requires_grad_(self, requires_grad=True):
        return self

    def clone(self, *, memory_format=None):
        return wrap(np.array(self.numpy()))

    def contiguous(self, memory_format=None):
        if self.flags.c_contiguous:
            return self
        return wrap(np.ascontiguousarray(self.numpy()).reshape(self.shape))

    def type(self, dtype=None):
        if dtype is None:
            return {"f": "torch.FloatTensor", "i": "torch.LongTensor", "b": "torch.BoolTensor"}[
                self.dtype.kind
            ]
        return self._cast(held_dtype(dtype))

    def type_as(self, other):
        return self._cast(other.dtype)

    def to(self, *args, dtype=None, device=None, copy=False, **ignored):
        """A dtype converts; a device must be the CPU."""
        for arg in (*args, device):
            if isinstance(arg, np.ndarray):
                dtype = arg.dtype
            elif isinstance(arg, (type, np.dtype)):
                dtype = arg
            elif arg is not None and not isinstance(arg, bool):
                check_device(arg)
        made = self if dtype is None else self._cast(held_dtype(dtype))
        return made.clone() if copy and made is self else made

    def _cast(self, dtype):
        return self if self.dtype == dtype else wrap(self.numpy().astype(dtype))

    def float(self):
        return self._cast(float32)

    def long(self):
        return self._cast(int64)

    int = long

    def bool(self):
        return self._cast(bool_)

    def double(self):
        return held_dtype(_float64)

    def half(self):
        return held_dtype(np.float16)

    def cuda(self, device=None):
        return check_device("cuda")

    def backward(self, *args, **kwargs):
        raise RuntimeError("fastlstm.nn is for inference: there is no backward")


Tensor.T = property(lambda self: np.ndarray.transpose(self))
_numel = np.ndarray.size.__get__


class Parameter(Tensor):
    """A weight of a Module: a float32 Tensor, a copy of `data`.

    Once a layer has packed a Parameter for its calls, its memory is read-only: writing into it
    would change nothing that the layer computes. Assign a new Parameter, or load_state_dict.
    """

    def __new__(cls, data=None, requires_grad=True):
        made = _view(np.array([] if data is None else plain(data), order="C"), Tensor)
        made.__class__ = cls
        made.requires_grad = bool(requires_grad)
        return made

    def __array_finalize__(self, made_from):
        """What is computed from a Parameter, or is part of one, is a Tensor."""
        if made_from is not None:
            self.__class__ = Tensor

    def __deepcopy__(self, memo):
        return type(self)(self.numpy(), self.requires_grad)

    def __repr__(self):
        return "Parameter containing:\n" + Tensor.__repr__(self)


def lock(array):
    """Makes an array that is packed read-only."""
    array.flags.writeable = False


def _unwrapped(value):
    if isinstance(value, Tensor):
        return _view(value, np.ndarray)
    if type(value) in (list, tuple):
        return type(value)(map(_unwrapped, value))
    return {k: _unwrapped(v) for k, v in value.items()} if type(value) is dict else value


def _product(sizes):
    made = 1
    for n in sizes:
        made *= n
    return made


def _arithmetic(name, ufunc, reflected=False):
    """Arithmetic in NumPy, with float32 where NumPy would answer float64, as torch does."""

    def operation(self, other):
        if type(other) in (list, tuple):
            return NotImplemented
        y = ufunc(other, self) if reflected else ufunc(self, other)
        return y if y.dtype is not _float64 else y.astype(float32)

    setattr(Tensor, name, operation)


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
    "floordiv": np.floor_divide, "mod": np.remainder,
}.items():  # fmt: skip
    _arithmetic(f"__{_name}__", _ufunc)
    _arithmetic(f"__r{_name}__", _ufunc, reflected=True)
