# SPDX-License-Identifier: MIT
"""ONNX's LSTM, GRU and RNN become this package's Recurrent, once their weights are constant.

files/onnx/file.py has the operators' inputs and the order of their gates; torch's order is due
here. X is (T, B, I), or (B, T, I) with layout 1, and Y (T, D, B, H), or (B, T, D, H).
"""

import numpy as np

from ...files.onnx import gates
from . import codes

QUANTIZED = "com.microsoft.DynamicQuantizeLSTM"
OPS = ("LSTM", "GRU", "RNN", QUANTIZED)


def _weights(edit, node):
    """W, R, B or None, P or None: constant arrays of float32 with the sizes that fit; without W and
    R if they are codes."""
    found = []
    for index, what in ((1, "W"), (2, "R"), (3, "B"), (7, "P"))[2 * (node.op == QUANTIZED) :]:
        name = node.inputs[index] if index < len(node.inputs) else ""
        array = edit.value(name)
        if name and array is None:
            raise node.error(f"{what} ({name!r}) is not constant, but computed as the model runs")
        found.append(None if array is None else np.asarray(array, np.float32))
    return found


def _input(node, index):
    return node.inputs[index] if index < len(node.inputs) else ""


def _layer(edit, node):
    """(Layer, {torch's name: array}, a note or None) of a node."""
    arrays = _weights(edit, node)
    try:
        if node.op == QUANTIZED:
            return codes.lstm(edit, node, *arrays)
        return *gates.layer_of(node.op, node.attrs, *arrays), None
    except gates.Problem as problem:
        raise node.error(str(problem)) from None


def _states(edit, node, layout, made):
    """The names of h0 and c0 in Recurrent's layout, "" for those that are not given."""
    names = [_input(node, 5), _input(node, 6) if "LSTM" in node.op else ""]
    if layout:
        for i, name in enumerate(names):
            if name:
                made.append(edit.node("Transpose", [name], 1, node, perm=[1, 0, 2]))
                names[i] = made[-1].outputs[0]
    return names


def _one(edit, node):
    """The nodes that take the place of `node`."""
    layer, weights, note = _layer(edit, node)
    made, layout, dirs = [], node.attrs.get("layout", 0), layer.num_directions
    x = node.inputs[0]
    if layout:
        made.append(edit.node("Transpose", [x], 1, node, perm=[1, 0, 2]))
        x = made[-1].outputs[0]
    h0, c0 = _states(edit, node, layout, made)
    inputs = [x, _input(node, 4), h0, c0]
    while not inputs[-1]:
        inputs.pop()
    finals = [*node.outputs, "", ""][1 : 3 if layer.kind == "LSTM" else 2]
    y, wanted = edit.fresh(node.name or node.op), bool(node.outputs[0])
    outputs = [y, *([edit.fresh(n) if n else "" for n in finals] if layout else finals)]
    attrs = {"layer": layer, "weights": weights} | ({"note": note} if note else {})
    made.append(edit.node("Recurrent", inputs, outputs, node, **attrs))
    if wanted:
        made += _output(edit, node, y, layout, dirs, layer.hidden_size)
    if layout:
        for name, mine in zip(finals, outputs[1:], strict=True):
            if name:
                made.append(edit.node("Transpose", [mine], [name], node, perm=[1, 0, 2]))
    return made


def _output(edit, node, y, layout, dirs, hidden):
    """The nodes that make ONNX's Y of y (T, B, D H)."""
    out = node.outputs[0]
    if dirs == 1 and not layout:
        return [edit.node("Unsqueeze", [y, edit.constant("axes", np.array([1]))], [out], node)]
    target = edit.constant("shape", np.array([0, 0, dirs, hidden]))
    parted = edit.node("Reshape", [y, target], 1, node)
    perm = [1, 0, 2, 3] if layout else [0, 2, 1, 3]
    return [parted, edit.node("Transpose", parted.outputs, [out], node, perm=perm)]


def recurrent(edit):
    """All LSTM, GRU and RNN nodes of the graph."""
    nodes = []
    for node in edit.graph.nodes:
        nodes += _one(edit, node) if node.op in OPS else [node]
    edit.graph.nodes = nodes
    edit.look()
