# SPDX-License-Identifier: MIT
"""verify: it says yes to torch's numbers, and names the mistake that was made in the weights."""

import itertools

import numpy as np
import pytest
import torch

import fastlstm

KINDS = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "RNN": torch.nn.RNN}


def reference(kind, rng, size=(3, 4), steps=9, **options):
    """(state dict of arrays, x, torch's y)."""
    torch.manual_seed(4)
    module = KINDS[kind](*size, **options)
    for value in module.parameters():
        torch.nn.init.normal_(value, std=0.6)
    x = rng.standard_normal((steps, 2, size[0])).astype(np.float32)
    with torch.no_grad():
        y = module(torch.from_numpy(x))[0].numpy()
    return {name: value.detach().numpy().copy() for name, value in module.named_parameters()}, x, y


def layer_of(kind, state, **options):
    return getattr(fastlstm, kind).from_state_dict(state, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}],
                         ids=str)  # fmt: skip
def test_it_says_yes(rng, kind, options):
    state, x, y = reference(kind, rng, **options)
    result = layer_of(kind, state).verify(x, y)
    assert result and result.matches and result.would is None
    assert result.max_error <= 2e-6 and "match" in result.explanation
    assert not layer_of(kind, state).verify(x, y + 1e-3)
    assert layer_of(kind, state).verify(x, y + 1e-3, tolerance=2e-3)


def _ordered(state, usual, order):
    """The weights as someone hands them over whose gates are in another order."""
    changed = {}
    for name, array in state.items():
        parts = dict(zip(usual, np.split(array, len(usual)), strict=True))
        changed[name] = np.concatenate([parts[gate] for gate in order])
    return changed


@pytest.mark.parametrize("kind, usual", [("LSTM", "ifgo"), ("GRU", "rzn")])
def test_every_order_of_the_gates_is_named(rng, kind, usual):
    state, x, y = reference(kind, rng)
    for order in map("".join, itertools.permutations(usual)):
        result = layer_of(kind, _ordered(state, usual, order)).verify(x, y)
        if order == usual:
            assert result
        else:
            assert not result and f"the order {', '.join(order)}" in result.would
    assert (
        "ONNX"
        in layer_of("LSTM", _ordered(*_lstm(rng)[:1], "ifgo", "iofg"))
        .verify(*_lstm(rng)[1:])
        .explanation
    )


def _lstm(rng):
    return reference("LSTM", np.random.default_rng(1))


def _gatewise(array, gates):
    return np.concatenate([each.T for each in np.split(array, gates)])


MISTAKES = {
    "weight_hh is transposed": lambda s: s | {"weight_hh_l0": _gatewise(s["weight_hh_l0"], 4)},
    "weight_ih is transposed": lambda s: s | {"weight_ih_l0": _gatewise(s["weight_ih_l0"], 4)},
    "weight_hh was reshaped": lambda s: (
        s | {"weight_hh_l0": s["weight_hh_l0"].T.copy().reshape(16, 4)}
    ),
    "the biases are added twice": lambda s: s | {n: s[n] / 2 for n in ("bias_ih_l0", "bias_hh_l0")},
    "the biases are halved": lambda s: s | {n: 2 * s[n] for n in ("bias_ih_l0", "bias_hh_l0")},
    "forget_bias": lambda s: (
        s | {"bias_ih_l0": s["bias_ih_l0"] - np.repeat([0, 1, 0, 0], 4).astype(np.float32)}
    ),
}


@pytest.mark.parametrize("says", MISTAKES)
def test_other_mistakes_are_named(rng, says):
    state, x, y = reference("LSTM", rng, size=(4, 4))
    result = layer_of("LSTM", MISTAKES[says](state)).verify(x, y)
    assert not result and says in result.would and result.would in result.explanation
    assert result.max_error > 1e-3


def test_a_mistake_beside_another_order_is_named(rng):
    state, x, y = reference("LSTM", rng)
    wrong = _ordered(MISTAKES["forget_bias"](state), "ifgo", "iofg")
    would = layer_of("LSTM", wrong).verify(x, y).would
    assert "i, o, f, g (ONNX)" in would and "forget_bias" in would


