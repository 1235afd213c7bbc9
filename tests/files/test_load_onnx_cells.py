# SPDX-License-Identifier: MIT
"""ONNX models whose recurrent cells are written out as single operators are told by name, and what
only looks like one is not; constants that do not fit a layer; layers beside one that cannot run."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from test_load_onnx import model_of

import fastlstm.cli.main as cli
from fastlstm import LoadError, load, load_all
from fastlstm.files.read import inspect

pytestmark = [
    pytest.mark.once,
    # of torch's exporters, about themselves
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]


class Loop(torch.nn.Module):
    """A cell over the steps of x, from zeros (stored in the model) or from the caller's state."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x, state=None):
        if state is None:
            state = torch.zeros(x.shape[1], 4)
            state = (state, state) if isinstance(self.cell, torch.nn.LSTMCell) else state
        y = []
        for t in range(3):
            state = self.cell(x[t], state)
            y.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(y)


CELLS = {
    "LSTM": torch.nn.LSTMCell(3, 4),
    "GRU": torch.nn.GRUCell(3, 4),
    "RNN": torch.nn.RNNCell(3, 4),
    "RNN-relu": torch.nn.RNNCell(3, 4, nonlinearity="relu"),
}


class Each(torch.nn.Module):
    """Several modules over one x, each for itself."""

    def __init__(self, *modules):
        super().__init__()
        self.each = torch.nn.ModuleList(modules)

    def forward(self, x):
        return tuple(module(x) for module in self.each)


def problems(path):
    """[Layer.problem] of a model's layers; None for one that can run."""
    return [layer.problem for layer in inspect(path)[2].values()]


def exported(module, path, dynamo, *state):
    if dynamo:
        pytest.importorskip("onnxscript")
    arguments = (torch.randn(3, 2, 3), *state)
    torch.onnx.export(module.eval(), arguments, str(path), dynamo=dynamo, verbose=False)
    return path


def check_named(problem, kind):
    steps = 2 if kind == "RNN" else 3  # an RNN is told by one step after another
    assert f"{kind}Cell" in problem and "written out as single operators at node '" in problem
    assert f"and {steps - 1} more like it" in problem
    assert "load the checkpoint" in problem and f"export it as the operator {kind}" in problem


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_loops_over_torchs_cells(tmp_path, name, given):
    """One layer for the three steps, named after the cell, whatever the loop starts from."""
    h, kind = torch.zeros(2, 4), name.partition("-")[0]
    state = ((h, h) if kind == "LSTM" else h,) if given else ()
    path = exported(Loop(CELLS[name]), tmp_path / "loop.onnx", False, *state)
    (problem,) = problems(path)
    check_named(problem, kind)
    with pytest.raises(LoadError, match=f"{kind}Cell.*written out as single operators"):
        load(path)


def test_loops_by_the_dynamo_exporter(tmp_path):
    """All cells in one model, and nn.RNN, which it unrolls: one entry for each direction."""
    cells = [Loop(cell) for cell in CELLS.values()]
    rnn = torch.nn.RNN(3, 4, nonlinearity="relu", bidirectional=True)
    found = problems(exported(Each(*cells, rnn), tmp_path / "all.onnx", True))
    kinds = [*(name.partition("-")[0] for name in CELLS), "RNN", "RNN"]
    assert len(found) == len(kinds)
    for kind in sorted(kinds):
        (*_, problem) = (each for each in found if f"{kind}Cell" in each)
        check_named(problem, kind)
        found.remove(problem)


def test_what_the_dynamo_exporter_writes_as_operators(tmp_path, rng):
    """The default export, whose weights stand in <name>.data beside the model: loads at once."""
    modules = [torch.nn.LSTM(3, 4, bidirectional=True), torch.nn.GRU(3, 4)]
    path = exported(Each(*modules), tmp_path / "m.onnx", True)
    assert (tmp_path / "m.onnx.data").exists()
    x = rng.standard_normal((3, 2, 3)).astype(np.float32)
    for module, layer in zip(modules, load_all(path).values(), strict=True):
        with torch.no_grad():
            expected = module(torch.from_numpy(x))[0].numpy()
        assert np.abs(layer(x)[0] - expected).max() <= 2e-6


