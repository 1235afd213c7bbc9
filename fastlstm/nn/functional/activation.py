# SPDX-License-Identifier: MIT
"""Activations, torch.nn.functional's, for inference: dropout gives its input back."""

import numpy as np

from ..array import Tensor, axis_of, float32, wrap
from ..compute import apply, unary
from ..elementwise import clamp, float_of, sigmoid, tanh, tensor_of

_relu, _softplus = unary("Relu"), unary("Softplus")


def _in_place(op):
    run = unary(op)

    def function(input, inplace=False):
        return run(float_of(input))

    return function


def _softsign():
    run = unary("Softsign")

    def softsign(input):
        return run(float_of(input))

    return softsign


hardswish, mish, selu = _in_place("HardSwish"), _in_place("Mish"), _in_place("Selu")
softsign = _softsign()


def relu(input, inplace=False):
    x = tensor_of(input)
    return _relu(x) if x.dtype is float32 else clamp(x, 0)


def relu6(input, inplace=False):
    return hardtanh(input, 0.0, 6.0)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return apply("Clip", [float_of(input)], (float(min_val), float(max_val)))


def leaky_relu(input, negative_slope=0.01, inplace=False):
    return apply("LeakyRelu", [float_of(input)], alpha=float(negative_slope))


def elu(input, alpha=1.0, inplace=False):
    return apply("Elu", [float_of(input)], alpha=float(alpha))


def celu(input, alpha=1.0, inplace=False):
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return apply("Celu", [float_of(input)], alpha=float(alpha))


def gelu(input, approximate="none"):
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    return apply("Gelu", [float_of(input)], approximate=approximate)


def silu(input, inplace=False):
    x = float_of(input)
    return x * sigmoid(x)


def hardsigmoid(input, inplace=False):
    return apply("HardSigmoid", [float_of(input)], alpha=1 / 6, beta=0.5)


def softplus(input, beta=1.0, threshold=20.0):
    x = float_of(input)
    scaled = x if beta == 1 else x * np.float32(beta)
    y = _softplus(scaled)
    y = y if beta == 1 else y / np.float32(beta)
    return wrap(np.where(scaled.numpy() > threshold, x.numpy(), y.numpy()))


def logsigmoid(input):
    return -_softplus(-float_of(input))


def tanhshrink(input):
    x = float_of(input)
    return x - tanh(x)


def hardshrink(input, lambd=0.5):
    x = float_of(input).numpy()
    return wrap(np.where((x >= -lambd) & (x <= lambd), np.float32(0), x))


def softshrink(input, lambd=0.5):
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    x, size = float_of(input).numpy(), np.float32(lambd)
    small = np.where(x < -size, x + size, x * 0)
    return wrap(np.where(x > size, x - size, small))


def threshold(input, threshold, value, inplace=False):
    x = float_of(input).numpy()
    return wrap(np.where(x <= threshold, np.float32(value), x))


def glu(input, dim=-1):
    x = float_of(input)
    if not x.ndim:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    dim = axis_of(dim, x.ndim)
    n = x.shape[dim]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim} is size {n}")
    a, b = (x.narrow(dim, start, n // 2) for start in (0, n // 2))
    return a * sigmoid(b)


def prelu(input, weight):
    """x where it is not negative, else weight x: one weight, or one for each channel, axis 1."""
    x, w = float_of(input), float_of(weight)
    if w.numel() != 1:
        if x.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = x.shape[1] if x.ndim > 1 else 1
        if channels != w.numel():
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{w.numel()} and channel size = {channels}."
            )
    shape = (1, -1, *[1] * (x.ndim - 2)) if x.ndim > 1 else (1,) * x.ndim
    return apply("PRelu", [x, w.reshape(*shape) if shape else w.reshape(())])


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """As in inference: the slope is the mean of lower and upper."""
    return leaky_relu(input, (lower + upper) / 2)


def dropout(input, p=0.5, training=True, inplace=False):
    """The input: nothing is dropped in inference, whatever `training` says."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return input if type(input) is Tensor else tensor_of(input)


dropout1d = dropout2d = dropout3d = alpha_dropout = feature_alpha_dropout = dropout
