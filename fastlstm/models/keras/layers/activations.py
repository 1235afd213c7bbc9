# SPDX-License-Identifier: MIT
"""Keras' activations by name, and the layers that are one."""

from ....files.source import show
from ..call import layer, of
from ..item import item_of
from ..target import Tensor


def _times(c, x, y):
    return c.emit("Mul", x, y)


def _hard_sigmoid(c, x):
    if not c.known.version:
        raise c.error(
            "hard_sigmoid of Keras 2 is 0.2 x + 0.5 and of Keras 3 x / 6 + 0.5, and the file does "
            "not say its version"
        )
    alpha = 0.2 if c.known.version < (3, 0) else 1 / 6
    return c.emit("HardSigmoid", x, alpha=alpha, beta=0.5)


def _clip(c, x, low, high):
    return c.emit("Clip", x, c.number_of(low), c.number_of(high))


def _log_sigmoid(c, x):
    return c.emit("Neg", c.emit("Softplus", c.emit("Neg", x)))


def _squareplus(c, x):
    root = c.emit("Sqrt", c.emit("Add", _times(c, x, x), c.number_of(4)))
    return _times(c, c.emit("Add", x, root), c.number_of(0.5))


def _sparse_plus(c, x):
    """0 below -1, (x + 1)^2 / 4 up to 1, then x."""
    near = c.emit("Add", _clip(c, x, -1, 1), c.number_of(1))
    quarter = _times(c, _times(c, near, near), c.number_of(0.25))
    beyond = c.emit("Relu", c.emit("Sub", x, c.number_of(1)))
    return c.emit("Add", quarter, beyond)


def _soft_shrink(c, x):
    return c.emit("Sub", x, _clip(c, x, -0.5, 0.5))


def _hard_shrink(c, x):
    far = c.emit("Greater", c.emit("Abs", x), c.number_of(0.5))
    return c.emit("Where", far, x, c.number_of(0))


def _glu(c, x):
    a, b = c.emit("Split", x, outputs=2, axis=-1)
    return _times(c, a, c.emit("Sigmoid", b))


def _sparse_sigmoid(c, x):
    return c.emit("HardSigmoid", x, alpha=0.5, beta=0.5)


_FUNCTIONS = {
    "linear": lambda c, x: x,
    "relu": lambda c, x: c.emit("Relu", x),
    "leaky_relu": lambda c, x: c.emit("LeakyRelu", x, alpha=0.2),
    "relu6": lambda c, x: _clip(c, x, 0, 6),
    "softmax": lambda c, x: c.emit("Softmax", x, axis=-1),
    "log_softmax": lambda c, x: c.emit("LogSoftmax", x, axis=-1),
    "elu": lambda c, x: c.emit("Elu", x, alpha=1.0),
    "celu": lambda c, x: c.emit("Celu", x, alpha=1.0),
    "selu": lambda c, x: c.emit("Selu", x),
    "softplus": lambda c, x: c.emit("Softplus", x),
    "softsign": lambda c, x: c.emit("Softsign", x),
    "squareplus": _squareplus,
    "soft_shrink": _soft_shrink,
    "hard_shrink": _hard_shrink,
    "sparse_plus": _sparse_plus,
    "silu": lambda c, x: _times(c, x, c.emit("Sigmoid", x)),
    "gelu": lambda c, x: c.emit("Gelu", x, approximate="none"),
    "glu": _glu,
    "tanh": lambda c, x: c.emit("Tanh", x),
    "tanh_shrink": lambda c, x: c.emit("Sub", x, c.emit("Tanh", x)),
    "hard_tanh": lambda c, x: _clip(c, x, -1, 1),
    "sigmoid": lambda c, x: c.emit("Sigmoid", x),
    "sparse_sigmoid": _sparse_sigmoid,
    "log_sigmoid": _log_sigmoid,
    "exponential": lambda c, x: c.emit("Exp", x),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda c, x: c.emit("HardSwish", x),
    "mish": lambda c, x: c.emit("Mish", x),
}
_FUNCTIONS |= {"swish": _FUNCTIONS["silu"], "hard_swish": _FUNCTIONS["hard_silu"]}


