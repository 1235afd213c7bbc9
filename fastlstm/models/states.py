# SPDX-License-Identifier: MIT
"""Which inputs and outputs of a model are its state: what a stream keeps from call to call.

A recurrent layer starts from h0 (and c0) and ends with hn (and cn). An input is a state if it does
nothing but become such starts, cut, joined and reshaped; an output is a state if it is made of
nothing but such ends. They are a pair if the layers are the same, in the same order, and if their
shapes fit: a layer's last output is an end too. Adding a constant zero is no change: exporters of
models with an input that nothing needs add 0 times it.
"""

from .graph import ModelError

_MOVES = {
    "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Split", "Gather", "Concat", "Cast",
    "Identity", "Flatten",
}  # fmt: skip


MOST_ENDS = 4096  # of one state: four for each of 1024 layers


def _moved(graph, node):
    """The inputs of a node that does nothing but move them into its outputs; None of any other."""
    if node.op == "Concat":
        return node.inputs
    if node.op in _MOVES:
        return node.inputs[:1]
    if node.op == "Add":
        zeros = [n in graph.constants and not graph.constants[n].any() for n in node.inputs]
        if any(zeros):
            return [n for n, zero in zip(node.inputs, zeros, strict=True) if not zero]
    return None


def _joined(lists):
    """One list of several; None if one of them is None, or if it is longer than any state's."""
    found = []
    for each in lists:
        if each is None or len(found) + len(each) > MOST_ENDS:
            return None
        found += each
    return found


def _starts(graph):
    """{name: [(number of the Recurrent node, 0 for h or 1 for c)] that the value becomes the start
    of, in their order; None if something else reads it}"""
    found = {}
    for number, node in reversed(list(enumerate(graph.nodes))):
        moved = _moved(graph, node) or ()
        for name in dict.fromkeys(filter(None, node.inputs)):
            here = None
            if node.op == "Recurrent" and name in node.inputs[2:]:
                here = [(number, i) for i, n in enumerate(node.inputs[2:]) if n == name]
            elif name in moved:
                here = _joined(found.get(n, []) for n in node.outputs if n)
            found[name] = _joined([here, found.get(name, [])])
    return found


def _ends(graph):
    """{name: [(number of the Recurrent node, 0 for h or 1 for c)] whose ends the value is made of,
    each once; None if of anything else}"""
    found = {}
    for number, node in enumerate(graph.nodes):
        moved = _moved(graph, node)
        for at, name in enumerate(node.outputs):
            if node.op == "Recurrent":
                found[name] = [(number, at - 1)] if at else None
            elif moved is not None:
                every = _joined(found.get(n) for n in moved)
                found[name] = None if every is None else list(dict.fromkeys(every))
    return found


def pairs(graph):
    """{input: output} of a flat graph, by their names in the model, for all states that are found.
    The order of the outputs' layers may differ from the inputs' only if there is one of each."""
    ends, all_ends, all_starts = {}, _ends(graph), _starts(graph)
    for value, result in zip(graph.outputs, graph.results, strict=True):
        found = all_ends.get(result)
        if found:
            ends.setdefault(frozenset(found), []).append(value)
    found = {}
    for value in graph.inputs:
        starts = all_starts.get(value.name)
        outputs = ends.get(frozenset(starts), []) if starts else []
        outputs = [other for other in outputs if _fits(value, other)]
        if len(outputs) == 1:
            found[value.name] = outputs[0].name
    return found


def _fits(one, other):
    """May the shapes of two Values be the same?"""
    a, b = one.shape, other.shape
    if a is None or b is None:
        return True
    return len(a) == len(b) and all(
        n == m for n, m in zip(a, b, strict=True) if isinstance(n, int) and isinstance(m, int)
    )


def checked(graph, given):
    """`given`, {input: output}, if the model has these and their shapes and dtypes agree."""
    inputs = {v.name: v for v in graph.inputs}
    outputs = {v.name: v for v in graph.outputs}
    for one, other in given.items():
        if one not in inputs or other not in outputs:
            raise ModelError(
                f"no pair of an input and an output: {one!r} and {other!r}; inputs are "
                f"{', '.join(inputs)}, outputs {', '.join(outputs)}"
            )
        if not _fits(inputs[one], outputs[other]):
            raise ModelError(f"{inputs[one]} is no state for {outputs[other]}: shapes differ")
    return dict(given)
