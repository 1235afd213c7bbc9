# SPDX-License-Identifier: MIT
"""Which constants of a graph are weights, and the graph with them rounded to float16 or bfloat16.

A constant is a weight if it becomes nothing but matrices of products: directly, or moved, cut and
joined on the way. Biases, scales and tables stay float32 in such a model.
"""

import dataclasses

import numpy as np

from ..engine import bfloat16
from .graph import Graph

DTYPES = ("float32", "float16", "bfloat16", "int8")  # that a whole model's weights may have

# Inputs that are matrices of products: {operator: their numbers}.
_MATRICES = {
    "MatMul": (1,), "Gemm": (1,), "Linear": (1,), "Conv": (1,), "ConvTranspose": (1,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
}  # fmt: skip
MOVES = {"Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Split", "Concat", "Identity"}


def weights(graph):
    """The names of the graph's constants that are weights, those of its branches included."""
    nodes = list(graph.walk())
    results = {value.name for value in graph.outputs}
    for node in nodes:
        for branch in node.attrs.values():
            if isinstance(branch, Graph):
                results.update(value.name for value in branch.outputs)
    good, read = set(), set()  # values with only such uses so far; values with any use
    bad = set(results)
    for node in reversed(nodes):  # a value's uses come before it in this order
        moved = node.op in MOVES and all(n in good and n not in bad for n in node.outputs if n)
        for i, name in enumerate(node.inputs):
            read.add(name)
            if i in _MATRICES.get(node.op, ()) or (moved and (i == 0 or node.op == "Concat")):
                good.add(name)
            else:
                bad.add(name)
    return good - bad


def narrowed(array, dtype):
    """The float32 array as float16, or as a Bfloat16; None if that would make a finite element
    infinite."""
    if dtype == "bfloat16":
        try:
            made = bfloat16.quantized("", array.reshape(1, -1))
        except ValueError:
            return None
        return bfloat16.Bfloat16(made.bits.reshape(array.shape))
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if (np.isfinite(half) | ~np.isfinite(array)).all() else None


def rounded(graph, dtype):
    """The graph, its weights rounded to the dtype and held as float32. What such a model computes
    is so the same before it is saved and after it is loaded, whatever is folded into weights."""
    return _rounded(graph, weights(graph), dtype)


def _held(array, dtype):
    """A weight of float32, rounded."""
    made = narrowed(array, dtype) if array.dtype == np.float32 else None
    return array if made is None else made.astype(np.float32)


def _rounded(graph, names, dtype):
    constants = {n: _held(a, dtype) if n in names else a for n, a in graph.constants.items()}
    nodes = []
    for node in graph.nodes:
        attrs = {
            key: _rounded(value, names, dtype)
            for key, value in node.attrs.items()
            if isinstance(value, Graph)
        }
        weights_of = node.attrs.get("weights") if node.op == "Recurrent" else None
        if isinstance(weights_of, dict):
            attrs["weights"] = {
                name: _held(array, dtype) if name.startswith("weight_") else array
                for name, array in weights_of.items()
            }
        nodes.append(dataclasses.replace(node, attrs=node.attrs | attrs) if attrs else node)
    return dataclasses.replace(graph, constants=constants, nodes=nodes)
