# SPDX-License-Identifier: MIT
"""Single elementwise operators, reductions and normalizations as models of one node, against ONNX's
own reference evaluator, with every attribute; what their lowering refuses."""

import numpy as np
import pytest

from fastlstm.engine.c import _core as core
from fastlstm.models.elementwise import ELEMENTWISE
from fastlstm.models.graph import Graph, ModelError, Node, Value
from fastlstm.models.infer import Fact
from fastlstm.models.lower import norm, pointwise, reduce
from fastlstm.models.lower.builder import TABLE, Builder
from fastlstm.models.model import Model

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

pytestmark = [pytest.mark.once, pytest.mark.needs("c")]

F, I, B = np.float32, np.int64, np.bool_
rng = np.random.default_rng(5)
X = rng.normal(0, 2, (3, 5, 4)).astype(F)
Y = rng.normal(0, 2, (5, 1)).astype(F)
N = rng.integers(-9, 9, (3, 5, 4))
M = rng.integers(1, 9, (5, 1))
P, Q = X > 0, Y > 0
HALF = rng.integers(-9, 9, (3, 5, 4)).astype(F) / 2
NOT_FINITE = F([[np.inf, -np.inf, np.nan, 0]])
C = np.abs(rng.normal(0, 1, (4, 5)).astype(F)) + 0.5  # parameters of 5 channels
S = rng.normal(0, 1, (2, 5, 4)).astype(F)

