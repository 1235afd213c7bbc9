# SPDX-License-Identifier: MIT
"""The graph of a model that is asked to have int8 weights, with codes and scales for constants:
what it keeps in memory and in files.

A constant that becomes the matrix of products in codes (passes/codes.py), and nothing else, is
replaced by what makes it again,

    DequantizeLinear(codes (rows, K), scales (rows,), axis=0), and a Reshape or a Transpose

which a plan computes once. The plan makes codes of these numbers anew: the same codes, and the same
scales to the bit. For a scale is the nearest float32 to most / 127, where most is the largest
weight of its row, and whether 127 * scale, rounded, is most or a number beside it, a 127th of that
is rounded to the scale again. BatchNormalization and alpha, which are folded into weights
before, multiply whole rows.
"""

import collections
import dataclasses

import numpy as np

from ..engine import int8
from ..errors import LoadError
from ..layers import build
from .graph import MALFORMED, Graph, Node
from .half import MOVES, weights
from .passes.codes import MOST_INPUTS, why_not
from .reference import compute

_GROWTH = 4  # constants that are moved, cut and joined may become so many times larger


def coded(graph):
    """The graph with codes in place of the weights of its products, those of branches included."""
    nodes = list(graph.walk())
    taken = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    left = _GROWTH * sum(a.nbytes for a in _constants(graph))
    around, uses = collections.ChainMap(), {}
    graph = _moved(graph, weights(graph), around, [left], {})
    _find_uses(graph, around, uses)
    return _coded(graph, uses, taken, {})


def _branches(node):
    return [key for key, value in node.attrs.items() if isinstance(value, Graph)]


def _constants(graph):
    yield from graph.constants.values()
    for node in graph.nodes:
        for key in _branches(node):
            yield from _constants(node.attrs[key])


def _with_branches(node, change):
    """The node with change(branch) for each of its branches."""
    names = _branches(node)
    if not names:
        return node
    made = {key: change(node.attrs[key]) for key in names}
    return dataclasses.replace(node, attrs=node.attrs | made)


def _same(array):
    """What is the same of an array that is there already: of a small one its numbers."""
    if array is None or array.nbytes > 64:
        return id(array)
    return array.dtype.str, array.shape, array.tobytes()


def _moved(graph, names, around, left, kept):
    """The graph without the nodes that only move, cut and join constants to weights, `names`: their
    outputs are constants. around: a ChainMap of those around a branch; left: [bytes to be made];
    kept: {what is made of what: arrays}, since two branches make the same."""
    own, nodes = dict(graph.constants), []
    known = around.new_child(own)
    for node in graph.nodes:
        made = None
        given = [known.get(n) if n else None for n in node.inputs]
        if (
            node.op in MOVES
            and all(not n or n in names for n in node.outputs)
            and all(a is not None or not n for a, n in zip(given, node.inputs, strict=True))
        ):
            key = (node.op, repr(node.attrs), *map(_same, given))
            try:
                made = kept[key] if key in kept else compute(node, given, left[0])
            except (LoadError, *MALFORMED):
                made = None  # the plan says why
        if made is None:
            nodes.append(_with_branches(node, lambda b: _moved(b, names, known, left, kept)))
            continue
        if key not in kept:
            kept[key] = made = [np.asarray(a) for a in made]
            left[0] -= sum(a.nbytes for a in made)
        own |= {n: a for n, a in zip(node.outputs, made, strict=False) if n}
    return dataclasses.replace(graph, nodes=nodes, constants=own)


# ---- which constants ----


