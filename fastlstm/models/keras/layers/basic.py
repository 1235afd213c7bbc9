# SPDX-License-Identifier: MIT
"""Dense, embeddings, masks, and layers that do nothing when a model runs."""

import numpy as np

from ....files.source import show
from ..call import layer, of
from ..target import Tensor
from .activations import activate


@layer(
    "Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization",
    "Identity", masks="pass",
)  # fmt: skip
def nothing(c):
    return c.x


@layer("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", masks="pass")
def spatial_dropout(c):
    return c.x


def plain_weights(c):
    """ModelError for a layer whose weights are quantised."""
    for name in ("quantization_config", "lora_rank"):
        if name == "quantization_config" and c.config.get(name):
            raise c.error("its weights are quantised, which is not covered for Keras files")
    policy = c.config.get("dtype")
    policy = policy.get("class_name") if isinstance(policy, dict) else policy
    if isinstance(policy, str) and "Quantized" in policy:
        raise c.error("its weights are quantised, which is not covered for Keras files")


def dense_of(c, x, kernel, bias, units, part=""):
    """x W + b along the last axis; kernel, bias: names of weights, bias None if there is none."""
    due = (c.last(x), units)
    w = c.weight(kernel, due, lambda a: a.T, part)
    return c.emit("Linear", x, w, *([c.weight(bias, (units,), part=part)] if bias else []))


@layer("Dense", weights=of("kernel", "bias", bias="use_bias"), masks="pass")
def dense(c):
    plain_weights(c)
    x = c.floats(c.x)
    c.rank(x, 2, 8)
    units = c.integer("units", least=1)
    y = dense_of(c, x, "kernel", "bias" if c.flag("use_bias", True) else None, units)
    return activate(c, y)


@layer("Embedding", weights=of("embeddings"))
def embedding(c):
    """Rows of a table. With mask_zero the steps whose token is 0 do not count."""
    plain_weights(c)
    x = c.ints(c.x)
    rows, width = c.integer("input_dim", least=1), c.integer("output_dim", least=1)
    y = c.emit("Gather", c.weight("embeddings", (rows, width)), x, axis=0)
    if not c.flag("mask_zero", False):
        return y
    return Tensor(y, c.emit("Not", c.emit("Equal", x, c.constant(0))))


def steps_that_differ(c, x, value):
    """The mask, with a last axis of 1, of steps of which some feature is not `value`."""
    same = c.emit("Equal", x, c.number_of(value))
    other = c.emit("Cast", c.emit("Not", same), to=1)
    most = c.emit("ReduceMax", other, c.constant([-1]), keepdims=1)
    return c.emit("Greater", most, c.number_of(0))


@layer("Masking")
def masking(c):
    """Steps whose features all are mask_value do not count, and become zeros."""
    x = c.floats(c.x)
    shape = c.rank(x, 2, 8)
    mask = steps_that_differ(c, x, c.number("mask_value", 0.0))
    y = c.emit("Where", mask, x, c.number_of(0))
    return Tensor(y, c.squeeze(mask, len(shape) - 1))


@layer("Rescaling", masks="pass")
def rescaling(c):
    x = c.floats(c.x)
    names = []
    for name, default in (("scale", 1.0), ("offset", 0.0)):
        value = c.config.get(name, default)
        value = value.get("config", value) if isinstance(value, dict) else value
        value = value.get("value") if isinstance(value, dict) else value
        try:
            names.append(c.constant(np.array(value, np.float32), np.float32))
        except (TypeError, ValueError):
            raise c.error(f"{name} is {show(str(value))}") from None
    return c.emit("Add", c.emit("Mul", x, names[0]), names[1])
