# SPDX-License-Identifier: MIT
"""PyTorch's tools on an accelerated model: TorchScript, tracing, FX, quantisation. Each must do
what it does on torch.nn's modules, or refuse in the same words."""

import copy
import io
import re
import warnings

import pytest
import torch
from test_torch_module import fresh_warnings, parts

import fastlstm.torch
from fastlstm.torch import accelerate, restore

__all__ = ["fresh_warnings"]  # a fixture

quantization = pytest.importorskip("torch.ao.quantization")
quantize_fx = pytest.importorskip("torch.ao.quantization.quantize_fx")

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:.*deprecated"),
    pytest.mark.filterwarnings("ignore:fastlstm.torch. torch.compile or tracing"),
]

LAYERS = [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN]
CELLS = [torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.RNNCell]


class Tagger(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner = kind(3, 4, 2, batch_first=True, bidirectional=True)
        self.head = torch.nn.Linear(8, 2)

    def forward(self, x):
        y, _ = self.inner(x)
        return self.head(y)


class Decoder(torch.nn.Module):
    """Two steps of an LSTMCell."""

    def __init__(self, kind):
        super().__init__()
        self.inner = kind(3, 4)

    def forward(self, x):
        h, c = self.inner(x)
        h, c = self.inner(x, (h, c))
        return h


class Decoder1(Decoder):
    """Of the other cells."""

    def forward(self, x):
        h = self.inner(x)
        return self.inner(x, h)


def models(kind):
    """(a model with a torch.nn module inside, the same accelerated, x)."""
    torch.manual_seed(0)
    if kind in CELLS:
        theirs = Decoder(kind) if kind is torch.nn.LSTMCell else Decoder1(kind)
        x = torch.randn(2, 3)
    else:
        theirs, x = Tagger(kind), torch.randn(2, 5, 3)
    theirs.eval()
    ours = copy.deepcopy(theirs)
    assert accelerate(ours) == 1
    return theirs, ours, x


@pytest.fixture(params=LAYERS + CELLS)
def kind(request):
    return request.param


def is_accelerated(model, kind):
    return type(model.inner) is getattr(fastlstm.torch, kind.__name__)


def outcome(run):
    """What run() returns, or what it raises, without addresses and names of our package."""
    try:
        return run()
    except Exception as e:
        return type(e).__name__, str(e)


def unmangled(text):
    """Without the numbers that TorchScript adds to names that it has had before, and without the
    places in files."""
    return re.sub(r"___torch_mangle_\d+\.| # \S+:\d+:\d+", "", str(text))


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, tuple) and not all(isinstance(i, (torch.Tensor, tuple)) for i in a):
        return a == b
    return len(a) == len(b) and all(map(same, a, b))


def test_script(kind):
    theirs, ours, x = models(kind)
    for _ in range(2):  # the second time too
        scripted = torch.jit.script(ours)
        reference = torch.jit.script(theirs)
        assert torch.equal(scripted(x), reference(x))
        assert scripted.inner.original_name == kind.__name__
        assert unmangled(scripted.inner._c._type()) == unmangled(reference.inner._c._type())
        assert unmangled(scripted.inlined_graph) == unmangled(reference.inlined_graph)
        assert is_accelerated(ours, kind)
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    assert torch.equal(torch.jit.load(file)(x), theirs(x))
    assert torch.allclose(torch.jit.freeze(scripted)(x), theirs(x), atol=1e-6)


def test_script_of_the_module_itself(kind):
    theirs, ours, x = models(kind)
    want = outcome(lambda: torch.jit.script(theirs.inner)(x))
    for _ in range(2):
        assert same(outcome(lambda: torch.jit.script(ours.inner)(x)), want)


