# SPDX-License-Identifier: MIT
"""ONNX models: their tensors, and the weights of LSTM, GRU, RNN and DynamicQuantizeLSTM nodes.

Operator inputs: X, W (D, gates H, I), R (D, gates H, H), B (D, 2 gates H), lengths, h0, [c0, P].
ONNX's gate order: LSTM i, o, f, c; GRU z, r, h; peepholes i, o, f.  torch's: i, f, g, o; r, z, n.
DynamicQuantizeLSTM: W (D, I, 4H) and R (D, H, 4H) of int8, scales and zero points as inputs 8-11.
"""

import numpy as np

from ...engine.variants import USUAL, Activation
from ..contents import Contents
from ..description import Layer
from ..source import show
from .graph import read_model
from .tensor import Tensor, dequantized

_ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # torch's gates, as ONNX's
_PEEPHOLES = (0, 2, 1)
_LAYERS = {("LSTM", ""), ("GRU", ""), ("RNN", ""), ("DynamicQuantizeLSTM", "com.microsoft")}
_DIRECTIONS = {b"forward": "forward", b"reverse": "reverse", b"bidirectional": "bidirectional"}

# ONNX's name: (ours, defaults of alpha and beta where it takes them)
_ACTIVATIONS = {
    "sigmoid": ("sigmoid",), "tanh": ("tanh",), "relu": ("relu",), "softsign": ("softsign",),
    "softplus": ("softplus",), "affine": ("affine", 1.0, 0.0), "elu": ("elu", 1.0),
    "leakyrelu": ("leaky_relu", 0.01), "thresholdedrelu": ("thresholded_relu", 1.0),
    "scaledtanh": ("scaled_tanh", 1.0, 1.0), "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
}  # fmt: skip


class _Problem(Exception):
    """Why a node is no layer that can be read."""


def is_onnx(source):
    """Protocol buffers have no signature: field 1 (ir_version, a small int), then another field of
    an ONNX ModelProto, fields 2 to 8, 14, 20 or 25."""
    fields = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA)
    head = source.head
    return len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 64 and head[2] in fields


def _activations(node, kind, directions):
    """One tuple of Activations for each direction; () for the usual ones."""
    usual = USUAL[kind]
    names = node.get("activations") or []
    alphas, betas = (
        list(node.get("activation_alpha") or ()),
        list(node.get("activation_beta") or ()),
    )
    if not names:
        names = [activation.name.encode() for activation in usual] * directions
    if len(names) != len(usual) * directions:
        raise _Problem(f"{len(names)} activations, {len(usual) * directions} are due")
    found = []
    for raw in names:
        name = raw.decode("utf-8", "replace").lower()
        if name not in _ACTIVATIONS:
            raise _Problem(f"the activation {show(name)} is unknown")
        ours, *defaults = _ACTIVATIONS[name]
        # alphas and betas are listed in the order of the functions that take one
        values = [
            (given.pop(0) if given else default)
            for given, default in zip((alphas, betas), defaults, strict=False)
        ]
        found.append(Activation(ours, *values))
    split = tuple(tuple(found[d * len(usual) : (d + 1) * len(usual)]) for d in range(directions))
    return () if split == (usual,) * directions else split


class _Reader:
    """One node in its graph. get(index) is the constant input of that index, or None."""

    def __init__(self, graph, node, options):
        self.graph, self.node, self.options = graph, node, options

    def get(self, index):
        return self.graph.constant(self.node.input(index), self.options.external_data)

    def weight(self, index, what, ndim, kinds="f"):
        name = self.node.input(index)
        array = self.get(index)
        if array is None:
            raise _Problem(
                f"{what} ({show(name)}) is not a constant, but computed as the model runs"
            )
        if array.dtype.kind not in kinds or array.ndim != ndim or 0 in array.shape:
            raise _Problem(f"{what} ({show(name)}) is {array.dtype} of the shape {array.shape}")
        return array

    def quantized(self, index, what, scale_index):
        """A dequantised weight, turned into the operator LSTM's layout."""
        array = self.weight(index, what, 3, "iu")
        scale = self.weight(scale_index, f"{what}'s scale", self._ndim(scale_index))
        zero = self.get(scale_index + 1)
        self.node.span.wire.charge_value(4 * array.size)
        try:
            zero = np.zeros(()) if zero is None else zero
            scale, zero = (n.reshape(n.shape[0], 1, -1) if n.ndim else n for n in (scale, zero))
            return dequantized(array, scale, zero).transpose(0, 2, 1)
        except ValueError:
            raise _Problem(f"{what}, its scale and zero point do not fit together") from None

    def _ndim(self, index):
        array = self.get(index)
        return 1 if array is None else array.ndim


def _due(what, array, shape):
    if array.shape != shape:
        raise _Problem(f"{what} has the shape {array.shape}, {shape} is due")
    return array


def _gates(array, kind, size):
    """The rows of `array`, (gates H, ...), in torch's order."""
    order = _ORDER[kind]
    if len(order) == 1:
        return array
    return np.concatenate([array[n * size : (n + 1) * size] for n in order])


