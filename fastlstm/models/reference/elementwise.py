# SPDX-License-Identifier: MIT
"""Operators that compute each element by itself, and those that broadcast two or more inputs."""

import functools
import math

import numpy as np

from .call import operator

_BLOCK = 1 << 16


def erf(x):
    """The error function: Python's, as NumPy has none, in blocks that keep its lists small."""
    flat = np.empty(x.size, x.dtype)
    source = x.reshape(-1)
    for start in range(0, x.size, _BLOCK):
        block = source[start : start + _BLOCK].tolist()
        flat[start : start + _BLOCK] = list(map(math.erf, block))
    return flat.reshape(x.shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def _leaky(call, x, alpha):
    return np.where(x < 0, alpha * x, x)


def elu(x, alpha):
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _selu(call, x):
    alpha = call.attr("alpha", 1.67326319217681884765625)
    gamma = call.attr("gamma", 1.05070102214813232421875)
    return gamma * elu(x, alpha)


def _celu(call, x):
    alpha = call.attr("alpha", 1.0)
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def gelu(x, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def _hard_sigmoid(call, x, alpha=0.2):
    return np.clip(call.attr("alpha", alpha) * x + call.attr("beta", 0.5), 0, 1)


def _shrink(call, x):
    lambd, bias = call.attr("lambd", 0.5), call.attr("bias", 0.0)
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))


def _isinf(call, x):
    negative, positive = call.attr("detect_negative", 1), call.attr("detect_positive", 1)
    return (np.isneginf(x) & bool(negative)) | (np.isposinf(x) & bool(positive))


# Of one input, with the letters of the dtypes' kinds that they take. The outputs of the first have
# the input's dtype.
_UNARY = {
    "Abs": ("fiu", lambda call, x: np.abs(x)),
    "Neg": ("fi", lambda call, x: -x),
    "Sign": ("fiu", lambda call, x: np.sign(x)),
    "Relu": ("fi", lambda call, x: np.maximum(x, 0)),
    "Identity": ("fiubc", lambda call, x: x),
    "Acos": ("f", lambda call, x: np.arccos(x)),
    "Acosh": ("f", lambda call, x: np.arccosh(x)),
    "Asin": ("f", lambda call, x: np.arcsin(x)),
    "Asinh": ("f", lambda call, x: np.arcsinh(x)),
    "Atan": ("f", lambda call, x: np.arctan(x)),
    "Atanh": ("f", lambda call, x: np.arctanh(x)),
    "Ceil": ("f", lambda call, x: np.ceil(x)),
    "Celu": ("f", _celu),
    "Cos": ("f", lambda call, x: np.cos(x)),
    "Cosh": ("f", lambda call, x: np.cosh(x)),
    "Elu": ("f", lambda call, x: elu(x, call.attr("alpha", 1.0))),
    "Erf": ("f", lambda call, x: erf(x)),
    "Exp": ("f", lambda call, x: np.exp(x)),
    "Floor": ("f", lambda call, x: np.floor(x)),
    "Gelu": ("f", lambda call, x: gelu(x, call.attr("approximate", "none"))),
    "HardSigmoid": ("f", _hard_sigmoid),
    "HardSwish": ("f", lambda call, x: x * np.clip(x * (1 / 6) + 0.5, 0, 1)),
    "LeakyRelu": ("f", lambda call, x: _leaky(call, x, call.attr("alpha", 0.01))),
    "Log": ("f", lambda call, x: np.log(x)),
    "Mish": ("f", lambda call, x: x * np.tanh(softplus(x))),
    "Reciprocal": ("f", lambda call, x: 1 / x),
    "Round": ("f", lambda call, x: np.rint(x)),
    "Selu": ("f", _selu),
    "Shrink": ("fiu", _shrink),
    "Sigmoid": ("f", lambda call, x: sigmoid(x)),
    "Sin": ("f", lambda call, x: np.sin(x)),
    "Sinh": ("f", lambda call, x: np.sinh(x)),
    "Softplus": ("f", lambda call, x: softplus(x)),
    "Softsign": ("f", lambda call, x: x / (1 + np.abs(x))),
    "Sqrt": ("f", lambda call, x: np.sqrt(x)),
    "Swish": ("f", lambda call, x: x * sigmoid(call.attr("alpha", 1.0) * x)),
    "Tan": ("f", lambda call, x: np.tan(x)),
    "Tanh": ("f", lambda call, x: np.tanh(x)),
    "ThresholdedRelu": ("f", lambda call, x: np.where(x > call.attr("alpha", 1.0), x, 0)),
    "BitwiseNot": ("iu", lambda call, x: ~x),
    "Not": ("b", lambda call, x: ~x),
    "IsNaN": ("f", lambda call, x: np.isnan(x)),
    "IsInf": ("f", _isinf),
}


