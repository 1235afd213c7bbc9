# SPDX-License-Identifier: MIT
"""Sums of more than 512 products are cut into chains of 256, which start from 0 and are added in
order (csrc/kernels/contract.h), in every cell, in the gradients, and on any number of threads."""

import importlib

import numpy as np
import pytest
import torch
from conftest import BACKEND

import fastlstm
from fastlstm.engine import backend

UNCUT, CUT = 512, 256


def chain(start, x, w, fused):
    """start + sum_k x[:, k] w[:, k], one product after the other. The numbers are multiples of
    2^-16 so small that float64 holds every sum before it is rounded to float32."""
    total = np.broadcast_to(start, (len(x), len(w))).astype(np.float32)
    for k in range(x.shape[1]):
        product = x[:, k : k + 1].astype(np.float64) * w[:, k].astype(np.float64)
        if not fused:
            product = product.astype(np.float32)
        total = (total + product.astype(np.float64)).astype(np.float32)
    return total


def written(start, x, w, fused):
    if x.shape[1] <= UNCUT:
        return chain(start, x, w, fused)
    total = np.broadcast_to(start, (len(x), len(w))).astype(np.float32)
    for k in range(0, x.shape[1], CUT):
        total = total + chain(0, x[:, k : k + CUT], w[:, k : k + CUT], fused)
    return total


def coarse(rng, *shape, size=1.0):
    """Multiples of 2^-16 in [-size, size]."""
    return (rng.integers(-(2**16), 2**16, shape) * (size * 2.0**-16)).astype(np.float32)


def fused(isa):
    """Does the set round a product and its sum once?"""
    if BACKEND == "c":
        return isa != "generic"
    return importlib.import_module("fastlstm.engine.numba.arithmetic").FUSED


@pytest.mark.needs("bits")
@pytest.mark.parametrize("I, H", [(512, 512), (513, 40), (40, 513), (1030, 530), (700, 1025)])
@pytest.mark.parametrize("rows", [1, 2, 15])
def test_the_order_of_a_long_sum(I, H, rows, isa, rng):
    """The sums of a relu RNN, whose outputs they are where they are positive."""
    w = {
        "weight_ih_l0": coarse(rng, H, I, size=2.0**-3),
        "weight_hh_l0": coarse(rng, H, H, size=2.0**-3),
        "bias_ih_l0": coarse(rng, H),
        "bias_hh_l0": np.zeros(H, np.float32),
    }
    x, h = coarse(rng, 1, rows, I), coarse(rng, 1, rows, H)
    layer = fastlstm.RNN(I, H, nonlinearity="relu", isa=isa)
    layer.load_state_dict(w)
    sums = written(w["bias_ih_l0"], x[0], w["weight_ih_l0"], fused(isa))
    sums = written(sums, h[0], w["weight_hh_l0"], fused(isa))
    assert layer(x, h)[0][0].tobytes() == np.maximum(sums, 0).tobytes()


@pytest.mark.needs("c")
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_the_probe_of_kernels_cuts_them_too(cell, isa, monkeypatch):
    """They time what calls run. Each product is 1; added one by one to 2^24 all are lost."""
    arrays = []

    class Numbers:
        """Of the arrays, in the order in which the probe asks for them, the rows, the outputs, the
        weights, what the sums of `gemm` start from, and where they go to."""

        def standard_normal(self, n, dtype):
            value = (1, 0, 1, 2.0**24, 0, 0, 0, 0)[len(arrays)]
            arrays.append(np.full(n, 10 * value, dtype))  # the probe takes a tenth
            return arrays[-1]

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Numbers())
    probe = backend.KernelProbe(isa, 2, 1024, 40, cell)
    monkeypatch.undo()
    assert arrays[0][0] == arrays[2][0] == 1 and arrays[3][0] == 2.0**24
    probe.gemm()
    assert set(arrays[4].tolist()) <= {0.0, 2.0**24 + 1024}
    assert (arrays[4] > 0).sum() >= 2 * 40
    probe.step()  # sums of 1,024, of which every gate is 1
    assert np.isfinite(probe.result()).all() and probe.result().any()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_large_layers_are_near_float64(cell, dtype):
    """With one chain for all inputs and one for all units the largest errors at 1,760 of both were
    1.1e-6, 1.2e-6 and 2.3e-6; PyTorch's are 0.8e-6, 0.25e-6 and 0.6e-6."""
    torch.manual_seed(0)
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell](1500, 1760)
    if dtype == "float16":
        module.half().float()
    x = np.random.default_rng(0).standard_normal((2, 3, 1500)).astype(np.float32)
    layer = {"lstm": fastlstm.LSTM, "gru": fastlstm.GRU, "rnn": fastlstm.RNN}[cell](1500, 1760)
    layer.load_state_dict({k: v.detach().numpy() for k, v in module.state_dict().items()})
    if dtype == "float16":
        layer = layer.quantize("float16")
    with torch.no_grad():
        want = module.double()(torch.from_numpy(x).double())[0].numpy()
    error = np.abs(layer(x)[0] - want).max()
    assert error < {"lstm": 6e-7, "gru": 9e-7, "rnn": 1.5e-6}[cell], error


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_gradients_of_large_layers(cell):
    """Gradients of inputs and states are sums over all gates: 700 to 2,800 products."""
    torch.manual_seed(0)
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell](20, 700)
    x = np.random.default_rng(0).standard_normal((2, 3, 20)).astype(np.float32)
    layer = {"lstm": fastlstm.LSTM, "gru": fastlstm.GRU, "rnn": fastlstm.RNN}[cell](20, 700)
    layer.load_state_dict({k: v.detach().numpy() for k, v in module.state_dict().items()})
    exact = torch.from_numpy(x).double().requires_grad_()
    want = module.double()(exact)[0]
    (want**2).sum().backward()
    y, _, tape = layer.forward_train(x)
    grads = layer.backward(tape, 2 * y)
    for ours, theirs in [
        (grads.x, exact.grad),
        *((grads.params[k], v.grad) for k, v in module.named_parameters()),
    ]:
        theirs = theirs.numpy()
        assert np.abs(ours - theirs).max() <= 2e-6 * np.abs(theirs).max()
