# SPDX-License-Identifier: MIT
"""Every instruction of the C operator "pointwise", written with NumPy in float64, and how far a
float32 result may be from it."""

import math

import numpy as np

from fastlstm.engine.c import _core as core
from fastlstm.models import elementwise

F, I, B = np.dtype(np.float32), np.dtype(np.int64), np.dtype(np.bool_)
erf = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


def elu(x, alpha, gamma=1.0):
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def celu(x, alpha):
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha))


# Instructions of floats whose result is the float64 one rounded once.
EXACT = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "fmod": np.fmod,
    "mod": np.mod,
    "min": np.minimum,
    "max": np.maximum,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "sqrt": np.sqrt,
    "reciprocal": np.reciprocal,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "leaky_relu": lambda x, slope: np.where(x < 0, x * slope, x),
    "thresholded_relu": lambda x, alpha: np.where(x <= alpha, 0, x),
}
# Those within 0.51 ULP of it.
ROUNDED = {
    "exp": np.exp,
    "log": np.log,
    "erf": erf,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "pow": np.power,
}
# Those within 1e-6 of the greater of it and 1; of all but softsign's, of an input of any size.
NEAR = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "elu": elu,
    "selu": elu,
    "celu": celu,
    "hard_sigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": gelu_tanh,
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * np.tanh(softplus(x)),
}
WHOLE = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": lambda a, b: wrapped(a, b, lambda p, q: abs(p) // abs(q) * (1 if p * q > 0 else -1)),
    "mod": lambda a, b: wrapped(a, b, lambda p, q: p % q),
    "fmod": lambda a, b: wrapped(a, b, lambda p, q: abs(p) % abs(q) * (1 if p > 0 else -1)),
    "pow": lambda a, b: wrapped(a, b, whole_power),
    "min": np.minimum,
    "max": np.maximum,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0),
    "clip": EXACT["clip"],
    "bit_and": np.bitwise_and,
    "bit_or": np.bitwise_or,
    "bit_xor": np.bitwise_xor,
    "bit_not": np.invert,
    "shift_left": lambda a, b: wrapped(a, b, lambda p, q: p << q if 0 <= q < 64 else 0),
    "shift_right": lambda a, b: wrapped(a, b, lambda p, q: p >> (q if 0 <= q < 64 else 64)),
    **{
        f"wrap_{name}": lambda x, name=name: x.astype(name).astype(np.int64)
        for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32")
    },
}
COMPARISONS = {
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}
LOGIC = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
    "equal": np.equal,
}
TESTS = {"isnan": np.isnan, "isinf": np.isinf}


def whole_power(p, q):
    if q >= 0:
        return pow(p, q, 2**64)
    return {1: 1, -1: 1 if q % 2 == 0 else -1}.get(p, 0)


def wrapped(a, b, function):
    """A function of Python's integers of all pairs, modulo 2^64."""
    a, b = np.broadcast_arrays(a, b)
    found = [function(int(p), int(q)) % 2**64 for p, q in zip(a.flat, b.flat, strict=True)]
    return np.array(found, np.uint64).view(np.int64).reshape(a.shape)


def operator(code, inputs, constants=(), isa=None):
    return core.Operator("pointwise", elementwise.numbers_of(code, inputs), constants, isa)


def run(code, arrays, constants=(), isa=None, threads=1):
    arrays = [np.asarray(a, order="C") for a in arrays]
    return operator(code, len(arrays), constants, isa).run(arrays, 1, threads)[0]


def single(name, arrays, constants=(), **how):
    """One instruction: its operands are the arrays and then the constants."""
    operands = elementwise.OPCODES[name][0]
    assert operands == len(arrays) + len(constants)
    return run([(name, *range(operands))], arrays, constants, **how)


def ulps(y, want):
    """The greatest error of float32 numbers in ULP of the float64 ones; infinite where one of the
    two is not finite, unless both are the same."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = want.astype(np.float32)
        same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
        error = np.abs(y.astype(np.float64) - want) / np.spacing(np.abs(rounded)).astype(np.float64)
    error = np.where(same, np.minimum(error, 0.5), np.where(np.isfinite(error), error, np.inf))
    return np.nan_to_num(error, nan=0.5, posinf=np.inf).max(initial=0)
