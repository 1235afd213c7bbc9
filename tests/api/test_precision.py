# SPDX-License-Identifier: MIT
"""precision="bfloat16x3" and "bfloat16x6" where layers and models are reached: accelerate, whole
models and their files, the command line. tests/numbers/test_bfloat16_parts.py has the numbers."""

import copy
import pickle

import numpy as np
import onnx
import pytest
import torch
from conftest import BACKEND
from onnx import TensorProto, helper, numpy_helper
from parts import PARTS

import fastlstm
import fastlstm.nn as nn
import fastlstm.nn.functional as F_
import fastlstm.torch
from fastlstm.cli import main as cli
from fastlstm.models.load import load_model

F = np.float32
pytestmark = pytest.mark.usefixtures("parts_of_any_size")
each = pytest.mark.parametrize("precision", PARTS)


@each
def test_accelerate(precision):
    model = torch.nn.Sequential(torch.nn.GRU(5, 33)).eval()
    x = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = model(x)[0]
        assert fastlstm.torch.accelerate(model, precision=precision) == 1
        y = model(x)[0]
        weights = {n: a.numpy() for n, a in model[0].state_dict().items()}
        layer = fastlstm.GRU.from_state_dict(weights, precision=precision)
        assert np.array_equal(y.numpy(), layer(x.numpy())[0]) and (y - exact).abs().max() < 1e-4
        assert f"precision='{precision}'" in repr(model)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(x)[0], y)
        assert fastlstm.torch.accelerate(model) == 0  # stays as it is
        assert torch.equal(model(x)[0], y)
        assert fastlstm.torch.accelerate(model, precision="float32") == 1
        assert "precision" not in repr(model)
        fastlstm.torch.accelerate(model, precision=precision)
    model(x)[0].sum().backward()  # trains: tests/api/test_torch_precision.py
    with pytest.raises(ValueError, match="dtype 'int8' has its own products"):
        fastlstm.torch.accelerate(model, dtype="int8", precision=precision)
    fastlstm.torch.restore(model)
    model.train()(x)[0].sum().backward()