def test_a_projection_that_the_exporter_leaves_out(tmp_path):
    """It writes hidden_size 5, the projection's, and an initial_c of the cell's 8."""
    path = exported(torch.nn.LSTM(3, 8, proj_size=5), tmp_path / "p.onnx", True)
    with pytest.raises(LoadError, match=r"initial_c .* \(1, 2, 8\), \(1, 2, 5\) is due"):
        load(path)


# ---- hand-written graphs


def ones(*shape):
    return np.ones(shape, np.float32)


def linear(x, weight, out):
    return helper.make_node("MatMul", [x, weight], [out])


def op(kind, inputs, out):
    return helper.make_node(kind, inputs.split(), [out])


GATES = [linear("x", "W", "wx"), linear("h", "R", "rh"), op("Add", "wx rh", "s"),
         op("Sigmoid", "s", "z"), op("Sigmoid", "wx", "r")]  # fmt: skip
AFTER = [op("Mul", "r rh", "rr"), op("Add", "rr wx", "m"), op("Tanh", "m", "n")]
BEFORE = [op("Mul", "r h", "rr"), linear("rr", "R", "q"), op("Add", "q wx", "m"),
          op("Tanh", "m", "n")]  # fmt: skip
CELL_GRAPHS = {
    "GRU, n + z (h - n)": [*GATES, *AFTER, op("Sub", "h n", "d"), op("Mul", "d z", "zd"),
                           op("Add", "zd n", "y")],
    "GRU, n first": [*GATES, *AFTER, op("Sub", "h n", "d"), op("Mul", "z d", "zd"),
                     op("Add", "n zd", "y")],
    "GRU, (1 - z) n + z h": [*GATES, *AFTER, op("Sub", "one z", "u"), op("Mul", "u n", "un"),
                             op("Mul", "z h", "zh"), op("Add", "un zh", "y")],
    "GRU that resets first": [*GATES, *BEFORE, op("Sub", "one z", "u"), op("Mul", "n u", "un"),
                              op("Mul", "h z", "zh"), op("Add", "zh un", "y")],
    "RNN of one step": [*GATES[:3], op("Tanh", "s", "y")],
    "LSTM, its sum turned": [*GATES, op("Tanh", "rh", "g"), op("Mul", "g z", "ig"),
                             op("Mul", "c r", "fc"), op("Add", "fc ig", "y")],
}  # fmt: skip
OTHER_GRAPHS = {
    "layers of tanh": [linear("x", "W", "a"), op("Tanh", "a", "b"), linear("b", "R", "c1"),
                       op("Tanh", "c1", "y")],
    "a sum of two networks": [linear("x", "W", "a"), op("Tanh", "a", "b"), linear("b", "R", "c1"),
                              linear("h", "W", "a2"), op("Tanh", "a2", "b2"),
                              linear("b2", "V", "d"), op("Add", "c1 d", "e"), op("Tanh", "e", "y")],
    "additive attention": [*GATES[:3], op("Tanh", "s", "t"), linear("t", "V", "y")],
    "residual blocks": [linear("x", "W", "a"), op("Add", "a x", "b"), op("Relu", "b", "c1"),
                        linear("c1", "R", "d"), op("Add", "d c1", "e"), op("Relu", "e", "y")],
    "gated linear units": [*GATES, op("Tanh", "rh", "g"), op("Mul", "z g", "zg"),
                           op("Add", "zg x", "y")],
    "a highway": [*GATES, op("Tanh", "s", "n"), op("Sub", "one z", "u"), op("Mul", "u x", "ux"),
                  op("Mul", "z n", "zn"), op("Add", "ux zn", "y")],
    "interpolation": [*GATES, op("Sub", "h x", "d"), op("Mul", "d z", "zd"),
                      op("Add", "zd x", "y")],
}  # fmt: skip


def saved(path, nodes):
    stored = {"W": ones(4, 4), "R": ones(4, 4), "V": ones(4, 4), "one": ones(1)}
    onnx.save(model_of(nodes, ["x", "h", "c"], ["y"], stored), path)
    return path


@pytest.mark.parametrize("name", CELL_GRAPHS)
def test_cells_in_other_words(tmp_path, name):
    (problem,) = problems(saved(tmp_path / "c.onnx", CELL_GRAPHS[name]))
    assert f"{name[:4].strip()[:4].rstrip(',')}Cell" in problem


