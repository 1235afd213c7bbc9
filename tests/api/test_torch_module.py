# SPDX-License-Identifier: MIT
"""fastlstm.torch.LSTM in the place of torch.nn.LSTM: results, gradients, all that modules do."""

import copy
import io
import pickle
import warnings

import pytest
import torch
import torch.utils.checkpoint
from conftest import FULL
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

import fastlstm.torch
from fastlstm.torch import GRU, LSTM, RNN, accelerate

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported"),
    pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN"),
]
DRAWN = 300 if FULL else 60


@pytest.fixture(autouse=True)
def fresh_warnings():
    fastlstm.torch.why_not._warned.clear()
    torch.manual_seed(0)


@pytest.fixture(params=[torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def kind(request):
    return request.param


@pytest.fixture
def ours_only(monkeypatch):
    """Nothing may reach PyTorch's own layers."""

    def refuse(*args):
        raise AssertionError("ran in PyTorch")

    for each in OURS:
        monkeypatch.setattr(each, "forward", refuse)


OURS = {torch.nn.LSTM: LSTM, torch.nn.GRU: GRU, torch.nn.RNN: RNN}


def pair(*args, kind=torch.nn.LSTM, **options):
    """A module of torch.nn and ours, of the same weights."""
    theirs = kind(*args, **options)
    ours = copy.deepcopy(theirs)
    assert accelerate(ours) == 1
    assert type(ours) is OURS[kind]
    return theirs, ours


def parts(state):
    """The tensors of a state."""
    return (state,) if isinstance(state, torch.Tensor) else state


def alike(kind, hx):
    """(h, c) as the kind takes it."""
    return hx if kind is torch.nn.LSTM or hx is None else hx[0]


def close(a, b, tolerance=1e-5):
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    scale = max(1.0, float(b.detach().abs().max())) if b.numel() else 1.0
    assert float((a.detach() - b.detach()).abs().max() if b.numel() else 0) <= tolerance * scale


def run(module, x, hx, up):
    """Outputs, and gradients of sum(output * up) by name."""
    module.zero_grad()
    data = x.data if isinstance(x, PackedSequence) else x
    leaf = data.detach().clone().requires_grad_()
    x = x._replace(data=leaf) if isinstance(x, PackedSequence) else leaf
    if hx is not None:
        leaves = [h.detach().clone().requires_grad_() for h in parts(hx)]
        hx = tuple(leaves) if isinstance(hx, tuple) else leaves[0]
    y, state = module(x, hx)
    flat = y.data if isinstance(y, PackedSequence) else y
    found = flat, *parts(state)
    ups = [u.expand_as(o) for u, o in zip(up, found, strict=False)]
    torch.autograd.backward(found, ups)
    grads = {n: p.grad for n, p in module.named_parameters()} | {"x": leaf.grad}
    if hx is not None:
        grads |= {f"state {i}": h.grad for i, h in enumerate(leaves)}
    return found, grads


@settings(max_examples=DRAWN)
@given(
    kind=st.sampled_from((torch.nn.LSTM, torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)),
    relu=st.booleans(), I=st.integers(1, 20), H=st.integers(2, 20), L=st.integers(1, 3),
    D=st.integers(1, 2),
    P=st.sampled_from((0, 0, 1)), T=st.integers(1, 12), B=st.sampled_from((None, 1, 2, 7)),
    bias=st.booleans(), first=st.booleans(), given_state=st.booleans(),
    form=st.sampled_from(("padded", "packed", "unsorted")), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_is_torchs(kind, relu, I, H, L, D, P, T, B, bias, first, given_state, form, seed):
    torch.manual_seed(seed)
    P = P if kind is torch.nn.LSTM else 0
    own = (
        {"proj_size": P} if P else {"nonlinearity": "relu"} if kind is torch.nn.RNN and relu else {}
    )
    theirs, ours = pair(
        I, H, L, kind=kind, bias=bias, batch_first=first, bidirectional=D == 2, **own
    )
    rows = () if B is None else (B,)
    x = torch.randn((*rows, T, I) if first else (T, *rows, I))
    if B is not None and form != "padded":
        lengths = torch.randint(1, T + 1, (B,))
        if form == "packed":
            lengths = lengths.sort(descending=True).values
        x = pack_padded_sequence(x, lengths, first, enforce_sorted=form == "packed")
    hx = None
    if given_state:
        hx = alike(kind, (torch.randn(L * D, *rows, P or H), torch.randn(L * D, *rows, H)))
    up = [torch.randn(()) for _ in range(3)]
    want, want_grads = run(theirs, x, hx, up)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "forward", None)
        got, grads = run(ours, x, hx, up)
        for a, b in zip(got, want, strict=True):
            close(a, b)
        assert grads.keys() == want_grads.keys()
        for name in grads:
            close(grads[name], want_grads[name])
        for quiet in (torch.no_grad, torch.inference_mode):
            with quiet():
                y, state = ours(x, hx)
                packed = isinstance(y, PackedSequence)
                assert packed == isinstance(x, PackedSequence)
                for a, b in zip((y.data if packed else y, *parts(state)), got, strict=True):
                    assert torch.equal(a, b)
                    assert not a.requires_grad


@pytest.mark.needs("bits")
def test_packed_sequences_keep_their_order(kind, ours_only):
    _, ours = pair(3, 4, kind=kind)
    ragged = [torch.randn(n, 3) for n in (2, 5, 1)]
    packed = pack_sequence(ragged, enforce_sorted=False)
    y, state = ours(packed)
    assert torch.equal(y.batch_sizes, packed.batch_sizes)
    assert torch.equal(y.sorted_indices, packed.sorted_indices)
    for i, x in enumerate(ragged):
        alone, state1 = ours(x)
        for whole, one in zip(parts(state), parts(state1), strict=True):
            assert torch.equal(whole[:, i], one)
        assert torch.equal(alone[-1], parts(state1)[0][0])


def test_frozen_parts_and_unused_outputs(ours_only):
    _, ours = pair(3, 4, 2)
    ours.weight_hh_l0.requires_grad_(False)
    x = torch.randn(5, 2, 3)
    _, (h, _) = ours(x)
    h.sum().backward()
    assert x.grad is None
    assert ours.weight_hh_l0.grad is None
    assert ours.weight_ih_l0.grad.abs().sum() > 0
    for p in ours.parameters():
        p.requires_grad_(False)
    assert not ours(x)[0].requires_grad
    x.requires_grad_()
    ours(x)[0].sum().backward()
    assert x.grad.abs().sum() > 0


def test_gradients_add_up_and_a_graph_can_be_kept(ours_only):
    _, ours = pair(3, 4)
    x = torch.randn(5, 2, 3)
    y, _ = ours(x)
    y.sum().backward(retain_graph=True)
    assert y.grad_fn.held() is not None
    once = [p.grad.clone() for p in ours.parameters()]
    y.sum().backward()
    for p, g in zip(ours.parameters(), once, strict=True):
        assert torch.equal(p.grad, 2 * g)
    assert y.grad_fn.held() is None  # the tape is gone, though y is not
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_hooks_on_saved_tensors_and_checkpoints(kind, ours_only):
    _, ours = pair(3, 4, 2, dropout=0.5, kind=kind)
    x = torch.randn(5, 2, 3, requires_grad=True)

    def grads(call):
        torch.manual_seed(3)
        return torch.autograd.grad(call().pow(2).sum(), [x, *ours.parameters()])

    want = grads(lambda: ours(x)[0])

    def hooked():
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
            return ours(x)[0]

    def checkpointed():
        return torch.utils.checkpoint.checkpoint(lambda t: ours(t)[0], x, use_reentrant=False)

    for call in (hooked, checkpointed):
        for a, b in zip(grads(call), want, strict=True):
            assert torch.equal(a, b)


def test_truncated_backpropagation_carries_the_state(ours_only):
    _, ours = pair(3, 4, 2)
    state = None
    for _ in range(3):
        y, state = ours(torch.randn(5, 2, 3), state)
        y.sum().backward()
        state = tuple(s.detach() for s in state)


def test_weights_may_change_in_any_way(ours_only):
    x = torch.randn(5, 2, 3)
    _, ours = pair(3, 4)
    changes = (
        lambda: ours.weight_hh_l0.data.mul_(0.5),  # no version counter moves
        lambda: ours.bias_ih_l0.detach().numpy().fill(0.25),
        lambda: setattr(ours.weight_ih_l0, "data", torch.randn(16, 3)),
        lambda: setattr(ours, "weight_ih_l0", torch.nn.Parameter(torch.randn(16, 3))),
        lambda: ours.load_state_dict(torch.nn.LSTM(3, 4).state_dict()),
    )
    for change in changes:
        ours(x)
        change()
        fresh = fastlstm.LSTM.from_state_dict(ours.state_dict())
        assert ours(x)[0].detach().numpy().tobytes() == fresh(x.numpy())[0].tobytes()


def test_state_dicts_both_ways(ours_only):
    theirs, ours = pair(3, 4, 2, bidirectional=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    other = LSTM(3, 4, 2, bidirectional=True)
    other.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 2, 3)
    assert torch.equal(other(x)[0], ours(x)[0])
    back = torch.nn.LSTM(3, 4, 2, bidirectional=True)
    back.load_state_dict(other.state_dict())
    for a, b in zip(back.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_copies_and_pickles(kind, ours_only):
    _, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3)
    want = ours(x)[0]  # the engine is there now
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(ours),
        copy.copy(ours),
        pickle.loads(pickle.dumps(ours)),
        torch.load(file, weights_only=False),
    ):
        assert type(twin) is OURS[kind]
        assert torch.equal(twin(x)[0], want)
    twin = copy.deepcopy(ours)
    with torch.no_grad():
        twin.weight_ih_l0.zero_()
    assert torch.equal(ours(x)[0], want)
    assert not torch.equal(twin(x)[0], want)


def test_accelerate_counts_and_leaves_others_alone():
    class Own(torch.nn.LSTM):
        pass

    class OwnGRU(torch.nn.GRU):
        pass

    model = torch.nn.ModuleDict(
        {
            "a": torch.nn.LSTM(2, 3),
            "b": torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LSTM(2, 3)),
            "own": Own(2, 3),
            "gru": torch.nn.GRU(2, 3),
            "rnn": torch.nn.RNN(2, 3, nonlinearity="relu"),
            "own gru": OwnGRU(2, 3),
        }
    )
    names = list(model.state_dict())
    parameters = list(model.parameters())
    assert accelerate(model) == 4
    assert accelerate(model) == 0
    kinds = [Own, GRU, RNN, OwnGRU]
    assert [type(model[n]) for n in ("own", "gru", "rnn", "own gru")] == kinds
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert accelerate(torch.nn.LSTM(2, 3)) == 1
    with pytest.raises(TypeError, match=r"torch\.nn\.Module"):
        accelerate({"a": 1})


