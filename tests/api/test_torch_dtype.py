# SPDX-License-Identifier: MIT
"""fastlstm.torch.accelerate(model, dtype=): inference with rounded weights, and nothing else."""

import copy
import pickle
import re

import numpy as np
import pytest
import torch

import fastlstm
import fastlstm.torch

DTYPES = ("float16", "bfloat16", "int8")
KINDS = {
    "lstm": lambda: torch.nn.LSTM(5, 20, 2, batch_first=True, bidirectional=True, proj_size=7),
    "gru": lambda: torch.nn.GRU(5, 33),
    "rnn": lambda: torch.nn.RNN(5, 6, nonlinearity="relu"),
}


class Model(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


@pytest.fixture
def x():
    return torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_are_a_quantized_layer_s(x, kind, dtype):
    model = Model(KINDS[kind]()).eval()
    state = {n: a.clone() for n, a in model.state_dict().items()}
    with torch.no_grad():
        exact = model(x)
        assert fastlstm.torch.accelerate(model, dtype=dtype) == 1
        y = model(x)
    arrays = {n: a.numpy() for n, a in model.layer.state_dict().items()}
    options = {"nonlinearity": "relu"} if kind == "rnn" else {}
    layer = getattr(fastlstm, kind.upper()).from_state_dict(
        arrays, batch_first=model.layer.batch_first, **options
    )
    due = layer.quantize(dtype)(x.numpy())[0]
    assert np.array_equal(y.numpy(), due) and 0 < (y - exact).abs().max() < 0.05
    assert f"dtype='{dtype}'" in repr(model)
    assert all(torch.equal(a, state[n]) for n, a in model.state_dict().items())  # as they were
    assert fastlstm.torch.restore(model) == 1 and "dtype" not in repr(model)
    with torch.no_grad():
        assert (
            torch.equal(model(x), exact) and type(model.layer).__module__ == "torch.nn.modules.rnn"
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_and_gradients_are_refused(x, dtype):
    model = Model(torch.nn.LSTM(5, 6))
    fastlstm.torch.accelerate(model, dtype=dtype)
    said = f"its weights are {dtype}, which is for inference alone, and this is a call "
    with torch.no_grad(), pytest.raises(RuntimeError, match=re.escape(said + "in training mode")):
        model(x)
    model.eval()
    with pytest.raises(RuntimeError, match=re.escape(said + "whose gradients are wanted")):
        model(x)
    for p in model.parameters():
        p.requires_grad_(False)
    model(x)
    with pytest.raises(RuntimeError, match="whose gradients are wanted"):
        model(x.clone().requires_grad_())
    fastlstm.torch.restore(model)
    model.train()(x.clone().requires_grad_()).sum().backward()


def test_cells(x):
    for kind in ("LSTMCell", "GRUCell", "RNNCell"):
        cell = getattr(torch.nn, kind)(5, 6).eval()
        with torch.no_grad():
            exact = cell(x[0])
            fastlstm.torch.accelerate(cell, dtype="bfloat16")
            y = cell(x[0])
        exact, y = (a[0] if kind == "LSTMCell" else a for a in (exact, y))
        assert 0 < (y - exact).abs().max() < 0.02
        with pytest.raises(RuntimeError, match=f"{kind}: its weights are bfloat16"):
            cell(x[0])


def test_a_dtype_is_changed_kept_and_copied(x):
    model = Model(torch.nn.GRU(5, 6)).eval()
    with torch.no_grad():
        plain = model(x)
        assert fastlstm.torch.accelerate(model) == 1
        ours = model(x)
        assert fastlstm.torch.accelerate(model, dtype="int8") == 1
        int8 = model(x)
        assert fastlstm.torch.accelerate(model) == 0  # stays as it is
        assert fastlstm.torch.accelerate(model, dtype="int8") == 0
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(x), int8)
        assert torch.equal(model(x), int8) and not torch.equal(int8, ours)
        fastlstm.torch.freeze(model)
        assert torch.equal(model(x), int8)
        fastlstm.torch.unfreeze(model)
        model.layer.weight_ih_l0.mul_(2)  # is packed again
        assert not torch.equal(model(x), int8)
        model.layer.weight_ih_l0.div_(2)
        assert torch.equal(model(x), int8)
        assert fastlstm.torch.accelerate(model, dtype="float32") == 1
        assert torch.equal(model(x), ours) and (ours - plain).abs().max() < 1e-6


@pytest.mark.parametrize("dtype, error", [("int4", ValueError), (torch.bfloat16, TypeError)])
def test_other_dtypes_are_refused_before_anything_changes(dtype, error):
    model = Model(torch.nn.GRU(5, 6))
    with pytest.raises(error, match="dtype"):
        fastlstm.torch.accelerate(model, dtype=dtype)
    assert type(model.layer) is torch.nn.GRU
