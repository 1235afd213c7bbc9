# SPDX-License-Identifier: MIT
"""Convolutions over one and two axes, and padding, torch.nn's."""

import math

import numpy as np

from .. import functional as F
from .. import init
from ..array import Parameter
from ..elementwise import float_of
from ..functional.conv import (
    check_conv,
    check_transposed,
    each,
    pack_conv,
    pack_conv_transpose,
    padded_shape,
    pads_of,
)
from ..module import Layer, Module

_PADDINGS = {"same", "valid"}
_PADDING_MODES = {"zeros", "reflect", "replicate", "circular"}


def _tuple(value, axes):
    """One number for each axis, as torch keeps it."""
    return tuple(value) if np.ndim(value) else (value,) * axes


class _Conv(Layer):
    """What convolutions share. `_axes` is how many axes the windows go along."""

    _axes, _transposed = 1, False

    def _configure(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                   bias, padding_mode, output_padding=0):  # fmt: skip
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        axes = self._axes
        if isinstance(padding, str):
            if padding not in _PADDINGS:
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {_PADDINGS}"
                )
            if padding == "same" and any(s != 1 for s in _tuple(stride, axes)):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                "padding_mode must be one of {'zeros', 'reflect', 'replicate', 'circular'}, but "
                f"got padding_mode='{padding_mode}'"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = _tuple(kernel_size, axes), _tuple(stride, axes)
        self.padding = padding if isinstance(padding, str) else _tuple(padding, axes)
        self.dilation, self.transposed = _tuple(dilation, axes), self._transposed
        self.output_padding, self.groups = _tuple(output_padding, axes), groups
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups)
        if self._transposed:
            shape = (in_channels, out_channels // groups)
        shape += self.kernel_size
        fan = shape[1] * math.prod(self.kernel_size)
        self.weight = Parameter(init.default(shape, fan))
        self.register_parameter(
            "bias", Parameter(init.default(out_channels, fan)) if bias else None
        )

    def extra_repr(self):
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        for name, default in (
            ("padding", (0,) * self._axes),
            ("dilation", (1,) * self._axes),
            ("output_padding", (0,) * self._axes),
            ("groups", 1),
        ):
            value = getattr(self, name)
            text += f", {name}={value}" if value != default else ""
        text += ", bias=False" if self.bias is None else ""
        return text + (
            f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else ""
        )

    def _numbers(self, *names):
        return [each(getattr(self, name), self._axes) for name in names]

    def forward(self, input):
        if input.ndim == self._axes + 1:
            x = float_of(input)
            self._check(x)
            return Layer.forward(self, x[None])[0]
        return Layer.forward(self, input)

    def _check(self, x):
        axes, shape = self._axes, x.shape
        name = f"conv{'_transpose' * self._transposed}{axes}d"
        (dilation,) = self._numbers("dilation")
        padding = self.padding if isinstance(self.padding, str) else each(self.padding, axes)
        if self.padding_mode != "zeros":
            pads = pads_of(padding, self.kernel_size, dilation)
            sides = [n for i in range(axes)[::-1] for n in (pads[i], pads[axes + i])]
            shape, _ = padded_shape(shape, sides, self.padding_mode)
            padding = "valid"
        check_conv(shape, self.weight.shape, padding, self.groups, name, dilation)
        if self._transposed:
            stride, extra = self._numbers("stride", "output_padding")
            check_transposed(shape, self.kernel_size, stride, padding, extra, dilation)


class _Forwards(_Conv):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, bias=True, padding_mode="zeros", device=None, dtype=None):  # fmt: skip
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                        bias, padding_mode)  # fmt: skip

    def _pack(self, ndim):
        stride, dilation = self._numbers("stride", "dilation")
        padding = self.padding if isinstance(self.padding, str) else each(self.padding, self._axes)
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        numbers = stride, padding, dilation, self.groups, mode
        return pack_conv(self.weight, self.bias, *numbers, **self._few)


class Conv1d(_Forwards):
    """x (N, C, L) or (C, L) -> (N, M, L'); weight (M, C / groups, k), bias (M,)."""

    _matrices = ("weight",)


