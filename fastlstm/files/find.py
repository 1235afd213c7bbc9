# SPDX-License-Identifier: MIT
"""Recurrent layers among named arrays, told by PyTorch's names and by their shapes.

<prefix>weight_ih_l<n>[_reverse]   (gates x H, input)     gates: LSTM 4, GRU 3, RNN 1
<prefix>weight_hh_l<n>[_reverse]   (gates x H, P or H)
<prefix>weight_hr_l<n>[_reverse]   (P, H)                 LSTM with projection only
<prefix>bias_ih_l<n>[_reverse], bias_hh_...  (gates x H,) all, or none

The names of LSTMCell, GRUCell and RNNCell end before `_l<n>`: one layer, one direction.
"""

import dataclasses
import re

from .description import Layer

_NAME = re.compile(
    r"(|.*\.)(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(0|[1-9][0-9]{0,3})(_reverse)?)?",
    re.DOTALL,
)
_KINDS = {4: "LSTM", 3: "GRU", 1: "RNN"}


class _Misfit(Exception):
    """Why a group of weights is no layer."""


def _shape(group, key, ndim):
    if key not in group:
        raise _Misfit(f"{_text(key)} is missing")
    array = group[key]
    if array.dtype.kind != "f":
        raise _Misfit(f"{_text(key)} is {array.dtype}, not a float")
    if array.ndim != ndim or 0 in array.shape:
        raise _Misfit(f"{_text(key)} has the shape {array.shape}")
    return array.shape


def _text(key):
    part, layer, reverse = key
    return f"{part}_l{layer}{'_reverse' if reverse else ''}"


def _list(keys):
    return ", ".join(map(_text, keys[:8]))


def _layer(group):
    """The Layer that `group`, {(part, layer, reverse): array}, makes up; _Misfit if none."""
    first = ("weight_hh", 0, False)
    rows, width = _shape(group, first, 2)
    proj = 0
    hidden = width
    if ("weight_hr", 0, False) in group:
        proj, hidden = _shape(group, ("weight_hr", 0, False), 2)
    gates = rows // hidden
    if rows % hidden or gates not in _KINDS or (proj and (gates != 4 or proj != width)):
        with_hr = f" with weight_hr_l0 {(proj, hidden)}" if proj else ""
        raise _Misfit(f"{_text(first)} {(rows, width)}{with_hr} fits no LSTM, GRU or RNN")
    layers = 1 + max(layer for _, layer, _ in group)
    directions = 1 + any(reverse for _, _, reverse in group)
    bias = any(part.startswith("bias") for part, _, _ in group)
    size = _shape(group, ("weight_ih", 0, False), 2)[1]
    parts = {"weight_ih": None, "weight_hh": (rows, width)}
    parts |= {"weight_hr": (proj, hidden)} if proj else {}
    parts |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
    due = {
        (part, layer, reverse)
        for part in parts
        for layer in range(layers)
        for reverse in (False, True)[:directions]
    }
    if due != group.keys():
        lack, over = sorted(due - group.keys()), sorted(group.keys() - due)
        there = [key for key in group if lack and key[1:] == lack[0][1:]]
        raise _Misfit(
            f"{len(group)} arrays, {len(due)} make up {layers} layers in {directions} directions"
            + (f"; missing: {_list(lack)}" if lack else "")
            + (f", beside {_list(there)}" if there else "")
            + (f"; not among them: {_list(over)}" if over else "")
        )
    for layer in range(layers):
        parts["weight_ih"] = (rows, directions * width if layer else size)
        for reverse in (False, True)[:directions]:
            for part, shape in parts.items():
                key = (part, layer, reverse)
                found = _shape(group, key, len(shape))
                if found != shape:
                    raise _Misfit(f"{_text(key)} has the shape {found}, {shape} is due")
    direction = "bidirectional" if directions == 2 else "forward"
    return Layer(_KINDS[gates], size, hidden, proj, layers, bias, direction)


def find(arrays):
    """{prefix: Layer} for `arrays`, {name: array}, in their order.

    The prefix is what stands before `weight_ih_l0`: "" or text that ends in a dot. Names that are
    recurrent weights by name but do not fit together give a Layer with `problem` set.
    """
    groups = {}
    for name, array in arrays.items():
        match = _NAME.fullmatch(name)
        if match:
            prefix, part, layer, reverse = match.groups()
            group = groups.setdefault((prefix, layer is None), {})
            group[part, int(layer or 0), bool(reverse)] = array
    layers = {}
    for (prefix, cell), group in groups.items():
        if cell and (prefix in layers or ("weight_hh", 0, False) not in group):
            continue  # a cell's names are ordinary words: alone they say nothing
        try:
            layers[prefix] = dataclasses.replace(_layer(group), cell=cell)
        except _Misfit as misfit:
            if not cell:
                layers[prefix] = Layer("recurrent layer", problem=str(misfit))
    return layers
