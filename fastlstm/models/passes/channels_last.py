# SPDX-License-Identifier: MIT
"""Layouts. The C core's convolutions and pools read channels last, so that a window of a Conv1d is
one run of memory; ONNX has channels first. Each gets a Transpose before and behind it, and then
Transposes are moved towards the outputs, where two of them meet and cancel."""

import numpy as np

from ..reference.call import DTYPES
from ..shapes import ELEMENTWISE

_LAST = {
    "Conv": "ConvLast", "ConvTranspose": "ConvTransposeLast", "MaxPool": "MaxPoolLast",
    "AveragePool": "AveragePoolLast", "LpPool": "LpPoolLast",
}  # fmt: skip
_UNARY = {
    "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "Exp", "Log", "Sqrt", "Abs", "Neg",
    "Erf", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Gelu", "Mish", "Reciprocal",
    "Floor", "Ceil", "Round", "Sign", "Not", "Cast", "Celu", "ThresholdedRelu", "Sin", "Cos",
    "IsNaN", "IsInf", "Silu", "Swish", "Shrink", "Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan",
    "Asinh", "Acosh", "Atanh",
}  # fmt: skip


MOST_SWEEPS = 8


def channels_last(edit):
    """Conv, ConvTranspose, MaxPool and AveragePool as operators with channels last."""
    nodes = []
    for node in edit.graph.nodes:
        if node.op not in _LAST or len(node.outputs) > 1:
            nodes.append(node)
            continue
        axes = len(edit.shape(node.inputs[0]))
        to_last = [0, *range(2, axes), 1]
        to_first = [0, axes - 1, *range(1, axes - 1)]
        before = edit.node("Transpose", node.inputs[:1], 1, node, perm=to_last)
        run = edit.node(
            _LAST[node.op], [before.outputs[0], *node.inputs[1:]], 1, node, **node.attrs
        )
        nodes += [
            before,
            run,
            edit.node("Transpose", run.outputs, node.outputs, node, perm=to_first),
        ]
    edit.graph.nodes = nodes
    edit.look()


def _perm(node, axes):
    return list(node.attrs.get("perm") or range(axes)[::-1])


def _source(edit, name):
    """(x, perm) if a Transpose of x gives `name`, all of whose readers may move; else None."""
    maker = edit.makers.get(name)
    if maker is None or maker.op != "Transpose" or name in edit.wanted:
        return None
    if name not in edit.notes:
        edit.notes[name] = all(reader.op in _MOVABLE for reader in edit.readers.get(name, ()))
    if not edit.notes[name]:
        return None
    return maker.inputs[0], _perm(maker, len(edit.shape(name)))


def _moved_inputs(edit, node):
    """(the inputs without their Transpose, perm) if elementwise work on Transposes of one perm can
    be done before them; else None."""
    perm, rank = None, len(edit.shape(node.outputs[0]))
    for name in node.inputs:
        found = _source(edit, name) if name else None
        if found is not None and len(found[1]) == rank:
            perm = found[1]
            break
    if perm is None or node.inputs.count(name) > 1:
        return None
    inverse = np.argsort(perm)
    inputs = []
    for name in node.inputs:
        found = _source(edit, name) if name else None
        constant = edit.value(name)
        if not name or edit.shape(name) == ():
            inputs.append(name)
        elif found is not None and found[1] == perm:
            inputs.append(found[0])
        elif constant is not None and constant.size == 1 and constant.ndim <= rank:
            inputs.append(name)
        elif constant is not None and constant.ndim <= rank:
            array = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
            array = np.ascontiguousarray(np.transpose(array, inverse))
            inputs.append(edit.constant(name, array))
        else:
            return None
    return inputs, perm


def _moved(edit, node):
    """The nodes that do `node`'s work before the Transpose that it reads, or None."""
    if node.op in _UNARY or node.op in ELEMENTWISE:
        found = _moved_inputs(edit, node)
        if found is None:
            return None
        inputs, perm = found
        run = edit.node(node.op, inputs, 1, node, **node.attrs)
        return [run, edit.node("Transpose", run.outputs, node.outputs, node, perm=perm)]
    if node.op == "Transpose":
        maker = edit.makers.get(node.inputs[0])  # which may have other readers: it stays for them
        if maker is None or maker.op != "Transpose":
            return None
        x, first = maker.inputs[0], _perm(maker, len(edit.shape(node.inputs[0])))
        second = _perm(node, len(first))
        return [edit.node("Transpose", [x], node.outputs, node, perm=[first[i] for i in second])]
    if node.op in ("GlobalAveragePool", "GlobalMaxPool"):
        axes = edit.constant("axes", np.arange(2, len(edit.shape(node.inputs[0]))))
        op = "ReduceMean" if node.op == "GlobalAveragePool" else "ReduceMax"
        return [edit.node(op, [node.inputs[0], axes], node.outputs, node, keepdims=1)]
    return _moved_axes(edit, node)


