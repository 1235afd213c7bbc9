# SPDX-License-Identifier: MIT
"""fastlstm.torch.accelerate(model, precision=): inference and training by bfloat16 parts."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm
import fastlstm.torch

PRECISIONS = ("bfloat16x6", "bfloat16x3", "bfloat16")
LIMITS = {"bfloat16x6": 1e-6, "bfloat16x3": 1e-5, "bfloat16": 2e-2}


def model_of(kind, **options):
    torch.manual_seed(1)
    return torch.nn.Sequential(getattr(torch.nn, kind)(20, 30, 2, **options))


def gradients_of(model, x):
    x = x.detach().clone().requires_grad_()
    model[0](x)[0].square().sum().backward()
    return [x.grad, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_gradients(kind, precision):
    """Within the limit, or 40 times what float32 loses."""
    model, x = model_of(kind, bidirectional=True), torch.randn(9, 17, 20)
    due = gradients_of(copy.deepcopy(model).double(), x.double())
    plain = gradients_of(copy.deepcopy(model), x)
    assert fastlstm.torch.accelerate(model, precision=precision) == 1
    for found, exact, theirs in zip(gradients_of(model, x), due, plain, strict=True):
        assert found.dtype == torch.float32
        limit = max(LIMITS[precision] * exact.abs().max(), 40 * (theirs - exact).abs().max())
        assert (found - exact).abs().max() <= limit


@pytest.mark.needs("c")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_bits_are_a_layer_s_of_this_precision(precision):
    model, x = model_of("GRU"), torch.randn(9, 17, 20)
    arrays = {n.removeprefix("0."): a.numpy() for n, a in model.state_dict().items()}
    layer = fastlstm.GRU.from_state_dict(arrays, precision=precision)
    fastlstm.torch.accelerate(model, precision=precision)
    with torch.no_grad():
        assert model[0](x)[0].numpy().tobytes() == layer(x.numpy())[0].tobytes()
    y, _, tape = layer.forward_train(x.numpy())
    due = layer.backward(tape, 2 * y)
    found = gradients_of(model, x)
    assert found[0].numpy().tobytes() == due.x.tobytes()
    for gradient, name in zip(found[1:], arrays, strict=True):
        assert gradient.numpy().tobytes() == due.params[name].tobytes(), name


def test_packed_sequences_and_an_optimizer():
    model = model_of("LSTM", dropout=0.2)
    fastlstm.torch.accelerate(model, precision="bfloat16x3")
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    x, lengths = torch.randn(9, 6, 20), torch.tensor([9, 2, 5, 5, 1, 7])
    target, losses = torch.randn(int(lengths.sum()), 30), []
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model[0](packed)[0].data - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_a_precision_is_changed_kept_and_copied():
    model, x = model_of("LSTM"), torch.randn(9, 17, 20)
    state = {n: a.clone() for n, a in model.state_dict().items()}
    with torch.no_grad():
        assert fastlstm.torch.accelerate(model) == 1
        plain = model[0](x)[0]
        assert fastlstm.torch.accelerate(model, precision="bfloat16x3") == 1
        assert fastlstm.torch.accelerate(model, precision="bfloat16x3") == 0
        assert fastlstm.torch.accelerate(model) == 0  # stays as it is
        assert "precision='bfloat16x3'" in repr(model)
        parts = model[0](x)[0]
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other[0](x)[0], parts) and "bfloat16x3" in repr(other)
        assert (parts - plain).abs().max() < 1e-5
        assert fastlstm.torch.accelerate(model, precision="float32") == 1
        assert torch.equal(model[0](x)[0], plain)
        fastlstm.torch.accelerate(model.eval(), precision="bfloat16x6")
        assert fastlstm.torch.accelerate(model, dtype="int8") == 1  # one or the other
        assert "bfloat16x6" not in repr(model)
        assert fastlstm.torch.restore(model) == 1
    assert all(torch.equal(a, state[n]) for n, a in model.state_dict().items())
    assert type(model[0]).__module__ == "torch.nn.modules.rnn" and "precision" not in repr(model)


def test_cells_whose_gradients_are_wanted_run_in_torch():
    cell, x = torch.nn.LSTMCell(20, 30), torch.randn(17, 20)
    due = cell(x)[0]
    fastlstm.torch.accelerate(cell, precision="bfloat16x3")
    assert torch.equal(cell(x)[0], due)
    with torch.no_grad():
        assert np.abs((cell(x)[0] - due).numpy()).max() < 1e-5


@pytest.mark.parametrize(
    "options, error",
    [
        ({"precision": "bfloat16x2"}, ValueError),
        ({"precision": torch.bfloat16}, TypeError),
        ({"precision": "bfloat16x3", "dtype": "int8"}, ValueError),
    ],
)
def test_others_are_refused_before_anything_changes(options, error):
    model = model_of("GRU")
    with pytest.raises(error, match="precision"):
        fastlstm.torch.accelerate(model, **options)
    assert type(model[0]) is torch.nn.GRU
