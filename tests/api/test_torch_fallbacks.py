# SPDX-License-Identifier: MIT
"""What the engine does not do runs in PyTorch, with nn.LSTM's results: vectorised and nested
differentiation, torch.func, subclasses of Tensor, modes that look on; and outputs changed in place.
"""

import copy
import itertools
import warnings

import numpy as np
import pytest
import torch
from test_torch_module import alike, close, fresh_warnings, kind, pair, parts, warned
from torch.nn.utils import _per_sample_grad
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils import flop_counter

import fastlstm.torch
from fastlstm import training

__all__ = ["fresh_warnings", "kind"]  # fixtures

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:fastlstm.torch"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported"),
]


@pytest.fixture
def without_onednn():
    """Its kernels have no forward mode and no second derivative: nn.LSTM refuses both with them."""
    with torch.backends.mkldnn.flags(enabled=False):
        yield


def both(kind, run, *args, works=True, **options):
    """run(module) with torch.nn's and with ours, compared. works: does torch.nn's? Else what it
    raises ours shall raise too."""
    theirs, ours = pair(*args, kind=kind, **options)
    want, got = outcome(lambda: run(theirs)), outcome(lambda: run(ours))
    assert isinstance(want, str) != works
    if not works:
        assert got == want
        return ours
    assert not isinstance(got, str), got
    for a, b in zip(flat(got), flat(want), strict=True):
        close(a, b)
    return ours


def outcome(run):
    try:
        return run()
    except RuntimeError as e:
        return str(e)


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    value = value.values() if isinstance(value, dict) else value
    return [t for each in value for t in flat(each)]


# ---- vectorised backward


def test_vectorised_jacobian_and_hessian(kind):
    x = torch.randn(4, 2, 3)
    for run in (
        lambda m: torch.autograd.functional.jacobian(lambda t: m(t)[0], x, vectorize=True),
        lambda m: torch.autograd.functional.jacobian(
            lambda t: parts(m(t)[1])[0], x, vectorize=True, create_graph=True
        ),
        lambda m: torch.autograd.functional.hessian(
            lambda t: m(t)[0].pow(2).sum(), x, vectorize=True
        ),
        lambda m: torch.autograd.functional.hessian(lambda t: m(t)[0].pow(2).sum(), x),
    ):
        both(kind, run, 3, 4, 2, bidirectional=True)


def test_vectorised_jacobian_is_the_engines_own():
    """Row by row, the engine's gradients."""
    _, ours = pair(3, 4, 2)
    x = torch.randn(4, 2, 3)
    f = lambda t: ours(t)[0].sum((1, 2))  # noqa: E731
    rows = torch.autograd.functional.jacobian(f, x)
    close(torch.autograd.functional.jacobian(f, x, vectorize=True), rows)


def test_batches_of_gradients(kind):
    x, lengths = torch.randn(4, 2, 3), [4, 2]
    hx = alike(kind, (torch.randn(2, 2, 4), torch.randn(2, 2, 4)))

    def run(module):
        leaf = x.clone().requires_grad_()
        state = [h.clone().requires_grad_() for h in parts(hx)]
        given = tuple(state) if isinstance(hx, tuple) else state[0]
        found = []
        for packed in (False, True):
            data = pack_padded_sequence(leaf, lengths) if packed else leaf
            y, end = module(data, given)
            y = y.data if packed else y
            ups = [
                torch.randn(5, *o.shape, generator=torch.manual_seed(1)) for o in (y, *parts(end))
            ]
            found += torch.autograd.grad(
                (y, *parts(end)), [leaf, *state, *module.parameters()], ups, is_grads_batched=True
            )
        return found

    ours = both(kind, run, 3, 4, 2)
    _, texts = warned(lambda: run(ours))
    assert texts == []  # one warning in a process, and it has been
    fastlstm.torch.why_not._warned.clear()
    _, texts = warned(lambda: run(ours))
    assert texts == ["fastlstm.torch: vmap runs in PyTorch, at PyTorch's speed"]


