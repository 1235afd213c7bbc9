# SPDX-License-Identifier: MIT
"""Which constants of a graph are weights, and the graph with them rounded to float16.

A constant is a weight if it becomes nothing but matrices of products: directly, or moved, cut and
joined on the way. Biases, scales and tables stay float32 in a float16 model.
"""

import dataclasses

import numpy as np

from .graph import Graph

DTYPES = ("float32", "float16", "int8")  # that a whole model's weights may have

# Inputs that are matrices of products: {operator: their numbers}.
_MATRICES = {
    "MatMul": (1,), "Gemm": (1,), "Linear": (1,), "Conv": (1,), "ConvTranspose": (1,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
}  # fmt: skip
_MOVES = {"Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Split", "Concat", "Identity"}


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
        moved = node.op in _MOVES and all(n in good and n not in bad for n in node.outputs if n)
        for i, name in enumerate(node.inputs):
            read.add(name)
            if i in _MATRICES.get(node.op, ()) or (moved and (i == 0 or node.op == "Concat")):
                good.add(name)
            else:
                bad.add(name)
    return good - bad


def to_half(array):
    """The float32 array as float16; None if that would make a finite element infinite."""
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if (np.isfinite(half) | ~np.isfinite(array)).all() else None


def rounded(graph):
    """The graph, its weights rounded to float16 and held as float32. What a float16 model computes
    is so the same before it is saved and after it is loaded, whatever is folded into weights."""
    return _rounded(graph, weights(graph))


def _rounded(graph, names):
    constants = dict(graph.constants)
    for name in names & constants.keys():
        half = to_half(constants[name]) if constants[name].dtype == np.float32 else None
        if half is not None:
            constants[name] = half.astype(np.float32)
    nodes = [
        dataclasses.replace(
            node,
            attrs={
                key: _rounded(value, names) if isinstance(value, Graph) else value
                for key, value in node.attrs.items()
            },
        )
        if any(isinstance(value, Graph) for value in node.attrs.values())
        else node
        for node in graph.nodes
    ]
    return dataclasses.replace(graph, constants=constants, nodes=nodes)
