# SPDX-License-Identifier: MIT
"""bfloat16 weights: the sums of whole layers, bit by bit, against the order of
csrc/kernels/bfloat16.h written in NumPy; every cell and variant against float32 on the rounded
numbers; errors beside PyTorch's own bfloat16; numbers that are huge, tiny or not finite.
tests/c/test_c_bfloat16.py has the sums of one kernel, tests/bits/test_bfloat16_bits.py the promise
of bits."""

import isas
import layer_bits
import numpy as np
import pytest
import torch
from bfloat16_order import products, rounded
from conftest import BACKEND
from hypothesis import given, settings
from hypothesis import strategies as st
from variant_cases import drawn

import fastlstm

F = np.float32
ISAS = isas.FLOATS
# Backends without C add in NumPy's order: a state's last bit may differ, and its rounding with it.
LOOSE = 0 if BACKEND == "c" else 1e-2


SIZES = [1, 2, 3, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 97]


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.tuples(st.sampled_from(SIZES), st.sampled_from(SIZES)), batch=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([2.0**-50, 1e-3, 1.0, 1e9]),
    isa=st.sampled_from(ISAS),
)  # fmt: skip
def test_a_relu_layer_s_sums_bit_by_bit(sizes, batch, seed, scale, isa):
    """h' = max(0, sum): the sums themselves, where they are not negative."""
    rng = np.random.default_rng(seed)
    layer = fastlstm.RNN(*sizes, nonlinearity="relu", isa=isa)
    weights = {n: F(rng.standard_normal(a.shape)) for n, a in layer.state_dict().items()}
    layer.load_state_dict(weights)
    x = F(scale * rng.standard_normal((3, batch, sizes[0])))
    h0 = F(rng.standard_normal((1, batch, sizes[1])))
    y, state = layer.quantize("bfloat16")(x, h0)
    h = h0[0]
    for t in range(3):
        bias = weights["bias_ih_l0"] + weights["bias_hh_l0"]
        total = np.broadcast_to(bias, h.shape).astype(F)
        total = products(total, rounded(weights["weight_ih_l0"]), rounded(x[t]))
        h = np.maximum(products(total, rounded(weights["weight_hh_l0"]), rounded(h)), 0)
        assert np.abs(y[t] - h).max() <= LOOSE * np.abs(h).max()
    assert np.array_equal(state[0], y[-1])


LAYERS = {
    "lstm": (fastlstm.LSTM, {}), "projected": (fastlstm.LSTM, {"proj_size": 3}),
    "gru": (fastlstm.GRU, {}), "gru before": (fastlstm.GRU, {"reset_after": False}),
    "rnn": (fastlstm.RNN, {}), "relu": (fastlstm.RNN, {"nonlinearity": "relu"}),
}  # fmt: skip


def one_step(layer, x, state):
    """(its bfloat16 y, what float32 makes of the rounded numbers) of one step."""
    quick = layer.quantize("bfloat16")
    there = tuple(rounded(part) if i == 0 else part for i, part in enumerate(state))
    as_given = lambda parts: parts if len(parts) > 1 else parts[0]  # noqa: E731
    due = quick.quantize("float32")(rounded(x), as_given(there))[0]
    return quick(x, as_given(there))[0], due


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LAYERS)
def test_one_step_is_float32_s_on_the_rounded_numbers(rng, name, isa):
    """But for the order of sums; r h, and h before a projection, are rounded again on the way."""
    cls, options = LAYERS[name]
    for sizes in ((1, 5), (33, 17), (40, 70)):
        layer = cls(*sizes, isa=isa, **options)
        x = F(3 * rng.standard_normal((1, 7, sizes[0])))
        state = tuple(F(rng.uniform(-1.5, 1.5, shape)) for shape in layer.state_shapes(7))
        got, due = one_step(layer, x, state)
        bound = 2e-2 if name in ("projected", "gru before") else 3e-6
        assert np.abs(got).max() > 0 and np.abs(got - due).max() <= bound * max(1, abs(due).max())


