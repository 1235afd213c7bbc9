# SPDX-License-Identifier: MIT
"""The products of a model that is asked to have int8 or bfloat16 weights: recurrent layers,
products with constant matrices and convolutions over one axis. Where that cannot be, the attribute
"note" says why.

In bfloat16 weights and inputs are rounded, and sums are float32's (engine/bfloat16.py). int8 is as
codes.py has it.
"""

import dataclasses

import numpy as np

from ...engine import bfloat16, int8
from ...layers import build
from ..graph import Node
from .codes import MOST_INPUTS, why_not, windows

DTYPES = ("int8", "bfloat16")  # of weights, whose products are made here


def _noted(node, why):
    node.attrs = node.attrs | {"note": why}
    return [node]


def _weights(edit, array):
    """(names of W and of its scales, "" if it has none; attributes of the Linear that has them) of
    a float32 matrix. ValueError if there are none."""
    array = np.ascontiguousarray(array, np.float32)
    if edit.dtype == "bfloat16":
        made = bfloat16.quantized("its weight", array)
        return edit.constant("rounded", made.astype(np.float32)), "", {"dtype": edit.dtype}
    made = int8.quantized("its weight", array)
    names = edit.constant("codes", made.codes), edit.constant("scales", made.scales)
    return *names, {"codes": edit.inputs}


def _without_note(node):
    return {k: v for k, v in node.attrs.items() if k != "note"}


def _linear(edit, node):
    w = edit.value(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else ""
    if len(node.inputs) > 3 and node.inputs[3]:
        return [node]
    if w is None or (bias and edit.value(bias) is None) or not 0 < w.shape[1] < MOST_INPUTS:
        return _noted(node, "its weights are computed as the model runs, or too many")
    try:
        w, scales, attrs = _weights(edit, w)
    except ValueError as why:
        return _noted(node, str(why))
    inputs = [node.inputs[0], w, bias, scales]
    while not inputs[-1]:
        inputs.pop()
    return [Node("Linear", inputs, node.outputs, _without_note(node) | attrs, node.name)]


def _conv(edit, node):
    w, bias = edit.value(node.inputs[1]), [*node.inputs, ""][2]
    if w is None or (bias and edit.value(bias) is None):
        return _noted(node, "its weights are computed as the model runs")
    why = why_not(node, w.shape, "codes" if edit.dtype == "int8" else edit.dtype)
    if why:
        return _noted(node, why)
    try:
        made, scales, attrs = _weights(edit, w.transpose(0, 2, 1).reshape(len(w), -1))
    except ValueError as error:
        return _noted(node, str(error))
    made = (made, bias, scales), attrs
    return windows(edit, node, node.inputs[0], *made, w.shape[2], node.outputs)


def _recurrent(edit, node):
    """Of any dtype that is asked for: a saved model's layer may have codes."""
    layer, weights = node.attrs["layer"], node.attrs["weights"]
    dtype = edit.dtype if edit.dtype in DTYPES else "float32"
    if layer.dtype != dtype:
        try:
            weights = build.ready(layer, weights, dtype, keep=True)
        except ValueError as error:
            return _noted(node, str(error))
        layer = dataclasses.replace(layer, dtype=dtype)
    layer = dataclasses.replace(layer, inputs=edit.inputs if dtype == "int8" else "int16")
    node.attrs = _without_note(node) | {"layer": layer, "weights": weights}
    return [node]


_VIEWS = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")


def _is_upper(edit, node):
    """Is the input of a Recurrent what another one gives?"""
    maker = edit.makers.get(node.inputs[0])
    while maker is not None and maker.op in _VIEWS:
        maker = edit.makers.get(maker.inputs[0])
    return maker is not None and maker.op == "Recurrent"


def few_bits(edit):
    """All of the graph, if that is what the model is asked for; and inputs of upper layers in codes
    of 8 bits, as in a stack that is one layer."""
    functions = {"Recurrent": _recurrent} if edit.dtype else {}
    if edit.dtype in DTYPES:
        functions |= {"Linear": _linear, "Conv": _conv}
    nodes = []
    for node in edit.graph.nodes:
        function = functions.get(node.op)
        nodes += [node] if function is None else function(edit, node)
    edit.graph.nodes = nodes
    edit.tidy()
    for node in edit.graph.nodes:
        layer = node.attrs.get("layer")
        if node.op == "Recurrent" and layer.dtype == "int8" and _is_upper(edit, node):
            node.attrs = node.attrs | {"layer": dataclasses.replace(layer, inputs="int8")}
