# SPDX-License-Identifier: MIT
"""Layouts. The C core's convolutions and pools read channels last, so that a window of a Conv1d is
one run of memory; ONNX has channels first. Each gets a Transpose before and behind it, and then
Transposes are moved towards the outputs, where two of them meet and cancel."""

import numpy as np

from ..graph import Node
from ..shapes import ELEMENTWISE

_LAST = {
    "Conv": "ConvLast", "ConvTranspose": "ConvTransposeLast", "MaxPool": "MaxPoolLast",
    "AveragePool": "AveragePoolLast",
}  # fmt: skip
_UNARY = {
    "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "Exp", "Log", "Sqrt", "Abs", "Neg",
    "Erf", "HardSigmoid", "HardSwish", "Softplus", "Softsign", "Gelu", "Mish", "Reciprocal",
    "Floor", "Ceil", "Round", "Sign", "Not", "Cast", "Celu", "ThresholdedRelu", "Sin", "Cos",
    "IsNaN", "IsInf", "Silu",
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
    """(x, perm) if a Transpose of x that nobody else reads gives `name`; else None."""
    maker = edit.makers.get(name)
    if maker is None or maker.op != "Transpose" or edit.only_reader(name) is None:
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
        found = _source(edit, node.inputs[0])
        if found is None:
            return None
        x, first = found
        second = _perm(node, len(first))
        return [edit.node("Transpose", [x], node.outputs, node, perm=[first[i] for i in second])]
    if node.op in ("GlobalAveragePool", "GlobalMaxPool"):
        axes = np.arange(2, len(edit.shape(node.inputs[0])))
        op = "ReduceMean" if node.op == "GlobalAveragePool" else "ReduceMax"
        found = _source(edit, node.inputs[0])
        if found is None:
            names = [node.inputs[0], edit.constant("axes", axes)]
            return [edit.node(op, names, node.outputs, node, keepdims=1)]
        x, perm = found
        axes = np.array([perm[i] for i in axes])
        run = edit.node(op, [x, edit.constant("axes", axes)], 1, node, keepdims=1)
        return [run, edit.node("Transpose", run.outputs, node.outputs, node, perm=perm)]
    return None


def _identities_left_out(edit):
    """Transposes that move nothing."""
    stands_for, nodes = {}, []
    for node in edit.graph.nodes:
        node.inputs = [stands_for.get(n, n) for n in node.inputs]
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
        needed = set(edit.graph.results)
        kept: list[Node] = []
        for node in reversed(nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        edit.graph.nodes = kept[::-1]
        edit.look()
        if not changed:
            break
    _identities_left_out(edit)
