# SPDX-License-Identifier: MIT
"""ONNX models: their tensors, and the recurrent layers that are LSTM, GRU, RNN or (ONNX Runtime's)
DynamicQuantizeLSTM nodes, with weights in torch's gate order.

By docs/Operators.md of onnx/onnx and docs/ContribOperators.md of microsoft/onnxruntime:
    inputs        0 X, 1 W (D, gates H, I), 2 R (D, gates H, H), 3 B (D, 2 gates H: of the input,
                  then recurrent), 4 sequence lengths, 5 initial h, and of an LSTM 6 initial c,
                  7 P (D, 3H)
    gate order    gates.py
    DynamicQuantizeLSTM   W (D, I, 4H) and R (D, H, 4H) of int8 or uint8; scale and zero point of W
                          as inputs 8 and 9, of R as 10 and 11

A node whose weights are not constants, or that says something this module does not know, becomes a
Layer with a problem. An LSTM that an exporter wrote as single operators is recognised, so that the
error can say so, and not read.
"""

import dataclasses

import numpy as np

from ...engine import int8
from ..contents import WEIGHTS, Contents
from ..description import Layer
from ..source import show
from ..top_fields import top_fields
from . import gates, single_operators
from .attribute import FLOAT, FLOATS, INT, STRING, STRINGS, TENSOR
from .gates import Problem
from .graph import Model
from .tensor import dequantized

_LAYERS = {("LSTM", ""), ("GRU", ""), ("RNN", ""), ("DynamicQuantizeLSTM", "com.microsoft")}


def is_onnx(source):
    """Whether the file begins like an ONNX ModelProto. Protocol buffers have no signature: field 1
    (ir_version, a small int) comes first, then the key of field 2 to 8, 14, 20 or 25. Field 2,
    producer_name, is text; in other formats that begin so it is a message."""
    keys = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72, 0xA2, 0xCA)
    head = source.head
    if not (len(head) > 2 and head[0] == 0x08 and 0 < head[1] < 64 and head[2] in keys):
        return False
    return head[2] != 0x12 or all(f.is_text for f in top_fields(source)[1:2])


def _attributes(node):
    """{name: value} of the node's attributes, texts decoded, as gates.py takes them."""
    found = {
        "direction": node.get("direction", STRING, b"forward"),
        "activations": node.get("activations", STRINGS),
        "activation_alpha": node.get("activation_alpha", FLOATS),
        "activation_beta": node.get("activation_beta", FLOATS),
        "hidden_size": node.get("hidden_size", INT), "clip": node.get("clip", FLOAT),
        "input_forget": node.get("input_forget", INT), "layout": node.get("layout", INT),
        "linear_before_reset": node.get("linear_before_reset", INT),
    }  # fmt: skip
    found["direction"] = found["direction"].decode("utf-8", "replace")
    names = found["activations"] or ()
    found["activations"] = [name.decode("utf-8", "replace") for name in names]
    return {name: value for name, value in found.items() if value is not None}