# ---- what runs in PyTorch ----


def warned(run_it):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        result = run_it()
    return result, [str(w.message) for w in found if "fastlstm.torch" in str(w.message)]


def test_other_dtypes_fall_back_with_one_warning(kind):
    theirs, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    theirs.double(), ours.double()
    y, texts = warned(lambda: ours(x)[0])
    assert torch.equal(y, theirs(x)[0])
    assert texts == ["fastlstm.torch: float64 runs in PyTorch, at PyTorch's speed"]
    y, texts = warned(lambda: ours(x)[0])
    assert texts == []
    y.sum().backward()
    theirs(x)[0].sum().backward()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    assert torch.autograd.gradcheck(lambda t: ours(t)[0], x.requires_grad_())
    ours.float()
    assert type(ours(x.detach().float())[0].grad_fn).__name__ == "_RunBackward"


def test_gradients_of_gradients(kind):
    for packed, state in ((False, False), (True, True)):
        theirs, ours = pair(3, 4, 2, bidirectional=True, kind=kind)
        found = []
        x = torch.randn(5, 2, 3)
        hx = alike(kind, (torch.randn(4, 2, 4), torch.randn(4, 2, 4))) if state else None
        for m in (theirs, ours):
            leaf = x.clone().requires_grad_()
            given_x = pack_padded_sequence(leaf, [5, 3]) if packed else leaf
            with torch.backends.mkldnn.flags(enabled=False):
                y, end = m(given_x, hx)
                y, h = y.data if packed else y, parts(end)[0]
                loss = y.pow(2).sum() + h.pow(3).sum()
                first = torch.autograd.grad(loss, [leaf, *m.parameters()], create_graph=True)
                second = torch.autograd.grad(
                    sum(g.pow(2).sum() for g in first), [leaf, *m.parameters()]
                )
            found.append((*first, *second))
        for a, b in zip(*found, strict=True):
            close(a, b)


