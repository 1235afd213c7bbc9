# SPDX-License-Identifier: MIT
"""What models call `torch`: `from fastlstm.nn import tensor as torch`. Functions of arrays and
Tensors, which answer Tensors, under torch's names."""

import contextlib

import numpy as np

from ..files.read import read_state_dict
from . import init
from . import methods as methods  # gives Tensor the methods that compute
from .array import Tensor as Tensor
from .array import held_dtype, sizes_of, wrap
from .device import device as device
from .elementwise import (  # noqa: F401
    abs,
    absolute,
    add,
    allclose,
    ceil,
    clamp,
    clamp_max,
    clamp_min,
    clip,
    cos,
    div,
    divide,
    eq,
    equal,
    erf,
    exp,
    expm1,
    floor,
    ge,
    greater,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    less,
    log,
    log1p,
    log2,
    log10,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    masked_fill,
    maximum,
    minimum,
    mul,
    multiply,
    ne,
    neg,
    negative,
    not_equal,
    pow,
    reciprocal,
    remainder,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    sub,
    subtract,
    tanh,
    trunc,
    where,
)
from .functional.activation import (  # noqa: F401
    celu,
    dropout,
    prelu,
    relu,
    selu,
)
from .functional.linear import (  # noqa: F401
    bmm,
    cosine_similarity,
    dot,
    matmul,
    mm,
    mv,
)
from .init import manual_seed as manual_seed
from .reduce import (  # noqa: F401
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    argsort,
    cumsum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    softmax,
    softmin,
    sort,
    std,
    sum,
    topk,
    var,
)
from .shape import (  # noqa: F401
    arange,
    as_tensor,
    broadcast_to,
    cat,
    chunk,
    clone,
    concat,
    concatenate,
    empty,
    empty_like,
    eye,
    flatten,
    flip,
    from_numpy,
    full,
    full_like,
    gather,
    hstack,
    index_select,
    is_floating_point,
    linspace,
    masked_select,
    movedim,
    narrow,
    nonzero,
    numel,
    ones,
    ones_like,
    permute,
    repeat_interleave,
    reshape,
    roll,
    select,
    split,
    squeeze,
    stack,
    swapaxes,
    swapdims,
    t,
    tensor,
    tile,
    transpose,
    tril,
    triu,
    unbind,
    unflatten,
    unsqueeze,
    vstack,
    zeros,
    zeros_like,
)

float = float32 = np.dtype(np.float32)
long = int = int64 = int32 = np.dtype(np.int64)
bool = np.dtype(bool)
double = float64 = np.dtype(np.float64)  # refused where a Tensor would be made of it
half = float16 = np.dtype(np.float16)
inf, nan, pi = np.inf, np.nan, np.pi
__version__ = "2.13.0"  # whose names these are


def load(f, map_location=None, weights_only=True, mmap=None):
    """{name: array} of a file of weights, as fastlstm.read_state_dict reads it: nothing in the file
    is executed."""
    return read_state_dict(f)


def is_tensor(obj):
    return isinstance(obj, Tensor)


def rand(*size, dtype=None, device=None):
    return wrap(init.uniform(sizes_of(size)))


def randn(*size, dtype=None, device=None):
    return wrap(init.normal(sizes_of(size)))


def randint(low, high=None, size=None, *, dtype=None, device=None):
    if size is None:
        low, high, size = 0, low, high
    made = init.integers(low, high, sizes_of((size,)))
    return wrap(made if dtype is None else made.astype(held_dtype(dtype)))


def randperm(n, device=None):
    return wrap(init.permutation(n))


class no_grad(contextlib.ContextDecorator):
    """Nothing: there are no gradients."""

    def __init__(self, mode=True):
        pass

    def __enter__(self):
        return None

    def __exit__(self, *error):
        return False


inference_mode = enable_grad = no_grad


def set_grad_enabled(mode):
    return no_grad()


class cuda:
    """There is no GPU."""

    @staticmethod
    def is_available():
        return False

    @staticmethod
    def device_count():
        return 0