def graph_of(path, rng):
    """An ONNX file: an LSTM and a product with a matrix, and the float64 weights of both."""
    w, r = F(rng.standard_normal((1, 80, 9)) / 3), F(rng.standard_normal((1, 80, 20)) / 4)
    m = F(rng.standard_normal((20, 7)))
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["h4"], hidden_size=20),
        helper.make_node("Squeeze", ["h4", "one"], ["h"]),
        helper.make_node("MatMul", ["h", "m"], ["y"]),
    ]
    arrays = {"w": w, "r": r, "m": m, "one": np.array([1], np.int64)}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["t", "b", 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["t", "b", 7])],
        [numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return w, r, m


@each
@pytest.mark.needs("c")
def test_whole_models_and_their_files(tmp_path, precision, rng):
    path, saved = str(tmp_path / "m.onnx"), str(tmp_path / "m.fl")
    w, r, m = graph_of(path, rng)
    x = F(rng.standard_normal((5, 3, 9)))
    plain, model = load_model(path), load_model(path, precision=precision)
    y = model(x)
    assert model.precision == precision and model.dtype == "float32"
    assert 0 < np.abs(y - plain(x)).max() < 1e-4
    order = np.concatenate([np.arange(20) + 20 * g for g in (0, 2, 3, 1)])  # torch's gates
    zeros = np.zeros(80, F)
    layer = fastlstm.LSTM.from_state_dict(
        {"weight_ih_l0": w[0][order], "weight_hh_l0": r[0][order], "bias_ih_l0": zeros,
         "bias_hh_l0": zeros}, precision=precision,
    )  # fmt: skip
    h = layer(x)[0]
    # a product with a matrix is a relu layer's that starts from zero, where it is not negative
    weights = {"weight_ih_l0": m.T.copy(), "weight_hh_l0": np.zeros((7, 7), F)}
    product = fastlstm.RNN.from_state_dict(
        weights, nonlinearity="relu", precision=precision
    )  # fmt: skip
    due = product(h.reshape(1, 15, 20))[0].reshape(5, 3, 7)
    assert np.array_equal(np.maximum(y, 0), due)
    model.save(saved)
    again = load_model(saved)
    assert again.precision == precision and np.array_equal(again(x), y)
    assert np.array_equal(pickle.loads(pickle.dumps(again))(x), y)
    assert np.array_equal(load_model(saved, precision="float32")(x), plain(x))
    assert load_model(saved, dtype="int8").precision == "float32"
    assert again.quantize("bfloat16").precision == "float32"
    assert again.quantize("float32").precision == precision
    with pytest.raises(ValueError, match="dtype 'int8' has its own products"):
        load_model(path, dtype="int8", precision=precision)


@each
def test_the_command_line(tmp_path, precision, capsys, rng):
    layer, names = fastlstm.LSTM(4, 6), ("a", "b", "x.npy", "y.npy")
    a, b, x_path, y_path = (str(tmp_path / name) for name in names)
    layer.save(a)
    x = F(rng.standard_normal((5, 2, 4)))
    np.save(x_path, x)
    assert cli.main(["convert", a, b, "--precision", precision]) == 0
    assert fastlstm.load(b).precision == precision
    assert f"precision='{precision}'" in capsys.readouterr().out
    due = fastlstm.load(a, precision=precision)(x)[0]
    assert (
        cli.main(["run", a, "--input", x_path, "--output", y_path, "--precision", precision]) == 0
    )
    assert np.array_equal(np.load(y_path), due)
    assert cli.main(["run", b, "--input", x_path, "--output", y_path, "--force"]) == 0
    assert np.array_equal(np.load(y_path), due)
    assert cli.main(["inspect", b]) == 0
    assert f"precision='{precision}'" in capsys.readouterr().out


# ---- operators of whole models


class Operators(nn.Module):
    """Convolutions over one axis and two, with groups and dilation, a transposed one, a product."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(6, 20, 3, stride=2, padding=(1, 2))
        self.groups = nn.Conv2d(20, 12, (2, 3), groups=2, dilation=2, padding="same")
        self.up = nn.ConvTranspose2d(12, 8, 3, stride=2, output_padding=1)
        self.head, self.line = nn.Linear(8, 10), nn.Conv1d(10, 7, 3)

    def forward(self, x):
        y = F_.relu(self.wide(x))
        y = self.head(self.up(self.groups(y)).permute(0, 2, 3, 1))
        return self.line(y.flatten(1, 2).transpose(1, 2))


@each
def test_modules_of_nn(precision, rng):
    model, x = Operators(), F(rng.standard_normal((2, 6, 9, 8)))
    due = model(x)
    made = model.quantize(precision=precision)
    y = made(x)
    assert made.error(x).max < {"bfloat16x3": 2e-5, "bfloat16x6": 1e-6}[precision]
    assert BACKEND != "c" or not np.array_equal(y, due)
    assert np.array_equal(model(x), due) and np.array_equal(model.quantize("float32")(x), due)
    assert f"precision={precision}" in repr(made) and "precision" not in repr(model)
    if BACKEND == "c":  # each of its layers is one: what is float32's in one alone differs there
        for name, layer in made.named_children():
            shape = {"wide": (1, 6, 9, 9), "groups": (1, 20, 5, 5), "up": (1, 12, 3, 3),
                     "head": (3, 8), "line": (1, 10, 9)}[name]  # fmt: skip
            inputs = F(rng.standard_normal(shape))
            assert not np.array_equal(layer(inputs), getattr(model, name)(inputs)), name
    for wrong, error in (("bfloat16x2", ValueError), (3, TypeError), ("bfloat16", ValueError)):
        with pytest.raises(error, match="precision"):
            model.quantize(precision=wrong)
    with pytest.raises(ValueError, match="dtype 'int8' has its own products"):
        model.quantize("int8", precision=precision)
    with pytest.raises(TypeError, match=f"is {precision}: load into the module"):
        made.load_state_dict(model.state_dict())


@each
@pytest.mark.needs("c")
def test_files_of_convolutions(tmp_path, precision, rng):
    """Conv and ConvTranspose of an ONNX file, whose weights one of them computes as it runs."""
    w, v = F(rng.standard_normal((30, 4, 3, 3)) / 6), F(rng.standard_normal((30, 5, 2, 2)) / 6)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["v", "scale"], ["u"]),
        helper.make_node("ConvTranspose", ["a", "u"], ["y"], strides=[2, 2]),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
              for n, s in (("x", ["n", 4, "h", "w"]), ("scale", [1]))]  # fmt: skip
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5, "p", "q"])
    held = [numpy_helper.from_array(a, n) for a, n in ((w, "w"), (v, "v"))]
    graph = helper.make_graph(nodes, "g", values, [out], held)
    path, saved = str(tmp_path / "m.onnx"), str(tmp_path / "m.fl")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    x, scale = F(rng.standard_normal((2, 4, 7, 8))), F([0.5])
    plain, model = load_model(path), load_model(path, precision=precision)
    y, due = model(x, scale), plain(x, scale)
    bound = {"bfloat16x3": 2e-5, "bfloat16x6": 1e-6}[precision]
    assert 0 < np.abs(y - due).max() < bound * np.abs(due).max()
    assert np.array_equal(model(x[1:], scale), y[1:])
    model.save(saved)
    assert np.array_equal(load_model(saved)(x, scale), y)
