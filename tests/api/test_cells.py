# SPDX-License-Identifier: MIT
"""GRU and RNN as they are called, and LSTMCell, GRUCell, RNNCell. Their numbers, bits and gradients
are tested with the LSTM's (test_parity.py, test_bits.py, test_backward.py), by way of Paired."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from cases import MAKERS, OTHERS

import fastlstm

ISA = fastlstm.runnable_isas()[-1]
LAYERS = [MAKERS[cell] for cell in OTHERS]
CELLS = [
    (fastlstm.LSTMCell, torch.nn.LSTMCell, {}),
    (fastlstm.GRUCell, torch.nn.GRUCell, {}),
    (fastlstm.RNNCell, torch.nn.RNNCell, {}),
    (fastlstm.RNNCell, torch.nn.RNNCell, {"nonlinearity": "relu"}),
]


def parts(state):
    return state if isinstance(state, tuple) else (state,)


# ---- GRU and RNN ----


@pytest.mark.parametrize(("make", "own"), LAYERS)
def test_the_state_is_one_array(make, own, rng):
    layer = make(3, 5, 2, bidirectional=True, **own)
    x = rng.standard_normal((7, 2, 3)).astype(np.float32)
    y, h = layer(x)
    assert y.shape == (7, 2, 10) and h.shape == (4, 2, 5)
    y, h = layer(x, h)
    last, h2 = layer(x, h, return_sequences=False, lengths=[7, 3])
    assert last.shape == (2, 10) and h2.shape == (4, 2, 5)
    y, h = layer(x[:, 0], h[:, 0])
    assert y.shape == (7, 10) and h.shape == (4, 5)
    y, h, tape = layer.forward_train(x, h2)
    grads = layer.backward(tape, y, h)
    assert grads.state.shape == (4, 2, 5)
    assert np.array_equal(layer.backward(tape, y, h).state, grads.state)
    y, h = layer(x[:, :0])
    assert y.shape == (7, 0, 10) and h.shape == (4, 0, 5)
    y, h, tape = layer.forward_train(x[:, :0])
    assert layer.backward(tape, y, h).state.shape == (4, 0, 5)


@pytest.mark.parametrize(("make", "own"), LAYERS)
def test_streams_keep_one_array(make, own, rng):
    layer = make(3, 5, **own)
    x = rng.standard_normal((7, 2, 3)).astype(np.float32)
    y, h = layer(x)
    s = layer.stream(batch_size=2)
    assert np.array_equal(np.concatenate([s(x[:3]), s(x[3:6]), s.step(x[6])[None]]), y)
    assert np.array_equal(s.state, h)
    s.reset(rows=[1])
    assert not s.state[:, 1].any() and np.array_equal(s.state[:, 0], h[:, 0])
    s.state = h
    assert np.array_equal(s.state, h)
    with pytest.raises(TypeError, match="array h"):
        s.state = None
    with pytest.raises(ValueError, match=r"\(1, 2, 5\), got \(2, 5\)"):
        s.state = h[0]


@pytest.mark.parametrize(("make", "own"), LAYERS)
def test_wrong_states_are_refused(make, own):
    layer = make(3, 5, **own)
    x = np.zeros((4, 2, 3), np.float32)
    h = np.zeros((1, 2, 5), np.float32)
    with pytest.raises(ValueError, match=r"Expected hidden size \(1, 2, 5\), got \(1, 2, 4\)"):
        layer(x, h[..., 1:])
    for wrong in ((h, h), [h, h], h[0]):
        with pytest.raises((ValueError, TypeError), match="hidden size"):
            layer(x, wrong)
    with pytest.raises(ValueError, match=f"{make.kind}: Expected input to be 2D or 3D, got 1D"):
        layer(x[0, 0])
    *_, tape = layer.forward_train(x)
    with pytest.raises(ValueError, match=r"Expected dstate of shape \(1, 2, 5\), got \(2, 5\)"):
        layer.backward(tape, None, h[0])


def test_arguments_of_their_own():
    with pytest.raises(ValueError, match=r"Unknown nonlinearity 'gelu'\. Select from 'tanh' or"):
        fastlstm.RNN(3, 4, nonlinearity="gelu")
    with pytest.raises(TypeError, match="reset_after must be a bool, got str"):
        fastlstm.GRU(3, 4, reset_after="no")
    for make in (fastlstm.GRU, fastlstm.RNN):
        with pytest.raises(TypeError, match="proj_size"):
            make(3, 4, proj_size=2)
    state = fastlstm.GRU(3, 4).state_dict()
    with pytest.raises(TypeError, match="no argument 'nonlinearity'"):
        fastlstm.GRU.from_state_dict(state, nonlinearity="relu")
    with pytest.raises(ValueError, match="a GRU"):
        fastlstm.LSTM.from_state_dict(state)
    assert not fastlstm.GRU.from_state_dict(state, reset_after=False).reset_after
    text = repr(fastlstm.RNN(3, 4, 2, "relu", isa=ISA))
    assert text == f"RNN(3, 4, num_layers=2, nonlinearity='relu', isa={ISA!r})"
    text = repr(fastlstm.GRU(3, 4, reset_after=False, isa=ISA))
    assert text == f"GRU(3, 4, reset_after=False, isa={ISA!r})"


@pytest.mark.parametrize(("make", "own"), LAYERS)
def test_state_dicts_copies_and_pickles(make, own, rng):
    layer = make(3, 5, 2, bias=False, bidirectional=True, **own)
    x = rng.standard_normal((4, 2, 3)).astype(np.float32)
    want = layer(x)[0]
    twin = make.from_state_dict(layer.state_dict(), **own)
    for other in (twin, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert np.array_equal(other(x)[0], want)
        assert repr(other) == repr(layer)
    with pytest.raises(ValueError, match=f"loading state_dict for {make.kind}"):
        layer.load_state_dict({})
    torchs = getattr(torch.nn, make.kind)(3, 5, 2, bias=False, bidirectional=True)
    assert list(torchs.state_dict()) == list(layer.state_dict())
    layer.load_state_dict(torchs.state_dict())


def test_reset_before_and_after_differ(rng):
    x = rng.standard_normal((9, 2, 3)).astype(np.float32)
    after = fastlstm.GRU(3, 5)
    before = fastlstm.GRU.from_state_dict(after.state_dict(), reset_after=False)
    assert np.abs(after(x)[0] - before(x)[0]).max() > 1e-3


def test_relu_of_nan_and_infinity_is_torchs():
    ours, theirs = fastlstm.RNN(1, 1, nonlinearity="relu"), torch.nn.RNN(1, 1, nonlinearity="relu")
    theirs.load_state_dict({n: torch.from_numpy(a) for n, a in ours.state_dict().items()})
    for value in (np.nan, np.inf, -np.inf, -0.0):
        x = np.array([[value]], np.float32)
        assert np.array_equal(ours(x)[0], theirs(torch.from_numpy(x))[0].detach(), equal_nan=True)


def test_load_takes_the_nonlinearity(tmp_path, rng):
    path = tmp_path / "x.pt"
    rnn, lstm = torch.nn.RNN(3, 4, nonlinearity="relu"), torch.nn.LSTM(3, 4)
    torch.save(torch.nn.ModuleDict({"a": rnn, "b": lstm}).state_dict(), path)
    assert fastlstm.load(path, "a").nonlinearity == "tanh"
    layers = fastlstm.load_all(path, nonlinearity="relu")
    assert [type(layer) for layer in layers.values()] == [fastlstm.RNN, fastlstm.LSTM]
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    theirs = rnn(torch.from_numpy(x))[0].detach().numpy()
    assert np.abs(layers["a."](x)[0] - theirs).max() <= 2e-6 * max(1, np.abs(theirs).max())


# ---- cells ----


@pytest.mark.parametrize(("make", "theirs", "own"), CELLS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (1,), (7,)])
def test_a_cell_is_torchs(make, theirs, own, bias, rows, isa, rng):
    theirs = theirs(6, 9, bias, **own)
    ours = make(6, 9, bias, isa=isa, **own)
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    assert ours.load_state_dict(theirs.state_dict()) == ([], [])
    state = their_state = None
    for _ in range(5):
        x = rng.standard_normal((*rows, 6)).astype(np.float32)
        state = ours(x, state)
        with torch.no_grad():
            their_state = theirs(torch.from_numpy(x), their_state)
        assert type(state) is (tuple if make is fastlstm.LSTMCell else np.ndarray)
        for a, b in zip(parts(state), parts(their_state), strict=True):
            assert a.shape == tuple(b.shape) and a.dtype == np.float32
            assert np.abs(a - b.numpy()).max() <= 2e-6 * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize(("make", "theirs", "own"), CELLS)
def test_a_cells_bits_are_the_layers(make, theirs, own, isa, rng):
    layer = getattr(fastlstm, make.__name__[:-4])(6, 9, isa=isa, **own)
    cell = make(6, 9, isa=isa, **own)
    cell.load_state_dict({name[:-3]: a for name, a in layer.state_dict().items()})
    x = rng.standard_normal((8, 3, 6)).astype(np.float32)
    want, end = layer(x)
    state = None
    for row, y in zip(x, want, strict=True):
        state = cell(row, state)
        assert parts(state)[0].tobytes() == y.tobytes()
    for a, b in zip(parts(state), parts(end), strict=True):
        assert a.tobytes() == b[0].tobytes()
    for other in (copy.copy(cell), copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert parts(other(x[0]))[0].tobytes() == want[0].tobytes()
        other.load_state_dict({name: 2 * a for name, a in other.state_dict().items()})
        assert parts(cell(x[0]))[0].tobytes() == want[0].tobytes()


@pytest.mark.parametrize(("make", "theirs", "own"), CELLS)
def test_a_cell_of_no_rows_and_its_arguments(make, theirs, own):
    """As torch has them, by name and in order; of ours there are keywords more."""
    cell = make(6, 9, True, **own)
    for state in (None, parts(cell(np.zeros((0, 6))))):
        state = state if state is None or len(state) == 2 else state[0]
        assert [s.shape for s in parts(cell(np.zeros((0, 6)), state))] == [
            s.shape for s in parts(theirs(6, 9, True, **own)(torch.zeros(0, 6)))
        ]
    for name in ("input_size", "hidden_size", "bias", *own):
        assert getattr(cell, name) == getattr(theirs(6, 9, True, **own), name)
    positional = [
        name
        for name, p in inspect.signature(make).parameters.items()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    assert positional == [
        name for name in inspect.signature(theirs).parameters if name not in ("device", "dtype")
    ]
    assert not fastlstm.GRUCell(6, 9, reset_after=False).reset_after


@pytest.mark.parametrize(("make", "theirs", "own"), CELLS)
def test_wrong_calls_of_a_cell(make, theirs, own):
    cell = make(3, 4, **own)
    name, x = make.__name__, np.zeros((2, 3), np.float32)
    h = np.zeros((2, 4), np.float32)
    pair = (lambda a: (a, a)) if make is fastlstm.LSTMCell else (lambda a: a)
    with pytest.raises(ValueError, match=f"{name}: Expected input to be 1D or 2D, got 3D"):
        cell(x[None])
    with pytest.raises(ValueError, match=r"got 2, expected 3: input has shape \(2, 2\)"):
        cell(x[:, 1:])
    for wrong in (h[:1], h[0], h[None]):
        with pytest.raises(ValueError, match=r"size \(2, 4\), got"):
            cell(x, pair(wrong))
    with pytest.raises(ValueError, match=r"size \(4,\), got \(2, 4\)"):
        cell(x[0], pair(h))
    if make is fastlstm.LSTMCell:
        with pytest.raises(TypeError, match="pair"):
            cell(x, h)
    with pytest.raises(TypeError):
        make(3, 4, num_layers=2)
    with pytest.raises(ValueError, match=f"loading state_dict for {name}:"):
        cell.load_state_dict({"weight_ih": h})
    before = cell.state_dict()
    assert cell.load_state_dict({"bias_ih": before["bias_ih"] + 1}, strict=False)[1] == []
    assert np.array_equal(cell.state_dict()["bias_ih"], before["bias_ih"] + 1)
    assert repr(cell).startswith(f"{name}(3, 4")