def test_other_ways_to_run_a_module(kind):
    theirs, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3)
    tangent = torch.randn_like(x)

    def autocast(m):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m(x)[0].float()

    def forward_mode(m):
        with torch.autograd.forward_ad.dual_level(), torch.backends.mkldnn.flags(enabled=False):
            dual = torch.autograd.forward_ad.make_dual(x, tangent)
            return torch.autograd.forward_ad.unpack_dual(m(dual)[0]).tangent

    def functional(m):
        with torch.backends.mkldnn.flags(enabled=False):
            return torch.func.grad(lambda t: m(t)[0].pow(2).sum())(x)

    def swapped(m):
        params = {n: p * 0.5 for n, p in m.named_parameters()}
        return torch.func.functional_call(m, params, (x,))[0]

    def traced(m):
        return torch.jit.trace(m, x, check_trace=False)(x)[0]

    def runs(way):
        """Not every CPU has what PyTorch needs for an LSTM in bfloat16."""
        try:
            way(theirs)
        except RuntimeError as e:
            return "primitive descriptor" not in str(e)
        return True

    for way in (autocast, forward_mode, functional, swapped, traced):
        if way is autocast and not runs(way):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            close(way(ours), way(theirs), 1e-5 if way is not autocast else 0.0)


def test_torch_compile(kind):
    theirs, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(torch.nn.Sequential(ours), backend="eager")
        close(compiled(x)[0], theirs(x)[0])


def test_wrong_calls_are_refused_in_torchs_words(kind):
    theirs, ours = pair(3, 4, kind=kind)
    x = torch.randn(5, 2, 3)
    h = torch.zeros(1, 2, 4)
    for args in (
        (x[..., :2],),
        (x[0, 0],),
        (x[None],),
        (x, (h, h[:, :1])),
        (x, (h[0], h[0])),
        (x[:, 0], (h, h)),
        (x, (h,)),
        (None,),
        (x[:0],),
    ):
        if len(args) == 2 and kind is not torch.nn.LSTM:
            args = x, args[1][-1][:, :1] if x.dim() == 3 else h
        with pytest.raises(Exception) as wanted:
            theirs(*args)
        with pytest.raises(wanted.type) as got:
            ours(*args)
        assert str(got.value) == str(wanted.value)
    assert torch.equal(ours(x[:, :0])[0], theirs(x[:, :0])[0])
