# SPDX-License-Identifier: MIT
"""Recurrent layers among named arrays, recognised by PyTorch's names (weight_shapes.py) with any
prefix, and described by their shapes alone.

What stands under a layer's prefix and is no weight of a plain layer makes it another module: a cell
with layer normalisation, a learned state, adapters. It gets a Layer with a problem (beside.py).
Weights that are kept as the parts they are computed from are made first (reparametrised.py).
"""

import dataclasses

from .beside import Beside
from .contents import Contents
from .description import Layer
from .reparametrised import NotFolded, fold, is_known, part_of
from .weight_shapes import GATES, misfit, parse_name, weight_shapes

_KINDS = {gates: kind for kind, gates in GATES.items()}


class _Misfit(Exception):
    """Why a group of weights is no layer."""


class _Group:
    """The weights of one prefix.

    arrays   {name with `_l<n>`, without the prefix: array, or what it is if it is not read}
    used     the file's names of what they are made of
    parts    {name with `_l<n>`: {which part: array}} of those that are kept as parts
    """

    def __init__(self):
        self.arrays, self.used, self.parts = {}, set(), {}

    def has_unread(self):
        return any(isinstance(array, str) for array in self.arrays.values())


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
        peepholes=tuple(name for name in group if name.startswith("peephole")),
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
    if layer.peepholes and layer.kind != "LSTM":
        raise _Misfit(f"{layer.peepholes[0]}: only an LSTM has peepholes")
    return layer


def _end(name):
    """The end of a weight's name, with `_l<n>`, of a Name."""
    return f"{name.part}_l{name.number or 0}{'_reverse' if name.reverse else ''}"


def _number(end):
    """The layer's number in a weight's name that `_end` gave."""
    return int(end[end.rindex("_l") + 2 :].removesuffix("_reverse"))


def _grouped(arrays):
    """{(prefix, whether the names are a cell's): _Group} in the order of the file."""
    groups = {}
    for name, array in arrays.items():
        parsed, part = parse_name(name), None
        if parsed is None:
            made_of = part_of(name)
            if made_of is None:
                continue
            prefix, weight, part = made_of
            parsed = parse_name(prefix + weight)
        if parsed is None:
            continue
        group = groups.setdefault((parsed.prefix, parsed.number is None), _Group())
        group.used.add(name)
        if part is None:
            group.arrays[_end(parsed)] = array
        else:
            group.parts.setdefault(_end(parsed), {})[part] = array
    return groups


def _with_raw_weights(groups):
    """Put the other weights of a submodule `module`, whose recurrent ones the wrapper beside it
    holds raw and drops out before each call, with those: the layer is the wrapper's."""
    for (prefix, cell), group in list(groups.items()):
        inner = groups.get((f"{prefix}module.", cell))
        raw = all(list(parts) == ["raw"] for parts in group.parts.values())
        if inner is None or group.arrays or not raw:
            continue
        group.arrays = {n: a for n, a in inner.arrays.items() if n not in group.parts}
        group.used |= inner.used
        del groups[f"{prefix}module.", cell]
    return groups


def _fold(contents, group, cell):
    """Make the weights of a _Group that are kept as parts; _Misfit if one cannot be made."""
    for name, parts in group.parts.items():
        shown = name.removesuffix("_l0") if cell else name
        if name in group.arrays and list(parts) != ["raw"]:
            raise _Misfit(f"{shown} is there, and so are parts it would be computed from")
        for part, array in parts.items():
            if isinstance(array, str):
                raise _Misfit(f"{shown}: its part {part!r} is {array}, which is not read")
        contents.charge(4 * max(array.size for array in parts.values()))
        try:
            group.arrays[name] = fold(shown, parts)
        except NotFolded as problem:
            raise _Misfit(str(problem)) from None


def _assumed(layer):
    """What names and shapes do not tell of a layer."""
    return ("batch_first",) * (not layer.cell) + ("nonlinearity",) * (layer.kind == "RNN")


def _is_weighty(group, cell):
    """Whether a group says that it is a layer: a cell's names are ordinary words, and alone they
    say nothing."""
    if not cell:
        return True
    found = {name for name, parts in group.parts.items() if is_known(parts)} | group.arrays.keys()
    return "weight_hh_l0" in found


def find(arrays, source=None, options=None, unread=None):
    """Contents of `arrays`, {name: array}, with the layers in their order.

    The prefix of a layer is what stands before `weight_ih_l0`. Names that are recurrent weights by
    name but do not fit together give a Layer with `problem` set. Weights that are computed from
    parts stand among the arrays once more, under their own names.

    source    the open file, for the bound on what is made
    options   the caller's Options; reset_after False: GRUs are such, as others use torch's names
    unread    {name: what it is} of tensors of the file that are not read: a layer that needs one
              has a problem
    """
    contents = Contents(dict(arrays), {}, source=source)
    both = arrays | (unread or {})
    beside, reset_after = Beside(both), options is None or options.reset_after is not False
    for (prefix, cell), group in _with_raw_weights(_grouped(both)).items():
        if not _is_weighty(group, cell) or (cell and prefix in contents.layers):
            continue
        try:
            _fold(contents, group, cell)
            layer = _layer(group.arrays, 1 + max(map(_number, group.arrays)))
            reset = reset_after or layer.kind != "GRU"
            layer = dataclasses.replace(layer, cell=cell, reset_after=reset)
            problem = beside.problem(prefix, layer, group.used)
            layer = dataclasses.replace(layer, assumed=_assumed(layer), problem=problem)
        except _Misfit as problem:
            if cell and not group.parts and not group.has_unread():
                continue
            layer = Layer("recurrent layer", problem=str(problem))
        contents.layers[prefix] = layer
        if group.parts:
            for name, array in group.arrays.items():
                end = name.removesuffix("_l0") if cell else name
                if not isinstance(array, str):
                    contents.arrays.setdefault(prefix + end, array)
    return contents