class _Reader:
    """The constant inputs of one node of a graph. options: the caller's Options."""

    def __init__(self, graph, node, options):
        self.graph, self.node, self.options = graph, node, options

    def get(self, index):
        """The array of input `index`, or None if it is not given or not constant."""
        return self.graph.constant(self.node.input(index), self.options.external_data)

    def weight(self, index, what, due, dtype_kinds="f"):
        """The array of input `index`; Problem if it is not constant or not what is needed.

        what, due     as for `checked`
        dtype_kinds   letters of NumPy's dtype.kind: "f" floats, "iu" integers
        """
        array = self.get(index)
        if array is None:
            name = self.node.input(index)
            raise Problem(
                f"{what} ({show(name)}) is not a constant, but computed as the model runs"
            )
        return self.checked(index, what, array, due, dtype_kinds)

    def checked(self, index, what, array, due, dtype_kinds="f"):
        """`array`, the constant of input `index`; Problem if it does not have the shape `due`, has
        no elements, or another dtype.

        what   its name in ONNX's documents, for the message
        due    a size for each axis: an int, or text that names a size the array itself tells
        """
        place = f"{what} ({show(self.node.input(index))})"
        if array.dtype.kind not in dtype_kinds:
            raise Problem(f"{place} is {array.dtype} of the shape {array.shape}")
        same = (
            array.size
            and len(due) == array.ndim
            and all(
                isinstance(n, str) or size == n for size, n in zip(array.shape, due, strict=True)
            )
        )
        if not same:
            text = ", ".join(map(str, due)) + ("," if len(due) == 1 else "")
            raise Problem(f"{place} has the shape {array.shape}, ({text}) is due")
        return array

    def quantized(self, index, what, scale_index):
        """A quantised weight of DynamicQuantizeLSTM, (D, I or H, 4H): float32 in the layout of the
        operator LSTM, (D, 4H, I or H), and the list of each direction's int8.Codes, or None. Its
        scale is input `scale_index`, a scalar, (D,) or (D, 4H), and its zero point, 0 if not given,
        the input behind that."""
        array = self.weight(index, what, ("directions", "I or H", "4 H"), "iu")
        ndim = 1 if self.get(scale_index) is None else self.get(scale_index).ndim
        scale = self.weight(scale_index, f"{what}'s scale", ("n",) * ndim)
        zero = self.get(scale_index + 1)
        self.node.span.wire.charge_value(4 * array.size)
        try:
            zero = np.zeros(()) if zero is None else zero
            scale, zero = (n.reshape(n.shape[0], 1, -1) if n.ndim else n for n in (scale, zero))
            numbers, rows = dequantized(array, scale, zero).transpose(0, 2, 1), array.shape[::2]
            parts = [np.broadcast_to(n.reshape(-1, n.shape[-1]) if n.ndim else n, rows)
                     for n in (zero, scale)]  # fmt: skip
            each = zip(array.transpose(0, 2, 1), *parts, strict=True)
            return numbers, [int8.of_integers(*rows)[0] for rows in each]
        except ValueError:
            raise Problem(f"{what}, its scale and zero point do not fit together") from None


def _layer(graph, node, options):
    """(Layer, {torch's name: array}, {torch's name: int8.Codes}) of a recurrent node of `graph`;
    Problem if it cannot be read. options: the caller's Options."""
    reader = _Reader(graph, node, options)
    kind = "LSTM" if node.op == "DynamicQuantizeLSTM" else node.op
    attributes = _attributes(node)
    count = 2 if attributes["direction"] == "bidirectional" else 1
    rows = len(gates.ORDER[kind])
    codes = {}
    if node.op == "DynamicQuantizeLSTM":
        w, codes["weight_ih"] = reader.quantized(1, "W", 8)
        r, codes["weight_hh"] = reader.quantized(2, "R", 10)
    else:
        w, r = (reader.weight(n, "WR"[n - 1], ("directions", "gates", "size")) for n in (1, 2))
    size = attributes.get("hidden_size", r.shape[2])
    reader.checked(1, "W", w, (count, rows * size, "I"))
    reader.checked(2, "R", r, (count, rows * size, size))
    b = reader.weight(3, "B", (count, 2 * rows * size)) if node.input(3) else None
    p = None
    if kind == "LSTM" and node.input(7):
        p = reader.weight(7, "P", (count, 3 * size))
    lengths = reader.get(4)
    if lengths is not None:
        reader.checked(4, "sequence_lens", lengths, ("B",), "iu")
        raise Problem("its sequence lengths are constants in the file")
    layer, weights = gates.layer_of(kind, attributes, w, r, b, p)
    initial = _initial(reader, kind, count, size, layer.batch_first, weights)
    return dataclasses.replace(layer, initial_state=initial), weights, _codes(codes, layer)