def test_missing_biases_are_named(rng):
    state, x, y = reference("LSTM", rng, bias=False)
    odd = state | {n: np.full(16, 0.3, np.float32) for n in ("bias_ih_l0", "bias_hh_l0")}
    assert layer_of("LSTM", odd).verify(x, y).would == "there are no biases"
    state, x, y = reference("LSTM", rng)
    with_both = layer_of("LSTM", state)
    only = layer_of("LSTM", state | {"bias_hh_l0": 0 * state["bias_hh_l0"]})
    assert with_both.verify(x, only(x)[0]).would == "bias_hh is not there"


def test_activations_and_kinds_are_named(rng):
    state, x, y = reference("RNN", rng, nonlinearity="relu")
    assert "relu instead of tanh" in layer_of("RNN", state).verify(x, y).would
    assert layer_of("RNN", state, nonlinearity="relu").verify(x, y)
    state, x, y = reference("GRU", rng)
    assert "reset_after=True" in layer_of("GRU", state, reset_after=False).verify(x, y).would
    state, x, y = reference("LSTM", rng)
    lstm = layer_of("LSTM", state)
    back = lstm(x[::-1].copy())[0][::-1]
    assert lstm.verify(x, back).would == "time runs backwards"
    h, c, hard = np.zeros((2, 4)), np.zeros((2, 4)), []
    for step in x.astype(np.float64):
        z = step @ state["weight_ih_l0"].T + state["bias_ih_l0"] + state["bias_hh_l0"]
        i, f, g, o = np.split(z + h @ state["weight_hh_l0"].T, 4, axis=1)
        i, f, o = (np.clip(0.2 * n + 0.5, 0, 1) for n in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
        hard.append(h)
    assert "hard sigmoid 0.2 x + 0.5 (Keras 2" in lstm.verify(x, np.stack(hard)).would


def test_exchanged_directions_and_states(rng):
    state, x, y = reference("LSTM", rng, bidirectional=True)
    swapped = np.concatenate(np.split(y, 2, axis=2)[::-1], axis=2)
    would = layer_of("LSTM", state).verify(x, swapped).would
    assert would == "the two directions are exchanged in the output"
    state, x, _ = reference("LSTM", rng)
    start = tuple(rng.standard_normal((1, 2, 4)).astype(np.float32) for _ in range(2))
    right = layer_of("LSTM", state)
    wrong = layer_of("LSTM", _ordered(state, "ifgo", "figo"))
    y = right(x, start)[0]
    assert right.verify(x, y, start) and not right.verify(x, y)
    assert "OpenVINO" in wrong.verify(x, y, start).would
    first = layer_of("LSTM", state, batch_first=True)
    assert first.verify(x.swapaxes(0, 1), y.swapaxes(0, 1), start)
    assert right.verify(x[:, 0], y[:, 0], tuple(each[:, 0] for each in start))


FORMS = {
    "arrays": np.asarray,
    "float64": np.float64,
    "lists": np.ndarray.tolist,
    "tensors": torch.from_numpy,
    "parameters": lambda array: torch.nn.Parameter(torch.from_numpy(array)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_states_in_every_form_that_a_call_takes(rng, kind, form):
    """Explanations are tried from the state that was given, batched or not."""
    state, x, _ = reference(kind, rng)
    start = [rng.standard_normal((1, 2, 4)).astype(np.float32) for _ in "hc"]
    right = layer_of(kind, state)
    wrong = layer_of(kind, {n: a / 2 if "bias" in n else a for n, a in state.items()})
    for rows in (slice(None), 0):
        parts = [FORMS[form](np.ascontiguousarray(each[:, rows])) for each in start]
        hx = tuple(parts) if kind == "LSTM" else parts[0]
        y = right(x[:, rows], hx)[0]
        assert right.verify(x[:, rows], y, hx)
        assert wrong.verify(x[:, rows], y, hx).would == "the biases are added twice"


def test_what_nothing_explains(rng):
    state, x, y = reference("LSTM", rng)
    result = layer_of("LSTM", state).verify(x, rng.standard_normal(y.shape))
    assert not result and result.would is None and "none of" in result.explanation
    result = layer_of("LSTM", state).verify(x, np.full_like(y, np.nan))
    assert not result and "not finite" in result.explanation
    with pytest.raises(ValueError, match=r"\(9, 2, 3\).*\(9, 2, 4\)"):
        layer_of("LSTM", state).verify(x, x)
    with pytest.raises(ValueError, match="set batch_first"):
        layer_of("LSTM", state).verify(x, y.swapaxes(0, 1))
