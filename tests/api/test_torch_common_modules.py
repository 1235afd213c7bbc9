# SPDX-License-Identifier: MIT
"""PyTorch's own descriptions of LSTM, GRU, RNN and their cells, torch.testing's module_db, run over
fastlstm.torch: arguments, inputs, references and errors as PyTorch tests its modules by them."""

import contextlib
import copy
import functools
import importlib
import pickle
import sys
import types
import unittest
import warnings

import pytest
import torch
from test_torch_module import fresh_warnings
from torch.nn.utils.rnn import PackedSequence

import fastlstm.torch
from fastlstm import training
from fastlstm.torch import autograd, modules

__all__ = ["fresh_warnings"]  # a fixture

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported"),
    pytest.mark.filterwarnings("ignore:fastlstm.torch. float64"),
]

KINDS = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
# What must run in PyTorch: the engine computes in float32.
FALL_BACK = {torch.float64: "float64 runs in PyTorch"}
# Those whose calls run in PyTorch where gradients are wanted, as single steps train no faster here.
TRAIN_IN_TORCH = ("LSTMCell", "GRUCell", "RNNCell")


@functools.cache
def common():
    """PyTorch's module with the list. Its helpers want the package expecttest, for tests of texts,
    which the list does not use, and set switches for the whole process, which are set back. It
    takes seconds to import, so it is imported by the first test that needs it."""
    flags = torch.backends.__allow_nonbracketed_mutation_flag
    stand_in = types.SimpleNamespace(TestCase=unittest.TestCase)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if importlib.util.find_spec("expecttest") is None:
            patch.setitem(sys.modules, "expecttest", stand_in)
        dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
        module = importlib.import_module("torch.testing._internal.common_modules")
    torch.backends.__allow_nonbracketed_mutation_flag = flags
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (dtype, threads)
    return module


def infos():
    return [i for i in common().module_db if i.module_cls in [getattr(torch.nn, k) for k in KINDS]]


def described(name, dtype, training, requires_grad, inputs=True):
    """The ModuleInputs of one module, or its ErrorModuleInputs; with packed sequences too."""
    (info,) = (i for i in infos() if i.module_cls.__name__ == name)
    make = info.module_inputs_func if inputs else info.module_error_inputs_func
    options = {"device": "cpu", "dtype": dtype, "requires_grad": requires_grad}
    if inputs and name in ("GRU", "RNN"):
        options["with_packed_sequence"] = True
    return make(info, training=training, **options)


def made(name, given, dtype, training):
    """(torch.nn's module, ours of the same weights) by a description."""
    constructor = given.constructor_input
    arguments = {"dtype": dtype, **constructor.kwargs}
    theirs = getattr(torch.nn, name)(*constructor.args, **arguments).train(training)
    ours = getattr(fastlstm.torch, name)(*constructor.args, **arguments).train(training)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def leaves(value):
    """The tensors of an input or output."""
    if isinstance(value, PackedSequence):
        return [value.data]
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for each in value for t in leaves(each)]


@pytest.fixture
def calls(monkeypatch):
    """Counts the engine's calls, by which kind, and PyTorch's."""
    count = {"call": 0, "train": 0, "backward": 0, "torch": 0}

    def counted(owner, name, key):
        function = getattr(owner, name)

        def wrapped(*args, **kwargs):
            count[key] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    for layer in (fastlstm.LSTM, fastlstm.GRU, fastlstm.RNN):
        counted(layer, "__call__", "call")
    counted(training, "forward", "train")
    counted(training, "backward", "backward")
    assert autograd.training is modules.training is training

    @contextlib.contextmanager
    def reset():
        """{name: calls} of what runs within, filled at its end."""
        found = {}
        before = dict(count)
        with pytest.MonkeyPatch.context() as patch:
            for kind in KINDS:
                cls = getattr(torch.nn, kind)
                forward = cls.forward

                def torchs(self, *args, _forward=forward, **kwargs):
                    count["torch"] += 1
                    return _forward(self, *args, **kwargs)

                patch.setattr(cls, "forward", torchs)
            yield found
        found.update({k: count[k] - before[k] for k in count})

    return reset


CASES = [
    pytest.param(name, dtype, training, id=f"{name}-{str(dtype)[6:]}-{mode}")
    for name in KINDS
    for dtype in (torch.float32, torch.float64)
    for training, mode in ((True, "train"), (False, "eval"))
]