# (operator, inputs, attributes); an input in a list is constant, "" is not given
CASES = [
    *[(op, [X, Y], {}) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")],
    *[(op, [N, M], {}) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mod")],
    *[(op, [X, Y], {}) for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")],
    *[(op, [N, M], {}) for op in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")],
    *[(op, [P, Q], {}) for op in ("And", "Or", "Xor", "Equal")],
    *[
        (op, [X], {})
        for op in (
            "Neg",
            "Abs",
            "Sign",
            "Relu",
            "Exp",
            "Erf",
            "Sin",
            "Cos",
            "Reciprocal",
            "Floor",
            "Ceil",
            "Sigmoid",
            "Tanh",
            "Softplus",
            "Softsign",
            "HardSwish",
            "Mish",
            "Elu",
            "Selu",
            "Celu",
            "LeakyRelu",
            "HardSigmoid",
            "ThresholdedRelu",
            "Gelu",
            "Clip",
            "Sum",
            "Mean",
            "Max",
            "Min",
        )
    ],
    *[(op, [N], {}) for op in ("Neg", "Abs", "Sign", "Clip")],
    ("Log", [np.abs(X)], {}),
    ("Sqrt", [np.abs(X)], {}),
    ("Round", [HALF], {}),
    ("Not", [P], {}),
    ("Where", [P, X, Y], {}),
    ("Where", [Q, N, M], {}),
    ("Sum", [X, Y, X], {}),
    ("Mean", [X, Y, X], {}),
    ("Max", [X, Y, HALF], {}),
    ("Min", [X, Y, HALF], {}),
    ("Mod", [X, Y], {"fmod": 1}),
    ("Mod", [N, M], {"fmod": 1}),
    *[(op, [N, M], {}) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")],
    ("BitwiseNot", [N], {}),
    *[(op, [X], {}) for op in ("Tan", "Sinh", "Cosh", "Atan", "Asinh", "Swish", "Shrink")],
    *[(op, [X / 10], {}) for op in ("Asin", "Acos", "Atanh")],
    ("Acosh", [np.abs(X) + 1], {}),
    ("Swish", [X], {"alpha": 0.5}),
    ("Shrink", [X], {"lambd": 1.5, "bias": 0.25}),
    ("Shrink", [N], {"lambd": 2.0, "bias": 1.0}),
    *[("BitShift", [np.abs(N), M], {"direction": way}) for way in ("LEFT", "RIGHT")],
    ("Pow", [np.abs(X), Y], {}),
    ("Pow", [X, [np.array(2, F)]], {}),
    ("Pow", [X, [np.array(3, I)]], {}),
    ("Pow", [X, [np.array([[[[2]]]], F)]], {}),
    ("Pow", [N, M], {}),
    ("Pow", [np.abs(N), [np.array(0.5, F)]], {}),
    ("Cast", [X], {"to": 7}),
    ("Cast", [X], {"to": 9}),
    ("Cast", [N], {"to": 1}),
    ("Cast", [P], {"to": 1}),
    ("Cast", [P], {"to": 7}),
    ("CastLike", [X, N], {}),
    ("IsNaN", [NOT_FINITE], {}),
    ("IsInf", [NOT_FINITE], {}),
    ("IsInf", [NOT_FINITE], {"detect_negative": 0}),
    ("IsInf", [NOT_FINITE], {"detect_positive": 0}),
    ("IsInf", [NOT_FINITE], {"detect_positive": 0, "detect_negative": 0}),
    ("Elu", [X], {"alpha": 0.5}),
    ("Selu", [X], {"alpha": 0.5, "gamma": 2.0}),
    ("Celu", [X], {"alpha": 0.5}),
    ("LeakyRelu", [X], {"alpha": 0.3}),
    ("HardSigmoid", [X], {"alpha": 0.3, "beta": 0.4}),
    ("ThresholdedRelu", [X], {"alpha": 0.3}),
    ("Gelu", [X], {"approximate": "tanh"}),
    ("Clip", [X, [np.array(-1, F)], [np.array(1, F)]], {}),
    ("Clip", [X, np.array(-1, F), np.array(1, F)], {}),
    ("Clip", [X, [np.array(-1, F)]], {}),
    ("Clip", [X, "", [np.array(1, F)]], {}),
    ("Clip", [N, [np.array(-1)], [np.array(1)]], {}),
    ("Clip", [N, "", [np.array(1)]], {}),
    *[
        (op, [np.abs(X), *axes], {"keepdims": keepdims})
        for op in reduce.REDUCTIONS
        for axes in ([], [[np.array([1])]], [[np.array([-1, 0])]])
        for keepdims in (0, 1)
    ],
    *[(op, [np.abs(X)], {"noop_with_empty_axes": 1}) for op in ("ReduceSum", "ReduceMax")],
    ("ReduceSum", [N, [np.array([0, 2])]], {}),
    ("ArgMax", [X], {}),
    ("ArgMin", [X], {"axis": -1, "keepdims": 0}),
    ("ArgMax", [HALF], {"axis": 1, "select_last_index": 1}),
    ("TopK", [X, [np.array([2])]], {"axis": 1}),
    ("TopK", [X, [np.array([3])]], {"largest": 0}),
    ("CumSum", [X, [np.array(1)]], {}),
    ("CumSum", [X, [np.array(-1)]], {"exclusive": 1, "reverse": 1}),
    ("CumProd", [X, [np.array(1)]], {}),
    ("CumProd", [N, [np.array(0)]], {"exclusive": 1, "reverse": 1}),
    *[(op, [X], {"axis": axis}) for op in ("Softmax", "LogSoftmax") for axis in (-1, 0, 1)],
    ("Softmax", [X], {}),
    ("LayerNormalization", [X, [X[0, 0]]], {}),
    ("LayerNormalization", [X, [X[0]], [X[1]]], {"axis": 1, "epsilon": 0.1}),
    ("RMSNormalization", [X, [X[0, 0]]], {"epsilon": 0.1}),
    ("InstanceNormalization", [S, [C[0]], [C[1]]], {"epsilon": 0.1}),
    ("GroupNormalization", [S, [C[0]], [C[1]]], {"num_groups": 5}),
    ("BatchNormalization", [S, [C[0]], [C[1]], [C[2]], [C[3]]], {"epsilon": 0.1}),
]
OUTPUTS = {"TopK": 2, "LayerNormalization": 3}


def named(op, given, attrs):
    """The node, and its inputs that are given and that are constant, by name."""
    inputs, constants, names = {}, {}, []
    for i, value in enumerate(given):
        names.append("" if isinstance(value, str) else f"x{i}")
        if isinstance(value, list):
            constants[names[-1]] = value[0]
        elif names[-1]:
            inputs[names[-1]] = value
    outputs = [f"y{i}" for i in range(OUTPUTS.get(op, 1))]
    return Node(op, names, outputs, dict(attrs), "the node"), inputs, constants


def by_onnx(node, inputs, constants):
    made = helper.make_node(node.op, node.inputs, node.outputs, **node.attrs)
    type_of = lambda a: helper.np_dtype_to_tensor_dtype(a.dtype)  # noqa: E731
    graph = helper.make_graph(
        [made],
        "g",
        [
            helper.make_tensor_value_info(n, type_of(a), a.shape)
            for n, a in (inputs | constants).items()
        ],
        [helper.make_tensor_value_info(n, 1, None) for n in node.outputs],
    )
    opset = 23 if node.op == "RMSNormalization" else 21
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return ReferenceEvaluator(model).run(None, inputs | constants)


def by_fastlstm(node, inputs, constants, like, free=True):
    graph = Graph(
        [
            Value(n, a.dtype, tuple(f"{n}_{i}" if free else s for i, s in enumerate(a.shape)))
            for n, a in inputs.items()
        ],
        [Value(n, np.dtype(d), None) for n, d in zip(node.outputs, like, strict=True)],
        [node],
        constants,
        "g",
    )
    return Model(graph).run(inputs)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{len(c[1])}-{c[2]}")
@np.errstate(all="ignore")
def test_against_onnx(case):
    node, inputs, constants = named(*case)
    wants = [np.asarray(w) for w in by_onnx(node, inputs, constants)]
    for free in (True, False):
        made = by_fastlstm(node, inputs, constants, [w.dtype for w in wants], free)
        for y, want in zip(made, wants, strict=True):
            assert y.dtype == want.dtype and y.shape == want.shape
            if want.dtype.kind == "f":
                np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(y, want)


def test_every_operator_has_a_case():
    due = {
        op
        for op, f in TABLE.items()
        if f.__module__ in {m.__name__ for m in (norm, pointwise, reduce)}
    }
    assert set(ELEMENTWISE) | set(reduce.REDUCTIONS) <= due
    assert due - {op for op, _, _ in CASES} == {"Pointwise"}


def test_pointwise():
    code = [("add", 0, 1), ("mul", 4, 2), ("sub", 5, 3), ("relu", 6)]
    node = Node("Pointwise", ["x0", "x1"], ["y0"], {"code": code, "consts": [0.5, 0.25]})
    facts = {"x0": Fact(np.dtype(F), (None, 5, 4)), "x1": Fact(np.dtype(F), (5, 1))}
    facts["y0"] = facts["x0"]
    builder = Builder(core, facts)
    for name, axes in (("x0", 3), ("x1", 2)):
        builder.places[name] = builder.program.input(F, axes)
    TABLE["Pointwise"](builder, node)
    builder.program.output(builder.place("y0"))
    (y,) = builder.program.run([X, Y])
    np.testing.assert_array_equal(y, np.maximum((X + Y) * F(0.5) - F(0.25), 0))


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "message"),
    [
        ("Gelu", [X], {"approximate": "no"}, r"node 'the node' \(Gelu\): approximate is 'no', not"),
        ("BitShift", [N, M], {"direction": "UP"}, "direction is 'UP', not 'LEFT' or 'RIGHT'"),
        ("CumSum", [X, [np.array([0, 1])]], {}, "axis has 2 numbers, one is due"),
        ("GroupNormalization", [S, [C[0]], [C[1]]], {}, "num_groups is 0, at least 1 is due"),
        ("BatchNormalization", [S, *([c] for c in C)], {"training_mode": 1}, "training_mode"),
        ("BatchNormalization", [S, [C], *([c] for c in C[1:])], {}, "does not fit inputs"),
        ("Softmax", [X], {"axis": 3}, "shapes or types do not fit"),
        ("ReduceSum", [X, [np.array([3])]], {}, "axis 3 of 3 axes"),
    ],
)
def test_what_is_refused(op, inputs, attrs, message):
    node, given, constants = named(op, inputs, attrs)
    with pytest.raises(ModelError, match=message):
        by_fastlstm(node, given, constants, [F] * len(node.outputs))
