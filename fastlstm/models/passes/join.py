# SPDX-License-Identifier: MIT
"""Cells of an unrolled loop become one layer: Recurrents of one step with the same weights, each of
which starts from the state that the one before it ended with, become one Recurrent of all steps.
Loops whose inputs are made of what earlier steps gave, as a decoder's, stay as they are."""

import numpy as np

from ..graph import Node
from .edit import circles

_VIEWS = ("Squeeze", "Unsqueeze")


def _through_views(edit, name):
    """The value that `name` is but for axes of size 1."""
    node = edit.makers.get(name)
    while node is not None and node.op in _VIEWS:
        name = node.inputs[0]
        node = edit.makers.get(name)
    return name


def _one_step(edit, node):
    return (
        node.op == "Recurrent" and edit.shape(node.inputs[0])[0] == 1 and not any(node.inputs[1:2])
    )


def _same_weights(one, other):
    a, b = one.attrs, other.attrs
    if a["weights"] is b["weights"]:
        return a["layer"] == b["layer"]
    return a["layer"] == b["layer"] and all(
        np.array_equal(array, b["weights"].get(name)) for name, array in a["weights"].items()
    )


def _before(edit, node):
    """The Recurrent whose final state is where `node` starts from; or None."""
    starts = [_through_views(edit, name) for name in node.inputs[2:]]
    makers = [edit.makers.get(name) for name in starts]
    maker = makers[0] if makers else None
    if maker is None or any(m is not maker for m in makers) or not _one_step(edit, maker):
        return None
    if [maker.outputs.index(n) for n in starts] != list(range(1, 1 + len(starts))):
        return None
    return maker if _same_weights(maker, node) else None


def _readers(edit, name):
    """The nodes that read a value or what views make of it; None if it is an output."""
    found, names = [], [name]
    while names:
        name = names.pop()
        if name in edit.wanted:
            return None
        for node in edit.readers.get(name, ()):
            if node.op in _VIEWS:
                names.append(node.outputs[0])
            else:
                found.append(node)
    return found


def _chains(edit):
    """Lists of Recurrents, each of which goes on from the one before it in the list. All but the
    last give c to the next one alone: a layer gives the c of its last step only."""
    after, heads = {}, []
    for node in edit.graph.nodes:
        if node.op != "Recurrent" or not _one_step(edit, node):
            continue
        before = _before(edit, node)
        alone = before is not None and id(before) not in after
        if alone and len(before.outputs) > 2 and before.outputs[2]:
            alone = _readers(edit, before.outputs[2]) == [node]
        if alone:
            after[id(before)] = node
        else:
            heads.append(node)
    for head in heads:
        chain = [head]
        while id(chain[-1]) in after:
            chain.append(after[id(chain[-1])])
        if len(chain) > 1:
            yield chain


def _slices_of(edit, names):
    """(x, axis) if the values are x's slices along an axis, all of them in order; or None."""
    found = None
    for i, name in enumerate(names):
        node = edit.makers.get(_through_views(edit, name))
        if node is None:
            return None
        x, axis = node.inputs[0], node.attrs.get("axis", 0)
        if node.op == "Gather" and edit.value(node.inputs[1]) is not None:
            at = edit.value(node.inputs[1])
            fits = at.size == 1 and int(at.reshape(-1)[0]) % len(names) == i
        elif node.op == "Split":
            fits = len(node.outputs) == len(names) and node.outputs[i] == _through_views(edit, name)
        else:
            return None
        shape = edit.shape(x)
        axis %= len(shape)
        if not fits or len(shape) != 3 or axis > 1 or shape[axis] != len(names):
            return None
        if found not in (None, (x, axis)):
            return None
        found = x, axis
    return found


def _joined(edit, chain):
    """The nodes of one layer for a chain: they give the chain's own names."""
    head, last = chain[0], chain[-1]
    made = []
    source = _slices_of(edit, [node.inputs[0] for node in chain])
    if source is None:
        made.append(edit.node("Concat", [node.inputs[0] for node in chain], 1, head, axis=0))
        x = made[-1].outputs[0]
    else:
        x, axis = source
        if axis == 1:
            made.append(edit.node("Transpose", [x], 1, head, perm=[1, 0, 2]))
            x = made[-1].outputs[0]
    inputs = [x, *head.inputs[1:]]
    y = edit.fresh(last.outputs[0] or "y")
    states = [n or edit.fresh("state") for n in last.outputs[1:]]
    made.append(edit.node("Recurrent", inputs, [y, *states], head, **head.attrs))
    for i, node in enumerate(chain):
        ends = [edit.constant("number", np.array([n])) for n in (i, i + 1, 0)]
        for name in (node.outputs[0], node.outputs[1] if node is not last else ""):
            if name:  # y and hn of one step have the same numbers and shape: (1, B, K)
                made.append(edit.node("Slice", [y, *ends], [name], node))
    return made


def _loose(edit, chains):
    """The chains none of whose inputs need what the chain itself, as one layer, gives."""
    gone = {id(node) for chain in chains for node in chain}
    nodes = [node for node in edit.graph.nodes if id(node) not in gone]
    layers = []
    for chain in chains:
        inputs = [node.inputs[0] for node in chain] + chain[0].inputs[1:]
        layers.append(Node("layer", inputs, [n for node in chain for n in node.outputs]))
    bound = {id(node) for node in circles(nodes + layers)}
    return [c for c, layer in zip(chains, layers, strict=True) if id(layer) not in bound]


def join(edit):
    """All chains of the graph."""
    made, gone, chains = {}, set(), []
    for chain in _chains(edit):
        layer = chain[0].attrs["layer"]
        if layer.num_layers == 1 and not layer.bidirectional and layer.direction != "reverse":
            chains.append(chain)
    for chain in _loose(edit, chains) if chains else ():
        made[id(chain[-1])] = _joined(edit, chain)
        gone.update(id(node) for node in chain)
    edit.replace(made, gone)
