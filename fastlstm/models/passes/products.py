# SPDX-License-Identifier: MIT
"""Products with constant matrices: MatMul and Gemm become Linear, a bias that is added behind one
becomes its own, and BatchNormalization goes into the weights of the Conv or Linear before it."""

import numpy as np

from ..graph import Node


def _linear_of(edit, node):
    """[x, W (O, I), b or None] of a MatMul or Gemm with a constant matrix; None for others."""
    if node.op == "MatMul":
        w = edit.value(node.inputs[1])
        fits = w is not None and w.ndim == 2 and w.size and w.dtype.kind == "f"
        if not fits or len(edit.shape(node.inputs[0])) < 1:
            return None
        return [node.inputs[0], w.T, None]
    if node.op != "Gemm" or node.attrs.get("transA"):
        return None
    w = edit.value(node.inputs[1])
    c = node.inputs[2] if len(node.inputs) > 2 else ""
    b = edit.value(c)
    if w is None or w.dtype.kind != "f" or w.ndim != 2 or not w.size or (c and b is None):
        return None
    w = w if node.attrs.get("transB") else w.T
    if b is not None:
        if b.ndim > 1 and b.shape[0] != 1:
            return None
        b = np.broadcast_to(b.reshape(-1), (w.shape[0],)) * np.float32(node.attrs.get("beta", 1))
    alpha = np.float32(node.attrs.get("alpha", 1))
    return [node.inputs[0], w if alpha == 1 else w * alpha, b]


def _put(edit, node, x, w, b, outputs, kept):
    """kept: {what a weight is made of: its name}: steps of a loop have the same."""
    key = node.inputs[1], node.op, node.attrs.get("transB"), node.attrs.get("alpha")
    if key not in kept:
        kept[key] = edit.constant("weight", np.ascontiguousarray(w, np.float32))
    names = [x, kept[key], ""]
    if b is not None:
        names[2] = edit.constant("bias", np.ascontiguousarray(b, np.float32))
    return edit.node("Linear", names, outputs, node)


def linear(edit):
    """MatMul and Gemm with a constant matrix, and an Add of a constant vector behind them."""
    nodes, gone, kept = [], set(), {}
    for node in edit.graph.nodes:
        if id(node) in gone:
            continue
        found = _linear_of(edit, node)
        if found is None:
            nodes.append(node)
            continue
        x, w, b = found
        outputs, reader = node.outputs, edit.only_reader(node.outputs[0])
        if b is None and reader is not None and reader.op == "Add":
            other = [n for n in reader.inputs if n != node.outputs[0]]
            bias = edit.value(other[0]) if len(other) == 1 else None
            if bias is not None and bias.size in (1, w.shape[0]) and bias.ndim <= 1:
                b, outputs = np.broadcast_to(bias, (w.shape[0],)), reader.outputs
                gone.add(id(reader))
        nodes.append(_put(edit, node, x, w, b, outputs, kept))
    edit.graph.nodes = nodes
    edit.look()


def _scale_and_shift(edit, node):
    """(a, b), float64, of a BatchNormalization y = a x + b along axis 1; None if not constant."""
    values = [edit.value(name) for name in node.inputs[1:5]]
    if any(v is None for v in values) or node.attrs.get("training_mode"):
        return None
    scale, shift, mean, variance = (np.asarray(v, np.float64) for v in values)
    a = scale / np.sqrt(variance + node.attrs.get("epsilon", 1e-5))
    return a, shift - mean * a


def _into_weights(edit, node, before, a, b):
    """The Conv or Linear `before` with y = a x + b behind it, or None."""
    w = edit.value(before.inputs[1])
    bias = before.inputs[2] if len(before.inputs) > 2 else ""
    if w is None or w.dtype.kind != "f" or (bias and edit.value(bias) is None):
        return None
    old = 0 if not bias else np.asarray(edit.value(bias), np.float64)
    if before.op == "ConvTranspose":
        group = before.attrs.get("group", 1)
        shape = (group, w.shape[0] // group, w.shape[1], -1)
        scaled = (w.astype(np.float64).reshape(shape) * a.reshape(group, 1, -1, 1)).reshape(w.shape)
    else:
        scaled = w.astype(np.float64) * a.reshape(-1, *[1] * (w.ndim - 1))
    names = [
        before.inputs[0],
        edit.constant("weight", scaled.astype(np.float32)),
        edit.constant("bias", np.broadcast_to(old * a + b, a.shape).astype(np.float32)),
    ]
    return Node(before.op, names, node.outputs, before.attrs, before.name)


def batch_norm(edit):
    """BatchNormalization by constants: into the weights before it, or a product and a sum."""
    nodes = []
    for node in edit.graph.nodes:
        found = _scale_and_shift(edit, node) if node.op == "BatchNormalization" else None
        if found is None:
            nodes.append(node)
            continue
        a, b = found
        x = node.inputs[0]
        before = edit.makers.get(x)
        folded = None
        if before is not None and edit.only_reader(x) is node:
            rank = len(edit.shape(x))
            if before.op in ("Conv", "ConvTranspose") or (before.op == "Linear" and rank == 2):
                folded = _into_weights(edit, node, before, a, b)
        if folded is not None:
            nodes[nodes.index(before)] = folded
        else:
            shape = (-1, *[1] * (len(edit.shape(x)) - 2))
            scale = edit.constant("scale", a.astype(np.float32).reshape(shape))
            shift = edit.constant("shift", b.astype(np.float32).reshape(shape))
            nodes.append(edit.node("Mul", [x, scale], 1, node))
            nodes.append(edit.node("Add", [nodes[-1].outputs[0], shift], node.outputs, node))
    edit.graph.nodes = nodes
    edit.look()


def _limits(edit, node):
    """("clip", least, most) of a Clip by constants; or None."""
    bounds = [*node.inputs[1:], "", ""][:2]
    values = [edit.value(name) if name else np.float32(n)
              for name, n in zip(bounds, (-np.inf, np.inf))]  # fmt: skip
    if any(v is None or v.size != 1 or v.dtype != np.float32 for v in values):
        return None
    least, most = (float(v.reshape(())) for v in values)
    return ("clip", min(least, most), most)  # ONNX's is `most` everywhere if that is below `least`


def _activation(edit, node):
    """What Linear and ConvLast call a function that they can apply to what they have computed while
    it is in cache: (fastlstm's name, alpha, beta); or None."""
    if node.op == "Clip":
        return _limits(edit, node)
    return {
        "HardSwish": ("hard_swish", 1 / 6, 0.5),
        "Relu": ("relu", 0.0, 0.0), "Sigmoid": ("sigmoid", 0.0, 0.0), "Tanh": ("tanh", 0.0, 0.0),
        "LeakyRelu": ("leaky_relu", node.attrs.get("alpha", 0.01), 0.0),
    }.get(node.op)  # fmt: skip


def epilogues(edit):
    """An activation that alone reads what a Linear or a ConvLast gives becomes part of it."""
    nodes, gone = [], set()
    for node in edit.graph.nodes:
        if id(node) in gone:
            continue
        if node.op in ("Linear", "ConvLast") and "activation" not in node.attrs:
            reader = edit.only_reader(node.outputs[0])
            found = _activation(edit, reader) if reader is not None else None
            if found is not None:
                gone.add(id(reader))
                attrs = node.attrs | {"activation": found}
                node = Node(node.op, node.inputs, reader.outputs, attrs, node.name)
        nodes.append(node)
    edit.graph.nodes = nodes
    edit.look()
