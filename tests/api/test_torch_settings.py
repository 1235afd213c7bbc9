# SPDX-License-Identifier: MIT
"""What is set between two calls of an accelerated module: attributes, which PyTorch looks at in
each call, and torch's number of threads."""

import copy

import pytest
import torch
from test_torch_common_modules import calls
from test_torch_module import close, fresh_warnings, kind, pair, parts, warned
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm.torch
from fastlstm import training

__all__ = ["calls", "fresh_warnings", "kind"]  # fixtures

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported"),
]
CELLS = [torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.RNNCell]


def outputs(found):
    return [t.detach() for each in parts(found) for t in parts(each)]


def agree(theirs, ours, *args, here=True):
    """Do both modules compute the same? here: does the engine?"""
    found, texts = warned(lambda: ours(*args))
    for a, b in zip(outputs(found), outputs(theirs(*args)), strict=True):
        close(a, b)
    assert here == (texts == []), texts


def accelerated(module):
    """Ours, of the same weights."""
    ours = copy.deepcopy(module)
    assert fastlstm.torch.accelerate(ours) == 1
    return ours


def test_batch_first(kind):
    theirs, ours = pair(4, 8, 2, kind=kind, bidirectional=True)
    x = torch.randn(5, 3, 4)
    for first in (False, True, False, True):
        theirs.batch_first = ours.batch_first = first
        packed = pack_padded_sequence(x, [3, 3, 2, 1, 1] if first else [5, 4, 1], first)
        for module in (theirs, ours):
            module.zero_grad()
            (module(x)[0].pow(2).sum() + module(packed)[0].data.pow(3).sum()).backward()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            close(a.grad, b.grad)
        with torch.no_grad():
            agree(theirs, ours, x)
            agree(theirs, ours, x[0])


def test_batch_first_of_a_frozen_module():
    theirs, ours = pair(4, 8)
    fastlstm.torch.freeze(ours)
    for first in (False, True):
        theirs.batch_first = ours.batch_first = first
        agree(theirs, ours, torch.randn(5, 3, 4))


def test_dropout(kind):
    """A rate of 1 drops all, whatever the masks."""
    theirs, ours = pair(4, 8, 2, kind=kind)
    for rate in (0.0, 1.0, 0.0):
        theirs.dropout = ours.dropout = rate
        agree(theirs, ours, torch.randn(5, 3, 4))


def test_the_activation_of_an_rnn():
    """nn.RNN looks at `mode`, nn.RNNCell at `nonlinearity`."""
    theirs, ours = pair(4, 8, kind=torch.nn.RNN)
    for mode in ("RNN_TANH", "RNN_RELU", "RNN_TANH"):
        theirs.mode = ours.mode = mode
        agree(theirs, ours, torch.randn(5, 3, 4))
    theirs, ours = pair(4, 8, kind=torch.nn.RNN)
    theirs.nonlinearity = ours.nonlinearity = "relu"
    agree(theirs, ours, torch.randn(5, 3, 4))
    theirs = torch.nn.RNNCell(4, 8)
    ours = accelerated(theirs)
    with torch.no_grad():
        for name in ("tanh", "relu", "tanh"):
            theirs.nonlinearity = ours.nonlinearity = name
            agree(theirs, ours, torch.randn(3, 4))
    for module, name in ((ours, "nonlinearity"), (fastlstm.torch.RNN(4, 8), "mode")):
        setattr(module, name, "sine")
        with torch.no_grad(), pytest.raises(ValueError, match="Unknown nonlinearity 'sine'"):
            module(torch.randn(3, 4))


CHANGES = [
    ({"num_layers": 1}, "there is weight_ih_l1"),
    ({"num_layers": 3}, "weight_ih_l2 is missing"),
    ({"bidirectional": True}, "weight_ih_l0_reverse is missing"),
    ({"bidirectional": True, "num_layers": 1}, "there is weight_ih_l1"),
    ({"bias": False}, "there is bias_ih_l0"),
    ({"hidden_size": 5}, r"weight_ih_l0 has the shape \(\d+, 4\), \(\d+, 4\) is due"),
]


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("change, says", CHANGES, ids=str)
def test_attributes_that_do_not_fit_the_weights(kind, change, says, called):
    """PyTorch refuses some of them; of others nn.LSTM makes numbers out of any memory."""
    theirs, ours = pair(4, 4, 2, kind=kind)
    x = torch.randn(5, 3, 4)
    if called:
        ours(x)
    before = {name: getattr(ours, name) for name in change}
    for name, value in change.items():
        setattr(ours, name, value)
    says = rf"fastlstm\.torch\.{kind.__name__}: its attributes do not fit its weights: {says}"
    with pytest.raises(RuntimeError, match=says):
        ours(x)
    for name, value in before.items():
        setattr(ours, name, value)
    agree(theirs, ours, x)