@pytest.mark.parametrize("name", OTHER_GRAPHS)
def test_what_is_no_cell(tmp_path, name):
    assert problems(saved(tmp_path / "o.onnx", OTHER_GRAPHS[name])) == []


def test_a_cell_in_the_body_of_a_loop(tmp_path):
    body = model_of([*GATES[:3], op("Relu", "s", "h2")], ["i", "go", "h"], ["go", "h2"],
                    graph_only=True)  # fmt: skip
    loop = helper.make_node("Loop", ["n", "", "h0"], ["y"], body=body)
    stored = {"W": ones(4, 4), "R": ones(4, 4)}
    onnx.save(model_of([loop], ["x", "n", "h0"], ["y"], stored), tmp_path / "l.onnx")
    (problem,) = problems(tmp_path / "l.onnx")
    assert "RNNCell" in problem and "more like it" not in problem


# ---- constants that do not fit

FIT = {"W": ones(1, 20, 3), "R": ones(1, 20, 5), "B": ones(1, 40), "P": ones(1, 15),
       "h": ones(1, 3, 5), "c": ones(1, 3, 5)}  # fmt: skip
INPUTS = ["X", "W", "R", "B", "lens", "h", "c", "P"]


def node_of(kind="LSTM", name="bad", **attributes):
    names = [n if n != "lens" else "" for n in INPUTS]
    return helper.make_node(kind, names, [f"{name}.y"], name=name,
                            **{"hidden_size": 5} | attributes)  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"c": ones(1, 3, 8)}, "initial_c ('c') has the shape (1, 3, 8), (1, 3, 5) is due"),
     ({"c": 0 * ones(1, 3, 8)}, "initial_c ('c') has the shape (1, 3, 8), (1, 3, 5) is due"),
     ({"c": ones(1, 2, 5)}, "initial_c ('c') has the shape (1, 2, 5), (1, 3, 5) is due"),
     ({"h": ones(2, 3, 5)}, "initial_h ('h') has the shape (2, 3, 5), (1, B, 5) is due"),
     ({"h": ones(3, 5)}, "initial_h ('h') has the shape (3, 5), (1, B, 5) is due"),
     ({"h": ones(1, 3, 5).astype(int)}, "initial_h ('h') is int64 of the shape (1, 3, 5)"),
     ({"B": ones(1, 20)}, "B ('B') has the shape (1, 20), (1, 40) is due"),
     ({"B": ones(40)}, "B ('B') has the shape (40,), (1, 40) is due"),
     ({"P": ones(1, 20)}, "P ('P') has the shape (1, 20), (1, 15) is due"),
     ({"P": ones(2, 15)}, "P ('P') has the shape (2, 15), (1, 15) is due"),
     ({"W": ones(1, 24, 3)}, "W ('W') has the shape (1, 24, 3), (1, 20, I) is due"),
     ({"W": ones(2, 20, 3)}, "W ('W') has the shape (2, 20, 3), (1, 20, I) is due"),
     ({"W": ones(20, 3)}, "W ('W') has the shape (20, 3), (directions, gates, size) is due"),
     ({"R": ones(1, 20, 8)}, "R ('R') has the shape (1, 20, 8), (1, 20, 5) is due"),
     ({"R": ones(1, 24, 6)}, "R ('R') has the shape (1, 24, 6), (1, 20, 5) is due"),
     ({"lens": ones(2, 3).astype("i4")}, "sequence_lens ('lens') has the shape (2, 3), (B,) is"),
     ({"lens": ones(3)}, "sequence_lens ('lens') is float32"),
     ({"lens": ones(3).astype("i4")}, "its sequence lengths are constants in the file")],
)  # fmt: skip
def test_constants_that_do_not_fit(tmp_path, wrong, says):
    """Each input of the node, with both shapes named; the others are fit, and load."""
    names = [n if n in FIT | wrong or n == "X" else "" for n in INPUTS]
    node = helper.make_node("LSTM", names, ["y"], name="bad", hidden_size=5)
    path = tmp_path / "f.onnx"
    onnx.save(model_of([node], ["X"], ["y"], FIT | wrong), path)
    with pytest.raises(LoadError) as caught:
        load(path)
    assert says in str(caught.value) and "(node 'bad')" in str(caught.value)
    onnx.save(model_of([node_of()], ["X"], ["y"], FIT), path)
    assert load(path).hidden_size == 5


