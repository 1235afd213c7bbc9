# SPDX-License-Identifier: MIT
"""The ONNX model that ONNX Runtime and OpenVINO read, made node by node from the weights, and
what their runners share.

ONNX keeps the gates as i o f c (z r h) and both biases in one row; PyTorch has i f g o (r z n).
Shapes are fixed, so that both engines may plan their memory. One layer with one direction is the
bare node: its Y is (T, 1, B, H), which is (T, B, H) in memory, and no node is spent on saying so.
"""

from __future__ import annotations

import numpy as np

from .runner import Runner

OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
ORDERS = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}  # ONNX's gates in PyTorch's
STATES = {"lstm": ("h", "c"), "gru": ("h",), "rnn": ("h",)}


def build_model(weights, shape, carry=False, lengths=None) -> bytes:
    """Serialized model: x (T, B, I) -> y, h (and c); also h0 (and c0) in if `carry`; also `lengths`
    (B,) int32.

    y is (T, 1, B, H) in one direction and (T, B, 2H) in two; h and c are (L D, B, H).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []
    states = STATES[shape.cell]

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def value(name, size, dtype=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, dtype, size)

    def reordered(array):
        """(G H, ...) in PyTorch's order -> ONNX's, with a leading axis."""
        parts = np.split(array, shape.gates)
        return np.concatenate([parts[at] for at in ORDERS[shape.cell]])[None]

    layers, directions = shape.L, shape.D
    inputs = [value("x", (shape.T, shape.B, shape.I))]
    if carry:
        inputs += [value(f"{name}0", shape.state_shape()) for name in states]
    if lengths is not None:
        inputs.append(value("lengths", (shape.B,), TensorProto.INT32))
    if carry and layers > 1:
        sizes = constant("state_sizes", np.full(layers, directions, np.int64))
        for name in states:
            parts = [f"{name}0_{layer}" for layer in range(layers)]
            nodes.append(helper.make_node("Split", [f"{name}0", sizes], parts, axis=0))

    source = "x"
    tails = ("", "_reverse")[:directions]
    attributes = {"hidden_size": shape.H}
    attributes["direction"] = "bidirectional" if directions == 2 else "forward"
    if shape.cell == "gru":
        attributes["linear_before_reset"] = 1
    for layer in range(layers):
        last = layer == layers - 1
        part = f"_{layer}" if layers > 1 else ""

        def stacked(name, layer=layer):
            return [reordered(weights[f"{name}_l{layer}{tail}"]) for tail in tails]

        both = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=2)[:, 0]
        node_inputs = [
            source,
            constant(f"W{part}", np.concatenate(stacked("weight_ih"))),
            constant(f"R{part}", np.concatenate(stacked("weight_hh"))),
            constant(f"B{part}", both),
            "lengths" if lengths is not None else "",
        ]
        node_inputs += [f"{name}0{part}" if carry else "" for name in states]
        while not node_inputs[-1]:
            node_inputs.pop()
        bare = last and directions == 1
        raw = "y" if bare else f"Y{part}"
        outputs = [raw, *(f"{name}{part}" for name in states)]
        nodes.append(helper.make_node(OPERATORS[shape.cell], node_inputs, outputs, **attributes))
        if not bare:
            source = "y" if last else f"y{part}"
            size = np.array([shape.T, shape.B, directions * shape.H], np.int64)
            if directions == 2:  # (T, 2, B, H) -> (T, B, 2, H)
                nodes.append(helper.make_node("Transpose", [raw], [f"t{part}"], perm=[0, 2, 1, 3]))
                raw = f"t{part}"
            nodes.append(
                helper.make_node("Reshape", [raw, constant(f"size{part}", size)], [source])
            )
    if layers > 1:
        for name in states:
            parts = [f"{name}_{layer}" for layer in range(layers)]
            nodes.append(helper.make_node("Concat", parts, [name], axis=0))

    y_shape = shape.output_shape() if directions == 2 else (shape.T, 1, shape.B, shape.H)
    graph = helper.make_graph(
        nodes,
        shape.cell,
        inputs,
        [value("y", y_shape)] + [value(name, shape.state_shape()) for name in states],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="fastlstm"
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


class OnnxRunner(Runner):
    """What the engines that read ONNX share.

    A bound runner has its buffers beforehand: `bind(inputs, outputs)` makes the engine's object
    that reads from and writes to the arrays of two dicts {name: array}. A carried state has two
    such objects, `a` and `b`: each reads the state that the other has written.
    """

    def __init__(self, shape, carry, lengths):
        self.shape, self.carry = shape, carry
        self.states = STATES[shape.cell]
        self.lengths = None if lengths is None else np.asarray(lengths, np.int32)

    def prepare(self, statement, namespace, bound: bool) -> None:
        """Set the statement; a bound one with a carried state also swaps `a` and `b`."""
        self.fixed_output = bound
        if bound and self.carry:
            self.setup = "; ".join(f"copyto({name}, start_{name})" for name in self.states)
            self.setup += "; a, b = first, second"
            statement += "; a, b = b, a"
        super().__init__(statement, namespace | {"lengths": self.lengths, "copyto": np.copyto})

    def load(self, x, state=None):
        shape, names = self.shape, self.namespace
        size = shape.state_shape()
        if state is None:
            state = [np.zeros(size, np.float32)] * 2
        names["x"] = x
        for name, part in zip(self.states, state, strict=False):
            names[f"start_{name}"] = part.copy()
        if not self.fixed_output:
            return
        y = shape.output_shape() if shape.D == 2 else (shape.T, 1, shape.B, shape.H)
        names["y"] = np.empty(y, np.float32)
        one, two = ({name: np.empty(size, np.float32) for name in self.states} for _ in range(2))
        for place, read, written in (("first", one, two), ("second", two, one)):
            inputs = {"x": x}
            if self.lengths is not None:
                inputs["lengths"] = self.lengths
            if self.carry:
                inputs |= {f"{name}0": array for name, array in read.items()}
            names[place] = self.bind(inputs, {"y": names["y"], **written})
        names |= one | {"a": names["first"], "other": two}  # a binding may hold addresses only

    def output(self):
        return np.array(self.namespace["y"]).reshape(self.shape.output_shape())
