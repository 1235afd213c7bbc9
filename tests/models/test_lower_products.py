# SPDX-License-Identifier: MIT
"""Convolutions, pools and products with matrices as models of one node, or of one and an
activation, against ONNX Runtime; what their lowering refuses."""

import numpy as np
import pytest

from fastlstm.models.graph import Graph, ModelError, Node, Value
from fastlstm.models.model import Model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import helper, numpy_helper  # noqa: E402

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

F = np.float32


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(F)


X1, X2 = normal(2, 6, 20), normal(2, 6, 9, 11)
W1, W2 = normal(8, 6, 3, seed=1), normal(8, 3, 3, 2, seed=1)
T1, T2 = normal(6, 5, 4, seed=2), normal(6, 4, 3, 2, seed=2)
DEPTH = normal(6, 1, 3, 3, seed=3)
B8 = normal(8, seed=4)
A, B = normal(3, 4, 7), normal(7, 5, seed=5)

# (operator, inputs, attributes); an input in a list is constant
CASES = [
    ("Conv", [X1, [W1], [B8]], {}),
    ("Conv", [X1, W1, B8], {}), ("Conv", [X1, [W1], B8], {}), ("Conv", [X1, W1, [B8]], {}),
    ("ConvTranspose", [X1, T1], {"strides": [3]}),
    ("Conv", [X1, [W1]], {"strides": [2], "dilations": [3], "pads": [4, 1]}),
    ("Conv", [X2, [W2], [B8]], {"group": 2, "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    ("Conv", [X2, [DEPTH]], {"group": 6, "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}),
    *[("Conv", [X2, [W2]], {"group": 2, "strides": [2, 3], "auto_pad": rule})
      for rule in ("SAME_UPPER", "SAME_LOWER", "VALID")],
    ("ConvTranspose", [X1, [T1]], {"strides": [3], "pads": [1, 2], "output_padding": [1]}),
    ("ConvTranspose", [X2, [T2]], {"group": 2, "strides": [2, 3], "dilations": [1, 2]}),
    ("ConvTranspose", [X2, [T2]], {"strides": [2, 2], "output_shape": [18, 21]}),
    ("ConvTranspose", [X2, [T2]], {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", [X2, [T2]], {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ("MaxPool", [X1], {"kernel_shape": [3], "strides": [2]}),
    ("MaxPool", [X2], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1,
                       "pads": [1, 0, 0, 1], "dilations": [1, 2]}),
    ("MaxPool", [X2], {"kernel_shape": [3, 2], "auto_pad": "SAME_LOWER"}),
    ("AveragePool", [X2], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", [X2], {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [1, 1, 1, 1],
                           "count_include_pad": 1, "ceil_mode": 1}),
    ("MatMul", [A, B], {}), ("MatMul", [A, [B]], {}), ("MatMul", [A[0, 0], B], {}),
    ("MatMul", [A, normal(3, 7, 2)], {}), ("MatMul", [normal(2, 1, 3, 4), normal(5, 4, 6)], {}),
    ("Gemm", [A[0], B, normal(5)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", [A[0].T.copy(), B.T.copy(), normal(4, 1)], {"transA": 1, "transB": 1}),
    ("Gemm", [A[0], [B.T.copy()], [normal(5)]], {"transB": 1}),
    ("Gemm", [A[0], B], {}),
]  # fmt: skip
ACTIVATIONS = [("Relu", {}), ("Sigmoid", {}), ("Tanh", {}), ("LeakyRelu", {"alpha": 0.3})]


def taken(given):
    """Inputs and constants by name."""
    names = {f"x{i}": v for i, v in enumerate(given)}
    return ({n: v for n, v in names.items() if not isinstance(v, list)},
            {n: v[0] for n, v in names.items() if isinstance(v, list)})  # fmt: skip


def by_onnxruntime(nodes, inputs, constants):
    type_of = lambda a: helper.np_dtype_to_tensor_dtype(a.dtype)  # noqa: E731
    graph = helper.make_graph(
        [helper.make_node(n.op, n.inputs, n.outputs, **n.attrs) for n in nodes],
        "g",
        [helper.make_tensor_value_info(n, type_of(a), a.shape) for n, a in inputs.items()],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(a, n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)[0]


def by_fastlstm(nodes, inputs, constants):
    sizes = {n: (*(f"{n}{i}" for i in range(a.ndim)),) for n, a in inputs.items()}
    if nodes[0].op in ("Conv", "ConvTranspose", "MaxPool", "AveragePool"):  # channels are known
        sizes = {n: a.shape for n, a in inputs.items()}
        sizes["x0"] = ("n", inputs["x0"].shape[1], *sizes["x0"][2:])
    values = [Value(n, a.dtype, sizes[n]) for n, a in inputs.items()]
    graph = Graph(values, [Value("y", np.dtype(F), None)], nodes, constants, "g")
    return Model(graph).run(inputs)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[2]}")
@pytest.mark.parametrize("function", [None, *ACTIVATIONS], ids=lambda f: f[0] if f else "none")
def test_against_onnxruntime(case, function):
    op, given, attrs = case
    inputs, constants = taken(given)
    nodes = [Node(op, [f"x{i}" for i in range(len(given))], ["y"], attrs, "the node")]
    if function:
        nodes[0].outputs = ["z"]
        nodes.append(Node(function[0], ["z"], ["y"], function[1]))
    want = by_onnxruntime(nodes, inputs, constants)
    y = by_fastlstm(nodes, inputs, constants)
    assert y.shape == want.shape and y.dtype == want.dtype
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5 * max(1, np.abs(want).max()))


@pytest.mark.parametrize("limits", [(-0.5, 0.25), (0.5, -0.25)], ids=["least-most", "most-least"])
@pytest.mark.parametrize(
    "case",
    [("Gemm", [A[0], [B], [normal(5)]], {}), ("Conv", [X2, [W2], [B8]], {"group": 2}),
     ("Conv", [X2, [DEPTH]], {"group": 6}), ("Conv", [X1, [W1]], {})],
    ids=lambda c: f"{c[0]}-{c[2]}",
)  # fmt: skip
def test_a_clip_behind_a_product(case, limits):
    """Where the least is above the most, all is the most."""
    op, given, attrs = case
    inputs, constants = taken(given)
    constants |= {"least": F(limits[0]), "most": F(limits[1])}
    nodes = [Node(op, [f"x{i}" for i in range(len(given))], ["z"], attrs),
             Node("Clip", ["z", "least", "most"], ["y"])]  # fmt: skip
    want = by_onnxruntime(nodes, inputs, constants)
    y = by_fastlstm(nodes, inputs, constants)
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)
    assert limits[0] < limits[1] or (y == F(limits[1])).all()


@pytest.mark.parametrize(
    ("op", "given", "attrs", "message"),
    [
        ("Conv", [X1, [W1]], {"auto_pad": "SAME"}, "auto_pad"),
        ("Conv", [X1, [W1]], {"pads": [-1, 0]}, "at least 1, and pads 0"),
        ("Conv", [X1, [W1]], {"strides": [1, 1]}, "strides"),
        ("Conv", [X1, [W1]], {"kernel_shape": [4]}, "kernel_shape"),
        ("Conv", [normal(1, 2, 3, 3, 3), [normal(1, 2, 1, 1, 1)]], {}, "1 and 2 axes"),
    ],
)  # fmt: skip
def test_what_is_refused(op, given, attrs, message):
    inputs, constants = taken(given)
    node = Node(op, [f"x{i}" for i in range(len(given))], ["y"], attrs, "the node")
    with pytest.raises(ModelError, match=message):
        by_fastlstm([node], inputs, constants)