def test_a_state_of_the_other_layout_does_not_fit(tmp_path):
    """layout=1: (B, D, H)."""
    path, stored = tmp_path / "l.onnx", FIT | {"h": ones(3, 1, 5), "c": ones(3, 1, 5)}
    onnx.save(model_of([node_of(layout=1)], ["X"], ["y"], stored), path)
    assert load(path).initial_state[0].shape == (1, 3, 5)
    onnx.save(model_of([node_of(layout=1)], ["X"], ["y"], stored | {"c": ones(1, 3, 5)}), path)
    with pytest.raises(LoadError, match=r"initial_c .* \(1, 3, 5\), \(3, 1, 5\) is due"):
        load(path)


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_the_states_of_gru_and_rnn(tmp_path, kind):
    rows = 5 * {"GRU": 3, "RNN": 1}[kind]
    stored = {"W": ones(2, rows, 3), "R": ones(2, rows, 5), "h": ones(1, 2, 5)}
    node = helper.make_node(kind, ["X", "W", "R", "", "", "h"], ["y"], direction="bidirectional",
                            hidden_size=5)  # fmt: skip
    onnx.save(model_of([node], ["X"], ["y"], stored), tmp_path / "s.onnx")
    with pytest.raises(LoadError, match=r"initial_h .* \(1, 2, 5\), \(2, B, 5\) is due"):
        load(tmp_path / "s.onnx")


# ---- one layer that cannot run


@pytest.fixture
def three(tmp_path):
    """A model with two sound layers, and between them one whose activation nobody knows."""
    sound = [node_of(name=n) for n in ("first", "last")]
    bad = node_of(name="middle", activations=["Sine", "Tanh", "Tanh"])
    path = tmp_path / "three.onnx"
    onnx.save(model_of([sound[0], bad, sound[1]], ["X"], ["last.y"], FIT), path)
    return path


WHY = r"1 of 3 recurrent layers cannot be run: prefix 'middle\.': the activation 'sine' is unknown"


@pytest.mark.filterwarnings("default::UserWarning")
def test_load_all_gives_the_others_and_names_the_one(three, tmp_path):
    with pytest.warns(UserWarning, match=WHY) as caught:
        layers = load_all(three)
    assert list(layers) == ["first.", "last."] and len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.raises(LoadError, match="'sine' is unknown"):
        load(three, "middle")
    bad = [node_of(name=n, activations=["Sine", "Tanh", "Tanh"]) for n in "ab"]
    onnx.save(model_of(bad, ["X"], ["a.y"], FIT), tmp_path / "none.onnx")
    with pytest.raises(LoadError, match=r"2 of 2 recurrent.*'a\.'.*sine.*'b\.'.*sine"):
        load_all(tmp_path / "none.onnx")


def test_a_warning_names_fifty_at_most(tmp_path):
    bad = [node_of(name=f"n{n}", activations=["Sine", "Tanh", "Tanh"]) for n in range(60)]
    onnx.save(model_of([node_of(name="sound"), *bad], ["X"], ["sound.y"], FIT), tmp_path / "x")
    with pytest.warns(UserWarning, match="60 of 61 .*'n49.': .*; and 10 more") as caught:
        assert list(load_all(tmp_path / "x")) == ["sound."]
    assert "n50" not in str(caught[0].message)


def test_convert_writes_the_others_and_names_the_one(three, tmp_path, capsys):
    out = tmp_path / "out.safetensors"
    assert cli.main(["convert", str(three), str(out)]) == 1
    said = capsys.readouterr()
    assert "2 layers" in said.out and "'sine' is unknown" in said.err and "1 of 3" in said.err
    assert list(load_all(out)) == ["first.", "last."]
    assert cli.main(["convert", str(three), str(tmp_path / "one"), "--prefix", "middle"]) == 1
    assert "prefix middle.: the activation 'sine'" in capsys.readouterr().err
    assert not (tmp_path / "one").exists()
