# SPDX-License-Identifier: MIT
"""The weights of a recurrent layer: torch's names for them and the shapes they must have.

With G gates (LSTM 4, GRU 3, RNN 1), I input features, H hidden units, D directions, K = P (the
projection's features) or H, each track, that is each (layer, direction), has

    weight_ih<end>  (G H, I) in layer 0, (G H, D K) above      <end>: _l<layer>, then
    weight_hh<end>  (G H, K)                                   _reverse in direction 1
    bias_ih<end>, bias_hh<end>  (G H,)                         unless bias is False
    weight_hr<end>  (P, H)                                     an LSTM with a projection
    peephole<end>   (3 H,), of the gates i, f, o               an LSTM with peepholes

A name in a file has a prefix before that, which is "" or ends in a dot, a slash or "_". The names
of torch's LSTMCell, GRUCell and RNNCell end before `_l<n>`: one layer, one direction; their prefix
is "" or ends in a dot or slash, since with "_" they would be ordinary words.

Functions here take any object with a layer's attributes: a description.Layer, or a layer of
layers/.
"""

import re
from typing import NamedTuple

from ..engine.int8 import Codes

_NAME = re.compile(
    r"(|.*[./_])(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh|peephole)"
    r"(?:_l(0|[1-9][0-9]{0,3})(_reverse)?)?",
    re.DOTALL,
)
_SCALE = re.compile(
    r"(|.*[./_])(weight_(?:ih|hh|hr)_l(?:0|[1-9][0-9]{0,3})(?:_reverse)?_scale)", re.DOTALL
)
_STATE = re.compile(r"(|.*[./_])(initial_[hc])", re.DOTALL)

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Name(NamedTuple):
    """A weight's name in a file: "encoder.weight_ih_l1_reverse" is ("encoder.", "weight_ih", 1,
    True). number: of its layer, None in a cell's names."""

    prefix: str
    part: str
    number: int | None
    reverse: bool


def parse_name(name):
    """The Name that `name` is, or None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    prefix, part, number, reverse = match.groups()
    if number is None and (prefix.endswith("_") or part == "peephole"):
        return None
    return Name(prefix, part, None if number is None else int(number), bool(reverse))


def split_name(name):
    """(prefix, the rest) of the name of a weight, of the scales of an int8 weight or of an initial
    state; None of other names."""
    found = parse_name(name) or _SCALE.fullmatch(name) or _STATE.fullmatch(name)
    if found is None:
        return None
    prefix = found[0] if isinstance(found, Name) else found[1]
    return prefix, name[len(prefix) :]


def tracks(num_layers, num_directions):
    """(layer, direction, how the names of its weights end) of each track, in torch's order."""
    for layer in range(num_layers):
        for direction, reverse in enumerate(("", "_reverse")[:num_directions]):
            yield layer, direction, f"_l{layer}{reverse}"


def _each(layer):
    """(name, shape) of each weight, in torch's order."""
    hidden, proj, directions = layer.hidden_size, layer.proj_size, layer.num_directions
    rows, width = GATES[layer.kind] * hidden, proj or hidden
    for number, _, end in tracks(layer.num_layers, directions):
        yield f"weight_ih{end}", (rows, directions * width if number else layer.input_size)
        yield f"weight_hh{end}", (rows, width)
        if layer.bias:
            yield f"bias_ih{end}", (rows,)
            yield f"bias_hh{end}", (rows,)
        if proj:
            yield f"weight_hr{end}", (proj, hidden)
        if layer.peepholes:
            yield f"peephole{end}", (3 * hidden,)


def weight_shapes(layer):
    """{name: shape} of a layer's weights, in torch's order."""
    return dict(_each(layer))


def misfit(layer, arrays):
    """Why `arrays`, {name: array}, are not the weights of `layer`, in words; None if they are.
    Arrays of other names are left alone. What is said of `layer` may be a hostile file's: the work
    is bounded by the number of arrays, not by the layers that it claims to have."""
    if min(layer.input_size, layer.hidden_size, layer.num_layers) < 1:
        return "its sizes are not all greater than zero"
    if layer.proj_size and (layer.kind != "LSTM" or not 0 < layer.proj_size < layer.hidden_size):
        return (
            f"proj_size {layer.proj_size} is not that of an LSTM with hidden_size "
            f"{layer.hidden_size}: it has to be smaller"
        )
    for name, shape in _each(layer):
        array = arrays.get(name)
        if array is None:
            return f"{name} is missing"
        if not isinstance(array, Codes) and array.dtype.kind not in (
            "fiu" if name.startswith("peephole") else "f"
        ):
            if getattr(layer, "dtype", "") == "int8":
                return f"{name} needs codes of -127 .. 127 and a finite scale for each row"
            return f"{name} is {array.dtype}, not a float"
        if array.shape != shape:
            return f"{name} has the shape {array.shape}, {shape} is due"
    return None
