# SPDX-License-Identifier: MIT
"""This package's own operators, which plans make of ONNX's (graph.OWN): products with an
activation, windows over arrays with channels last, chains of elementwise work."""

import numpy as np

from ...engine import bfloat16, int8
from ...engine.shared.activations import VALUES
from ...engine.variants import DEFAULTS, Activation
from . import conv, pool  # noqa: F401 (their operators are used here)
from .call import TABLE, operator
from .elementwise import cast_to, divide, elu, erf, gelu, sigmoid, softplus
from .linear import product

TINY = np.float32(2.0**-62)  # inputs that are smaller count as 0 in the products of int8


def activated(call, y):
    """The function of the attribute `activation`, (name, alpha, beta), of y."""
    given = call.attr("activation")
    if given is None:
        return y
    name, alpha, beta = given
    if name == "clip":
        return np.clip(y, np.asarray(alpha, y.dtype), np.asarray(beta, y.dtype))
    if name == "hard_swish":
        alpha, beta = np.asarray(alpha, y.dtype), np.asarray(beta, y.dtype)
        return y * np.clip(y * alpha + beta, 0, 1)
    if name not in DEFAULTS:
        raise call.error(f"there is no activation {name!r}")
    if name == "elu" and beta is not None:  # beta times it, as selu is
        return np.asarray(beta, y.dtype) * elu(y, np.asarray(alpha, y.dtype))
    full = Activation(name, alpha, beta).spelled_out
    alpha, beta = (np.float32(0 if n is None else n) for n in (full.alpha, full.beta))
    return VALUES[name](y, alpha, beta).astype(y.dtype)


