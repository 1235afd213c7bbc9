# SPDX-License-Identifier: MIT
"""Normalisations."""

import numpy as np

from ....files.source import show
from ..call import layer
from ..item import Variable
from .merge import unit


def _scaled(*more):
    """gamma if scale, beta if center, and the others, which are not trained."""

    def variables(config):
        found = [Variable("", "gamma")] if config.get("scale", True) else []
        found += [Variable("", "beta")] if config.get("center", True) else []
        return found + [Variable("", name, trainable=False) for name in more]

    return variables


def _held(c, what, array):
    return c.held(what, lambda: np.asarray(array, np.float32))


@layer("BatchNormalization", "SyncBatchNormalization",
       weights=_scaled("moving_mean", "moving_variance"), masks="pass")  # fmt: skip
def batch_normalization(c):
    """(x - mean) / sqrt(variance + epsilon) gamma + beta, by the means that training left."""
    x = c.floats(c.x)
    shape = c.rank(x, 2, 8)
    axis = c.axis("axis", -1, len(shape))
    size = shape[axis]
    if size is None or not axis:
        raise c.error(f"axis {axis} of the shape {shape}")
    mean, variance = (
        c.array(n, (size,)).astype(np.float64) for n in ("moving_mean", "moving_variance")
    )
    slope = 1 / np.sqrt(variance + c.number("epsilon", 1e-3))
    if c.flag("scale", True):
        slope = slope * c.array("gamma", (size,))
    beta = c.array("beta", (size,)) if c.flag("center", True) else 0.0
    if axis == len(shape) - 1 and len(shape) > 2:
        perm = [0, axis, *range(1, axis)]
        y = _batch_norm(c, c.transpose(x, perm), slope, beta, mean, variance)
        return c.transpose(y, [0, *range(2, len(shape)), 1])
    if axis == 1:
        return _batch_norm(c, x, slope, beta, mean, variance)
    wide = (-1, *[1] * (len(shape) - axis - 1))
    y = c.emit("Mul", x, _held(c, "slope", slope.reshape(wide)))
    return c.emit("Add", y, _held(c, "offset", (beta - mean * slope).reshape(wide)))


def _batch_norm(c, x, slope, beta, mean, variance):
    """The operator of ONNX, which plans put into the weights before it."""
    zeros = np.zeros_like(mean)
    parts = {"slope": slope, "offset": beta - mean * slope, "zeros": zeros, "ones": zeros + 1}
    names = [_held(c, what, part) for what, part in parts.items()]
    return c.emit("BatchNormalization", x, *names, epsilon=0.0)


def _filled(c, sizes, value):
    """The name of an array of one value, which is made when the model runs: no file has so many
    numbers, whatever sizes it names."""
    filling = np.array([value], np.float32)
    return c.emit("ConstantOfShape", c.constant(sizes), value=filling)


def _of_layer_normalization(config):
    if config.get("rms_scaling", False):
        return [Variable("", "gamma")]
    return _scaled()(config)


@layer("LayerNormalization", weights=_of_layer_normalization, masks="pass")
def layer_normalization(c):
    """With rms_scaling x gamma / sqrt(variance + epsilon), where Keras takes the mean off for the
    variance alone: it is not the root mean square."""
    x = c.floats(c.x)
    shape = c.rank(x, 2, 8)
    axes = c.config.get("axis", -1)
    axes = sorted(
        c.integer_of(a, "axis", -len(shape), len(shape) - 1) % len(shape)
        for a in (axes if isinstance(axes, list) else [axes])
    )
    epsilon = c.number("epsilon", 1e-3)
    if axes != list(range(len(shape) - len(axes), len(shape))):
        raise c.error(f"axes {axes} of {len(shape)}: only the last ones are covered")
    sizes = [shape[a] for a in axes]
    if None in sizes:
        raise c.error(f"its input has the shape {shape}: what it normalises must be known")
    rms = c.flag("rms_scaling", False)
    scaled = c.flag("scale", True) or rms
    scale = c.weight("gamma", sizes) if scaled else _filled(c, sizes, 1)
    if rms:
        axes = c.constant([a - len(shape) for a in axes])
        centered = c.emit("Sub", x, c.emit("ReduceMean", x, axes, keepdims=1))
        variance = c.emit("ReduceMean", c.emit("Mul", centered, centered), axes, keepdims=1)
        deviation = c.emit("Sqrt", c.emit("Add", variance, c.number_of(epsilon)))
        return c.emit("Mul", c.emit("Div", x, deviation), scale)
    beta = [c.weight("beta", sizes)] if c.flag("center", True) else []
    return c.emit("LayerNormalization", x, scale, *beta, axis=axes[0] - len(shape),
                  epsilon=epsilon)  # fmt: skip


@layer("GroupNormalization", weights=_scaled(), masks="pass")
def group_normalization(c):
    """Each group of channels by its own mean, over all points."""
    x = c.floats(c.x)
    shape = c.rank(x, 2, 8)
    axis = c.axis("axis", -1, len(shape))
    size, groups = shape[axis], c.integer("groups", 32, least=-1)
    groups = size if groups == -1 else groups
    if not axis or size is None or groups < 1 or size % groups:
        raise c.error(f"{size} channels in {groups} groups")
    gamma = c.weight("gamma", (size,)) if c.flag("scale", True) else ""
    beta = c.weight("beta", (size,)) if c.flag("center", True) else ""
    gamma = gamma or _filled(c, [size], 1)
    beta = beta or _filled(c, [size], 0)
    perm = [0, axis, *(i for i in range(1, len(shape)) if i != axis)]
    y = c.emit("GroupNormalization", c.transpose(x, perm), gamma, beta, num_groups=groups,
               epsilon=c.number("epsilon", 1e-3))  # fmt: skip
    return c.transpose(y, [int(i) for i in np.argsort(perm)])


@layer("UnitNormalization", masks="pass")
def unit_normalization(c):
    x = c.floats(c.x)
    return unit(c, x, c.axis("axis", -1, len(c.shape(x))))


def _adapted(config):
    if config.get("mean") is not None:
        return []
    return [Variable("", name, trainable=False) for name in ("mean", "variance", "count")]


@layer("Normalization", weights=_adapted, masks="pass")
def normalization(c):
    """(x - mean) / sqrt(variance) along some axes, or x sqrt(variance) + mean if it inverts."""
    x = c.floats(c.x)
    shape = c.rank(x, 1, 8)
    axes = c.config.get("axis", -1)
    axes = [] if axes is None else axes if isinstance(axes, list) else [axes]
    axes = sorted(c.integer_of(a, "axis", -len(shape), len(shape) - 1) % len(shape) for a in axes)
    sizes = [shape[a] for a in axes]
    given = []
    for name in ("mean", "variance"):
        value = c.config.get(name)
        if value is None:
            array = c.array(name, sizes)
        else:
            try:
                array = np.array(value, np.float32)
            except (TypeError, ValueError):
                raise c.error(f"{name} is {show(str(value))}") from None
            if array.size not in (1, int(np.prod([n or 0 for n in sizes]))):
                raise c.error(f"{name} has {array.size} numbers for {sizes}")
        wide = [n if i in axes else 1 for i, n in enumerate(shape)]
        given.append(array.reshape(wide) if array.size > 1 else array.reshape(()))
    mean = _held(c, "mean", given[0])
    spread = _held(c, "spread", np.maximum(np.sqrt(given[1]), np.float32(1e-7)))
    if c.flag("invert", False):
        return c.emit("Add", c.emit("Mul", x, spread), mean)
    return c.emit("Div", c.emit("Sub", x, mean), spread)
