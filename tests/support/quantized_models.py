# SPDX-License-Identifier: MIT
"""Small ONNX models of every operator on small integers, sound and hostile: for the fuzzers and the
tests. Their weights have a scale and a zero point that the caller chooses."""

import numpy as np
from onnx import TensorProto, helper
from onnx_models import graph_of, model_of, node

F = np.float32
SCALES = (0.0, np.nan, -0.5, np.inf, 1e-45, 3e38)


def of_dynamic(scale=0.01, zero=0, kind="int8", rows=None):
    """What quantize_dynamic writes: a convolution, an LSTM and a product. rows: how many scales and
    zero points the product has; None: one, without axes."""
    rng = np.random.default_rng(3)

    def codes(*shape):
        return rng.integers(-90, 90, shape).astype(np.int64).clip(*_range(kind)).astype(kind)

    shape = () if rows is None else (rows,)
    constants = {
        "cw": codes(6, 4, 3), "w": codes(1, 6, 20), "r": codes(1, 5, 20), "m": codes(5, 3),
        "lb": F(rng.standard_normal((1, 40))), "cb": F(rng.standard_normal((1, 6, 1))),
        "mb": F(rng.standard_normal(3)), "one": np.full(1, scale, F),
        "none": np.full(1, zero, kind),
        "s": np.full((), scale, F), "z": np.full((), zero, kind), "ms": np.full(shape, scale, F),
        "mz": np.full(shape, zero, kind), "axis": np.array([1]),
    }  # fmt: skip
    lstm = helper.make_node(
        "DynamicQuantizeLSTM",
        ["d", "w", "r", "lb", "", "", "", "", "one", "none", "one", "none"],
        ["e"], domain="com.microsoft", hidden_size=5,
    )  # fmt: skip
    nodes = [
        node("DynamicQuantizeLinear", "x", "xq xs xz"), node("Mul", "xs s", "ca"),
        node("ConvInteger", "xq cw xz z", "ci", pads=[1, 1]), node("Cast", "ci", "cf", to=1),
        node("Mul", "cf ca", "cm"), node("Add", "cm cb", "c"),
        node("Transpose", "c", "d", perm=[2, 0, 1]), lstm, node("Squeeze", "e axis", "f"),
        node("DynamicQuantizeLinear", "f", "fq fs fz"), node("Mul", "fs ms", "ma"),
        node("MatMulInteger", "fq m fz mz", "mi"), node("Cast", "mi", "mf", to=1),
        node("Mul", "mf ma", "mm"), node("Add", "mm mb", "y"),
    ]  # fmt: skip
    graph = graph_of(nodes, {"x": ("N", 4, "T")}, "y", constants)
    return model_of(graph, com_microsoft=1)


def of_static(scale=0.01, zero=0, kind="int8", rows=None):
    """What quantize_static writes: QLinearConv, QLinearMatMul and others. rows: as above."""
    rng = np.random.default_rng(4)
    shape = () if rows is None else (rows,)
    constants = {
        "s": np.full((), scale, F), "z": np.full((), zero, kind), "b": np.arange(6, dtype=np.int32),
        "cw": rng.integers(-90, 90, (6, 4, 3)).astype(np.int8), "zs": np.int8(0),
        "m": rng.integers(-90, 90, (6, 3)).astype(np.int8), "ms": np.full(shape, scale, F),
        "mz": np.zeros(shape, np.int8), "one": F(0.1), "u": np.zeros((), kind),
    }  # fmt: skip
    add = helper.make_node(
        "QLinearAdd", ["e", "one", "u", "e", "one", "u", "s", "z"], ["f"], domain="com.microsoft"
    )
    nodes = [
        node("QuantizeLinear", "x s z", "xq"),
        node("QLinearConv", "xq s z cw s zs one u b", "c", pads=[1, 1]),
        node("Transpose", "c", "d", perm=[0, 2, 1]),
        node("QLinearMatMul", "d one u m ms mz one u", "e"), add,
        node("DequantizeLinear", "f s z", "y"),
    ]  # fmt: skip
    return model_of(graph_of(nodes, {"x": ("N", 4, "T")}, "y", constants), com_microsoft=1)


def _range(kind):
    info = np.iinfo(kind)
    return info.min, info.max


def every():
    """(what it is, a ModelProto), the sound ones first."""
    for made in (of_dynamic, of_static):
        for kind in ("int8", "uint8"):
            for rows in (None, 1, 3, 2):
                yield f"{made.__name__} {kind} {rows}", made(0.01, 100, kind, rows)
        for scale in SCALES:
            yield f"{made.__name__} {scale}", made(scale)
        for zero in (-128, 127):
            yield f"{made.__name__} zero {zero}", made(0.01, zero)
    wrong = of_dynamic()
    wrong.graph.initializer[0].data_type = TensorProto.UINT8  # weights and zero points differ
    yield "two types", wrong
