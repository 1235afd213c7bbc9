# SPDX-License-Identifier: MIT
"""merge=: two directions' outputs made one, against the halves of the layer that merges nothing (to
the bit) and, for gradients, against PyTorch's autograd in float64."""

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import BACKEND

import fastlstm
from fastlstm.training.merge import MERGES

KINDS = {"LSTM": fastlstm.LSTM, "GRU": fastlstm.GRU, "RNN": fastlstm.RNN}
MERGED = [name for name in MERGES if name != "concat"]


def by_hand(how, both):
    """The merge of [f, b], NumPy's or torch's."""
    width = both.shape[-1] // 2
    f, b = both[..., :width], both[..., width:]
    return {"sum": f + b, "mul": f * b, "ave": (f + b) / 2}[how]


def equal(one, other):
    """To the bit; NumPy's products depend on how many rows there are."""
    if BACKEND == "numpy":
        return one.shape == other.shape and np.abs(one - other).max(initial=0) <= 1e-6
    return one.shape == other.shape and one.tobytes() == other.tobytes()


def pair(kind, how, **options):
    """(a layer that merges, the same with "concat")."""
    layer = KINDS[kind](3, 5, bidirectional=True, merge=how, **options)
    plain = KINDS[kind].from_state_dict(layer.state_dict(), batch_first=layer.batch_first)
    assert plain.merge == "concat" and plain.output_size == 2 * layer.output_size
    return layer, plain


@pytest.mark.parametrize("how", MERGED)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_merged_halves(rng, kind, how):
    for layers, batch_first in ((1, False), (2, True)):
        layer, plain = pair(kind, how, num_layers=layers, batch_first=batch_first)
        x = rng.standard_normal((6, 4, 3)).astype(np.float32)
        batch = len(x) if batch_first else x.shape[1]
        lengths = rng.integers(0, 24 // batch + 1, batch)
        for options in ({}, {"lengths": lengths}, {"return_sequences": False}):
            (y, state), (both, same) = layer(x, **options), plain(x, **options)
            assert equal(y, by_hand(how, both)) and y.dtype == np.float32
            assert all(map(equal, layer.state_parts(state), plain.state_parts(same)))
            out = np.full_like(y, np.nan)
            assert layer(x, out=out, **options)[0] is out and out.tobytes() == y.tobytes()
        one = x[:, 0] if not batch_first else x[0]
        assert equal(layer(one)[0], by_hand(how, plain(one)[0]))
        assert layer(x[:0] if batch_first else x[:, :0])[0].shape == (
            (0, 4, 5) if batch_first else (6, 0, 5)
        )
        with pytest.raises(ValueError, match=r"\(6, 4, 5\)"):
            layer(x, out=np.empty((6, 4, 10), np.float32))


@pytest.mark.parametrize("checkpoint", [None, 2])
@pytest.mark.parametrize("how", MERGED)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_torchs(rng, kind, how, checkpoint):
    layer, plain = pair(kind, how, num_layers=2)
    x = rng.standard_normal((6, 4, 3)).astype(np.float32)
    y, state, tape = layer.forward_train(x, checkpoint=checkpoint)
    assert equal(y, layer(x)[0])
    _, _, wide = plain.forward_train(x, checkpoint=checkpoint)
    kept = 4 * 6 * 4 * 10 if how == "mul" else 0  # both directions' outputs
    assert tape.nbytes == wide.nbytes + kept
    dy = rng.standard_normal(y.shape).astype(np.float32)
    grads = layer.backward(tape, dy)
    theirs = getattr(torch.nn, kind)(3, 5, 2, bidirectional=True).double()
    weights = {n: torch.from_numpy(a) for n, a in layer.state_dict().items()}
    theirs.load_state_dict(weights)
    leaf = torch.from_numpy(x).double().requires_grad_()
    by_hand(how, theirs(leaf)[0]).backward(torch.from_numpy(dy).double())
    wanted = {n: p.grad for n, p in theirs.named_parameters()} | {"x": leaf.grad}
    for name, want in wanted.items():
        ours = grads.x if name == "x" else grads.params[name]
        assert np.abs(ours - want.numpy()).max() <= 1e-5 * np.abs(want.numpy()).max(), name
    with pytest.raises(ValueError, match=r"dy of shape \(6, 4, 5\), got \(6, 4, 10\)"):
        layer.backward(tape, np.zeros((6, 4, 10)))
    without = layer.backward(tape, None, state)
    assert equal(without.x, plain.backward(wide, None, state).x)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_ignore_what_lies_past_a_rows_length(rng, kind):
    layer, _ = pair(kind, "mul")
    x, lengths = rng.standard_normal((6, 4, 3)).astype(np.float32), np.array([6, 0, 2, 5])
    y, _, tape = layer.forward_train(x, lengths=lengths)
    assert equal(y, layer(x, lengths=lengths)[0])
    dy = rng.standard_normal(y.shape).astype(np.float32)
    poisoned = dy.copy()
    poisoned[np.arange(6)[:, None] >= lengths] = np.nan
    assert equal(layer.backward(tape, dy).x, layer.backward(tape, poisoned).x)
    one, _, tape = layer.forward_train(x[:, 0])
    assert one.shape == (6, 5) and layer.backward(tape, dy[:, 0]).x.shape == (6, 3)


@pytest.mark.parametrize("how", MERGED)
def test_kept_by_files_pickles_copies_and_float16(tmp_path, rng, how):
    layer, plain = pair("LSTM", how)
    x = rng.standard_normal((6, 4, 3)).astype(np.float32)
    y = layer(x)[0]
    layer.save(tmp_path / "m")
    for made in (
        fastlstm.load(tmp_path / "m"),
        pickle.loads(pickle.dumps(layer)),
        copy.deepcopy(layer),
        fastlstm.LSTM.from_state_dict(layer.state_dict(), merge=how),
    ):
        assert made.merge == how and f"merge={how!r}" in repr(made)
        assert equal(made(x)[0], y)
    assert fastlstm.load(tmp_path / "m", merge="concat").output_size == 10
    half = layer.quantize("float16")
    half.save(tmp_path / "h")
    again = fastlstm.load(tmp_path / "h")
    assert (again.merge, again.dtype) == (how, "float16")
    assert equal(again(x)[0], by_hand(how, plain.quantize("float16")(x)[0]))


def test_other_faces_of_a_layer_that_merges(rng):
    layer, plain = pair("GRU", "sum")
    with pytest.raises(ValueError, match="a bidirectional layer cannot stream"):
        layer.stream()
    x = rng.standard_normal((6, 4, 3)).astype(np.float32)
    y = by_hand("sum", plain(x)[0])
    assert layer.verify(x, y).matches
    assert "torch's own cells alone" in layer.verify(x, y + 1).explanation
    assert layer.variant is None  # the engine runs torch's own cell
    assert "merge" not in repr(plain)


def test_overflow_is_infinite_and_says_nothing(recwarn):
    weights = fastlstm.RNN(1, 1, bidirectional=True, bias=False).state_dict()
    weights = {name: np.full_like(array, 1e38) for name, array in weights.items()}
    options = {"activations": ("affine",)}
    layer = fastlstm.RNN.from_state_dict(weights, merge="sum", **options)
    assert np.isinf(layer(np.full((1, 1, 1), 3, np.float32))[0]).all()
    assert not recwarn.list
