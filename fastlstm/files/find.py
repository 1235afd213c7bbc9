# SPDX-License-Identifier: MIT
"""Recurrent layers among named arrays, recognised by PyTorch's names (weight_shapes.py) with any
prefix, and described by their shapes alone. The names of torch's LSTMCell, GRUCell and RNNCell end
before `_l<n>`: one layer, one direction.
"""

import dataclasses
import re

from .description import Layer
from .weight_shapes import GATES, misfit, weight_shapes

_NAME = re.compile(
    r"(|.*\.)(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(0|[1-9][0-9]{0,3})(_reverse)?)?",
    re.DOTALL,
)
_KINDS = {gates: kind for kind, gates in GATES.items()}


class _Misfit(Exception):
    """Why a group of weights is no layer."""


def _shape(group, name):
    """The shape of a matrix of the group."""
    if name not in group:
        raise _Misfit(f"{name} is missing")
    array = group[name]
    if array.dtype.kind != "f":
        raise _Misfit(f"{name} is {array.dtype}, not a float")
    if array.ndim != 2 or 0 in array.shape:
        raise _Misfit(f"{name} has the shape {array.shape}")
    return array.shape


def _list(names):
    return ", ".join(list(names)[:8])


def _layer(group, num_layers):
    """The Layer that `group`, {name: array, or why it is not read}, makes up; _Misfit if none."""
    for name, array in group.items():
        if isinstance(array, str):
            raise _Misfit(f"{name} is {array}, which is not read")
    rows, width = _shape(group, "weight_hh_l0")
    proj, hidden = 0, width
    if "weight_hr_l0" in group:
        proj, hidden = _shape(group, "weight_hr_l0")
    gates = rows // hidden
    if rows % hidden or gates not in _KINDS or (proj and (gates != 4 or proj != width)):
        with_hr = f" with weight_hr_l0 {(proj, hidden)}" if proj else ""
        raise _Misfit(f"weight_hh_l0 {(rows, width)}{with_hr} fits no LSTM, GRU or RNN")
    both = any(name.endswith("_reverse") for name in group)
    layer = Layer(
        _KINDS[gates], _shape(group, "weight_ih_l0")[1], hidden, proj, num_layers,
        bias=any(name.startswith("bias") for name in group),
        direction="bidirectional" if both else "forward",
    )  # fmt: skip
    due = weight_shapes(layer)
    if due.keys() != group.keys():
        lack = [name for name in due if name not in group]
        extra = [name for name in group if name not in due]
        end = lack[0][lack[0].rindex("_l") :] if lack else None
        beside = [name for name in group if lack and name[name.rindex("_l") :] == end]
        raise _Misfit(
            f"{len(group)} arrays, {len(due)} make up {num_layers} layers in "
            f"{layer.num_directions} directions"
            + (f"; missing: {_list(lack)}" if lack else "")
            + (f", beside {_list(beside)}" if beside else "")
            + (f"; not among them: {_list(extra)}" if extra else "")
        )
    problem = misfit(layer, group)
    if problem:
        raise _Misfit(problem)
    return layer


def find(arrays, unread=None):
    """{prefix: Layer} for `arrays`, {name: array}, in their order. unread: {name: why} of tensors
    that were left out; a layer that needs one has a `problem`.

    The prefix is what stands before `weight_ih_l0`: "" or text that ends in a dot. Names that are
    recurrent weights by name but do not fit together give a Layer with `problem` set.
    """
    groups, counts = {}, {}
    for name, array in (arrays | (unread or {})).items():
        match = _NAME.fullmatch(name)
        if match:
            prefix, part, layer, reverse = match.groups()
            key, number = (prefix, layer is None), int(layer or 0)
            groups.setdefault(key, {})[f"{part}_l{number}{reverse or ''}"] = array
            counts[key] = max(counts.get(key, 0), number + 1)
    layers = {}
    for (prefix, cell), group in groups.items():
        if cell and (prefix in layers or "weight_hh_l0" not in group):
            continue  # a cell's names are ordinary words: alone they say nothing
        try:
            layer = _layer(group, counts[prefix, cell])
            layers[prefix] = dataclasses.replace(layer, cell=cell)
        except _Misfit as problem:
            if not cell or any(isinstance(array, str) for array in group.values()):
                layers[prefix] = Layer("recurrent layer", problem=str(problem))
    return layers