def _layer(graph, node, options):
    """(Layer, {torch's name: array}) of a recurrent node."""
    reader = _Reader(graph, node, options)
    kind = "LSTM" if node.op == "DynamicQuantizeLSTM" else node.op
    direction = _DIRECTIONS.get(node.get("direction", b"forward"))
    if direction is None:
        raise _Problem(f"the direction {show(node.get('direction'))} is unknown")
    count = 2 if direction == "bidirectional" else 1
    if node.op == "DynamicQuantizeLSTM":
        w, r = reader.quantized(1, "W", 8), reader.quantized(2, "R", 10)
    else:
        w, r = reader.weight(1, "W", 3), reader.weight(2, "R", 3)
    gates, size = len(_ORDER[kind]), r.shape[2]
    _due("W", w, (count, gates * size, w.shape[2]))
    _due("R", r, (count, gates * size, size))
    if node.get("hidden_size", size) != size:
        raise _Problem(f"hidden_size is {node.get('hidden_size')}, R is made for {size}")
    b = reader.weight(3, "B", 2) if node.input(3) else None
    if b is not None:
        _due("B", b, (count, 2 * gates * size))
    weights = {}
    for d, end in zip(range(count), ("_l0", "_l0_reverse"), strict=False):
        weights[f"weight_ih{end}"] = _gates(w[d], kind, size)
        weights[f"weight_hh{end}"] = _gates(r[d], kind, size)
        if b is not None:
            weights[f"bias_ih{end}"] = _gates(b[d][: gates * size], kind, size)
            weights[f"bias_hh{end}"] = _gates(b[d][gates * size :], kind, size)
    peepholes = ()
    if kind == "LSTM" and node.input(7):
        p = _due("P", reader.weight(7, "P", 2), (count, 3 * size))
        if p.any():
            for d, end in zip(range(count), ("_l0", "_l0_reverse"), strict=False):
                parts = [p[d][n * size : (n + 1) * size] for n in _PEEPHOLES]
                weights[f"peephole{end}"] = np.concatenate(parts)
            peepholes = tuple(name for name in weights if name.startswith("peephole"))
    if reader.get(4) is not None:
        raise _Problem("its sequence lengths are constants in the file")
    batch_first = bool(node.get("layout", 0))
    layer = Layer(
        kind, w.shape[2], size, bias=b is not None, direction=direction,
        activations=_activations(node, kind, count),
        reset_after=kind != "GRU" or bool(node.get("linear_before_reset", 0)),
        clip=float(node.get("clip")) if node.get("clip") else None,
        input_forget=bool(node.get("input_forget", 0)),
        peepholes=peepholes, batch_first=batch_first,
        initial_state=_initial(reader, kind, count, size, batch_first, weights),
    )  # fmt: skip
    return layer, weights


def _initial(reader, kind, count, size, batch_first, weights):
    """Names of the initial states that are constants and not zero, which are put into `weights`."""
    names = []
    for index, name in ((5, "initial_h"), (6, "initial_c"))[: 2 if kind == "LSTM" else 1]:
        array = reader.get(index) if reader.node.input(index) else None
        if array is None or not array.any():
            continue
        if batch_first and array.ndim == 3:
            array = array.swapaxes(0, 1)
        if array.ndim != 3 or array.shape[::2] != (count, size):
            raise _Problem(f"{name} has the shape {array.shape}")
        weights[name] = array
        names.append(name)
    return tuple(names)


def _spelled_out(graph):
    """Titles of the Add nodes that are c' = f c + i g, an LSTM cell in single operators."""

    def made_by(name, *ops):
        _, node = graph.scope(name)
        return node is not None and not isinstance(node, Tensor) and node.op in ops

    def product(name):
        """The set of gates among the factors of `name`, if it is a product."""
        _, node = graph.scope(name)
        if node is None or isinstance(node, Tensor) or node.op != "Mul":
            return None
        return {op for n in node.inputs for op in ("Sigmoid", "Tanh") if made_by(n, op)}

    for node in graph.nodes:
        if node.op == "Add" and len(node.inputs) == 2:
            first, second = map(product, node.inputs)
            if {"Sigmoid"} in (first, second) and {"Sigmoid", "Tanh"} in (first, second):
                yield node.title


def _tensors(graphs, options):
    """{name: array} of the initializers and Constant nodes; those of an inner graph whose name is
    taken are left out, and so are element types that are not read."""
    found = {}

    def put(name, tensor):
        if name and name not in found and tensor.readable:
            if tensor.location and not options.external_data:
                return
            found[name] = tensor.array(options.external_data)

    for graph in graphs:
        for name, tensor in graph.initializers.items():
            put(name, tensor)
        for node in graph.nodes:
            if node.op == "Constant" and node.domain in ("", "ai.onnx") and node.outputs:
                value = node.get("value")
                if isinstance(value, Tensor):
                    put(node.outputs[0], value)
    return found


def read(source, options):
    """Contents of a model. A node that cannot be read is a Layer with a problem."""
    graphs, nodes, seen = [], [], set()
    for top in read_model(source):
        graphs.append(top)
        for graph, node in top.walk():
            if id(graph) not in seen:
                seen.add(id(graph))
                graphs.append(graph) if graph is not top else None
            if (node.op, node.domain.removeprefix("ai.onnx")) in _LAYERS:
                nodes.append((graph, node))
    found = Contents(_tensors(graphs, options), {}, source=source)
    for graph, node in nodes:
        before = graph.wire.values
        try:
            layer, weights = _layer(graph, node, options)
        except _Problem as problem:
            kind = node.op.removeprefix("DynamicQuantize")
            layer, weights = Layer(kind, problem=f"{problem} (node {show(node.title)})"), {}
        found.room += before - graph.wire.values  # what was dequantised is larger than stored
        found.add(node.title, layer, weights)
    for graph in graphs:
        for title in _spelled_out(graph):
            found.add(title, Layer("LSTM", problem=(
                "an LSTM written out as single operators (Sigmoid, Tanh, Mul, Add) at node "
                f"{show(title)}, which is not put together again; export it as the operator LSTM"
            )), {})  # fmt: skip
    return found