def _unary(op, kinds, function):
    @operator(op, 1)
    def call_unary(call, x):
        call.kind(x, kinds, "its input")
        call.allowed(x.shape, x.dtype)
        y = function(call, x)
        return y if op in ("IsNaN", "IsInf") else np.asarray(y, x.dtype)


for _op, (_kinds, _function) in _UNARY.items():
    _unary(_op, _kinds, _function)


def divide(a, b):
    """Integers: towards zero, as C has it; by zero gives 0."""
    if a.dtype.kind == "f":
        return a / b
    q = a // b
    if a.dtype.kind == "i":
        q = q + ((q < 0) & (q * b != a))
    return q


def _shift(call, a, b):
    direction = call.attr("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise call.error(f"direction is {direction!r}")
    # By as many bits as there are, or more, C does nothing that can be relied on: all bits leave.
    last = np.asarray(8 * a.dtype.itemsize - 1, b.dtype)
    inside = (b >= 0) & (b <= last)
    if direction == "LEFT":
        return np.where(inside, np.left_shift(a, b * inside), np.zeros((), a.dtype))
    leaves = np.where(a < 0, -1, 0).astype(a.dtype)
    return np.where(inside, np.right_shift(a, b * inside), leaves)


def _mod(call, a, b):
    return np.fmod(a, b) if call.attr("fmod", 0) else np.mod(a, b)


# Of two inputs of one type: kinds, whether the output is bool, function.
_BINARY = {
    "Add": ("fiu", False, lambda call, a, b: a + b),
    "Sub": ("fiu", False, lambda call, a, b: a - b),
    "Mul": ("fiu", False, lambda call, a, b: a * b),
    "Div": ("fiu", False, lambda call, a, b: divide(a, b)),
    "Mod": ("fiu", False, _mod),
    "BitShift": ("iu", False, _shift),
    "BitwiseAnd": ("iu", False, lambda call, a, b: a & b),
    "BitwiseOr": ("iu", False, lambda call, a, b: a | b),
    "BitwiseXor": ("iu", False, lambda call, a, b: a ^ b),
    "PRelu": ("fiu", False, lambda call, x, slope: np.where(x < 0, x * slope, x)),
    "And": ("b", True, lambda call, a, b: a & b),
    "Or": ("b", True, lambda call, a, b: a | b),
    "Xor": ("b", True, lambda call, a, b: a ^ b),
    "Equal": ("fiub", True, lambda call, a, b: a == b),
    "Greater": ("fiu", True, lambda call, a, b: a > b),
    "GreaterOrEqual": ("fiu", True, lambda call, a, b: a >= b),
    "Less": ("fiu", True, lambda call, a, b: a < b),
    "LessOrEqual": ("fiu", True, lambda call, a, b: a <= b),
}


def _binary(op, kinds, boolean, function):
    @operator(op, 2)
    def call_binary(call, a, b):
        call.same(a, b)
        call.kind(a, kinds, "its input")
        shape = call.broadcast(a, b)
        if op == "PRelu" and shape != a.shape:
            raise call.error(f"a slope of the shape {b.shape} does not fit {a.shape}")
        return np.asarray(function(call, a, b), bool if boolean else a.dtype)


for _op, (_kinds, _boolean, _function) in _BINARY.items():
    _binary(_op, _kinds, _boolean, _function)


@operator("Pow", 2)
def power(call, x, exponent):
    call.kind(x, "fiu", "its base")
    call.kind(exponent, "fiu", "its exponent")
    call.broadcast(x, exponent)
    if x.dtype.kind == "f" and exponent.size == 1 and exponent.dtype.kind in "fi":
        number = call.scalar(exponent, "exponent")
        if number == 2:  # the usual one, for which NumPy's power takes 30 times as long
            return np.broadcast_to(x * x, np.broadcast_shapes(x.shape, exponent.shape))
        if number == int(number) if math.isfinite(number) else False:
            return np.power(x, np.asarray(exponent, x.dtype))
    if x.dtype.kind in "iu":  # exact where it fits, and no error for negative exponents
        if exponent.dtype.kind == "f" or (exponent < 0).any():
            return np.power(x.astype(np.float64), exponent).astype(x.dtype)
        return np.power(x, exponent.astype(x.dtype)).astype(x.dtype)
    return np.power(x, exponent.astype(x.dtype)).astype(x.dtype)


def _variadic(op, kinds, function):
    @operator(op, 1, many=True)
    def call_variadic(call, arrays):
        call.same(*arrays)
        call.kind(arrays[0], kinds, "its input")
        shape = call.broadcast(*arrays)
        y = functools.reduce(function, arrays)
        if op == "Mean":
            y = y / np.asarray(len(arrays), y.dtype)
        return np.broadcast_to(y, shape)


for _op, _kinds, _function in (
    ("Max", "fiu", np.maximum), ("Min", "fiu", np.minimum), ("Sum", "f", np.add),
    ("Mean", "f", np.add),
):  # fmt: skip
    _variadic(_op, _kinds, _function)


@operator("Where", 3)
def where(call, condition, a, b):
    call.kind(condition, "b", "its condition")
    call.same(a, b)
    call.broadcast(a, b, condition)
    return np.where(condition, a, b)


@operator("Clip", 1, 3)
def clip(call, x, low=None, high=None):
    call.kind(x, "fiu", "its input")
    for end in (low, high):
        if end is not None:
            call.scalar(end, "min or max")
            call.kind(end, "fiu", "min or max")
    if low is not None:
        x = np.maximum(x, np.asarray(low, x.dtype).reshape(()))
    if high is not None:
        x = np.minimum(x, np.asarray(high, x.dtype).reshape(()))
    return x


def cast_to(call, x, dtype):
    call.kind(x, "fiub", "its input")
    call.allowed(x.shape, dtype)
    if x.dtype.kind == "f" and dtype.kind in "iu":
        # A float beyond the type's range has no value that all machines agree on. Through int64 it
        # is as C does it on most.
        return x.astype(np.int64).astype(dtype) if dtype.itemsize < 8 else x.astype(dtype)
    return x.astype(dtype)


def rounded_to_bfloat16(x):
    """The float32 numbers nearest to x that have 8 bits of mantissa, halves to the even one."""
    bits = x.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(x), x, rounded.view(np.float32))


@operator("Cast", 1)
def cast(call, x):
    y = cast_to(call, x, call.dtype(call.attr("to")))
    return rounded_to_bfloat16(y) if call.attr("to") == 16 else y


@operator("BitCast", 1)
def bit_cast(call, x):
    dtype = call.dtype(call.attr("to"))
    if dtype.itemsize != x.dtype.itemsize:
        raise call.error(f"the bits of {x.dtype} as {dtype}")
    return np.ascontiguousarray(x).view(dtype).reshape(x.shape)


@operator("CastLike", 2)
def cast_like(call, x, like):
    return cast_to(call, x, like.dtype)


@operator("Dropout", 1, 3)
def dropout(call, x, ratio=None, training=None):
    """Nothing, in inference. Training draws random numbers, which are refused."""
    ratio = 0.5 if ratio is None else call.scalar(ratio, "ratio")
    if training is not None and call.scalar(training, "training_mode") and ratio != 0:
        raise call.error("dropout of training: random numbers are not drawn")
    return x, np.ones(call.allowed(x.shape, bool), bool)
