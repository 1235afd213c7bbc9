# SPDX-License-Identifier: MIT
"""An ONNX recurrent operator's weights and attributes, as a Layer with torch's weights.

Arrays, by docs/Operators.md of onnx/onnx: W (D, gates H, I), R (D, gates H, H), B (D, 2 gates H: of
the input, then recurrent), P (D, 3 H). The order of gates differs:

    ONNX's     LSTM i, o, f, c; peepholes P i, o, f; GRU z, r, h
    torch's    LSTM i, f, g, o; peepholes i, f, o; GRU r, z, n      (c is g, h is n)
"""

import numpy as np

from ...engine.variants import USUAL, Activation
from ..description import Layer
from ..source import show

# For each of torch's gates, in torch's order, its index in ONNX's; for peepholes i, f, o likewise.
ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_PEEPHOLES = (0, 2, 1)
_DIRECTIONS = ("forward", "reverse", "bidirectional")

# ONNX's name, in lower case: (fastlstm's, the defaults of alpha and beta where it has them)
_ACTIVATIONS = {
    "sigmoid": ("sigmoid",), "tanh": ("tanh",), "relu": ("relu",), "softsign": ("softsign",),
    "softplus": ("softplus",), "affine": ("affine", 1.0, 0.0), "elu": ("elu", 1.0),
    "leakyrelu": ("leaky_relu", 0.01), "thresholdedrelu": ("thresholded_relu", 1.0),
    "scaledtanh": ("scaled_tanh", 1.0, 1.0), "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
}  # fmt: skip


class Problem(Exception):
    """Why a node cannot be read as a layer: the text of Layer.problem."""


def activations_of(kind, directions, names, alphas, betas):
    """A node's activations: a tuple of Activations for each direction, as Layer.activations has
    them; () if all are the usual ones.

    names           [str], or [] for the usual ones
    alphas, betas   [float]: the values of those functions that take them, in order
    """
    usual = USUAL[kind]
    alphas, betas, due = list(alphas), list(betas), len(usual) * directions
    names = list(names) or [activation.name for activation in usual] * directions
    if kind == "RNN":  # ONNX's own default has two, of which one direction uses the first
        names = names[:due]
    if len(names) != due:
        raise Problem(f"{len(names)} activations, {due} are due")
    found = []
    for name in names:
        if name.lower() not in _ACTIVATIONS:
            raise Problem(f"the activation {show(name.lower())} is unknown")
        our_name, *defaults = _ACTIVATIONS[name.lower()]
        values = [
            (given.pop(0) if given else default)
            for given, default in zip((alphas, betas), defaults, strict=False)
        ]
        found.append(Activation(our_name, *values))
    split = tuple(tuple(found[d * len(usual) : (d + 1) * len(usual)]) for d in range(directions))
    return () if split == (usual,) * directions else split


def _checked(what, array, shape):
    if array.shape != shape:
        raise Problem(f"{what} has the shape {array.shape}, {shape} is due")
    return array


def in_torch_order(array, kind, size):
    """The rows of `array`, (gates H, ...), in torch's order of gates. size: H."""
    order = ORDER[kind]
    if len(order) == 1:
        return array
    return np.concatenate([array[n * size : (n + 1) * size] for n in order])


def layer_of(kind, attrs, w, r, b, p):
    """(Layer, {torch's name: array}) of an operator; Problem if its arrays do not fit.

    kind         "LSTM", "GRU" or "RNN"
    attrs        {name: value} of the node: str, int, float and lists of them
    w, r, b, p   arrays; b and p may be None
    """
    direction = attrs.get("direction", "forward")
    if direction not in _DIRECTIONS:
        raise Problem(f"the direction {show(direction)} is unknown")
    count = 2 if direction == "bidirectional" else 1
    if w.ndim != 3 or r.ndim != 3 or 0 in w.shape or 0 in r.shape:
        raise Problem(f"W has the shape {w.shape} and R {r.shape}")
    gates, size = len(ORDER[kind]), r.shape[2]
    _checked("W", w, (count, gates * size, w.shape[2]))
    _checked("R", r, (count, gates * size, size))
    if attrs.get("hidden_size", size) != size:
        raise Problem(f"hidden_size is {attrs['hidden_size']}, R is made for {size}")
    if b is not None:
        _checked("B", b, (count, 2 * gates * size))
    weights = {}
    for d, end in zip(range(count), ("_l0", "_l0_reverse"), strict=False):
        weights[f"weight_ih{end}"] = in_torch_order(w[d], kind, size)
        weights[f"weight_hh{end}"] = in_torch_order(r[d], kind, size)
        if b is not None:
            weights[f"bias_ih{end}"] = in_torch_order(b[d][: gates * size], kind, size)
            weights[f"bias_hh{end}"] = in_torch_order(b[d][gates * size :], kind, size)
    peepholes = ()
    if kind == "LSTM" and p is not None and _checked("P", p, (count, 3 * size)).any():
        for d, end in zip(range(count), ("_l0", "_l0_reverse"), strict=False):
            parts = [p[d][n * size : (n + 1) * size] for n in _PEEPHOLES]
            weights[f"peephole{end}"] = np.concatenate(parts)
        peepholes = tuple(name for name in weights if name.startswith("peephole"))
    layer = Layer(
        kind, w.shape[2], size, bias=b is not None, direction=direction,
        activations=activations_of(
            kind, count, attrs.get("activations") or [], attrs.get("activation_alpha") or [],
            attrs.get("activation_beta") or [],
        ),
        reset_after=kind != "GRU" or bool(attrs.get("linear_before_reset")),
        clip=attrs.get("clip") or None, input_forget=bool(attrs.get("input_forget")),
        peepholes=peepholes, batch_first=bool(attrs.get("layout")),
    )  # fmt: skip
    return layer, weights