def test_every_variant_is_float32_s_on_the_rounded_numbers():
    seen = set()
    for seed in range(60):
        case = drawn(seed)
        layer = case.layer()
        if layer.num_layers * layer.num_directions > 1 or getattr(layer, "proj_size", 0):
            continue
        x = case.x[:1] if not layer.batch_first else case.x[:, :1]
        rows = x.shape[1] if not layer.batch_first else x.shape[0]
        rng = np.random.default_rng(seed)
        state = tuple(F(rng.uniform(-1.5, 1.5, s)) for s in layer.state_shapes(rows))
        got, due = one_step(layer, x, state)
        scale = max(1, np.nanmax(np.abs(due), initial=0))
        again = layer.kind == "GRU" and not layer.reset_after
        bound = 2e-2 if again else 2e-5
        assert np.allclose(got, due, rtol=0, atol=bound * scale, equal_nan=True), (seed, layer)
        seen |= {(case.kind, name) for name, value in case.options.items() if value}
    assert {("LSTM", "peepholes"), ("LSTM", "input_forget"), ("RNN", "activations"),
            ("GRU", "activations")} <= seen  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_whole_layers_are_near_float32(rng, name):
    cls, options = LAYERS[name]
    layer = cls(80, 64, num_layers=2, bidirectional=True, **options)
    x = F(rng.standard_normal((50, 4, 80)))
    quick = layer.quantize("bfloat16")
    found = quick.error(x)
    assert 1e-6 < found.rms <= 2e-3 and found.max <= 2e-2
    lengths = np.array([50, 0, 7, 33])
    y, h = quick(x, lengths=lengths)[0], layer(x, lengths=lengths)[0]
    assert np.abs(y - h).max() <= 2e-2 and not y[7:, 2].any()
    last = quick(x, return_sequences=False)[0]
    state = quick(x)[1]
    h = state[0] if cls is fastlstm.LSTM else state
    assert np.array_equal(last, np.concatenate([h[-2], h[-1]], 1))


# ---- beside PyTorch


def exact(layer, x):
    """y in float64, by PyTorch."""
    module = getattr(torch.nn, layer.kind)(layer.input_size, layer.hidden_size).double()
    module.load_state_dict({n: torch.from_numpy(a).double()
                            for n, a in layer.state_dict().items()})  # fmt: skip
    with torch.no_grad():
        return module, module(torch.from_numpy(x).double())[0].numpy()


@pytest.mark.parametrize("cls", [fastlstm.LSTM, fastlstm.GRU, fastlstm.RNN])
@pytest.mark.parametrize("shape", [(100, 8, 64, 64), (60, 1, 256, 128), (30, 32, 40, 200)])
def test_errors_are_no_larger_than_torch_s(rng, cls, shape):
    T, B, I, H = shape
    layer, x = cls(I, H), F(rng.standard_normal((T, B, I)))
    module, due = exact(layer, x)
    ours = np.sqrt(np.mean((layer.quantize("bfloat16")(x)[0] - due) ** 2))
    try:
        with torch.no_grad():
            theirs = module.bfloat16()(torch.from_numpy(x).bfloat16())[0].double().numpy()
    except RuntimeError as e:
        pytest.skip(f"PyTorch has no bfloat16 {layer.kind} on this CPU: {e}")
    theirs = np.sqrt(np.mean((theirs - due) ** 2))
    assert 0 < ours <= theirs


# ---- huge, tiny, and not finite


def same(one, other):
    """The same bits, NaNs aside."""
    return np.array_equal(one.view(np.int32)[~np.isnan(one)],
                          other.view(np.int32)[~np.isnan(other)]) and (
        np.isnan(one) == np.isnan(other)).all()  # fmt: skip


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LAYERS)
def test_what_is_not_finite_stays_in_its_row(rng, name, isa):
    cls, options = LAYERS[name]
    layer = cls(9, 17, isa=isa, **options).quantize("bfloat16")
    x, y = layer_bits.not_finite(layer, rng, name != "relu")
    huge = x.copy()
    huge[3, 3, 0] = -np.finfo(F).max  # rounds to infinity
    assert same(layer(huge)[0], y)
    huge[3, 3, 0] = F(-3.38e38)  # does not
    assert not np.isnan(layer(huge)[0][3, 3]).any()


