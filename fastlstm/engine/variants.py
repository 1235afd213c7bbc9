# SPDX-License-Identifier: MIT
"""Variants: what torch's layers do not have (other activations, clip, peepholes, coupled gates,
reverse), as every backend takes it, and the checks of a layer's arguments for it. Gates are in
torch's order: LSTM i, f, g, o; GRU r, z, n.
"""

import dataclasses
from typing import Any, TypeAlias


@dataclasses.dataclass(frozen=True)
class Activation:
    """A gate's function, by ONNX's name in lower case with words joined by underscores.

    hard_sigmoid  max(0, min(1, alpha x + beta))       affine       alpha x + beta
    leaky_relu    x if x >= 0 else alpha x             scaled_tanh  alpha tanh(beta x)
    thresholded_relu  x if x > alpha else 0            elu          x or alpha (exp(x) - 1)
    sigmoid, tanh, relu, softsign, softplus; Keras also: selu, gelu, silu, exponential
    """

    name: str
    alpha: float | None = None
    beta: float | None = None

    @property
    def spelled_out(self) -> "Activation":
        """The same with ONNX's defaults where it takes an alpha or beta that is not given."""
        alpha, beta = (
            usual if usual is None or given is None else given
            for given, usual in zip((self.alpha, self.beta), DEFAULTS[self.name], strict=True)
        )
        return Activation(self.name, alpha, beta)

    def __str__(self) -> str:
        values = [f"{n:g}" for n in (self.alpha, self.beta) if n is not None]
        name = self.name if self.name.isprintable() else ascii(self.name)  # it may be a file's
        return name + (f"({', '.join(values)})" if values else "")


# {name: (alpha, beta)} where none are given
DEFAULTS: dict[str, tuple[float | None, float | None]] = {
    "sigmoid": (None, None), "tanh": (None, None), "relu": (None, None),
    "affine": (1.0, 0.0), "leaky_relu": (0.01, None), "thresholded_relu": (1.0, None),
    "scaled_tanh": (1.0, 1.0), "hard_sigmoid": (0.2, 0.5), "elu": (1.0, None),
    "softsign": (None, None), "softplus": (None, None), "selu": (None, None),
    "gelu": (None, None), "silu": (None, None), "exponential": (None, None),
}  # fmt: skip

SIGMOID, TANH, RELU = Activation("sigmoid"), Activation("tanh"), Activation("relu")

# LSTM: (gates i f o, candidate g, output h = o act(c)); GRU: (gates r z, candidate n); RNN: (h,).
Activations: TypeAlias = tuple[Activation, ...]
USUAL: dict[str, Activations] = {
    "LSTM": (SIGMOID, TANH, TANH),
    "GRU": (SIGMOID, TANH),
    "RNN": (TANH,),
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """What sets a backend's Net apart from torch's cells.

    activations   for each direction a tuple as in USUAL, numbers wherever one takes them
    clip          None, or: every gate's sum is cut to [-clip, clip] right before its activation
    input_forget  LSTM: f = 1 - i; the gradients of f's weights are 0
    peepholes     LSTM: Net.set is given one more vector (3 H,), of i, f and o; i and f see c before
                  the step, o sees the new one. backward's list of gradients has theirs last
    reverse       the one direction there is reads each row from its end
    """

    activations: tuple[Activations, ...]
    clip: float | None = None
    input_forget: bool = False
    peepholes: bool = False
    reverse: bool = False


# ---- arguments of LSTM, GRU and RNN


def checked_activations(kind: str, count: int, value: Any) -> tuple[Activations, ...] | None:
    """activations= of a layer of `count` directions: for each a tuple of Activations, numbers
    spelled out; None if all are torch's own. TypeError or ValueError for what they cannot be."""
    usual = USUAL[kind]
    value = _listed("activations", value)
    each = value if any(isinstance(v, (tuple, list)) for v in value) else (value,) * count
    if len(each) != count:
        raise ValueError(f"activations are for {len(each)} directions, the layer has {count}")
    done = []
    for names in each:
        names = _listed("activations of a direction", names)
        if len(names) != len(usual):
            raise ValueError(
                f"a direction of an {kind} has {len(usual)} activations "
                f"({', '.join(map(str, usual))}), got {len(names)}"
            )
        done.append(tuple(_activation(name) for name in names))
    return None if done == [usual] * count else tuple(done)


def _listed(what: str, value: Any) -> Any:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{what} must be a tuple, got {type(value).__name__}")
    return value


def _activation(value: Any) -> Activation:
    if isinstance(value, str):
        value = Activation(value)
    if not isinstance(value, Activation):
        raise TypeError(f"an activation is a str or an Activation, got {type(value).__name__}")
    if value.name not in DEFAULTS:
        raise ValueError(
            f"the activation {value.name!r} is not known; there are: {', '.join(DEFAULTS)}"
        )
    for name, given, usual in zip(
        ("alpha", "beta"), (value.alpha, value.beta), DEFAULTS[value.name], strict=True
    ):
        if given is None:
            continue
        if usual is None:
            raise ValueError(f"{value.name} takes no {name}, got {given!r}")
        checked_number(f"{value.name}'s {name}", given)
    return value.spelled_out


def checked_number(name: str, value: Any) -> float:
    """`value` as a float that float32 holds; else a TypeError or ValueError with `name`."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    number = float(value)
    if not abs(number) < 3.4e38:
        raise ValueError(f"{name} must be finite in float32, got {number}")
    return number


def checked_clip(value: Any) -> float:
    """clip= of a layer as a float; ValueError unless it is greater than zero."""
    clip = checked_number("clip", value)
    if clip <= 0:
        raise ValueError(f"clip must be greater than zero, got {clip}")
    return clip
