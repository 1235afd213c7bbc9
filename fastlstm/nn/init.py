# SPDX-License-Identifier: MIT
"""torch.nn.init: weights before those of a file are loaded. Numbers are drawn from NumPy's default
generator, which `manual_seed` seeds; they are not torch's, only their distributions are."""

import math

import numpy as np

_rng = np.random.default_rng()


def manual_seed(seed):
    """Seeds all random numbers of fastlstm.nn."""
    global _rng
    _rng = np.random.default_rng(seed)


def normal(shape, mean=0.0, std=1.0):
    """A float32 array of normal numbers."""
    return _rng.standard_normal(shape, dtype=np.float32) * np.float32(std) + np.float32(mean)


def uniform(shape, a=0.0, b=1.0):
    """A float32 array of numbers in [a, b)."""
    return _rng.random(shape, dtype=np.float32) * np.float32(b - a) + np.float32(a)


def integers(low, high, shape):
    return _rng.integers(low, high, shape)


def permutation(n):
    return _rng.permutation(n)


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    tensor[...] = uniform(tensor.shape, a, b)
    return tensor


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    tensor[...] = normal(tensor.shape, mean, std)
    return tensor


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    made = normal(tensor.shape, mean, std)
    while (outside := (made < a) | (made > b)).any():
        made[outside] = normal(int(outside.sum()), mean, std)
    tensor[...] = made
    return tensor


def constant_(tensor, val):
    tensor[...] = val
    return tensor


def ones_(tensor):
    return constant_(tensor, 1.0)


def zeros_(tensor):
    return constant_(tensor, 0.0)


def eye_(tensor):
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    tensor[...] = np.eye(*tensor.shape)
    return tensor


def fans(shape):
    """(fan in, fan out) of weights of this shape."""
    if len(shape) < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def calculate_gain(nonlinearity, param=None):
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity == "selu":
        return 3.0 / 4
    if nonlinearity in ("linear", "sigmoid") or nonlinearity.startswith("conv"):
        return 1
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def xavier_uniform_(tensor, gain=1.0, generator=None):
    bound = gain * math.sqrt(6.0 / sum(fans(tensor.shape)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor, gain=1.0, generator=None):
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor.shape))))


def _kaiming(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = fans(tensor.shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    bound = math.sqrt(3.0) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity))


def orthogonal_(tensor, gain=1, generator=None):
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    q, r = np.linalg.qr(normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    tensor[...] = (gain * (q.T if rows < columns else q)).reshape(tensor.shape)
    return tensor


def default(shape, fan):
    """What layers start with: uniform in 1 / sqrt(fan) around 0."""
    bound = 1 / math.sqrt(fan) if fan else 0.0
    return uniform(shape, -bound, bound)
