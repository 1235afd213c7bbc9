# SPDX-License-Identifier: MIT
"""Functions of each element, and of two arrays that are broadcast, under torch's names.

What is rounded once (sums, products, roots) is NumPy's; what has more than one way to be computed
(exp, tanh, erf ...) is the C core's, with the same bits on every machine.
"""

import numpy as np

from .array import Tensor, float32, floats, plain, wrap
from .compute import apply, unary


def tensor_of(x):
    """x as a Tensor of one of the three types."""
    return x if type(x) is Tensor else wrap(plain(x))


def float_of(x):
    """x as a float32 Tensor."""
    return x if type(x) is Tensor and x.dtype is float32 else wrap(floats(x))


def _unary(op):
    run = unary(op)

    def function(input):
        return run(float_of(input))

    return function


exp, log, erf = _unary("Exp"), _unary("Log"), _unary("Erf")
sin, cos = _unary("Sin"), _unary("Cos")
sigmoid, tanh = _unary("Sigmoid"), _unary("Tanh")


def _rounded(ufunc, whole=False):
    """A function that NumPy rounds right. whole: of int64 too, which stay int64."""

    def function(input):
        x = tensor_of(input) if whole else float_of(input)
        return wrap(np.asarray(ufunc(x.numpy())))

    return function


sqrt, square, reciprocal = _rounded(np.sqrt), _rounded(np.square, True), _rounded(np.reciprocal)
abs, neg, sign = (_rounded(f, True) for f in (np.abs, np.negative, np.sign))
floor, ceil, round, trunc = (
    _rounded(f, True) for f in (np.floor, np.ceil, np.round, np.trunc)
)  # fmt: skip
isnan, isinf, isfinite = _rounded(np.isnan), _rounded(np.isinf), _rounded(np.isfinite)
logical_not = _rounded(np.logical_not, True)
absolute, negative, erf_ = abs, neg, erf


def rsqrt(input):
    return reciprocal(sqrt(input))


def log2(input):
    return log(input) * np.float32(1 / np.log(2.0))


def log10(input):
    return log(input) * np.float32(1 / np.log(10.0))


def log1p(input):
    x = float_of(input)
    return wrap(np.log1p(x.numpy()))


def expm1(input):
    x = float_of(input)
    return wrap(np.expm1(x.numpy()))


def pow(input, exponent):
    x = tensor_of(input)
    if isinstance(exponent, (int, float)):
        if exponent == 2:
            return square(x)
        if exponent == 0.5:
            return sqrt(x)
        if x.dtype.kind == "i" and isinstance(exponent, int):
            if exponent < 0:
                raise RuntimeError("Integers to negative integer powers are not allowed.")
            return wrap(np.asarray(np.power(x.numpy(), exponent)))
        return apply("Pow", [float_of(x), float_of(exponent)])
    e = tensor_of(exponent)
    if x.dtype.kind == "i" and e.dtype.kind == "i":
        return wrap(np.asarray(np.power(x.numpy(), e.numpy())))
    return apply("Pow", [float_of(x), float_of(e)])


def clamp(input, min=None, max=None):
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    y = tensor_of(input).numpy()
    if min is not None:
        y = np.maximum(y, min)
    if max is not None:
        y = np.minimum(y, max)
    y = np.asarray(y)
    return wrap(y.astype(float32) if y.dtype.kind == "f" and y.dtype != float32 else y)


clip = clamp


def clamp_min(input, min):
    return clamp(input, min)


def clamp_max(input, max):
    return clamp(input, None, max)


# ---- of two


def add(input, other, *, alpha=1):
    return tensor_of(input) + (other if alpha == 1 else tensor_of(other) * alpha)


def sub(input, other, *, alpha=1):
    return tensor_of(input) - (other if alpha == 1 else tensor_of(other) * alpha)


def mul(input, other):
    return tensor_of(input) * other


def div(input, other, *, rounding_mode=None):
    y = tensor_of(input) / other
    if rounding_mode is None:
        return y
    y = {"floor": np.floor, "trunc": np.trunc}[rounding_mode](y)
    whole = tensor_of(input).dtype.kind != "f" and tensor_of(other).dtype.kind != "f"
    return y.long() if whole else y


subtract, multiply, divide = sub, mul, div


def remainder(input, other):
    return tensor_of(input) % other


def _binary(ufunc):
    def function(input, other):
        return wrap(np.asarray(ufunc(tensor_of(input).numpy(), tensor_of(other).numpy())))

    return function


eq, ne = _binary(np.equal), _binary(np.not_equal)
gt, ge, lt, le = (_binary(f) for f in (np.greater, np.greater_equal, np.less, np.less_equal))
logical_and, logical_or = _binary(np.logical_and), _binary(np.logical_or)
logical_xor = _binary(np.logical_xor)
maximum, minimum = _binary(np.maximum), _binary(np.minimum)
not_equal, greater, less = ne, gt, lt


def equal(input, other):
    """Have two arrays the same shape and elements? A bool."""
    return bool(np.array_equal(plain(input), plain(other)))


def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    return bool(np.allclose(plain(input), plain(other), rtol, atol, equal_nan))


def where(condition, input=None, other=None):
    c = plain(condition)
    if input is None:
        return tuple(wrap(i) for i in np.nonzero(c))
    if c.dtype.kind != "b":
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{'Float' if c.dtype.kind == 'f' else 'Long'}"
        )
    y = np.where(c, _number(input), _number(other))
    return wrap(y if y.dtype.kind != "f" else y.astype(float32, copy=False))


def _number(x):
    return x if isinstance(x, (bool, int, float)) else plain(x)


def masked_fill(input, mask, value):
    return where(mask, tensor_of(np.asarray(value, tensor_of(input).dtype)), input)