def activate(c, x, value=None, name="activation"):
    """The value x with the activation that the configuration's option `name`, or `value`, says."""
    value = c.config.get(name) if value is None else value
    if value is None:
        return x
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value.get("config")
    elif isinstance(value, dict):
        return _of_layer(c, x, value)
    if not isinstance(value, str) or value not in _FUNCTIONS:
        raise c.error(f"the activation {show(str(value))} is not one of Keras'")
    shape = c.shape(x)
    if value in ("softmax", "log_softmax", "glu") and len(shape) < 2:
        raise c.error(f"{value} of {len(shape)} axes")
    return _FUNCTIONS[value](c, c.floats(x))


def _of_layer(c, x, value):
    """An activation that is a layer of Keras, such as LeakyReLU(0.1), without weights."""
    item = item_of(value, c.item)
    if item.class_name not in _LAYERS:
        raise c.error(f"the activation {show(item.class_name)} is not covered")
    return c.reader.call(item, [Tensor(x)], {})[0].name


_LAYERS = ("ReLU", "LeakyReLU", "ELU", "Softmax", "ThresholdedReLU", "Activation")


@layer("Activation", masks="pass")
def activation(c):
    if c.config.get("activation") is None:
        raise c.error("it has no activation")
    return activate(c, c.x)


@layer("ReLU", masks="pass")
def relu(c):
    """max_value cuts x from above; below the threshold it is slope (x - threshold)."""
    x = c.floats(c.x)
    most = None if c.config.get("max_value") is None else c.number("max_value")
    slope = c.number("negative_slope", 0.0) if c.config.get("negative_slope") is not None else 0.0
    threshold = c.number("threshold", 0.0) if c.config.get("threshold") is not None else 0.0
    if not threshold and most is None:
        return c.emit("LeakyRelu", x, alpha=slope) if slope else c.emit("Relu", x)
    if threshold:
        above = c.emit("Greater", x, c.number_of(threshold))
        y = c.emit("Where", above, x, c.number_of(0))
    else:
        y = c.emit("Relu", x)
    if most is not None:
        y = _clip(c, y, 0, most)
    if slope:
        below = c.emit("Relu", c.emit("Sub", c.number_of(threshold), x))
        y = c.emit("Sub", y, c.emit("Mul", below, c.number_of(slope)))
    return y


@layer("LeakyReLU", masks="pass")
def leaky_relu(c):
    name = "negative_slope" if "negative_slope" in c.config else "alpha"
    return c.emit("LeakyRelu", c.floats(c.x), alpha=c.number(name, 0.3))


@layer("ELU", masks="pass")
def elu(c):
    return c.emit("Elu", c.floats(c.x), alpha=c.number("alpha", 1.0))


@layer("ThresholdedReLU", masks="pass")
def thresholded_relu(c):
    return c.emit("ThresholdedRelu", c.floats(c.x), alpha=c.number("theta", 1.0))


@layer("PReLU", weights=of("alpha"), masks="pass")
def prelu(c):
    x = c.floats(c.x)
    shape = c.rank(x, 2, 8)
    shared = c.config.get("shared_axes") or []
    shared = c.integers("shared_axes", None, [], least=-8, most=8) if shared else []
    shared = [n % len(shape) for n in shared]
    due = [1 if i in shared else n for i, n in enumerate(shape)][1:]
    return c.emit("PRelu", x, c.weight("alpha", due))


@layer("Softmax", masks="pass")
def softmax(c):
    x = c.floats(c.x)
    axis, mask = c.axis("axis", -1, len(c.shape(x))), c.mask
    if not mask:
        return c.emit("Softmax", x, axis=axis)
    y = c.emit("Softmax", c.emit("Where", mask, x, c.number_of(-1e9)), axis=axis)
    return c.emit("Where", mask, y, c.number_of(0))
