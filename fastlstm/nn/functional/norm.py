# SPDX-License-Identifier: MIT
"""Normalizations, torch.nn.functional's, for inference."""

import math

import numpy as np

from ...models.graph import Node
from ..array import float32, plain
from ..compute import Packed
from ..elementwise import float_of
from ..packing import kept, of_numbers


def _constants(shape, weight, bias):
    """Scale and offset, ones and zeros where they are not given."""
    scale = np.ones(shape, float32) if weight is None else plain(weight)
    offset = np.zeros(shape, float32) if bias is None else plain(bias)
    return {"scale": scale, "offset": offset}


def pack_layer_norm(shape, weight, bias, eps, ndim):
    constants = _constants(shape, weight, bias)
    attrs = {"axis": -len(shape), "epsilon": float(eps)}
    node = Node("LayerNormalization", ["x0", *constants], ["y"], attrs)
    return Packed([node], constants, [(float32, ndim)])


def pack_rms_norm(shape, weight, eps, ndim):
    constants = {"scale": np.ones(shape, float32) if weight is None else plain(weight)}
    eps = float(np.finfo(float32).eps) if eps is None else float(eps)
    attrs = {"axis": -len(shape), "epsilon": eps}
    node = Node("RMSNormalization", ["x0", "scale"], ["y"], attrs)
    return Packed([node], constants, [(float32, ndim)])


def pack_group_norm(groups, channels, weight, bias, eps, ndim):
    """groups: 0 for as many as channels, an instance norm."""
    constants = _constants((channels,), weight, bias)
    attrs = {"epsilon": float(eps)}
    if groups:
        attrs["num_groups"] = groups
    op = "GroupNormalization" if groups else "InstanceNormalization"
    return Packed([Node(op, ["x0", *constants], ["y"], attrs)], constants, [(float32, ndim)])


def pack_batch_norm(weight, bias, mean, var, eps, ndim):
    constants = _constants(mean.shape, weight, bias)
    constants |= {"mean": plain(mean), "var": plain(var)}
    attrs = {"epsilon": float(eps)}
    node = Node("BatchNormalization", ["x0", *constants], ["y"], attrs)
    return Packed([node], constants, [(float32, ndim)])


def _run(x, name, numbers, given, make):
    """make() packed once for the Parameters in `given`, where there is one, and run."""
    first, *others = [a for a in given if a is not None] or [None]
    if first is None:
        return of_numbers(name, numbers, x.ndim, make)(x)
    return kept(first, (name, numbers, x.ndim), tuple(others), make)(x)


def check_layer_norm(x, shape, comma=", "):
    shape = tuple(shape)
    if x.ndim < len(shape) or tuple(x.shape[x.ndim - len(shape) :]) != shape:
        sizes = ", ".join(map(str, shape))
        raise RuntimeError(
            f"Given normalized_shape=[{sizes}], expected input with shape "
            f"[*{comma}{sizes}], but got input of size[{', '.join(map(str, x.shape))}]"
        )


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    x, shape = float_of(input), tuple(normalized_shape)
    check_layer_norm(x, shape)
    return _run(x, "layer_norm", (shape, eps), (weight, bias),
                lambda: pack_layer_norm(shape, weight, bias, eps, x.ndim))  # fmt: skip


def check_rms_norm(x, shape):
    if x.ndim < len(shape):
        raise ValueError(
            f"Input tensor must have at least {len(shape)} dimensions, but got {x.ndim}"
        )
    check_layer_norm(x, shape, "")


def rms_norm(input, normalized_shape, weight=None, eps=None):
    x, shape = float_of(input), tuple(normalized_shape)
    check_rms_norm(x, shape)
    return _run(x, "rms_norm", (shape, eps), (weight,),
                lambda: pack_rms_norm(shape, weight, eps, x.ndim))  # fmt: skip


def check_group_norm(x, groups, channels=None):
    """channels: how many the weights have, or None."""
    if x.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {x.ndim}")
    shape = ", ".join(map(str, x.shape))
    sizes = [x.shape[0] * x.shape[1] // groups, groups, *x.shape[2:]]
    if sizes[0] * math.prod(sizes[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {sizes}"
        )
    if x.shape[1] % groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape [{shape}] and num_groups={groups}"
        )
    if channels not in (None, x.shape[1]):
        raise RuntimeError(
            "Expected weight to be a vector of size equal to the number of channels in input, but "
            f"got weight of shape [{channels}] and input of shape [{shape}]"
        )


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    x = float_of(input)
    channels = next((len(a) for a in (weight, bias) if a is not None), None)
    check_group_norm(x, num_groups, channels)
    count = x.shape[1]
    return _run(x, "group_norm", (num_groups, eps, count), (weight, bias),
                lambda: pack_group_norm(num_groups, count, weight, bias, eps, x.ndim))  # fmt: skip


def instance_norm(input, running_mean=None, running_var=None, weight=None, bias=None,
                  use_input_stats=True, momentum=0.1, eps=1e-5):  # fmt: skip
    x = float_of(input)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(x.shape[2:]) == 1:
        raise ValueError(
            "Expected more than 1 spatial element when training, got input size "
            f"torch.Size([{', '.join(map(str, x.shape))}])"
        )
    return _run(x, "instance_norm", (eps, x.shape[1]), (weight, bias),
                lambda: pack_group_norm(0, x.shape[1], weight, bias, eps, x.ndim))  # fmt: skip


def check_batch_norm(x, channels, name="running_mean"):
    if x.ndim < 2 or x.shape[1] != channels:
        got = x.shape[1] if x.ndim > 1 else x.ndim
        raise RuntimeError(f"{name} should contain {got} elements not {channels}")


def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False,
               momentum=0.1, eps=1e-5):  # fmt: skip
    """By the running statistics; with training=True, or without them, by those of the input, and
    the running ones stay as they are."""
    x = float_of(input)
    if training or running_mean is None:
        for name, array in (("weight", weight), ("bias", bias)):
            if array is not None:
                check_batch_norm(x, len(array), name)
        if math.prod(x.shape) // max(1, x.shape[1]) <= 1:
            raise ValueError(
                "Expected more than 1 value per channel when training, got input size "
                f"torch.Size([{', '.join(map(str, x.shape))}])"
            )
        one = x.transpose(0, 1).reshape(1, x.shape[1], -1)
        y = instance_norm(one, None, None, weight, bias, True, momentum, eps)
        others = (x.shape[0], *x.shape[2:])
        return y.reshape(x.shape[1], *others).transpose(0, 1).contiguous()
    check_batch_norm(x, len(running_mean))
    given = (weight, bias, running_mean, running_var)
    if type(weight).__name__ == "Parameter":  # its statistics are no Parameters: pack anew
        return pack_batch_norm(*given, eps, x.ndim)(x)
    return _run(x, "batch_norm", (eps,), given, lambda: pack_batch_norm(*given, eps, x.ndim))