def _codes(of_both, layer):
    """{torch's name: int8.Codes}, in torch's order of gates, of {"weight_ih" or "weight_hh": each
    direction's Codes or None}."""
    found = {}
    for name, each in of_both.items():
        for codes, end in zip(each, ("_l0", "_l0_reverse"), strict=False):
            if codes is not None:
                parts = (
                    gates.in_torch_order(a, layer.kind, layer.hidden_size)
                    for a in (codes.codes, codes.scales)
                )
                found[name + end] = int8.Codes(*parts)
    return found


def _initial(reader, kind, count, size, batch_first, weights):
    """The names of the initial states that the node has as constants other than zero. Their
    arrays, (D, B, H), are put into `weights`. size: H; count: D. Problem if a state, zero or not,
    does not fit, as in what PyTorch makes of an LSTM with a projection, which it leaves out."""
    names, batch = [], "B"
    for index, name in ((5, "initial_h"), (6, "initial_c"))[: 2 if kind == "LSTM" else 1]:
        array = reader.get(index)
        if array is None:
            continue
        due = (batch, count, size) if batch_first else (count, batch, size)
        reader.checked(index, name, array, due)
        array = array.swapaxes(0, 1) if batch_first else array
        batch = array.shape[1]  # the same for both
        if array.any():
            weights[name] = array
            names.append(name)
    return tuple(names)


_WAYS_OUT = {
    "LSTM": "export it as the operator LSTM (nn.LSTM)",
    "GRU": "export it as the operator GRU (nn.GRU)",
    "RNN": "export it as the operator RNN (nn.RNN with torch.onnx.export(..., dynamo=False))",
}


def _in_single_operators(kind, title, count):
    """The Layer of a cell that single_operators.py found at the node `title` and `count` in all."""
    more = f" and {count - 1} more like it" if count > 1 else ""
    name = "RNNCell or nn.RNN" if kind == "RNN" else f"{kind}Cell"
    return Layer(kind, problem=(
        f"{name} written out as single operators at node {show(title)}{more}, which are not put "
        f"together again; load the checkpoint that it was exported from, or {_WAYS_OUT[kind]}"
    ))  # fmt: skip


def _tensors(graphs, options):
    """{name: array} of the initializers and Constant nodes of all graphs. Of two with one name the
    first counts. Left out are element types that are not read, and tensors in files that may not be
    read."""
    found, external = {}, options.external_data

    def put(name, tensor):
        if name and name not in found and tensor.readable and tensor.may_read(external):
            found[name] = tensor.array(external)

    for graph in graphs:
        for name, tensor in graph.initializers.items():
            put(name, tensor)
        for node in graph.nodes:
            if node.op == "Constant" and node.domain in ("", "ai.onnx") and node.outputs:
                value = node.get("value", TENSOR)
                if value is not None:
                    put(node.outputs[0], value)
    return found


def read(source, options):
    """The Contents of a model. A recurrent node that cannot be read is a Layer with a problem."""
    graphs, nodes, seen = [], [], set()
    for top in Model(source).graphs:
        graphs.append(top)
        for graph, node in top.walk():
            if id(graph) not in seen:
                seen.add(id(graph))
                graphs.append(graph) if graph is not top else None
            if (node.op, node.domain.removeprefix("ai.onnx")) in _LAYERS:
                nodes.append((graph, node))
    found = Contents(_tensors(graphs, options), {}, source=source)
    found.bytes_left += WEIGHTS * (graphs[0].wire.size - source.size)  # files beside this one
    for graph, node in nodes:
        before = graph.wire.values
        try:
            layer, weights, codes = _layer(graph, node, options)
        except Problem as problem:
            kind = node.op.removeprefix("DynamicQuantize")
            layer = Layer(kind, problem=f"{problem} (node {show(node.title)})")
            weights, codes = {}, {}
        # Contents bounds the weights of all layers by the file's size. What was computed for this
        # node was charged to the Wire already, and is larger than what is stored.
        found.bytes_left += before - graph.wire.values
        found.add(node.title, layer, weights, codes=codes)
    for graph in graphs:
        for cell in single_operators.find(graph):
            found.add(cell[1], _in_single_operators(*cell), {})
    return found