@pytest.mark.parametrize("cell", CELLS)
def test_the_biases_of_a_cell(cell):
    """PyTorch does not look at the attribute `bias`, but at the biases."""
    x = torch.randn(3, 4)
    theirs = cell(4, 8)
    ours = accelerated(theirs)
    with torch.no_grad():
        agree(theirs, ours, x)
        theirs.bias = ours.bias = False
        agree(theirs, ours, x)
        theirs.bias_ih = theirs.bias_hh = ours.bias_ih = ours.bias_hh = None
        agree(theirs, ours, x)
        biases = [torch.nn.Parameter(torch.randn_like(theirs.weight_hh[:, 0])) for _ in "ih"]
        for module in (theirs, ours):
            module.bias_ih, module.bias_hh = biases
        agree(theirs, ours, x)
        theirs.bias_hh = ours.bias_hh = None
        agree(theirs, ours, x, here=False)


def test_more_threads_than_the_engine_takes(kind, monkeypatch):
    """PyTorch takes any number."""
    found = []
    for name in ("forward", "backward"):
        run = getattr(training, name)
        monkeypatch.setattr(training, name, lambda *a, run=run: found.append(a[5]) or run(*a))
    theirs, ours = pair(4, 8, kind=kind)
    cell = torch.nn.RNNCell(4, 8)
    our_cell = accelerated(cell)
    x = torch.randn(5, 3, 4)
    want, want_cell = theirs(x)[0], cell(x[0])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2000)
    with torch.no_grad():
        close(ours(x)[0], want)
        close(our_cell(x[0]), want_cell)
    assert found == []
    ours(x)[0].sum().backward()
    assert found == [1024, 1024]


# Calls that are faster in PyTorch


@pytest.mark.parametrize(
    ("kind", "size", "steps", "frozen", "grad", "here"),
    [
        ("GRU", 128, 1, False, False, True),  # fewer than 2^17 weights
        ("GRU", 256, 4, False, False, False),
        ("GRU", 256, 5, False, False, True),
        ("GRU", 256, 1, True, False, True),
        ("RNN", 256, 1, False, False, False),
        ("RNN", 256, 1, False, True, True),  # gradients
        ("LSTM", 256, 1, False, False, True),
        ("LSTM", 256, 1, False, True, True),
    ],
)
@pytest.mark.parametrize("batch_first", [False, True])
def test_few_steps_run_where_they_are_faster(
    calls, kind, size, steps, frozen, grad, here, batch_first
):
    theirs = getattr(torch.nn, kind)(size, size, batch_first=batch_first)
    ours = accelerated(theirs)
    if frozen:
        fastlstm.torch.freeze(ours)
    x = torch.randn(7, steps, size) if batch_first else torch.randn(steps, 7, size)
    with torch.set_grad_enabled(grad):
        want = theirs(x)[0]
        with calls() as found:
            y = ours(x)[0]
    assert (found["call"] + found["train"], found["torch"]) == (here, not here)
    close(y.detach(), want.detach())
    assert y.requires_grad == grad


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("size", "frozen", "here"), [(64, 0, 1), (192, 0, 0), (192, 1, 1)])
def test_cells_run_where_they_are_faster(calls, kind, size, frozen, here):
    theirs = kind(size, size)
    ours = accelerated(theirs)
    if frozen:
        fastlstm.torch.freeze(ours)
    x = torch.randn(3, size)
    with torch.no_grad(), calls() as found:
        got = outputs(ours(x))
    assert (found["call"], found["torch"]) == (here, not here)
    for a, b in zip(got, outputs(theirs(x)), strict=True):
        close(a, b)