@pytest.mark.parametrize("isa", ISAS)
def test_an_infinity_meets_weights_as_in_float32(isa):
    """Infinity times a weight is infinite, times one of 0, or below 2^-56, NaN; an odd k has no
    numbers behind it."""
    layer = fastlstm.RNN(3, 4, nonlinearity="relu", bias=False, isa=isa)
    weights = {n: np.zeros_like(a) for n, a in layer.state_dict().items()}
    weights["weight_ih_l0"][:, 2] = [1, -1, 0, 2.0**-57]
    layer.load_state_dict(weights)
    quick = layer.quantize("bfloat16")
    y = quick(np.array([[[0, 1, np.inf]]], F))[0][0, 0]
    plain = layer.quantize("float32")
    weights["weight_ih_l0"][3, 2] = 0
    plain.load_state_dict(weights)
    assert same(y, plain(np.array([[[0, 1, np.inf]]], F))[0][0, 0])
    assert y[0] == np.inf


@pytest.mark.parametrize("isa", ISAS)
def test_numbers_below_the_bound_are_zeros(rng, isa):
    """From 2^-56 on, after rounding, a number counts: of x, and of h."""
    layer = fastlstm.RNN(1, 1, nonlinearity="relu", bias=False, isa=isa)
    layer.load_state_dict({name: np.ones((1, 1), F) for name in layer.state_dict()})
    quick = layer.quantize("bfloat16")
    bound = F(2.0**-56)
    for value, due in ((bound, bound), (bound * F(0.999), bound), (bound * F(0.99), 0)):
        x = np.array([[[value]], [[0]]], F)
        assert quick(x)[0].ravel().tolist() == [due, due]
        assert quick(x * 0, np.full((1, 1, 1), value, F))[0][0, 0, 0] == due


def test_a_vanishing_row_of_inputs_is_one_of_zeros(rng):
    layer = fastlstm.LSTM(9, 17)
    weights = layer.state_dict()
    weights["weight_ih_l0"][3] = 2.0**-57
    layer.load_state_dict(weights)
    quick = layer.quantize("bfloat16")
    assert not quick.state_dict()["weight_ih_l0"][3].any()
    x = F(rng.standard_normal((5, 3, 9)))
    x[:, 1] *= F(2.0**-62)
    y = quick(x)[0]
    x[:, 1] = 0
    assert quick(x)[0].tobytes() == y.tobytes()


@pytest.mark.parametrize("value", [3.3962e38, -3.4e38])
def test_a_weight_beyond_bfloat16(tmp_path, value):
    layer = fastlstm.GRU(3, 4)
    weights = layer.state_dict()
    weights["weight_hh_l0"][1, 1] = value
    layer.load_state_dict(weights)
    with pytest.raises(ValueError, match="which is too large for bfloat16"):
        layer.quantize("bfloat16")
    layer.save(tmp_path / "x")
    with pytest.raises(fastlstm.LoadError, match="which is too large for bfloat16"):
        fastlstm.load(tmp_path / "x", dtype="bfloat16")
    weights["weight_hh_l0"][1, 1] = np.sign(value) * np.inf
    layer.load_state_dict(weights)
    assert np.isinf(layer.quantize("bfloat16").state_dict()["weight_hh_l0"][1, 1])


def test_training_is_refused(rng):
    quick = fastlstm.LSTM(3, 4).quantize("bfloat16")
    for call in (quick.forward_train, quick.load_state_dict):
        with pytest.raises(TypeError, match=r"this LSTM is bfloat16, which is for inference alone"):
            call(quick.state_dict() if call == quick.load_state_dict else np.ones((2, 1, 3), F))
    back = quick.quantize("float32")
    back.forward_train(np.ones((2, 1, 3), F))
    assert all(np.array_equal(back.state_dict()[n], a) for n, a in quick.state_dict().items())
    x = np.ones((4, 1, 3), F)
    text = quick.verify(x, quick(x)[0] + 1e-3).explanation
    assert "the layer's weights are bfloat16" in text
