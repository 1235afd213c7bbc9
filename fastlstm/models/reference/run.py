# SPDX-License-Identifier: MIT
"""The interpreter: a graph's nodes one by one."""

import collections

import numpy as np

from ..graph import Graph, ModelError
from .call import MAX_BYTES, TABLE


def compute(node, arrays, max_bytes=MAX_BYTES):
    """[arrays]: the outputs of one node, of the arrays of its inputs (None for one not given).

    They may be views of the inputs. ModelError, which names the node, for an operator that is not
    covered, for what does not fit together, and before an array of more than max_bytes is made.
    """
    if node.op not in TABLE:
        raise node.not_covered()
    return TABLE[node.op](node, arrays, max_bytes)


def run(graph, inputs, max_bytes=MAX_BYTES, held=None):
    """[arrays]: the outputs of a graph, in its order.

    inputs   {name: array} of every input; they are used as they are, whatever their dtypes
    held     f(dtype): the dtype in which what a node makes is kept; None: its own
    """
    missing = [value.name for value in graph.inputs if value.name not in inputs]
    unknown = set(inputs) - {value.name for value in graph.inputs}
    if missing or unknown:
        raise ModelError(f"{graph.name}: inputs missing: {missing}, unknown: {sorted(unknown)}")
    return _run(graph, {name: np.asarray(array) for name, array in inputs.items()}, max_bytes,
                held)  # fmt: skip


def _used(node):
    """The names that a node reads, those of its branches too."""
    yield from filter(None, node.inputs)
    for branch in node.attrs.values():
        if isinstance(branch, Graph):
            yield from (value.name for value in branch.outputs)
            for inner in branch.nodes:
                yield from _used(inner)


def _run(graph, values, max_bytes, held=None):
    """values: what is known around the graph; it is changed."""
    values.update(graph.constants)
    uses = collections.Counter(value.name for value in graph.outputs)
    for node in graph.nodes:
        uses.update(_used(node))
    made = {value.name for value in graph.inputs} | {n for v in graph.nodes for n in v.outputs}
    for node in graph.nodes:
        if node.op == "If":
            found = _branch(node, values, max_bytes, held)
        else:
            found = compute(node, [values[n] if n else None for n in node.inputs], max_bytes)
        if held is not None:
            found = [a.astype(held(a.dtype), copy=False) for a in found]
        if len(found) < len(node.outputs):
            raise node.error(f"{len(node.outputs)} outputs, the operator has {len(found)}")
        values.update((name, a) for name, a in zip(node.outputs, found) if name)
        for name in (*_used(node), *node.outputs):  # what nothing reads any more is forgotten
            uses[name] -= name not in node.outputs
            if uses[name] <= 0 and name in made:
                values.pop(name, None)
    return [values[value.name] for value in graph.outputs]


def _branch(node, values, max_bytes, held):
    condition = values[node.inputs[0]] if node.inputs and node.inputs[0] else None
    if condition is None or condition.size != 1 or condition.dtype != bool:
        raise node.error("its condition is not one bool")
    branch = node.attrs["then_branch" if condition.reshape(-1)[0] else "else_branch"]
    return _run(branch, dict(values), max_bytes, held)
