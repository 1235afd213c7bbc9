# SPDX-License-Identifier: MIT
"""The ONNX model that ONNX Runtime and OpenVINO read, made node by node from the weights.

ONNX keeps the gates as i o f c and both biases in one row; PyTorch has i f g o. Shapes are fixed,
so that both engines may plan their memory. One layer with one direction is the bare LSTM node:
its Y is (T, 1, B, H), which is (T, B, H) in memory, and no node is spent on saying so.
"""

from __future__ import annotations

import numpy as np


def _iofc(array: np.ndarray) -> np.ndarray:
    """(4H, ...) in PyTorch's order i f g o -> ONNX's i o f c, with a leading axis."""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, o, f, g])[None]


def build_model(weights, shape, carry=False, lengths=None) -> bytes:
    """Serialized model: x (T, B, I) -> y, h, c; also h0, c0 if `carry`; also `lengths` (B,) int32.

    y is (T, 1, B, H) in one direction and (T, B, 2H) in two; h and c are (layers D, B, H).
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def value(name, size, dtype=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, dtype, size)

    layers, directions = shape.layers, shape.D
    inputs = [value("x", (shape.T, shape.B, shape.I))]
    if carry:
        inputs += [value(name, shape.state_shape()) for name in ("h0", "c0")]
    if lengths is not None:
        inputs.append(value("lengths", (shape.B,), TensorProto.INT32))
    if carry and layers > 1:
        sizes = constant("state_sizes", np.full(layers, directions, np.int64))
        for name in ("h0", "c0"):
            parts = [f"{name}_{layer}" for layer in range(layers)]
            nodes.append(helper.make_node("Split", [name, sizes], parts, axis=0))

    source = "x"
    tails = ("", "_reverse")[:directions]
    for layer in range(layers):
        last = layer == layers - 1
        part = f"_{layer}" if layers > 1 else ""

        def stacked(kind, layer=layer):
            return [_iofc(weights[f"{kind}_l{layer}{tail}"]) for tail in tails]

        both = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=2)[:, 0]
        lstm_inputs = [
            source,
            constant(f"W{part}", np.concatenate(stacked("weight_ih"))),
            constant(f"R{part}", np.concatenate(stacked("weight_hh"))),
            constant(f"B{part}", both),
            "lengths" if lengths is not None else "",
            f"h0{part}" if carry else "",
            f"c0{part}" if carry else "",
        ]
        while not lstm_inputs[-1]:
            lstm_inputs.pop()
        bare = last and directions == 1
        raw = "y" if bare else f"Y{part}"
        nodes.append(
            helper.make_node(
                "LSTM",
                lstm_inputs,
                [raw, f"h{part}", f"c{part}"],
                hidden_size=shape.H,
                direction="bidirectional" if directions == 2 else "forward",
            )
        )
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
        for name in ("h", "c"):
            parts = [f"{name}_{layer}" for layer in range(layers)]
            nodes.append(helper.make_node("Concat", parts, [name], axis=0))

    y_shape = shape.output_shape() if directions == 2 else (shape.T, 1, shape.B, shape.H)
    graph = helper.make_graph(
        nodes,
        "lstm",
        inputs,
        [value("y", y_shape)] + [value(name, shape.state_shape()) for name in ("h", "c")],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="fastlstm"
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()
