# SPDX-License-Identifier: MIT
"""Weights of an accelerated module: noticed when they change, by their bits; frozen or not."""

import copy
import math
import pickle
import weakref

import numpy as np
import pytest
import torch
from test_torch_module import fresh_warnings, kind, ours_only, pair

import fastlstm
import fastlstm.torch
from fastlstm.engine import backend
from fastlstm.torch import freeze, modules, restore, unfreeze
from fastlstm.torch import weights as weights_of

__all__ = ["fresh_warnings", "kind", "ours_only"]  # fixtures


@pytest.fixture
def packings(monkeypatch):
    """A list that grows by one at each packing of weights."""
    found = []

    class Counted(weights_of.Packed):
        def __init__(self, *args):
            found.append(1)
            super().__init__(*args)

    monkeypatch.setattr(modules, "Packed", Counted)
    return found


@pytest.fixture
def comparisons(monkeypatch):
    """A list that grows by one at each comparison of weights' bits."""
    found, same_bits = [], backend.same_bits

    def counted(ours, theirs):
        found.append(1)
        return same_bits(ours, theirs)

    monkeypatch.setattr(backend, "same_bits", counted)
    return found


X = torch.randn(5, 2, 3, generator=torch.manual_seed(0))


def test_same_bits():
    a = np.arange(50_000, dtype=np.float32)  # more than is compared with the GIL held
    short = np.array([1, np.nan, -0.0], np.float32)
    for array in (a, short, short[:1], a.reshape(500, 100)):
        assert backend.same_bits([array], [array.copy()])
        assert backend.same_bits([array, short], [array.copy(), short.copy()])
        for i in (0, array.size // 2, array.size - 1):
            other = array.copy()
            other.reshape(-1).view(np.int32)[i] ^= 1
            assert not backend.same_bits([array], [other])
            assert not backend.same_bits([short, array], [short.copy(), other])
    assert backend.same_bits([], [])
    zero = np.zeros(3, np.float32)
    assert not backend.same_bits([zero], [-zero])
    other = short.copy()
    other.view(np.int32)[1] ^= 1  # another NaN
    assert not backend.same_bits([short], [other])
    assert backend.same_bits([np.broadcast_to(zero, (3,))], [zero])  # read-only


@pytest.mark.needs("c")
def test_same_bits_refuses_what_is_not_alike():
    a = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="arrays of different sizes"):
        backend.same_bits([a], [a[:2]])
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        backend.same_bits([a], [])
    with pytest.raises((ValueError, BufferError), match="contiguous"):
        backend.same_bits([a[:, :2]], [a[:, :2]])


def test_weights_are_told_apart_by_their_bits(ours_only, packings):
    _, ours = pair(3, 4)
    w = ours.weight_hh_l0
    with torch.no_grad():
        w[0, 0], w[0, 1] = math.nan, 0.0
    ours(X), ours(X)
    assert len(packings) == 1  # a NaN is the same as before
    w.data[0, 1] = -0.0
    ours(X)
    assert len(packings) == 2
    ours.weight_hh_l0 = torch.nn.Parameter(w.detach().clone())  # the same bits elsewhere
    ours(X), ours(X)
    assert len(packings) == 2
    ours.float(), ours.to("cpu"), ours.requires_grad_(False)
    ours(X)
    assert len(packings) == 2


def test_weights_in_other_layouts(ours_only, packings):
    """Square, transposed in place of itself: the same address, other numbers."""
    _, ours = pair(4, 4, kind=torch.nn.RNN)
    x = torch.randn(5, 2, 4)
    for change in (
        lambda w: w.t(),
        lambda w: w.contiguous(),
        lambda w: torch.randn(8, 4)[::2],
        lambda w: torch.randn(1, 4).expand(4, 4),
    ):
        ours(x)
        ours.weight_hh_l0.data = change(ours.weight_hh_l0.data)
        fresh = fastlstm.RNN.from_state_dict(ours.state_dict())
        for _ in range(2):
            assert ours(x)[0].detach().numpy().tobytes() == fresh(x.numpy())[0].tobytes()
    assert len(packings) == 4  # a contiguous copy of the same numbers is none
    ours.weight_hh_l0.data = torch.randn(3, 4)
    with pytest.raises((RuntimeError, ValueError), match=r"weight|shape|size"):
        ours(x)


def test_frozen_weights_are_not_compared(kind, ours_only, packings, comparisons):
    model = torch.nn.ModuleList([pair(3, 4, kind=kind)[1], torch.nn.Linear(2, 2)])
    ours = model[0]
    want = ours(X)[0]
    ours(X)
    assert len(comparisons) > 0
    assert freeze(model) == 1
    comparisons.clear()
    for _ in range(3):
        assert torch.equal(ours(X)[0], want)
    with torch.no_grad():
        assert torch.equal(ours(X)[0], want)
    assert comparisons == [] and len(packings) == 1
    assert unfreeze(model) == 1
    assert unfreeze(model) == 0
    ours(X)
    assert len(comparisons) > 0