class Conv2d(_Forwards):
    """x (N, C, H, W) or (C, H, W) -> (N, M, H', W'); weight (M, C / groups, k1, k2), bias (M,)."""

    _axes = 2


class _Transposed(_Conv):
    _transposed = True

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0,
                 output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros",
                 device=None, dtype=None):  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                        bias, padding_mode, output_padding)  # fmt: skip

    def _pack(self, ndim, output_padding=None):
        numbers = self._numbers("stride", "padding", "output_padding", "dilation")
        stride, padding, extra, dilation = numbers
        extra = extra if output_padding is None else output_padding
        return pack_conv_transpose(
            self.weight, self.bias, stride, padding, extra, self.groups, dilation,
            **({} if "dtype" in self._few else self._few),
        )  # fmt: skip

    def forward(self, input, output_size=None):
        if output_size is None:
            return super().forward(input)
        axes = self._axes
        stride, padding, dilation = self._numbers("stride", "padding", "dilation")
        if len(output_size) not in (axes, input.ndim):
            raise ValueError(
                f"ConvTranspose{axes}D: for {input.ndim}D input, output_size must have {axes} or "
                f"{input.ndim} elements (got {len(output_size)})"
            )
        sizes = [int(n) for n in output_size][-axes:]
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(input.shape[-axes:], stride, padding, dilation,
                                     self.kernel_size)
        ]  # fmt: skip
        most = [n + s - 1 for n, s in zip(least, stride)]
        if any(not low <= n <= high for low, n, high in zip(least, sizes, most)):
            raise ValueError(
                f"requested an output size of {list(output_size)}, but valid sizes range from "
                f"{least} to {most} (for an input of torch.Size({list(input.shape[-axes:])}))"
            )
        self._check(input)
        extra = tuple(n - low for n, low in zip(sizes, least))
        run = self._pack(axes + 2, extra)
        return run(input) if input.ndim == axes + 2 else run(input[None])[0]


class ConvTranspose1d(_Transposed):
    """x (N, C, L) or (C, L) -> (N, M, L'); weight (C, M / groups, k), bias (M,)."""


class ConvTranspose2d(_Transposed):
    """x (N, C, H, W) or (C, H, W) -> (N, M, H', W'); weight (C, M / groups, k1, k2), bias (M,)."""

    _axes = 2


class _Pad(Module):
    """Padding of the last axes."""

    _axes, _mode = 1, "constant"

    def __init__(self, padding):
        super().__init__()
        count = 2 * self._axes
        self.padding = tuple(padding) if np.ndim(padding) else (padding,) * count

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    pass


class ConstantPad2d(_ConstantPad):
    _axes = 2


class ZeroPad1d(_ConstantPad):
    def __init__(self, padding):
        super().__init__(padding, 0.0)

    extra_repr = _Pad.extra_repr


class ZeroPad2d(ZeroPad1d):
    _axes = 2


class ReflectionPad1d(_Pad):
    _mode = "reflect"


class ReflectionPad2d(ReflectionPad1d):
    _axes = 2


class ReplicationPad1d(_Pad):
    _mode = "replicate"


class ReplicationPad2d(ReplicationPad1d):
    _axes = 2


class CircularPad1d(_Pad):
    _mode = "circular"

    def forward(self, input):
        axes = self._axes
        if input.ndim not in (axes + 1, axes + 2):
            raise ValueError(f"expected {axes + 1}D or {axes + 2}D input (got {input.ndim}D input)")
        return super().forward(input)


class CircularPad2d(CircularPad1d):
    _axes = 2


class Upsample(Module):
    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None,
                 recompute_scale_factor=None):  # fmt: skip
        super().__init__()
        self.size, self.mode, self.align_corners = size, mode, align_corners
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input):
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners,
                             self.recompute_scale_factor)  # fmt: skip

    def extra_repr(self):
        text = f"size={self.size}" if self.scale_factor is None else (
            f"scale_factor={self.scale_factor!r}"
        )  # fmt: skip
        return text + f", mode={self.mode!r}"


class PixelShuffle(Module):
    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        return f"upscale_factor={self.upscale_factor}"