def test_batches_of_gradients_through_dropout_are_refused(kind):
    _, ours = pair(3, 4, 2, dropout=0.5, kind=kind)
    y, _ = ours(torch.randn(4, 2, 3))
    with pytest.raises(RuntimeError, match=r"batches of gradients through dropout are not supp"):
        torch.autograd.grad(y, ours.weight_ih_l0, torch.randn(5, *y.shape), is_grads_batched=True)


def test_vmap_over_a_backward(kind):
    x = torch.randn(4, 2, 3)

    def run(module):
        leaf = x.clone().requires_grad_()
        y, _ = module(leaf)
        ups = torch.randn(5, *y.shape, generator=torch.manual_seed(1))
        return torch.func.vmap(lambda d: torch.autograd.grad(y, leaf, d, retain_graph=True)[0])(ups)

    both(kind, run, 3, 4)


def test_gradients_of_gradients_where_inputs_come_from_the_same_weights(without_onednn):
    """Two calls in a row: the second's state depends on the weights, as the second itself does."""
    x = torch.randn(4, 2, 3)

    def run(module):
        y, state = module(x)
        y, _ = module(y[..., :3], state)
        first = torch.autograd.grad(y.pow(2).sum(), list(module.parameters()), create_graph=True)
        second = torch.autograd.grad(sum(g.pow(2).sum() for g in first), list(module.parameters()))
        return (*first, *second)

    for each in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
        both(each, run, 3, 4)


# ---- torch.func and forward mode


def test_function_transforms(kind, without_onednn):
    x, tangent = torch.randn(3, 4, 2, 3), torch.randn(4, 2, 3)
    func = torch.func
    for run in (
        lambda m: func.jvp(lambda t: m(t)[0], (x[0],), (tangent,)),
        lambda m: func.vjp(lambda t: m(t)[0], x[0])[1](torch.ones(4, 2, 4)),
        lambda m: func.jacrev(lambda t: m(t)[0].sum(0))(x[0]),
        lambda m: func.jacfwd(lambda t: m(t)[0].sum(0))(x[0]),
        lambda m: func.hessian(lambda t: m(t)[0].pow(2).sum())(x[0, :2]),
        lambda m: func.grad(lambda t: m(x[0])[0].sum() * t)(torch.ones(())),  # x is no part of it
        lambda m: torch.autograd.functional.jvp(lambda t: m(t)[0], x[0], tangent),
    ):
        both(kind, run, 3, 4)
    for run in (  # PyTorch has no batching rule for an LSTM's forward; of nobody's
        lambda m: func.vmap(lambda t: m(t)[0])(x),
        lambda m: func.vmap(lambda t: m(t)[0].sum(), in_dims=1)(x),
        lambda m: func.vmap(func.grad(lambda t: m(t)[0].pow(2).sum()))(x),
    ):
        both(kind, run, 3, 4, works=False)


def test_an_ensemble_of_weights(kind, without_onednn):
    """vmap over the parameters: x is a plain tensor."""
    torch.manual_seed(0)
    members = [kind(3, 4) for _ in range(3)]
    x = torch.randn(4, 2, 3)

    def run(model):
        params, _ = torch.func.stack_module_state(members)
        call = lambda p: torch.func.functional_call(model, p, (x,))[0]  # noqa: E731
        return torch.func.vmap(call)(params)

    both(kind, run, 3, 4, works=False)


def test_per_sample_gradients():
    """An expanded weight is a subclass of Tensor that answers to nothing but its own functions."""
    x = torch.randn(2, 5, 3)

    def run(module):
        call = _per_sample_grad.call_for_per_sample_grads
        call(module, batch_size=2, loss_reduction="sum")(x)[0].sum().backward()
        return [p.grad_sample for p in module.parameters()]

    for each in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
        works = each is not torch.nn.LSTM  # oneDNN's kernel knows no expanded weights
        both(each, run, 3, 4, batch_first=True, works=works)
        with torch.backends.mkldnn.flags(enabled=False):
            both(each, run, 3, 4, batch_first=True)


def first(state):
    return parts(state)[0]


