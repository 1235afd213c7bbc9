# SPDX-License-Identifier: MIT
"""Activations and dropout, torch.nn's. `inplace` is taken and changes nothing: inputs stay."""

import numpy as np

from .. import functional as F
from ..array import Parameter, float32
from ..functional.activation import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    logsigmoid,
    mish,
    relu6,
    rrelu,
    selu,
    softshrink,
    tanhshrink,
)
from ..module import Module


def _shown(self, names):
    """ "a=1, b=2, inplace=True" of the attributes `names`."""
    parts = [f"{name}={getattr(self, name)}" for name in names]
    return ", ".join(parts + ["inplace=True"] * bool(getattr(self, "inplace", False)))


def _plain(name, function, doc):
    """An activation without arguments."""

    def forward(self, input):
        return function(input)

    return type(name, (Module,), {"forward": forward, "__doc__": doc, "__module__": __name__})


def _in_place(name, function, doc):
    """One whose only argument is `inplace`."""

    def __init__(self, inplace=False):
        Module.__init__(self)
        self.inplace = inplace

    def forward(self, input):
        return function(input)

    __init__.__qualname__ = f"{name}.__init__"
    return type(name, (Module,), {
        "__init__": __init__, "forward": forward, "extra_repr": lambda self: _shown(self, ()),
        "__doc__": doc, "__module__": __name__,
    })  # fmt: skip


Sigmoid = _plain("Sigmoid", F.sigmoid, "1 / (1 + exp(-x))")
Tanh = _plain("Tanh", F.tanh, "tanh(x)")
Softsign = _plain("Softsign", F.softsign, "x / (1 + |x|)")
LogSigmoid = _plain("LogSigmoid", logsigmoid, "log(sigmoid(x))")
Tanhshrink = _plain("Tanhshrink", tanhshrink, "x - tanh(x)")
ReLU = _in_place("ReLU", F.relu, "max(x, 0)")
SELU = _in_place("SELU", selu, "scale (max(0, x) + min(0, alpha (exp(x) - 1)))")
SiLU = _in_place("SiLU", F.silu, "x sigmoid(x)")
Mish = _in_place("Mish", mish, "x tanh(softplus(x))")
Hardsigmoid = _in_place("Hardsigmoid", hardsigmoid, "max(0, min(1, x / 6 + 1 / 2))")
Hardswish = _in_place("Hardswish", hardswish, "x hardsigmoid(x)")
Hardsigmoid.extra_repr = Hardswish.extra_repr = Module.extra_repr  # torch does not show inplace


class Hardtanh(Module):
    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False):
        super().__init__()
        if max_val <= min_val:
            raise AssertionError(f"max_val ({max_val}) must be greater than min_val ({min_val})")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input):
        return hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self):
        return _shown(self, ("min_val", "max_val"))


class ReLU6(Hardtanh):
    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def forward(self, input):
        return relu6(input)

    def extra_repr(self):
        return _shown(self, ())


class LeakyReLU(Module):
    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self):
        return _shown(self, ("negative_slope",))


class ELU(Module):
    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input):
        return F.elu(input, self.alpha)

    def extra_repr(self):
        return _shown(self, ("alpha",))


class CELU(ELU):
    def forward(self, input):
        return F.celu(input, self.alpha)


class RReLU(Module):
    """As in inference: a leaky ReLU with the slope (lower + upper) / 2."""

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, input):
        return rrelu(input, self.lower, self.upper)

    def extra_repr(self):
        return _shown(self, ("lower", "upper"))


class GELU(Module):
    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self):
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardshrink(Module):
    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        return hardshrink(input, self.lambd)

    def extra_repr(self):
        return f"{self.lambd}"


class Softshrink(Hardshrink):
    def forward(self, input):
        return softshrink(input, self.lambd)


class Threshold(Module):
    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value)

    def extra_repr(self):
        return _shown(self, ("threshold", "value"))


class PReLU(Module):
    """x where it is not negative, else weight x; one weight, or one for each channel."""

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(np.full(num_parameters, init, float32))

    def forward(self, input):
        return F.prelu(input, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class _Along(Module):
    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return self._function(input, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class GLU(_Along):
    def __init__(self, dim=-1):
        super().__init__(dim)

    _function = staticmethod(F.glu)


class Softmax(_Along):
    _function = staticmethod(F.softmax)


class LogSoftmax(_Along):
    _function = staticmethod(F.log_softmax)


class Softmin(_Along):
    _function = staticmethod(F.softmin)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input):
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3)


class Dropout(Module):
    """Its input."""

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input):
        return input

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """Its input, of two or three axes."""

    def forward(self, input):
        if input.ndim not in (2, 3):
            raise RuntimeError(
                f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note "
                "that dropout1d exists to provide channel-wise dropout on inputs with 1 spatial "
                "dimension, a channel dimension, and an optional batch dimension (i.e. 2D or 3D "
                "inputs)."
            )
        return input


class Dropout2d(Dropout):
    """Its input."""


class AlphaDropout(Dropout):
    """Its input."""


class FeatureAlphaDropout(Dropout):
    """Its input."""
