# SPDX-License-Identifier: MIT
"""Layers that a file has one by one, as stacks of the engine: which are joined, and that the bits
are those of the single layers. Numbers against torch: test_networks.py."""

import numpy as np
import pytest

from fastlstm.models import plan as planning
from fastlstm.models.graph import Graph, Node, Value
from fastlstm.models.model import Model

F, H, LAYERS = np.float32, 5, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def number(*values):
    return np.array(values)


def model(kind, change=lambda nodes: nodes, outputs=("y", "hn", "cn"), **options):
    """LAYERS layers as torch's exporter writes them: each starts from a slice of h (and c), and hn
    (and cn) are joined of their ends."""
    rng, nodes, constants = np.random.default_rng(3), [], {}
    states = ("h", "c") if kind == "LSTM" else ("h",)
    x = "x"
    for i in range(LAYERS):
        size, given = 4 if i == 0 else H, []
        sizes = {"W": (size,), "R": (H,), "B": ()}
        for what, last in sizes.items():
            rows = GATES[kind] * H * (2 if what == "B" else 1)
            constants[f"{what}{i}"] = rng.normal(size=(1, rows, *last)).astype(F) / 2
        constants |= {f"n{i}": number(i), f"n{i + 1}": number(i + 1)}
        for state in states:
            nodes.append(Node("Slice", [state, f"n{i}", f"n{i + 1}", "n0"], [f"{state}{i}"], {}))
            given.append(f"{state}{i}")
        ends = [f"{state}n{i}" for state in states]
        inputs = [x, f"W{i}", f"R{i}", f"B{i}", "", *given]
        nodes.append(Node(kind, inputs, [f"Y{i}", *ends], {"hidden_size": H}, f"layer {i}"))
        nodes.append(Node("Squeeze", [f"Y{i}", "n1"], [f"x{i}"], {}))
        x = f"x{i}"
    nodes.append(Node("Identity", [x], ["y"], {}))
    for state in states:
        joined = [f"{state}n{i}" for i in range(LAYERS)]
        nodes.append(Node("Concat", joined, [f"{state}n"], {"axis": 0}))
    free = {"x": ("t", "b", 4), "h": (LAYERS, "b", H), "c": (LAYERS, "b", H)}
    inputs = [Value(n, np.dtype(F), free[n]) for n in ("x", *states)]
    made = [Value(n, np.dtype(F), None) for n in outputs if kind == "LSTM" or n != "cn"]
    return Model(Graph(inputs, made, change(nodes), constants, "g"), **options)


def feeds(m):
    rng = np.random.default_rng(1)
    sizes = {"t": 7, "b": 3}
    shapes = [[sizes.get(n, n) for n in value.shape] for value in m.inputs]
    return [rng.normal(size=shape).astype(F) for shape in shapes]


def layers_of(m, given):
    """num_layers of each Recurrent of the plan."""
    nodes = m.plan_of(given).graph.nodes
    return [node.attrs["layer"].num_layers for node in nodes if node.op == "Recurrent"]


def without_stacks(monkeypatch, make):
    """The outputs of a model whose layers stay alone."""
    with monkeypatch.context() as patched:
        patched.setattr(
            planning, "PASSES", tuple(p for p in planning.PASSES if p.__name__ != "stack")
        )
        m = make()
        given = feeds(m)
        assert layers_of(m, given) == [1] * LAYERS
        return m.run(dict(zip(m._names, given, strict=True)))


def check(monkeypatch, make, layers):
    m = make()
    given = feeds(m)
    assert layers_of(m, given) == layers
    made = m.run(dict(zip(m._names, given, strict=True)))
    for y, due in zip(made, without_stacks(monkeypatch, make), strict=True):
        assert np.array_equal(y, due)
    return m


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("dtype", [None, "float16"])
def test_a_stack_has_the_bits_of_its_layers(kind, dtype, monkeypatch):
    m = check(monkeypatch, lambda: model(kind, dtype=dtype), [LAYERS])
    ops = {node.op for node in m.plan_of(feeds(m)).graph.nodes}
    assert not ops & {"Slice", "Concat"}
    assert m.stream(batch_size=3).pairs == {n: f"{n}n" for n in m._names[1:]}


def from_zeros(nodes):
    for node in nodes:
        if node.op == "LSTM":
            node.inputs = node.inputs[:4]
    return nodes


def test_layers_that_start_from_zeros(monkeypatch):
    check(monkeypatch, lambda: model("LSTM", from_zeros), [LAYERS])


def test_ends_of_single_layers(monkeypatch):
    check(monkeypatch, lambda: model("LSTM", outputs=("hn1", "cn2", "y")), [LAYERS])
    check(monkeypatch, lambda: model("GRU", outputs=("hn2", "hn0", "hn")), [LAYERS])


@pytest.mark.parametrize("name, layers", [("x0", [1, 2]), ("Y1", [2, 1])])
def test_what_else_reads_a_layer_leaves_it_alone(name, layers, monkeypatch):
    check(monkeypatch, lambda: model("LSTM", from_zeros, outputs=(name, "y")), layers)
    check(monkeypatch, lambda: model("LSTM", outputs=(name, "y")), [1] * LAYERS)


def swapped(nodes):
    """The first two layers start from each other's slices."""
    slices = [node for node in nodes if node.op == "Slice"]
    for node in slices:
        name = node.outputs[0]
        if name[-1] in "01":
            node.outputs = [name[:-1] + "10"[int(name[-1])]]
    return slices + [node for node in nodes if node.op != "Slice"]


def of_first_ends(nodes):
    """The second layer starts from the end of the first one: a stack would need itself."""
    for node in nodes:
        if node.name == "layer 1":
            node.inputs = [{"h1": "hn0", "c1": "cn0"}.get(n, n) for n in node.inputs]
    return nodes


@pytest.mark.parametrize("change", [swapped, of_first_ends])
def test_other_starts_leave_layers_alone(change, monkeypatch):
    check(monkeypatch, lambda: model("LSTM", change), [1] * LAYERS)


def test_layers_of_codes_are_no_stack():
    """A stack's inner layers take other codes than layers alone do."""
    m = model("LSTM", dtype="int8")
    assert layers_of(m, feeds(m)) == [1] * LAYERS