def test_the_list_is_as_long_as_it_was():
    """So that a PyTorch that describes less is noticed."""
    numbers = {k: len(described(k, torch.float32, True, False)) for k in KINDS}
    assert numbers == {
        "LSTM": 32, "GRU": 32, "RNN": 64, "LSTMCell": 2, "GRUCell": 2, "RNNCell": 3,
    }  # fmt: skip
    assert sorted(i.module_cls.__name__ for i in infos()) == sorted(KINDS)


def doubled(value):
    """Tensors, packed ones too, in float64, alone or in tuples and dictionaries."""
    if isinstance(value, PackedSequence):
        return value.double()
    if isinstance(value, torch.Tensor):
        return value.detach().double().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: doubled(each) for key, each in value.items()}
    return tuple(map(doubled, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name, dtype, train", CASES)
def test_described_inputs(name, dtype, train, calls):
    torch.manual_seed(0)
    here = dtype not in FALL_BACK
    for given in described(name, dtype, train, True):
        theirs, ours = made(name, given, dtype, train)
        args, kwargs = given.forward_input.args, given.forward_input.kwargs
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fastlstm.torch: float64 runs in PyTorch")
            with calls() as with_grad:
                got = ours(*args, **kwargs)
                grads = differentiated(ours, args, got)
            with torch.no_grad(), calls() as without:
                quiet = ours(*args, **kwargs)
            again = pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)
            with torch.no_grad():
                copies = [leaves(m(*args, **kwargs)) for m in again]
        given_theirs = args, kwargs
        if here:  # PyTorch in float64, since its float32 gradients may be 2e-5 off
            theirs, given_theirs = theirs.double(), (doubled(args), doubled(kwargs))
        want = theirs(*given_theirs[0], **given_theirs[1])
        assert type(got) is type(want)
        tolerance = {"atol": 1e-5, "rtol": 1e-5} if here else {"atol": 0, "rtol": 0}
        for a, b in zip(leaves(got), leaves(want), strict=True):
            torch.testing.assert_close(a, b.to(a.dtype), **tolerance)
        for a, b in zip(grads, differentiated(theirs, given_theirs[0], want), strict=True):
            torch.testing.assert_close(a, b.to(a.dtype), **tolerance)
        for a, b in zip(leaves(got), leaves(quiet), strict=True):
            if here and name in TRAIN_IN_TORCH:
                torch.testing.assert_close(a, b, **tolerance)
            else:
                assert torch.equal(a, b)
        for others in copies:
            for a, b in zip(leaves(quiet), others, strict=True):
                assert torch.equal(a, b) and not a.requires_grad and not b.requires_grad
        if given.reference_fn is not None and not isinstance(args[0], PackedSequence):
            reference = given.reference_fn(ours, *args, **kwargs)
            for a, b in zip(leaves(got), leaves(reference), strict=True):
                torch.testing.assert_close(a, b)
        by_torch = {"call": 0, "train": 0, "backward": 0, "torch": 1}
        trained = {"call": 0, "train": 1, "backward": 1, "torch": 0}
        called = {"call": 1, "train": 0, "backward": 0, "torch": 0}
        assert with_grad == (trained if here and name not in TRAIN_IN_TORCH else by_torch)
        assert without == (called if here else by_torch)


def differentiated(module, args, outputs):
    """Gradients of a fixed loss by the inputs that have any, and by the parameters."""
    inputs = [t for t in leaves(args) if t.requires_grad]
    loss = sum((o * (i + 1)).cos().sum() for i, o in enumerate(leaves(outputs)))
    return torch.autograd.grad(loss, [*inputs, *module.parameters()])


@pytest.mark.parametrize("name, dtype, train", CASES)
def test_described_errors(name, dtype, train):
    found = described(name, dtype, train, False, inputs=False)
    assert found
    for error in found:
        given = error.module_error_input
        constructor, forward = given.constructor_input, given.forward_input
        cls = getattr(fastlstm.torch, name)
        on_construction = error.error_on is common().ModuleErrorEnum.CONSTRUCTION_ERROR
        if on_construction:
            with pytest.raises(error.error_type, match=error.error_regex):
                cls(*constructor.args, **constructor.kwargs)
            continue
        module = cls(*constructor.args, **constructor.kwargs).train(train)
        with pytest.raises(error.error_type, match=error.error_regex):
            module(*forward.args, **forward.kwargs)
