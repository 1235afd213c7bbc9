# SPDX-License-Identifier: MIT
"""The ONNX front end: branches, functions, names, constants; what is refused; what is malformed."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import graph_of, model_of, node

from fastlstm.errors import LoadError
from fastlstm.files.contents import Options
from fastlstm.models import reference
from fastlstm.models.graph import Graph, ModelError
from fastlstm.models.onnx import read

pytestmark = pytest.mark.once
X = np.random.default_rng(7).standard_normal((2, 3, 4, 5)).astype(np.float32)


def saved(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def branches(then_nodes, else_nodes, then_out="t", else_out="e", **more):
    """A model of If on the input c, whose branches see x."""
    then = graph_of(then_nodes, {}, then_out)
    other = graph_of(else_nodes, {}, else_out)
    made = node("If", "c", "y", then_branch=then, else_branch=other)
    return model_of(graph_of([made], {"x": X, "c": np.array(True)}, "y"), **more)


def test_branches_see_the_names_around_them(tmp_path, runner):
    """And inner names that are in both branches, or around them too, are kept apart."""
    constant = helper.make_node("Constant", [], ["k"], value_float=2.0)
    model = branches([constant, node("Mul", "x k", "t")], [constant, node("Add", "x k", "e")])
    run = runner(model)
    assert np.array_equal(run([X, np.array(True)])[0], X * 2)
    assert np.array_equal(run([X, np.array(False)])[0], X + 2)
    graph = read(saved(model, tmp_path))
    inner = [b for b in graph.nodes[0].attrs.values() if isinstance(b, Graph)]
    assert len(inner) == 2 and not set(inner[0].constants) & set(inner[1].constants)


def test_a_node_that_nothing_covers_hurts_only_where_it_is_needed(runner):
    custom = helper.make_node("Magic", ["x"], ["e"], domain="my.domain")
    run = runner(branches([node("Neg", "x", "t")], [custom], my_domain=1))
    assert np.array_equal(run([X, np.array(True)])[0], -X)
    with pytest.raises(ModelError, match=r"node 'e.*' \(my.domain.Magic\): the operator is not"):
        run([X, np.array(False)])


REFUSED = [
    (6, node("Add", "x x", "y", broadcast=1, axis=1), r"\(Add-6\): its inputs are broadcast by an"),
    (6, node("Dropout", "x", "y"), r"\(Dropout-6\): dropout of training \(is_test is 0\)"),
    (7, node("BatchNormalization", "x x x x x", "y", spatial=0), "spatial=0"),
    (9, node("BatchNormalization", "x x x x x", "y m"), "training .more than one output"),
    (10, node("Resize", "x x", "y"), "scales that are computed"),
    (1, node("Tile", "x x x", "y"), "before set 6"),
    (21, node("RandomNormalLike", "x", "y"), r"\(RandomNormalLike\): the operator is not covered"),
    (21, node("Loop", "", "y", body=graph_of([node("Neg", "x", "b")], {}, "b")), r"\(Loop\)"),
    (21, helper.make_node("Constant", [], ["y"], value_string="a"), "not a tensor of numbers"),
]  # fmt: skip


@pytest.mark.parametrize("version, made, words", REFUSED, ids=[r[1].op_type for r in REFUSED])
def test_what_is_refused_says_why_when_it_is_run(version, made, words, tmp_path):
    graph = read(saved(model_of(graph_of([made], {"x": X}, "y"), version), tmp_path))
    with pytest.raises(ModelError, match=words):
        reference.run(graph, {"x": X})


def function(name, nodes, inputs="a", outputs="b", attributes=(), defaults=(), domain="my"):
    return helper.make_function(
        domain, name, inputs.split(), outputs.split(), nodes, [helper.make_opsetid("", 11)],
        list(attributes), list(defaults),
    )  # fmt: skip


def call(name, inputs, outputs, **attrs):
    return helper.make_node(name, inputs, outputs, domain="my", name=f"call_{name}", **attrs)


def test_functions_are_put_in_place(runner):
    """Nested, called twice, with attributes of the call and defaults, an input that is not given,
    and an operator set of their own."""
    leaky = node("LeakyRelu", "a", "b")
    attribute = leaky.attribute.add()
    attribute.name, attribute.ref_attr_name, attribute.type = "alpha", "slope", 1
    clip = helper.make_node("Clip", ["a", "", "high"], ["k"])
    inner = function("Inner", [leaky], defaults=[helper.make_attribute("slope", 0.5)])
    outer = function("Outer", [
        clip, helper.make_node("Inner", ["k"], ["i"], domain="my"),
        node("Softmax", "i", "b", axis=1),
    ], "a high")  # fmt: skip
    model = model_of(
        graph_of([
            call("Outer", ["x", "m"], ["p"]), call("Outer", ["x"], ["q"]), node("Add", "p q", "r"),
            call("Inner", ["x"], ["s"], slope=0.25), node("Add", "r s", "y"),
        ], {"x": X}, "y", {"m": np.float32(0.1)}), functions=[inner, outer], my=1,
    )  # fmt: skip

    def by_hand(x):
        x = np.where(x < 0, 0.5 * x, x).reshape(2, -1)
        e = np.exp(x - x.max(1, keepdims=True))
        return (e / e.sum(1, keepdims=True)).reshape(X.shape)

    due = by_hand(np.minimum(X, 0.1)) + by_hand(X) + np.where(X < 0, 0.25 * X, X)
    np.testing.assert_allclose(runner(model)([X])[0], due, rtol=1e-5, atol=1e-6)


def test_nodes_out_of_order_are_sorted(tmp_path):
    nodes = [node("Add", "a b", "y"), node("Neg", "a", "b"), node("Exp", "x", "a")]
    graph = read(saved(model_of(graph_of(nodes, {"x": X}, "y")), tmp_path))
    assert [n.op for n in graph.nodes] == ["Exp", "Neg", "Add"]


def test_values_and_constants(tmp_path):
    """Inputs with a stored value are constants; axes keep their names; small integers stay."""
    graph = graph_of([node("Mul", "x w", "y")], {"w": (3,), "x": ("batch", None, 3)}, "y", {
        "w": np.arange(3, dtype=np.float32), "i": np.arange(3, dtype=np.int8)})  # fmt: skip
    found = read(saved(model_of(graph), tmp_path))
    assert [str(v) for v in found.inputs] == ["x: float32 (batch, ?, 3)"]
    assert found.constants["i"].dtype == np.int8 and not found.constants["w"].flags.writeable
    bfloat = helper.make_tensor("k", onnx.TensorProto.BFLOAT16, [2], [1.5, -2.0])
    made = helper.make_node("Constant", [], ["y"], value=bfloat)
    found = read(saved(model_of(graph_of([made], {}, "y")), tmp_path))
    assert found.constants["y"].dtype == np.float32 and found.constants["y"].tolist() == [1.5, -2]


def test_tensors_in_other_files(tmp_path):
    model = model_of(graph_of([node("Add", "x w", "y")], {"x": X}, "y", {"w": X[0, 0]}))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data",
              size_threshold=0)  # fmt: skip
    with pytest.raises(LoadError, match="pass external_data=True"):
        read(tmp_path / "m.onnx")
    graph = read(tmp_path / "m.onnx", Options(external_data=True))
    assert np.array_equal(reference.run(graph, {"x": X})[0], X + X[0, 0])


GOOD = [node("Neg", "x", "y")]
TWICE = helper.make_tensor("w", 1, [1], [1.0])


def changed(model, change):
    change(model)
    return model


def plain(nodes, outputs="y", opset=21, **more):
    return model_of(graph_of(nodes, {"x": X}, outputs), opset, **more)


WRONG = {
    "circle": (plain([node("Add", "x b", "a"), node("Neg", "a", "b"), node("Neg", "b", "y")]),
               "its inputs are made of its own outputs"),
    "itself": (plain([node("Add", "x y", "y")]), "its inputs are made of its own outputs"),
    "missing input": (plain([node("Add", "x gone", "y")]),
                      r"node 'y' \(Add\): no node, input or constant gives its input 'gone'"),
    "missing output": (plain(GOOD, "gone"), "no node gives the output 'gone'"),
    "no outputs": (plain(GOOD, ""), "its graph has no outputs"),
    "two of a name": (plain([*GOOD, node("Exp", "x", "y")]), "'y' is the second value"),
    "an input's name": (plain([node("Exp", "x", "x")], "x"), "'x' is the second value"),
    "two inputs": (changed(plain(GOOD), lambda m: m.graph.input.append(m.graph.input[0])),
                   "input 'x' is there twice"),
    "two initializers": (changed(plain(GOOD), lambda m: m.graph.initializer.extend([TWICE] * 2)),
                         "initializer 'w' is there twice"),
    "sparse": (changed(plain(GOOD), lambda m: m.graph.sparse_initializer.add()),
               "sparse initializers"),
    "no else": (plain([node("If", "x", "y", then_branch=graph_of(GOOD[:0], {}, "x"))]),
                "it has no else_branch"),
    "branch of another kind": (plain([node("If", "x", "y", then_branch=1)]),
                               "'then_branch' is not one graph"),
    "few outputs of a branch": (
        plain([node("If", "x", "y z", then_branch=graph_of([], {}, "x"),
                    else_branch=graph_of([], {}, "x"))]),
        "then_branch has 0 inputs and 1 outputs, 0 and 2 are due"),
    "branch without its output": (branches([node("Neg", "x", "t")], [], "t", "gone"),
                                  "no node gives the output of a branch"),
    "name of the other branch": (branches([node("Neg", "x", "t")], [node("Neg", "t", "e")]),
                                 "no node, input or constant gives its input 't'"),
    "type of an attribute": (plain([node("Softmax", "x", "y", axis=1.5)]),
                             "attribute 'axis' is a float, an int due"),
    "two attributes": (changed(plain([node("Softmax", "x", "y", axis=1)]), lambda m: m.graph.node[
        0].attribute.append(m.graph.node[0].attribute[0])), "two attributes 'axis'"),
    "a constant without value": (plain([helper.make_node("Constant", [], ["y"])]),
                                 "it has no value, or several"),
    "set of the future": (plain(GOOD, opset=99), "operator set 99 is newer than 28"),
    "no pads": (plain([node("Pad", "x", "y")], opset=7), "the attribute pads is missing"),
    "no scales": (plain([node("Upsample", "x", "y")], opset=7), "the attribute scales is missing"),
    "no to": (plain([node("Cast", "x", "y")]), "the attribute to is missing"),
    "to nothing": (plain([node("Cast", "x", "y", to="NOTHING")], opset=1), "'NOTHING' is unknown"),
    "strings": (changed(plain(GOOD), lambda m: setattr(
        m.graph.input[0].type.tensor_type, "elem_type", 8)), "'x' is of a type not read"),
    "calls itself": (plain([call("F", ["x"], ["y"])], my=1, functions=[
        function("F", [call("G", ["a"], ["b"])]), function("G", [call("F", ["a"], ["b"])])]),
        "the function calls itself"),
    "inputs of a function": (plain([call("F", ["x", "x"], ["y"])], my=1, functions=[
        function("F", [node("Neg", "a", "b")])]), "2 inputs and 1 outputs of a function of 1"),
    "name around a function": (plain([call("F", ["x"], ["y"])], my=1, functions=[
        function("F", [node("Add", "a x", "b")])]), "gives its input 'x'"),
    "output of a function": (plain([call("F", ["x"], ["y"])], my=1, functions=[
        function("F", [node("Neg", "a", "c")])]), "its function gives no output 'b'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_malformed_graphs(name, tmp_path):
    model, words = WRONG[name]
    with pytest.raises(LoadError, match=words):
        read(saved(model, tmp_path))


def test_functions_that_double_are_bounded(tmp_path):
    """40 functions, each of which calls the next twice: 2^40 nodes in a few KB."""
    functions = [
        function(f"F{i}", [call(f"F{i + 1}", ["a"], ["c"]), call(f"F{i + 1}", ["c"], ["b"])])
        for i in range(40)
    ]
    functions.append(function("F40", [node("Neg", "a", "b")]))
    path = saved(plain([call("F0", ["x"], ["y"])], my=1, functions=functions), tmp_path)
    with pytest.raises(LoadError, match="need far more memory than the file"):
        read(path)


def field(number, data):
    """A field of a message, by hand: the protobuf library does not nest so deep."""
    size = len(data)
    length = bytes([size & 127 | 128, size >> 7 & 127 | 128, size >> 14])
    return bytes([number << 3 | 2]) + length + data


def test_deep_branches_end_in_an_error(tmp_path):
    graph = b""
    for _ in range(70):
        attribute = field(1, b"then_branch") + field(6, graph) + bytes([20 << 3 & 127 | 128, 1, 5])
        graph = field(1, field(1, b"x") + field(2, b"y") + field(4, b"If") + field(5, attribute))
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08" + field(7, graph + field(11, field(1, b"x")) + field(12, b"")))
    with pytest.raises(LoadError, match="graphs nested deeper than 64"):
        read(path)
