# SPDX-License-Identifier: MIT
"""Normalizations, torch.nn's, by their running statistics or those of the input."""

import numpy as np

from .. import functional as F
from ..array import Parameter, float32
from ..elementwise import float_of
from ..functional.norm import (
    check_batch_norm,
    check_group_norm,
    check_layer_norm,
    check_rms_norm,
    pack_batch_norm,
    pack_group_norm,
    pack_layer_norm,
    pack_rms_norm,
)
from ..module import Layer
from ..shape import tensor


class _Norm(Layer):
    """What norms by channel share. `_dims` are the numbers of axes of their inputs."""

    _dims: tuple = (2, 3)

    def _configure(self, num_features, eps, momentum, affine, track_running_stats, bias=True):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        ones, zeros = np.ones(num_features, float32), np.zeros(num_features, float32)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", tensor(zeros) if tracked else None)
        self.register_buffer("running_var", tensor(ones) if tracked else None)
        self.register_buffer("num_batches_tracked", tensor(0) if tracked else None)

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _check_dims(self, x):
        if x.ndim not in self._dims:
            dims = " or ".join(f"{n}D" for n in self._dims)
            raise ValueError(f"expected {dims} input (got {x.ndim}D input)")

    def _pack(self, ndim):
        return pack_batch_norm(
            self.weight, self.bias, self.running_mean, self.running_var, self.eps, ndim
        )


class _BatchNorm(_Norm):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True,
                 device=None, dtype=None, *, bias=True):  # fmt: skip
        self._configure(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, input):
        self._check_dims(input)
        if self.running_mean is None:
            return F.batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)
        check_batch_norm(input, self.num_features)
        return Layer.forward(self, input)


class BatchNorm1d(_BatchNorm):
    """x (N, C) or (N, C, L): (x - mean) / sqrt(var + eps) weight + bias, by channel, with the
    running mean and variance."""


class BatchNorm2d(_BatchNorm):
    """The same of x (N, C, H, W)."""

    _dims = (4,)


class _InstanceNorm(_Norm):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False,
                 track_running_stats=False, device=None, dtype=None, *, bias=True):  # fmt: skip
        self._configure(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, input):
        self._check_dims(input)
        x = float_of(input)
        added = x.ndim == self._dims[0]
        x = x.unsqueeze(0) if added else x
        if x.shape[1] != self.num_features and self.affine:
            raise ValueError(
                f"expected input's size at dim={0 if added else 1} to match num_features "
                f"({self.num_features}), but got: {x.shape[1]}."
            )
        if self.running_mean is None:
            y = F.instance_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        else:
            check_batch_norm(x, self.num_features)
            y = Layer.forward(self, x)
        return y.squeeze(0) if added else y


class InstanceNorm1d(_InstanceNorm):
    """x (N, C, L) or (C, L): each channel of each row by its own mean and variance."""


class InstanceNorm2d(_InstanceNorm):
    """The same of x (N, C, H, W) or (C, H, W)."""

    _dims = (3, 4)


class LayerNorm(Layer):
    """x (.., *normalized_shape): over its last axes, scaled by element."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None,
                 dtype=None):  # fmt: skip
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        ones, zeros = np.ones(self.normalized_shape), np.zeros(self.normalized_shape)
        self.register_parameter(
            "weight", Parameter(ones.astype(float32)) if elementwise_affine else None
        )
        self.register_parameter(
            "bias", Parameter(zeros.astype(float32)) if elementwise_affine and bias else None
        )

    def _check(self, x):
        check_layer_norm(x, self.normalized_shape)

    def _pack(self, ndim):
        return pack_layer_norm(self.normalized_shape, self.weight, self.bias, self.eps, ndim)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
            f", bias={self.bias is not None}"
        )


class RMSNorm(Layer):
    """x / sqrt(mean(x^2) + eps) weight over the last axes."""

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None,
                 dtype=None):  # fmt: skip
        super().__init__()
        self.normalized_shape = _shape(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        ones = np.ones(self.normalized_shape, float32)
        self.register_parameter("weight", Parameter(ones) if elementwise_affine else None)

    def _check(self, x):
        check_rms_norm(x, self.normalized_shape)

    def _pack(self, ndim):
        return pack_rms_norm(self.normalized_shape, self.weight, self.eps, ndim)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Layer):
    """x (N, C, ..): over the channels of a group and all axes behind, scaled by channel."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None, *,
                 bias=True):  # fmt: skip
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        ones, zeros = np.ones(num_channels, float32), np.zeros(num_channels, float32)
        self.register_parameter("weight", Parameter(ones) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine and bias else None)

    def _check(self, x):
        check_group_norm(x, self.num_groups, self.num_channels)

    def forward(self, input):
        if self.weight is None:  # as in torch, of any number of channels
            return F.group_norm(input, self.num_groups, None, None, self.eps)
        return Layer.forward(self, input)

    def _pack(self, ndim):
        return pack_group_norm(
            self.num_groups, self.num_channels, self.weight, self.bias, self.eps, ndim
        )

    def extra_repr(self):
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


def _shape(value):
    return (int(value),) if np.ndim(value) == 0 else tuple(value)