def _ways(node, known):
    """{number of an input: how the rows of its codes lie in it} of a product in codes whose weights
    are among `known`, {name: array}: "first" along the first axis, "second" along that of two, or
    "last" along all axes but the last."""
    given = [*node.inputs, "", "", ""]
    w, bias = known.get(given[1]), not given[2] or given[2] in known
    if w is None or w.dtype != np.float32 or not w.size:
        return {}
    if node.op in ("LSTM", "GRU", "RNN"):
        r = known.get(given[2])
        fits = r is not None and r.dtype == np.float32 and (w.ndim, r.ndim) == (3, 3)
        return {1: "last", 2: "last"} if fits and r.size else {}
    if node.op == "Conv":
        return {1: "first"} if bias and why_not(node, w.shape) is None else {}
    if w.ndim != 2 or max(w.shape) >= MOST_INPUTS:
        return {}
    if node.op == "MatMul":
        return {1: "second"}
    if node.op == "Gemm" and bias and not node.attrs.get("transA"):
        return {1: "first" if node.attrs.get("transB") else "second"}
    return {1: "first"} if node.op == "Linear" and bias and not given[3] else {}


def _find_uses(graph, around, uses):
    """Adds to uses, {name: set of ways, None for all that are none}, what the graph reads."""
    known = around.new_child(graph.constants)
    for node in graph.nodes:
        try:
            ways = _ways(node, known)
        except MALFORMED:  # attributes of other types than the operator's
            ways = {}
        for i, name in enumerate(node.inputs):
            uses.setdefault(name, set()).add(ways.get(i))
        for key in _branches(node):
            _find_uses(node.attrs[key], known, uses)
    for value in graph.outputs:
        uses.setdefault(value.name, set()).add(None)


# ---- in codes ----


def _matrix(array, way):
    if way == "second":
        return array.T
    return array.reshape(len(array), -1) if way == "first" else array.reshape(-1, array.shape[-1])


def _codes(name, array, ways):
    """Codes of a constant, or None."""
    if len(ways) != 1 or None in ways:
        return None
    try:
        made = int8.quantized(name, np.ascontiguousarray(_matrix(array, *ways)))
    except ValueError:  # not finite
        return None
    with np.errstate(over="ignore"):
        return made if np.isfinite(made.scales * np.float32(int8.TOP)).all() else None


def _made_again(name, made, array, way, taken):
    """(constants, nodes) that make a constant again of its codes."""

    def fresh(what):
        found = f"{name}@{what}"
        while found in taken:
            found += "@"
        return found

    codes, scales = fresh("codes"), fresh("scales")
    constants = {codes: made.codes, scales: made.scales}
    flat = name if array.ndim == 2 and way != "second" else fresh("rows")
    nodes = [Node("DequantizeLinear", [codes, scales], [flat], {"axis": 0}, name)]
    if way == "second":
        nodes.append(Node("Transpose", [flat], [name], {"perm": [1, 0]}, name))
    elif flat != name:
        shape = fresh("shape")
        constants[shape] = np.array(array.shape, np.int64)
        nodes.append(Node("Reshape", [flat, shape], [name], {}, name))
    return constants, nodes


def _layer_in_codes(node):
    """A Recurrent, which has its weights as an attribute, with codes, if they are finite."""
    try:
        layer = node.attrs["layer"]
        arrays = build.ready(layer, node.attrs["weights"], "int8", keep=True)
        layer = dataclasses.replace(layer, dtype="int8")
    except MALFORMED:
        return node
    return dataclasses.replace(node, attrs=node.attrs | {"layer": layer, "weights": arrays})


def _coded(graph, uses, taken, kept):
    """kept: {id of an array and its ways: (Codes, the array)}."""
    constants, nodes = {}, []
    for name, array in graph.constants.items():
        ways = uses.get(name, {None})
        key = (id(array), *ways)
        if key not in kept:
            kept[key] = _codes(name, array, ways), array
        made = kept[key][0]
        if made is not None:
            again = _made_again(name, made, array, *ways, taken)
            constants |= again[0]
            nodes += again[1]
        elif name in uses:
            constants[name] = array
    for node in graph.nodes:
        if node.op == "Recurrent":
            node = _layer_in_codes(node)
        nodes.append(_with_branches(node, lambda branch: _coded(branch, uses, taken, kept)))
    return dataclasses.replace(graph, constants=constants, nodes=nodes)