def test_what_pytorch_counts_is_noticed_while_frozen(kind, ours_only, packings):
    _, ours = pair(3, 4, kind=kind)
    freeze(ours)
    changes = (
        lambda: ours.load_state_dict(kind(3, 4).state_dict()),
        lambda: torch.nn.init.ones_(ours.bias_hh_l0),
        lambda: setattr(ours, "weight_ih_l0", torch.nn.Parameter(2 * ours.weight_ih_l0.detach())),
        lambda: setattr(ours.weight_hh_l0, "data", 2 * ours.weight_hh_l0.data),
        lambda: torch.optim.SGD(ours.parameters(), 0.1).step(),
    )
    ours(X)[0].sum().backward()
    for n, change in enumerate(changes):
        change()
        y = ours(X)[0].detach()
        assert len(packings) == n + 2
        unfreeze(ours)
        assert torch.equal(ours(X)[0], y)
        assert len(packings) == n + 2  # they were current
        freeze(ours)
        ours.zero_grad(set_to_none=False)
        ours(X)[0].sum().backward()


def test_a_promise_that_is_broken(kind, ours_only, monkeypatch):
    """Through .data: nothing counts it. check=True, or the environment, compares."""
    _, ours = pair(3, 4, kind=kind)
    before = ours(X)[0]
    freeze(ours)
    ours(X)
    ours.weight_hh_l0.data.mul_(0.5)
    assert torch.equal(ours(X)[0], before)
    name = type(ours).__name__
    says = rf"fastlstm\.torch\.{name}: weight_hh_l0 changed while frozen; call .*unfreeze\(model\)"
    freeze(ours, check=True)
    with pytest.raises(RuntimeError, match=says):
        ours(X)
    freeze(ours)
    assert torch.equal(ours(X)[0], before)
    monkeypatch.setattr(modules, "CHECK_FROZEN", True)
    with pytest.raises(RuntimeError, match=says):
        ours(X)
    monkeypatch.undo()
    unfreeze(ours)
    fresh = getattr(fastlstm, kind.__name__).from_state_dict(ours.state_dict())
    assert ours(X)[0].detach().numpy().tobytes() == fresh(X.numpy())[0].tobytes()


def test_checked_and_unchanged(ours_only):
    _, ours = pair(3, 4)
    freeze(ours, check=True)
    want = ours(X)[0]
    assert torch.equal(ours(X)[0], want)


def test_copies_of_a_frozen_module_are_not_frozen(kind, ours_only):
    _, ours = pair(3, 4, kind=kind)
    ours(X)
    freeze(ours)
    for twin in (copy.deepcopy(ours), copy.copy(ours), pickle.loads(pickle.dumps(ours))):
        assert unfreeze(twin) == 0
    twin = copy.deepcopy(ours)
    twin.weight_hh_l0.data.mul_(0.5)
    assert not torch.equal(twin(X)[0], ours(X)[0])
    restore(ours)
    assert unfreeze(ours) == 0
    fastlstm.torch.accelerate(ours)
    assert unfreeze(ours) == 0


def test_weights_made_in_inference_mode(ours_only):
    """They have no count of writes."""
    with torch.inference_mode():
        ours = fastlstm.torch.LSTM(3, 4)
        freeze(ours)
        want = ours(X)[0]
        assert torch.equal(ours(X)[0], want)
        ours.weight_hh_l0 = torch.nn.Parameter(2 * ours.weight_hh_l0, requires_grad=False)
        assert not torch.equal(ours(X)[0], want)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRUCell])
def test_writes_to_weights_without_a_count_are_noticed_while_frozen(kind, comparisons):
    """In inference mode PyTorch counts nothing."""
    x, other = X if kind is torch.nn.LSTM else X[0], kind(3, 4)
    with torch.inference_mode():
        ours = kind(3, 4)
        fastlstm.torch.accelerate(ours)
        freeze(ours)
        ours(x), ours(x)
        ours.load_state_dict(other.state_dict())
        first = lambda found: found[0] if isinstance(found, tuple) else found  # noqa: E731
        assert torch.allclose(first(ours(x)), first(other(x)), atol=1e-5)
    assert comparisons != []


def test_other_tensors_of_the_same_memory_are_noticed_while_frozen(ours_only, comparisons):
    """Each has a count of its own, which says nothing of the other's."""
    ours = fastlstm.torch.LSTM(3, 4)
    freeze(ours)
    want = ours(X)[0]
    for name, p in list(ours.named_parameters()):
        setattr(ours, name, torch.nn.Parameter(p.data))
    other = torch.nn.LSTM(3, 4).state_dict()
    ours.load_state_dict(other)
    y = ours(X)[0]
    assert not torch.equal(y, want)
    unfreeze(ours)
    assert torch.equal(ours(X)[0], y)
    freeze(ours)
    for name, p in list(ours.named_parameters()):  # others again, with the same bits
        setattr(ours, name, torch.nn.Parameter(p.data))
    assert torch.equal(ours(X)[0], y)
    comparisons.clear()
    assert torch.equal(ours(X)[0], y) and comparisons == []


def test_a_frozen_module_keeps_no_tensor_alive(ours_only):
    ours = fastlstm.torch.LSTM(3, 4)
    freeze(ours)
    ours(X)
    gone = weakref.ref(ours.weight_hh_l0)
    ours.weight_hh_l0 = torch.nn.Parameter(torch.zeros(16, 4))
    assert gone() is None


def test_only_modules_are_frozen():
    for function in (freeze, unfreeze):
        with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got int"):
            function(3)
        assert function(torch.nn.LSTM(3, 4)) == 0
