# SPDX-License-Identifier: MIT
"""The gates' functions, by the names of variants.Activation, and their slopes.

VALUES[name](x, a, b) works on arrays, as NumPy runs it, and on one float32, as Numba compiles it;
a and b are alpha and beta. SLOPES[name](x, y, a, b), on arrays alone, is the derivative at x, where
the value is y; those of sigmoid, tanh and relu look at y only. At a corner it is the derivative
from the left, and at both of hard_sigmoid's 0.
Every constant is a float32: a Python float would turn what Numba compiles into float64.
"""

import numpy as np

ZERO, ONE, HALF = np.float32(0), np.float32(1), np.float32(0.5)
SELU, SELU_ALPHA = np.float32(1.0507009873554805), np.float32(1.6732632423543772)
# gelu(x) is x sigmoid(x P(x^2)) to 5e-8 everywhere: P is a minimax fit to |x| < 5.5, weighted for
# it, and x^2 stays 5.5^2 past that.
FAR2, DENSITY = np.float32(5.5**2), np.float32(1 / np.sqrt(2 * np.pi))
P0, P1, P2, P3, P4, P5, P6, P7 = (np.float32(p) for p in (
    1.59577167, 0.0726604598, -5.97477216e-05, -0.000112801269, 8.35079568e-06, -3.04492843e-07,
    5.27088608e-09, -2.77938979e-11,
))  # fmt: skip


def sigmoid(x, a, b):
    return ONE / (ONE + np.exp(-x))


def tanh(x, a, b):
    return np.tanh(x)


def relu(x, a, b):
    return np.maximum(x, ZERO)


def affine(x, a, b):
    return a * x + b


def leaky_relu(x, a, b):
    return np.where(x >= ZERO, x, a * x)


def thresholded_relu(x, a, b):
    return np.where(x <= a, ZERO, x)  # of NaN NaN


def scaled_tanh(x, a, b):
    return a * np.tanh(b * x)


def hard_sigmoid(x, a, b):
    return np.maximum(ZERO, np.minimum(ONE, a * x + b))


def elu(x, a, b):
    return np.where(x >= ZERO, x, a * np.expm1(np.minimum(x, ZERO)))


def softsign(x, a, b):
    return x / (ONE + np.abs(x))


def softplus(x, a, b):
    return np.maximum(x, ZERO) + np.log1p(np.exp(-np.abs(x)))


def selu(x, a, b):
    return SELU * np.where(x > ZERO, x, SELU_ALPHA * np.expm1(np.minimum(x, ZERO)))


def silu(x, a, b):
    return x / (ONE + np.exp(-x))


def gelu(x, a, b):
    """x Phi(x), Phi being the normal distribution's."""
    u = np.minimum(x * x, FAR2)
    high = P4 + u * (P5 + u * (P6 + u * P7))
    p = P0 + u * (P1 + u * (P2 + u * (P3 + u * high)))
    return x / (ONE + np.exp(-x * p))


def exponential(x, a, b):
    return np.exp(x)


def _gelu_slope(x, y, a, b):
    return np.where(x == 0, HALF, y / x) + x * DENSITY * np.exp(-HALF * x * x)


def _silu_slope(x, y, a, b):
    s = sigmoid(x, a, b)
    return s + y * (ONE - s)


def _selu_slope(x, y, a, b):
    return SELU * np.where(x > 0, ONE, SELU_ALPHA * np.exp(np.minimum(x, ZERO)))


VALUES = {f.__name__: f for f in (
    sigmoid, tanh, relu, affine, leaky_relu, thresholded_relu, scaled_tanh, hard_sigmoid, elu,
    softsign, softplus, selu, silu, gelu, exponential,
)}  # fmt: skip
SLOPES = {
    "sigmoid": lambda x, y, a, b: y * (ONE - y),
    "tanh": lambda x, y, a, b: ONE - y * y,
    "relu": lambda x, y, a, b: y > 0,
    "affine": lambda x, y, a, b: a,
    "leaky_relu": lambda x, y, a, b: np.where(x > 0, ONE, a),
    "thresholded_relu": lambda x, y, a, b: x > a,
    "scaled_tanh": lambda x, y, a, b: b * (a - y * y / a) if a else ZERO,
    "hard_sigmoid": lambda x, y, a, b: np.where((y > 0) & (y < 1), a, ZERO),
    "elu": lambda x, y, a, b: np.where(x > 0, ONE, a * np.exp(np.minimum(x, ZERO))),
    "softsign": lambda x, y, a, b: ONE / np.square(ONE + np.abs(x)),
    "softplus": lambda x, y, a, b: sigmoid(x, a, b),
    "selu": _selu_slope,
    "silu": _silu_slope,
    "gelu": _gelu_slope,
    "exponential": lambda x, y, a, b: y,
}


class Function:
    """A variants.Activation: its number in VALUES, alpha and beta, and, on arrays, what it does."""

    def __init__(self, activation):
        self.name = activation.name
        self.number = list(VALUES).index(self.name)
        self.numbers = [np.float32(n or 0) for n in (activation.alpha, activation.beta)]

    def value(self, x):
        return VALUES[self.name](x, *self.numbers)

    def slope(self, x, y):
        return SLOPES[self.name](x, y, *self.numbers)
