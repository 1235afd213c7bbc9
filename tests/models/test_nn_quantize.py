# SPDX-License-Identifier: MIT
"""Module.quantize and Module.error: the numbers of quantized layers and whole models, what stays as
it was, and names that a model has itself."""

import copy
import gc
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from isas import FLOATS

import fastlstm
import fastlstm.nn as nn
import fastlstm.nn.functional as F
from fastlstm.models.graph import Graph, Node, Value
from fastlstm.nn import tensor as torch

DTYPES = ("int8", "bfloat16", "float16")
F32 = np.dtype(np.float32)


class Tagger(nn.Module):
    """A convolution, a bidirectional LSTM and a GRU, cells, a table and two products."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 6)
        self.front = nn.Sequential(nn.Conv1d(6, 10, 3, padding=1), nn.BatchNorm1d(10), nn.ReLU())
        self.lstm = nn.LSTM(10, 7, bidirectional=True, num_layers=2, batch_first=True)
        self.gru, self.cell = nn.GRU(14, 8, batch_first=True), nn.LSTMCell(8, 5)
        self.head, self.sides = nn.Linear(5, 4), nn.ModuleList([nn.Linear(8, 8)])

    def forward(self, letters):
        x = self.front(self.table(letters).transpose(1, 2)).transpose(1, 2)
        y, h = self.gru(self.lstm(x)[0])
        state = self.cell(F.relu(self.sides[0](y[:, -1])))
        return self.head(state[0]), h, letters


@pytest.fixture
def model(rng):
    made = Tagger().eval()
    for p in made.parameters():
        p[...] = rng.standard_normal(p.shape).astype(np.float32) / 2
    return made


LETTERS = np.arange(24).reshape(2, 12) % 9


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_model_is_near_its_original(model, dtype):
    before = [p.copy() for p in model.parameters()]
    due = model(LETTERS)
    made = model.quantize(dtype)
    y = made(LETTERS)
    assert type(made) is Tagger and made is not model
    assert type(y[0]) is np.ndarray and y[2].dtype == np.int64
    off = made.error(LETTERS)
    assert [0 < each.max < 0.1 for each in off] == [True, True]
    assert off[0].max == abs(y[0].astype(np.float64) - due[0]).max()
    assert off == made.error(LETTERS, reference=model)
    for one, two, three in zip(model.parameters(), made.parameters(), before, strict=True):
        assert one is two and np.array_equal(one, three)  # shared, and as they were
    assert all(np.array_equal(a, b) for a, b in zip(model(LETTERS), due, strict=True))
    back = made.quantize("float32")
    assert all(np.array_equal(a, b) for a, b in zip(back(LETTERS), due, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind, options", [
    ("LSTM", {"num_layers": 2, "bidirectional": True}), ("LSTM", {"proj_size": 3}), ("GRU", {}),
    ("RNN", {"nonlinearity": "relu"}),
])  # fmt: skip
def test_recurrent_layers_have_the_bits_of_quantized_layers(kind, options, dtype, rng):
    mine = getattr(nn, kind)(5, 6, **options)
    own = getattr(fastlstm, kind).from_state_dict(
        mine.state_dict(), **{k: v for k, v in options.items() if k == "nonlinearity"}
    )
    x = rng.standard_normal((4, 3, 5)).astype(F32)
    for inputs in ("int16", "int8"):
        y, state = mine.quantize(dtype, inputs=inputs)(x)
        due, end = own.quantize(dtype, inputs=inputs)(x)
        parts = [(state, end)] if kind != "LSTM" else zip(state, end, strict=True)
        assert np.array_equal(y, due) and all(np.array_equal(a, b) for a, b in parts)
    assert f"dtype={dtype}" in repr(mine.quantize(dtype)) and "dtype" not in repr(mine)


def whole(node, constants, rank):
    """f(dtype, x): a whole model of one operator."""
    value = lambda name: Value(name, F32, tuple(f"{name}{i}" for i in range(rank)))  # noqa: E731
    graph = Graph([value("x")], [Value("y", F32, None)], [node], constants)
    return lambda dtype, x: fastlstm.Model(graph, dtype=dtype)(x)


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_products_have_the_bits_of_whole_models(dtype, rng):
    linear, conv = nn.Linear(20, 9), nn.Conv1d(7, 6, 3, stride=2, padding=1)
    by_linear = whole(Node("Gemm", ["x", "w", "b"], ["y"], {"transB": 1}),
                      {"w": linear.weight.numpy(), "b": linear.bias.numpy()}, 2)  # fmt: skip
    x = rng.standard_normal((5, 20)).astype(F32)
    assert np.array_equal(linear.quantize(dtype)(x), by_linear(dtype, x))
    assert not np.array_equal(linear.quantize(dtype)(x), linear(x))
    attrs = {"pads": [1, 1], "strides": [2], "kernel_shape": [3]}
    by_conv = whole(Node("Conv", ["x", "w", "b"], ["y"], attrs),
                    {"w": conv.weight.numpy(), "b": conv.bias.numpy()}, 3)  # fmt: skip
    x = rng.standard_normal((2, 7, 11)).astype(F32)
    assert np.array_equal(conv.quantize(dtype)(x), by_conv(dtype, x))
    assert np.array_equal(conv.quantize(dtype)(x[0]), by_conv(dtype, x)[0])


@pytest.mark.needs("c", "bits")
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_in_any_batch(model, dtype):
    made = model.quantize(dtype)
    y = made(LETTERS)[0]
    assert np.array_equal(made(LETTERS[1:])[0][0], y[1])


def test_other_modules_compute_as_before(rng):
    x = rng.standard_normal((2, 4, 8, 8)).astype(F32)
    for made in (nn.Conv2d(4, 3, 3), nn.ConvTranspose2d(4, 3, 2), nn.GroupNorm(2, 4)):
        for dtype in ("int8", "bfloat16"):
            assert np.array_equal(made.quantize(dtype)(x), made(x))


def test_what_is_for_inference_alone_and_what_is_wrong(model):
    made = model.quantize("int8")
    for module in (made, made.head, made.front):
        with pytest.raises(TypeError, match="is int8: load into the module that it was made of"):
            module.load_state_dict(module.state_dict())
    assert not model.load_state_dict(made.state_dict()).missing_keys
    for wrong in ("int4", 8, None):
        with pytest.raises((TypeError, ValueError), match="dtype"):
            model.quantize(wrong)
    with pytest.raises(ValueError, match="inputs 'int4'"):
        model.quantize("int8", inputs="int4")
    with pytest.raises(ValueError, match="pass it as reference"):
        model.error(LETTERS)
    with pytest.raises(ValueError, match="outputs have the shapes"):
        nn.Linear(3, 2).quantize("int8").error(np.ones((1, 3), F32), reference=nn.Linear(3, 4))
    with pytest.raises(ValueError, match="no floats to compare"):
        made.head.error(np.zeros((0, 5), F32), reference=model.head)
    for name, number, dtype in (
        ("head.weight", np.nan, "int8"), ("front.0.weight", 7e4, "float16"),
        ("lstm.weight_hh_l1_reverse", np.inf, "int8"), ("sides.0.weight", 3.4e38, "bfloat16"),
    ):  # fmt: skip
        other = copy.deepcopy(model)
        path, _, own = name.rpartition(".")
        other.get_submodule(path).get_parameter(own).reshape(-1)[3] = number
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            other.quantize(dtype)


def test_copies_and_pickles(model):
    made = model.quantize("bfloat16")
    due = made(LETTERS)[0]
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert np.array_equal(again(LETTERS)[0], due)
        with pytest.raises(TypeError, match="is bfloat16"):
            again.load_state_dict({})
    weight = torch.zeros(4, 5)
    made.head.weight = nn.Parameter(weight)  # a new weight is packed in the same dtype
    assert not np.array_equal(made(LETTERS)[0], due)
    other = model.quantize("int8")
    del model
    gc.collect()
    assert other(LETTERS)[0].shape == (2, 4)


class Quantizer(nn.Module):
    """Names of a model's own: a submodule, a buffer and a method go before the lent ones."""

    def __init__(self, how):
        super().__init__()
        if how == "assigned":
            self.quantize, self.error = nn.Linear(2, 2), nn.Parameter(torch.zeros(3))
        else:
            self.add_module("quantize", nn.Linear(2, 2))
            self.register_buffer("error", torch.zeros(3))

    def forward(self, x):
        return self.quantize(x) + self.error[0]