@pytest.mark.parametrize("cell", [torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.RNNCell])
def test_cells_fall_back_too(cell, without_onednn):
    x = torch.randn(5, 3)
    theirs = cell(3, 4)
    ours = copy.deepcopy(theirs)
    assert fastlstm.torch.accelerate(ours) == 1
    functional = torch.autograd.functional
    for run in (
        lambda m: torch.func.jacfwd(lambda t: first(m(t)))(x[0]),
        lambda m: functional.jacobian(lambda t: first(m(t)), x[0], vectorize=True),
        lambda m: functional.hessian(lambda t: first(m(t)).pow(2).sum(), x[0], vectorize=True),
        lambda m: functional.hessian(lambda t: first(m(t, m(t))).pow(2).sum(), x),
        lambda m: first(m.double()(x.double())).float(),
    ):
        close(run(ours), run(theirs))


# ---- tensors of other types, and modes that look on


class Silent(torch.Tensor):
    """Answers to no question but what super().forward asks of it by torch functions."""

    @classmethod
    def __torch_function__(cls, function, kinds, args=(), kwargs=None):
        if getattr(function, "__name__", "") == "__get__":
            raise AssertionError("an attribute was read")
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


def test_subclasses_are_asked_nothing_but_their_type(kind):
    theirs, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3)
    silent = x.as_subclass(Silent)
    with pytest.raises(AssertionError, match="an attribute was read"):
        silent.layout  # noqa: B018
    got, texts = warned(lambda: fastlstm.torch.why_not.of_tensors([silent]))
    assert (got, texts) == ("a Silent", [])
    y, texts = warned(lambda: ours._taken(silent, None, None))
    assert y is None
    assert texts == ["fastlstm.torch: a Silent runs in PyTorch, at PyTorch's speed"]

    class Quiet(torch.Tensor):
        pass

    h = torch.zeros(1, 2, 4)
    for leaf, state in ((x.as_subclass(Quiet), h), (x, h.as_subclass(Quiet))):
        hx = alike(kind, (state, h))
        assert type(theirs(leaf, hx)[0]) is Quiet
        assert type(ours(leaf, hx)[0]) is Quiet
        assert torch.equal(ours(leaf, hx)[0], theirs(leaf, hx)[0])
    _, texts = warned(lambda: ours(x.as_subclass(Quiet)))
    ours.weight_ih_l0 = torch.nn.Parameter(ours.weight_ih_l0.detach().as_subclass(Quiet))
    assert type(ours.weight_ih_l0) is not torch.nn.Parameter
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "forward", None)
        assert type(ours(x)[0]) is Quiet


def test_fake_tensors(kind):
    from torch._subclasses.fake_tensor import FakeTensorMode

    _, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3)
    ours(x)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        y, state = ours(mode.from_tensor(x))
        assert y.shape == (5, 2, 4) and type(y).__name__ == "FakeTensor"
        assert type(ours(x)[0]).__name__ == "FakeTensor"  # the mode makes them of plain ones
        assert all(type(s).__name__ == "FakeTensor" for s in parts(state))


def test_flops_are_counted_as_of_torchs(kind):
    x = torch.randn(5, 2, 3)

    def count(module):
        with flop_counter.FlopCounterMode(display=False) as counter, torch.no_grad():
            module(x)
        return counter.get_total_flops()

    theirs, ours = pair(3, 4, kind=kind)
    with torch.backends.mkldnn.flags(enabled=False):
        assert count(ours) == count(theirs) > 0


def test_make_fx_sees_what_is_computed(kind):
    from torch.fx.experimental.proxy_tensor import make_fx

    theirs, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3)
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        graphs = [make_fx(lambda t: m(t)[0])(x) for m in (theirs, ours)]  # noqa: B023
        assert graphs[0].code == graphs[1].code
        close(graphs[1](2 * x), theirs(2 * x)[0])


