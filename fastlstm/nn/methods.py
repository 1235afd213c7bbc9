# SPDX-License-Identifier: MIT
"""Tensor's methods that compute: functions of this package under their own names, and those that
write into a Tensor, torch's names with an underscore."""

import numpy as np

from . import elementwise, init, reduce, shape
from .array import Tensor
from .functional.activation import relu
from .functional.linear import bmm, dot, matmul, mm, mv

_OF = {
    elementwise: (
        "abs", "absolute", "add", "allclose", "ceil", "clamp", "clamp_max", "clamp_min",
        "clip", "cos", "div", "eq", "equal", "erf", "exp", "expm1", "floor", "ge", "gt",
        "isfinite", "isinf", "isnan", "le", "log", "log10", "log1p", "log2", "logical_and",
        "logical_not", "logical_or", "logical_xor", "lt", "masked_fill", "maximum",
        "minimum", "mul", "ne", "neg", "negative", "pow", "reciprocal", "remainder",
        "round", "rsqrt", "sigmoid", "sign", "sin", "sqrt", "square", "sub", "tanh", "trunc",
    ),
    reduce: (
        "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "cumsum",
        "log_softmax", "logsumexp", "max", "mean", "min", "norm", "prod", "softmax", "sort",
        "std", "sum", "topk", "var",
    ),
    shape: (
        "broadcast_to", "chunk", "flip", "gather", "index_select", "masked_select",
        "new_empty", "new_full", "new_ones", "new_zeros", "nonzero", "repeat",
        "repeat_interleave", "roll", "split", "tile", "tril", "triu", "unbind",
    ),
}  # fmt: skip
for _module, _names in _OF.items():
    for _name in _names:
        setattr(Tensor, _name, getattr(_module, _name))
for _function in (matmul, mm, bmm, mv, dot, relu):
    setattr(Tensor, _function.__name__, _function)

Tensor.__pow__ = elementwise.pow
Tensor.__rpow__ = lambda self, other: elementwise.pow(other, self)
Tensor.__matmul__ = matmul
Tensor.__rmatmul__ = lambda self, other: matmul(other, self)
Tensor.where = lambda self, condition, other: elementwise.where(condition, self, other)
Tensor.new_tensor = lambda self, data, dtype=None, device=None: shape.tensor(
    data, dtype=self.dtype if dtype is None else dtype
)


def _writes(name, function):
    """The method name_: what the function makes of a Tensor, written into it."""

    def method(self, *args, **kwargs):
        self[...] = function(self, *args, **kwargs)
        return self

    method.__name__ = name
    setattr(Tensor, name, method)


for _name in ("add", "sub", "mul", "div", "clamp", "exp", "sqrt", "neg", "sigmoid", "tanh", "pow",
              "masked_fill"):  # fmt: skip
    _writes(_name + "_", getattr(elementwise, _name))
_writes("relu_", relu)
_writes("zero_", lambda self: 0)
_writes("fill_", lambda self, value: value)
_writes("copy_", lambda self, src, non_blocking=False: np.asarray(src))
Tensor.uniform_ = lambda self, *args, **kwargs: init.uniform_(self, *(args or (0.0, 1.0)), **{
    {"from": "a", "to": "b"}.get(k, k): v for k, v in kwargs.items()
})  # fmt: skip
Tensor.normal_ = init.normal_