def test_script_takes_packed_sequences():
    """nn.LSTM's second overload of forward."""

    class Packed(torch.nn.Module):
        def __init__(self, lstm):
            super().__init__()
            self.lstm = lstm

        def forward(self, x: torch.nn.utils.rnn.PackedSequence) -> torch.Tensor:
            y, _ = self.lstm(x)
            return y.data

    lstm = torch.nn.LSTM(3, 4)
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.randn(5, 2, 3), [5, 3])
    want = torch.jit.script(Packed(lstm))(packed)
    assert accelerate(lstm) == 1
    assert torch.equal(torch.jit.script(Packed(lstm))(packed), want)


def test_trace(kind):
    theirs, ours, x = models(kind)
    want = torch.jit.trace(theirs, x)
    for _ in range(2):
        got = torch.jit.trace(ours, x)
        assert unmangled(got.inlined_graph) == unmangled(want.inlined_graph)
        assert torch.equal(got(x), want(x))
    assert same(torch.jit.trace(ours.inner, x)(x), torch.jit.trace(theirs.inner, x)(x))
    assert is_accelerated(ours, kind)


def test_fx_keeps_it_as_a_leaf_that_runs_here(kind, monkeypatch):
    theirs, ours, x = models(kind)
    want = torch.fx.symbolic_trace(theirs)
    got = torch.fx.symbolic_trace(ours)
    assert str(got.graph) == str(want.graph)
    assert "call_module[target=inner]" in str(got.graph)
    with torch.no_grad():  # where gradients are wanted cells run in PyTorch
        before = theirs(x)
        monkeypatch.setattr(kind, "forward", None)  # nothing reaches PyTorch's own
        assert torch.allclose(got(x), before, atol=1e-6)


def test_fx_of_the_module_itself(kind):
    theirs, ours, _ = models(kind)
    want = outcome(lambda: torch.fx.symbolic_trace(theirs.inner))
    assert want[0] == "TraceError"
    assert outcome(lambda: torch.fx.symbolic_trace(ours.inner)) == want


def test_eager_dynamic_quantisation(kind):
    theirs, ours, x = models(kind)
    specification = {kind: quantization.default_dynamic_qconfig}
    for given in (specification, {kind}, None):
        want = quantization.quantize_dynamic(theirs, given)
        got = quantization.quantize_dynamic(ours, given)
        if kind is torch.nn.RNN:  # which has no quantised module
            assert type(want.inner) is kind
            assert is_accelerated(got, kind)
        else:
            assert type(want.inner).__module__.startswith("torch.ao.nn.quantized.dynamic")
            assert type(got.inner) is type(want.inner)
            assert torch.equal(got(x), want(x))
        assert is_accelerated(ours, kind)