def test_a_tensor_with_a_negative_bit(kind):
    theirs, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3, dtype=torch.complex64).conj().imag
    assert x.is_neg() and x.dtype is torch.float32
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "forward", None)
        got = ours(x)[0], *parts(ours(x, alike(kind, (x[:1, :, :1].expand(1, 2, 4),) * 2))[1])
    want = theirs(x)[0], *parts(theirs(x, alike(kind, (x[:1, :, :1].expand(1, 2, 4),) * 2))[1])
    for a, b in zip(got, want, strict=True):
        close(a, b)


def test_nested_and_sparse_inputs_are_torchs_to_refuse(kind):
    theirs, ours = pair(3, 4, kind=kind)
    for x in (torch.randn(5, 2, 3).to_sparse(), torch.randn(5, 2, 3, device="meta")):
        with pytest.raises(Exception) as wanted:
            theirs(x)
        with pytest.raises(wanted.type) as got:
            ours(x)
        assert str(got.value) == str(wanted.value)


# ---- outputs changed in place


FORMS = ("padded", "packed", "unbatched", "projected")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("D", [1, 2])
def test_outputs_changed_in_place(kind, form, D):
    """As nn.LSTM, which refuses where its kernels need y; and the gradients are right elsewhere."""
    if form == "projected" and kind is not torch.nn.LSTM:
        pytest.skip("only an LSTM has a projection")
    own = {"proj_size": 2} if form == "projected" else {}
    refused = []
    for L, first, which in itertools.product((1, 2), (False, True), range(3)):
        theirs, ours = pair(3, 4, L, kind=kind, bidirectional=D == 2, batch_first=first, **own)
        x = torch.randn(5, 3) if form == "unbatched" else torch.randn(5, 2, 3)
        found = []
        for module in (theirs, ours):
            leaf = x.clone().requires_grad_()
            given = leaf
            if form == "packed":
                given = pack_padded_sequence(leaf, [2, 2, 1, 1, 1] if first else [5, 3], first)
            y, state = module(given)
            outputs = [y.data if form == "packed" else y, *parts(state)][: which + 1]
            outputs[-1].mul_(2)
            try:
                loss = sum(o.pow(2).sum() for o in outputs)
                found.append(torch.autograd.grad(loss, [leaf, *module.parameters()]))
            except RuntimeError as e:
                assert "modified by an inplace operation" in str(e)
                found.append(None)
        assert (found[0] is None) == (found[1] is None)
        refused.append(found[1] is None)
        for a, b in zip(*([f or [] for f in found]), strict=True):
            close(a, b)
    refuses = kind is torch.nn.LSTM and D == 1 and form in ("padded", "unbatched")
    assert any(refused) == refuses


def test_arrays_changed_in_place_leave_the_tape(rng):
    """layers on arrays: the tape has copies of all it needs."""
    layer = fastlstm.LSTM(3, 4, 2)
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    state = tuple(rng.standard_normal((2, 2, 4)).astype(np.float32) for _ in range(2))
    dy = rng.standard_normal((5, 2, 4)).astype(np.float32)
    for checkpoint in (None, 2):
        found = []
        for change in (False, True):
            given, start = x.copy(), tuple(s.copy() for s in state)
            y, end, tape = layer.forward_train(given, start, checkpoint=checkpoint)
            if change:
                for array in (given, y, *start, *end):
                    array[...] = np.nan
            found.append(layer.backward(tape, dy))
        for a, b in zip(found[0].params.values(), found[1].params.values(), strict=True):
            assert a.tobytes() == b.tobytes()
        assert found[0].x.tobytes() == found[1].x.tobytes()


def test_every_warning_names_its_reason():
    """And none is given twice."""
    _, ours = pair(3, 4)
    x = torch.randn(5, 2, 3)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):
            torch.func.grad(lambda t: ours(t)[0].sum())(x)
            with torch.backends.mkldnn.flags(enabled=False), torch.autograd.forward_ad.dual_level():
                ours(torch.autograd.forward_ad.make_dual(x, x))
    texts = [str(w.message) for w in found if "fastlstm.torch" in str(w.message)]
    ends = "runs in PyTorch, at PyTorch's speed"
    assert texts == [
        f"fastlstm.torch: torch.func {ends}",
        f"fastlstm.torch: forward-mode differentiation {ends}",
    ]
