# SPDX-License-Identifier: MIT
"""Convolutions: ONNX's, with Transposes around them where channels are last, which plans cancel.

Kernels: Keras (k.., channels in / groups, channels out), ONNX (out, in / groups, k..); transposed,
Keras (k.., out, in), ONNX (in, out, k..); depthwise, Keras (k.., in, multiplier), whose outputs are
in order of the inputs."""

import numpy as np

from ..call import layer, of
from ..item import Variable
from .activations import activate
from .basic import plain_weights


def _dimensions(c):
    """How many axes are convolved: "Conv2D" has 2."""
    return next(int(ch) for ch in c.item.class_name if ch in "123")


class _Windows:
    """What convolutions and pools have in common: sizes, steps, padding, and the layout."""

    def __init__(self, c, size="kernel_size", steps=1):
        self.c, self.n = c, _dimensions(c)
        self.x = c.floats(c.x)
        self.shape = c.rank(self.x, self.n + 2)
        self.first = c.channels_first()
        self.channels = self.shape[1 if self.first else -1]
        self.size = c.integers(size, self.n)
        strides = c.config.get("strides")
        self.strides = c.integers("strides", self.n, steps) if strides is not None else self.size
        if size == "kernel_size" and strides is None:
            self.strides = [1] * self.n
        self.spread = c.integers("dilation_rate", self.n, 1)
        self.padding = c.choice("padding", "valid", ("valid", "same", "causal"))
        if self.padding == "causal" and self.n > 1:
            raise c.error("padding is causal, which only one dimension has")
        if self.channels is None:
            raise c.error(f"its input has the shape {self.shape}: its channels must be known")

    def inside(self, x=None):
        """The input with channels first."""
        x = self.x if x is None else x
        return x if self.first else self.c.transpose(x, [0, self.n + 1, *range(1, self.n + 1)])

    def outside(self, y):
        """The output in Keras' layout."""
        return y if self.first else self.c.transpose(y, [0, *range(2, self.n + 2), 1])

    def attributes(self, dilated=True):
        found = {"strides": self.strides, "kernel_shape": self.size}
        if dilated:
            found["dilations"] = self.spread
        if self.padding == "same":
            found["auto_pad"] = "SAME_UPPER"
        elif self.padding == "causal":
            found["pads"] = [(self.size[0] - 1) * self.spread[0], 0]
        return found


def _kernel_perm(n):
    return [n + 1, n, *range(n)]


def _bias(c, count, name="bias"):
    return [c.weight(name, (count,))] if c.flag("use_bias", True) else []


@layer("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D",
       weights=of("kernel", "bias", bias="use_bias"))  # fmt: skip
def conv(c):
    plain_weights(c)
    w = _Windows(c)
    groups, filters = c.integer("groups", 1, least=1), c.integer("filters", least=1)
    if w.channels % groups or filters % groups:
        raise c.error(f"{w.channels} channels and {filters} filters in {groups} groups")
    due = (*w.size, w.channels // groups, filters)
    kernel = c.weight("kernel", due, lambda a: a.transpose(_kernel_perm(w.n)))
    y = c.emit("Conv", w.inside(), kernel, *_bias(c, filters), group=groups, **w.attributes())
    return activate(c, w.outside(y))


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Deconvolution2D",
       weights=of("kernel", "bias", bias="use_bias"))  # fmt: skip
def conv_transpose(c):
    """Out of n: n stride with padding "same", n stride + max(reach - stride, 0) with "valid", where
    reach is that of the dilated kernel; or what output_padding says."""
    w = _Windows(c)
    if w.padding == "causal":
        raise c.error("padding is causal, which no transposed convolution has")
    filters, extra, pads = c.integer("filters", least=1), [], []
    given = c.config.get("output_padding")
    given = None if given is None else c.integers("output_padding", w.n, least=0)
    for i in range(w.n):
        reach = (w.size[i] - 1) * w.spread[i] + 1
        if given is not None:
            cut = 2 * (reach // 2) if w.padding == "same" else 0
            extra.append(given[i])
        else:
            cut = max(reach - w.strides[i], 0) if w.padding == "same" else 0
            extra.append(max(w.strides[i] - reach, 0))
        pads.append((cut // 2, cut - cut // 2))
    if any(a >= b for a, b in zip(extra, w.strides, strict=True) if a):
        raise c.error(f"output_padding {extra} with strides {w.strides}")
    due = (*w.size, filters, w.channels)
    kernel = c.weight("kernel", due, lambda a: a.transpose(_kernel_perm(w.n)))
    begin, end = zip(*pads, strict=True)
    y = c.emit("ConvTranspose", w.inside(), kernel, *_bias(c, filters), strides=w.strides,
               dilations=w.spread, kernel_shape=w.size, pads=[*begin, *end],
               output_padding=extra)  # fmt: skip
    return activate(c, w.outside(y))


def _depthwise_kernel(n):
    """(k.., in, multiplier) as (in multiplier, 1, k..)."""
    return lambda a: np.ascontiguousarray(a.transpose([n, n + 1, *range(n)])).reshape(
        -1, 1, *a.shape[:n]
    )


def _depthwise(c, w, name, bias):
    times = c.integer("depth_multiplier", 1, least=1)
    due = (*w.size, w.channels, times)
    kernel = c.weight(name, due, _depthwise_kernel(w.n))
    return c.emit("Conv", w.inside(), kernel, *bias, group=w.channels, **w.attributes())


@layer("DepthwiseConv1D", "DepthwiseConv2D", weights=of("kernel", "bias", bias="use_bias"))
def depthwise_conv(c):
    w = _Windows(c)
    count = w.channels * c.integer("depth_multiplier", 1, least=1)
    return activate(c, w.outside(_depthwise(c, w, "kernel", _bias(c, count))))


def _separable(config):
    names = ["depthwise_kernel", "pointwise_kernel"]
    return [Variable("", n) for n in [*names, *(["bias"] if config.get("use_bias", True) else [])]]


@layer("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D",
       weights=_separable)  # fmt: skip
def separable_conv(c):
    """A depthwise convolution and one over the channels of each point."""
    w = _Windows(c)
    filters = c.integer("filters", least=1)
    inner = w.channels * c.integer("depth_multiplier", 1, least=1)
    y = _depthwise(c, w, "depthwise_kernel", [])
    due = (*[1] * w.n, inner, filters)
    kernel = c.weight("pointwise_kernel", due, lambda a: a.transpose(_kernel_perm(w.n)))
    y = c.emit("Conv", y, kernel, *_bias(c, filters), kernel_shape=[1] * w.n)
    return activate(c, w.outside(y))


@layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D",
       "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D",
       "AvgPool3D")  # fmt: skip
def pool(c):
    """The largest or the mean of each window; padding does not count."""
    w = _Windows(c, "pool_size")
    if w.padding == "causal":
        raise c.error("padding is causal, which no pooling has")
    op = "MaxPool" if c.item.class_name.startswith("Max") else "AveragePool"
    return w.outside(c.emit(op, w.inside(), **w.attributes(dilated=False)))