# Operators that name axes of their input: where they name them, an attribute or an input's number.
_ATTRIBUTE = {"Gather", "Softmax", "LogSoftmax", "Concat", "Split"}
_INPUT = {
    "Slice": 3, "Pad": 3, "Squeeze": 1, "ReduceSum": 1, "ReduceMean": 1, "ReduceMax": 1,
    "ReduceMin": 1, "ReduceProd": 1, "ReduceL2": 1,
}  # fmt: skip


_MOVABLE = {*_UNARY, *ELEMENTWISE, *_ATTRIBUTE, *_INPUT, "Transpose"}


def _moved_axes(edit, node):
    """The same for operators that name axes: before the Transpose they name others."""
    if node.op in _ATTRIBUTE:
        names = node.inputs if node.op == "Concat" else node.inputs[:1]
    elif node.op in _INPUT and len(node.inputs) > _INPUT[node.op]:
        names = node.inputs[:1]
    else:
        return None
    found = [_source(edit, name) for name in names]
    if None in found or any(perm != found[0][1] for _, perm in found):
        return None
    if len(set(names)) < len(names):
        return None
    perm, axes = found[0][1], len(edit.shape(names[0]))
    inputs, attrs = list(node.inputs), dict(node.attrs)
    inputs[: len(names)] = [x for x, _ in found]
    if node.op in _ATTRIBUTE:
        default = -1 if node.op in ("Softmax", "LogSoftmax") else 0
        named = [attrs.get("axis", default) % axes]
        if node.op == "Gather" and edit.shape(node.inputs[1]) != ():
            return None
        attrs["axis"] = perm[named[0]]
    else:
        at = _INPUT[node.op]
        value = edit.value(inputs[at])
        if value is None:
            return None
        named = [int(n) % axes for n in value.reshape(-1)]
        inputs[at] = edit.constant("axes", np.array([perm[n] for n in named]))
    removed = node.op in ("Gather", "Squeeze")
    removed |= node.op.startswith("Reduce") and not attrs.get("keepdims", 1)
    if removed:  # the axes that stay keep their order among one another
        stay = [p for i, p in enumerate(perm) if i not in named]
        perm = [sorted(stay).index(p) for p in stay]
    run = edit.node(node.op, inputs, len(node.outputs), node, **attrs)
    return [
        run,
        *[
            edit.node("Transpose", [mine], [name], node, perm=perm)
            for mine, name in zip(run.outputs, node.outputs, strict=True)
            if name
        ],
    ]


def _identities_left_out(edit):
    """Transposes that move nothing, and Casts to wider integers, which the C core does not have."""
    stands_for, nodes = {}, []
    for node in edit.graph.nodes:
        node.inputs = [stands_for.get(n, n) for n in node.inputs]
        if node.op == "Cast":
            fact, due = edit.facts[node.inputs[0]], np.dtype(DTYPES[node.attrs["to"]])
            whole = due.kind in "iu" and fact.dtype.kind == "i"
            if whole and np.can_cast(fact.narrow or fact.dtype, due, "safe"):
                stands_for[node.outputs[0]] = node.inputs[0]
                continue
        if node.op == "Transpose":
            perm = _perm(node, len(edit.shape(node.outputs[0])))
            if perm == sorted(perm):
                stands_for[node.outputs[0]] = node.inputs[0]
                continue
        nodes.append(node)
    edit.graph.nodes = nodes
    edit.graph.results = [stands_for.get(n, n) for n in edit.graph.results]
    edit.look()


def transposes(edit):
    """Moves Transposes towards the outputs until none moves. One sweep takes a Transpose as far as
    it can go; what it meets there may move in the next."""
    for _ in range(MOST_SWEEPS):
        changed, nodes = False, []
        for node in edit.graph.nodes:
            made = _moved(edit, node)
            changed |= made is not None
            nodes += [node] if made is None else made
            for new in made or ():
                for name in new.outputs:
                    edit.makers[name] = new
        edit.graph.nodes = nodes
        edit.tidy()
        if not changed:
            break
    _identities_left_out(edit)