def test_a_model_s_own_names_go_first():
    x = np.ones((1, 2), F32)
    for how in ("assigned", "registered"):
        made = Quantizer(how)
        assert isinstance(made.quantize, nn.Linear) and made.error.shape == (3,)
        assert made(x).shape == (1, 2) and "quantize.weight" in made.state_dict()
        outer = nn.Sequential(made)
        whole = outer.quantize("int8")
        assert not np.array_equal(whole(x), made(x)) and whole.error(x).max > 0
        del made.quantize
        assert callable(made.quantize) and made.quantize("int8") is not made
    with pytest.raises(KeyError, match="already exists"):
        made.register_buffer("forward", None)
    assert nn.Module.quantize.__doc__.startswith("A new module")


@pytest.mark.needs("c")
def test_the_same_bits_on_every_instruction_set(model):
    """Through the setting of the process: one child for each."""
    code = ("import numpy as np, hashlib, fastlstm.nn as nn\n"
            "rng = np.random.default_rng(3)\n"
            "m = nn.Sequential(nn.Linear(40, 33), nn.Linear(33, 20))\n"
            "for p in m.parameters(): p[...] = rng.standard_normal(p.shape)\n"
            "x = rng.standard_normal((7, 40)).astype('f4')\n"
            "for d in ('int8', 'bfloat16'):\n"
            "    print(hashlib.sha256(m.quantize(d)(x).tobytes()).hexdigest())\n")  # fmt: skip
    made = {
        subprocess.run([sys.executable, "-c", code], env=os.environ | {"FASTLSTM_ISA": isa},
                       capture_output=True, text=True, check=True).stdout
        for isa in FLOATS
    }  # fmt: skip
    assert len(made) == 1 and len(made.pop().split()) == 2