@pytest.mark.parametrize("how", ["dynamic", "static"])
def test_fx_quantisation(kind, how):
    def quantised(model):
        if how == "dynamic":
            mapping = quantization.QConfigMapping()
            for each in (kind, torch.nn.Linear):
                mapping.set_object_type(each, quantization.default_dynamic_qconfig)
        else:
            mapping = quantization.get_default_qconfig_mapping("x86")
        prepared = quantize_fx.prepare_fx(copy.deepcopy(model), mapping, (x,))
        prepared(x)
        return prepared, quantize_fx.convert_fx(prepared)

    theirs, ours, x = models(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (prepared, want), (ours_prepared, got) = quantised(theirs), quantised(ours)
    assert str(ours_prepared.graph) == str(prepared.graph)
    assert str(got.graph) == str(want.graph)
    assert torch.allclose(got(x), want(x), atol=1e-5)
    if how == "dynamic" and kind is not torch.nn.RNN:
        assert type(got.inner) is type(want.inner) is not kind


def test_classes_are_equal_and_not_the_same(kind):
    ours = getattr(fastlstm.torch, kind.__name__)
    assert ours == kind and kind == ours and hash(ours) == hash(kind)
    assert ours is not kind
    assert ours.__module__ == "fastlstm.torch" and ours(3, 4).__module__ == kind.__module__
    assert repr(ours) == f"<class 'fastlstm.torch.{kind.__name__}'>"
    others = [k for k in LAYERS + CELLS if k is not kind]
    assert not any(ours == other for other in others)
    assert ours != None and ours != 3  # noqa: E711

    class Own(ours):
        pass

    assert Own != ours and Own != kind and Own == Own
    assert {Own: 1}.get(kind) is None
    assert Own.__module__ == __name__
    assert not hasattr(Own, "__wrapped__")
    assert accelerate(Own(3, 4)) == restore(Own(3, 4)) == 0


def test_restore_undoes_accelerate(kind):
    theirs, ours, x = models(kind)
    parameters, names = list(ours.parameters()), list(ours.state_dict())
    called = []
    ours.inner.register_forward_hook(lambda *_: called.append(1))
    ours(x)  # the engine is there now
    fastlstm.torch.freeze(ours)
    assert restore(ours) == 1
    assert restore(ours) == 0
    assert type(ours.inner) is kind
    assert vars(ours.inner).keys() == vars(theirs.inner).keys()
    assert all(a is b for a, b in zip(ours.parameters(), parameters, strict=True))
    assert list(ours.state_dict()) == names
    called.clear()
    assert torch.equal(ours(x), theirs(x))
    assert called
    assert accelerate(ours) == 1
    assert restore(ours.inner) == 1
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got dict"):
        restore({})


def test_parametrized_after_and_copies(kind):
    _, ours, x = models(kind)
    want = ours(x)
    twin = copy.deepcopy(ours)
    assert is_accelerated(twin, kind)
    name = "weight_hh" if kind in CELLS else "weight_hh_l0"

    class Half(torch.nn.Module):
        def forward(self, w):
            return w / 2

    torch.nn.utils.parametrize.register_parametrization(twin.inner, name, Half())
    reference = copy.deepcopy(ours)
    restore(reference)
    with torch.no_grad():
        getattr(reference.inner, name).div_(2)
    assert torch.allclose(twin(x), reference(x), atol=1e-6)
    assert not torch.allclose(twin(x), want, atol=1e-6)


def test_cells_are_torchs(kind, monkeypatch):
    """With batch and without, with state and without. With gradients they are PyTorch's own, to the
    bit, without a warning; without, nothing reaches PyTorch's own."""
    if kind not in CELLS:
        pytest.skip("test_torch_module.py has the layers")
    for bias in (True, False):
        theirs = kind(3, 4, bias=bias)
        ours = copy.deepcopy(theirs)
        accelerate(ours)
        for rows in ((), (1,), (5,)):
            for given in (False, True):
                found = []
                x, h, c = torch.randn(*rows, 3), torch.randn(*rows, 4), torch.randn(*rows, 4)
                for module in (theirs, ours):
                    leaves = [t.clone().requires_grad_() for t in (x, h, c)]
                    hx = tuple(leaves[1:]) if kind is torch.nn.LSTMCell else leaves[1]
                    with warnings.catch_warnings():
                        warnings.simplefilter("error")
                        out = parts(module(leaves[0], hx) if given else module(leaves[0]))
                    wanted = [leaves[0], *module.parameters()]
                    wanted += leaves[1 : 1 + len(out)] if given else []
                    loss = sum((o * (i + 1)).pow(2).sum() for i, o in enumerate(out))
                    found.append((*out, *torch.autograd.grad(loss, wanted)))
                assert all(map(torch.equal, *found))
                with pytest.MonkeyPatch.context() as patch, torch.no_grad():
                    patch.setattr(kind, "forward", None)
                    quiet = parts(ours(leaves[0], hx) if given else ours(leaves[0]))
                    for p in ours.parameters():  # nothing requires a gradient
                        p.requires_grad_(False)
                    with torch.enable_grad():
                        hx = tuple(t.detach() for t in parts(hx))
                        hx = hx if kind is torch.nn.LSTMCell else hx[0]
                        again = parts(ours(x, hx) if given else ours(x))
                    for p in ours.parameters():
                        p.requires_grad_(True)
                assert all(map(torch.equal, quiet, again))
                for a, b in zip(quiet, out, strict=True):
                    assert a.shape == b.shape and not a.requires_grad
                    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
