# SPDX-License-Identifier: MIT
"""Layers that exporters write one by one become a stack: Recurrents in one direction, each of which
alone reads what the one before it gives, become one Recurrent of several layers. The engine then
runs them in one call, and divides them among threads as a whole.

They start from zeros, or from slices of one array, which is the stack's own; and an array that is
joined of all their ends is what the stack gives. The bits are those of the single layers.
"""

import dataclasses

import numpy as np

_AXES = ("Unsqueeze", "Squeeze")


def _source(edit, name):
    """The value that `name` is; axes of size 1 that are added and taken away again do not count."""
    node = edit.makers.get(name)
    if node is None or node.op != "Squeeze":
        return name
    before = edit.makers.get(node.inputs[0])
    if before is None or before.op != "Unsqueeze":
        return name
    rank = len(edit.shape(node.inputs[0]))
    axes = [edit.value(each.inputs[1]) if len(each.inputs) > 1 else None for each in (before, node)]
    if any(a is None for a in axes):
        return name
    one, other = (sorted(int(i) % rank for i in a.reshape(-1)) for a in axes)
    return before.inputs[0] if one == other else name


def _only_reader(edit, name):
    """The Recurrent whose x is all that `name` is needed for; or None."""
    while True:
        node = edit.only_reader(name)
        if node is None or node.op not in _AXES:
            break
        name = node.outputs[0]
    return node if node is not None and node.op == "Recurrent" and node.inputs[0] == name else None


def _can_stack(edit, node):
    layer = node.attrs["layer"]
    return (
        node.op == "Recurrent"
        and layer.num_layers == 1
        and layer.direction == "forward"
        and layer.dtype != "int8"
        and not (layer.initial_state or layer.peepholes or layer.cell)
        and "note" not in node.attrs
    )


def _plain(layer):
    return dataclasses.replace(layer, input_size=0)


def _given(node):
    """lengths, h0, c0, "" for those that are not given."""
    return [*node.inputs[1:], "", "", ""][:3]


def _fits(edit, one, other):
    """Can `other` be the layer behind `one`?"""
    a, b = _given(one), _given(other)
    return (
        _source(edit, other.inputs[0]) == one.outputs[0]
        and _plain(one.attrs["layer"]) == _plain(other.attrs["layer"])
        and a[0] == b[0]
        and [bool(n) for n in a] == [bool(n) for n in b]
    )


def _chains(edit):
    """Lists of Recurrents, each of which reads what the one before it gives."""
    found, behind = [], set()
    for node in edit.graph.nodes:
        if node.op != "Recurrent" or id(node) in behind or not _can_stack(edit, node):
            continue
        chain = [node]
        while chain[-1].outputs[0]:
            after = _only_reader(edit, chain[-1].outputs[0])
            if after is None or not _can_stack(edit, after) or not _fits(edit, chain[-1], after):
                break
            chain.append(after)
            behind.add(id(after))
        if len(chain) > 1:
            found.append(chain)
    return found


def _part(edit, name):
    """(array, first, end) if a value is that part of an array's axis 0; or None."""
    node = edit.makers.get(name)
    if node is None or not edit.shape(node.inputs[0]):
        return None
    size = edit.shape(node.inputs[0])[0]
    if node.op == "Split" and node.attrs.get("axis", 0) == 0 and size is not None:
        lengths = [edit.shape(n)[0] if n else None for n in node.outputs]
        at = node.outputs.index(name)
        if None not in lengths:
            return node.inputs[0], sum(lengths[:at]), sum(lengths[: at + 1])
    if node.op != "Slice" or size is None:
        return None
    numbers = [edit.value(n) if n else None for n in node.inputs[1:]]
    numbers += [None] * (4 - len(numbers))
    if any(a is not None and a.size != 1 for a in numbers) or any(a is None for a in numbers[:2]):
        return None
    first, end, axis, step = (None if a is None else int(a.reshape(-1)[0]) for a in numbers)
    if axis not in (None, 0, -len(edit.shape(node.inputs[0]))) or step not in (None, 1):
        return None
    return (node.inputs[0], *slice(first, end).indices(size)[:2])


def _start(edit, names):
    """What a stack starts from, whose layers start from `names`: an array, "" for zeros, or None if
    there is no such array."""
    if not any(names):
        return ""
    parts = [_part(edit, name) for name in names]
    if any(p is None or p[0] != parts[0][0] for p in parts):
        return None
    ends = [(i, i + 1) for i in range(len(parts))]
    whole = [p[1:] for p in parts] == ends and edit.shape(parts[0][0])[0] == len(parts)
    return parts[0][0] if whole else None


def _end(edit, names):
    """The value that alone reads the ends `names` of all layers, joined in order; or None."""
    node = edit.only_reader(names[0]) if all(names) else None
    if node is None or node.op != "Concat" or node.inputs != list(names):
        return None
    axis = node.attrs.get("axis")
    alone = all(edit.only_reader(name) is node for name in names)
    return node if alone and axis in (0, -3) else None


def _ends(edit, chain, at, made, gone):
    """The name of the stack's end number `at`, "" if nobody needs one. made: nodes that give the
    layers' own; gone: ids of nodes that are not needed any more."""
    names = [node.outputs[at] if at < len(node.outputs) else "" for node in chain]
    if not any(names):
        return ""
    joined = _end(edit, names)
    if joined is not None:
        gone.add(id(joined))
        return joined.outputs[0]
    whole = edit.fresh("ends")
    for i, name in enumerate(names):
        if name:
            bounds = [edit.constant("number", np.array([n])) for n in (i, i + 1, 0)]
            made.append((whole, bounds, name, chain[i]))
    return whole


def _stack(edit, chain, gone):
    """The nodes of the stack; None if its layers start from arrays of their own."""
    given = [_given(node) for node in chain]
    starts = [_start(edit, [each[i] for each in given]) for i in (1, 2)]
    if None in starts:
        return None
    weights = {}
    for i, node in enumerate(chain):
        for name, array in node.attrs["weights"].items():
            weights[name.replace("_l0", f"_l{i}")] = array
    layer = dataclasses.replace(chain[0].attrs["layer"], num_layers=len(chain))
    parts = []
    ends = [_ends(edit, chain, at, parts, gone) for at in (1, 2)]
    inputs = [chain[0].inputs[0], given[0][0], *starts]
    while not inputs[-1]:
        inputs.pop()
    outputs = [chain[-1].outputs[0] or edit.fresh("y"), *ends]
    if layer.kind != "LSTM":
        outputs.pop()
    attrs = chain[0].attrs | {"layer": layer, "weights": weights}
    made = [edit.node("Recurrent", inputs, outputs, chain[0], **attrs)]
    for whole, bounds, name, node in parts:
        made.append(edit.node("Slice", [whole, *bounds], [name], node))
    return made


def stack(edit):
    """All stacks of the graph; not of models in 8-bit codes, where the inputs of a layer inside of
    a stack have other codes than those of a layer alone."""
    if edit.dtype == "int8":
        return
    made, gone = {}, set()
    for chain in _chains(edit):
        new = _stack(edit, chain, gone)
        if new is not None:
            made[id(chain[-1])] = new
            gone.update(id(node) for node in chain)
    edit.replace(made, gone)