@operator("Linear", 2, 4)
def linear(call, x, weight, bias=None, scale=None):
    """The activation of x W^T + b; of windows of x, and of codes: graph.OWN."""
    call.ndim(weight, 2, "W")
    taps, stride = call.attr("window") or (1, 1)
    if "window" in call.node.attrs:
        call.ndim(x, range(2, 64), "x")
        steps = max((x.shape[-2] - taps) // stride + 1, 0)
        call.allowed((*x.shape[:-2], steps, taps * x.shape[-1]), x.dtype, "its windows")
        at = np.arange(steps)[:, None] * stride + np.arange(taps)
        x = x[..., at, :].reshape(*x.shape[:-2], steps, taps * x.shape[-1])
    if scale is None:
        call.same(x, weight)
        if call.attr("dtype") == "bfloat16":
            x, weight = bfloat16.rounded(x), _rounded(call, weight)
        y = product(call, x, weight.T)
    else:
        if x.shape[-1:] != weight.shape[1:]:
            raise call.error(f"codes of the shape {weight.shape} for x {x.shape}")
        call.allowed((*x.shape[:-1], weight.shape[0]), np.float64)
        y = np.where(np.abs(x) < TINY, np.float32(0), x) @ _matrix(call, weight, scale)
    if bias is not None:
        if bias.shape != weight.shape[:1]:
            raise call.error(f"b of the shape {bias.shape} for W of {weight.shape}")
        y = y + bias
    return activated(call, y)


def _rounded(call, weight):
    """The weight rounded to bfloat16: once, and kept as that of `_matrix` is."""
    kept = call.attr("built")
    if kept is None or kept[0] is not weight:
        kept = call.node.attrs["built"] = weight, bfloat16.rounded(weight)
    return kept[1]


def _matrix(call, weight, scale):
    """The int8.Matrix of codes, which the interpreter holds in int64, and scales: made once, and
    kept in the attribute "built" with what it was made of."""
    kept = call.attr("built")
    if kept is None or kept[0] is not weight or kept[1] is not scale:
        codes = weight.astype(np.int8)
        if not int8.is_codes(codes, scale) or not np.array_equal(codes, weight):
            raise call.error("its weights are no 8-bit codes with scales")
        bits = 8 if call.attr("codes") == "int8" else 16
        kept = weight, scale, int8.Matrix(codes, scale, 0, bits)
        call.node.attrs["built"] = kept
    return kept[2]


def _last(op, least, most):
    @operator(f"{op}Last", least, most)
    def channels_last(call, x, *others):
        call.ndim(x, range(3, 64), "its input")
        arrays = [np.moveaxis(x, -1, 1), *others]
        while arrays[-1] is None:
            arrays.pop()
        y = TABLE[op](call.node, arrays, call.max_bytes)[0]
        return activated(call, np.ascontiguousarray(np.moveaxis(y, 1, -1)))


for _op, _least, _most in (
    ("Conv", 2, 3), ("ConvTranspose", 2, 3), ("MaxPool", 1, 1), ("AveragePool", 1, 1),
    ("LpPool", 1, 1),
):  # fmt: skip
    _last(_op, _least, _most)


# The instructions of models/elementwise.py on arrays of one dtype each.
_INSTRUCTIONS = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": divide, "mod": np.mod, "fmod": np.fmod, "min": np.minimum, "max": np.maximum,
    "pow": np.power, "neg": lambda x: -x, "abs": np.abs, "sign": np.sign,
    "relu": lambda x: np.maximum(x, 0),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high), "exp": np.exp,
    "log": np.log, "erf": erf, "sin": np.sin, "cos": np.cos, "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "sigmoid": sigmoid, "tanh": np.tanh, "elu": elu,
    "selu": lambda x, alpha, gamma: gamma * elu(x, alpha),
    "hard_sigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "softplus": softplus, "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * sigmoid(x), "gelu": lambda x: gelu(x, "none"),
    "celu": lambda x, alpha: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(
        np.minimum(x, 0) / alpha)),
    "hard_swish": lambda x: x * np.clip(x * (1 / 6) + 0.5, 0, 1),
    "gelu_tanh": lambda x: gelu(x, "tanh"), "mish": lambda x: x * np.tanh(softplus(x)),
    "leaky_relu": lambda x, slope: np.where(x < 0, slope * x, x),
    "thresholded_relu": lambda x, alpha: np.where(x <= alpha, np.zeros((), x.dtype), x),
    "equal": np.equal, "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "and": np.logical_and, "or": np.logical_or,
    "xor": np.logical_xor, "not": np.logical_not, "where": np.where, "isnan": np.isnan,
    "isinf": np.isinf, "bit_and": np.bitwise_and, "bit_or": np.bitwise_or,
    "bit_xor": np.bitwise_xor, "bit_not": np.invert,
    "shift_left": lambda x, n: np.where((n >= 0) & (n < 64), x << np.clip(n, 0, 63), 0),
    "shift_right": lambda x, n: x >> np.where((n >= 0) & (n < 64), n, 63), "tan": np.tan,
    "sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    **{
        f"wrap_{name}": lambda x, name=name: x.astype(name).astype(np.int64)
        for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32")
    },
}  # fmt: skip
_CASTS = {"cast_float": np.dtype(np.float32), "cast_int": np.dtype(np.int64),
          "cast_bool": np.dtype(bool)}  # fmt: skip


@operator("Pointwise", 1, many=True)
def pointwise(call, arrays):
    """Registers are the inputs, the constants, then what each instruction computes."""
    call.broadcast(*arrays, dtype=np.int64)
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    registers = [*arrays, *(np.float32(c) for c in call.attr("consts") or [])]
    for name, *operands in call.attr("code"):
        values = [registers[i] for i in operands if i >= 0]
        if name in _CASTS:
            registers.append(cast_to(call, np.asarray(values[0]), _CASTS[name]))
        elif name in _INSTRUCTIONS:
            y = np.asarray(_INSTRUCTIONS[name](*values))
            registers.append(y.astype(np.float32) if y.dtype == np.float64 else y)
        else:
            raise call.error(f"there is no instruction {name!r}")
    return np.broadcast_to(registers[-1], shape)
