# SPDX-License-Identifier: MIT
"""Module and the containers of fastlstm.nn against torch.nn: attributes, names, state dicts, texts
and errors; what is refused; weights that change."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from nn_pairs import call, check, error_of  # noqa: E402

import fastlstm  # noqa: E402
import fastlstm.nn as nn  # noqa: E402


def block(module):
    """The same class over torch.nn or fastlstm.nn."""

    class Block(module.Module):
        def __init__(self, size=3):
            super().__init__()
            self.first = module.Linear(size, 4)
            self.scale = module.Parameter(
                torch.ones(4) if module is torch.nn else np.ones(4, np.float32)
            )
            zeros = torch.zeros(2) if module is torch.nn else nn.tensor.zeros(2)
            self.register_buffer("seen", zeros)
            self.register_buffer("hidden", zeros, persistent=False)
            self.register_buffer("nothing", None)
            self.register_parameter("none", None)
            self.inner = module.Sequential(
                module.Conv1d(2, 3, 1), module.ReLU(), module.ModuleList([module.Identity()])
            )
            self.by_name = module.ModuleDict({"a": module.Tanh(), "b": module.Linear(4, 2)})
            self.list = module.ParameterList([self.scale, self.scale])
            self.tied = self.first
            self.number = 5

        def forward(self, x):
            x = self.by_name["a"](self.first(x)) * self.scale
            return self.by_name["b"](x)

    return Block


THEIRS, OURS = block(torch.nn), block(nn)


class Pickled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.rnn = nn.GRU(2, 4)

    def forward(self, x):
        return self.rnn(self.layer(x))[0]


def test_names_and_order():
    theirs, mine = THEIRS(), OURS()
    for method in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        due = [name for name, _ in getattr(theirs, method)()]
        assert [name for name, _ in getattr(mine, method)()] == due
        values = {"named_parameters": "parameters", "named_buffers": "buffers",
                  "named_modules": "modules", "named_children": "children"}[method]  # fmt: skip
        assert len(list(getattr(mine, values)())) == len(due)
    for args in ({"remove_duplicate": False}, {"prefix": "x", "recurse": False}):
        due = [name for name, _ in theirs.named_parameters(**args)]
        assert [name for name, _ in mine.named_parameters(**args)] == due
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert repr(mine) == repr(theirs)
    assert mine.get_submodule("inner.0") is mine.inner[0]
    assert mine.get_parameter("first.weight") is mine.first.weight
    assert mine.number == 5 and mine.nothing is None and mine.none is None
    seen = []
    assert mine.apply(lambda m: seen.append(type(m).__name__)) is mine
    due = []
    theirs.apply(lambda m: due.append(type(m).__name__))
    assert seen == due


def test_state_dicts_go_both_ways(rng):
    theirs, mine = THEIRS(), OURS()
    assert repr(mine.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    x = rng.normal(0, 1, (5, 3)).astype(np.float32)
    check(mine(x), call(theirs, x))
    other = THEIRS()
    other.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in mine.state_dict().items()})
    check(mine(x), call(other, x))
    doubled = {k: v.double() * 2 for k, v in theirs.state_dict().items()}
    mine.load_state_dict(doubled)
    theirs.load_state_dict(doubled)
    check(mine(x), call(theirs, x))


CHANGES = [
    lambda d: d.pop("first.weight"), lambda d: d.update(more=d["scale"]),
    lambda d: d.update({"first.more": d["scale"]}), lambda d: d.update({"scale.more": d["scale"]}),
    lambda d: d.update({"first.bias": d["first.bias"][:2]}), lambda d: d.clear(),
    lambda d: (d.pop("by_name.b.bias"), d.update({"inner.7.x": d["scale"]}),
               d.update({"inner.0.weight": d["scale"]})),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("strict", [True, False])
def test_load_state_dict_in_torchs_words(change, strict):
    theirs, mine = THEIRS(), OURS()
    theirs.__class__.__name__ = mine.__class__.__name__ = "Block"
    given = OrderedDict((k, v.clone()) for k, v in theirs.state_dict().items())
    change(given)
    due = error_of(theirs.load_state_dict, given, strict)
    before = {k: np.array(v) for k, v in mine.state_dict().items()}
    assert error_of(mine.load_state_dict, given, strict) == due
    if due is None:
        found, theirs_found = (m.load_state_dict(given, strict) for m in (mine, theirs))
        assert tuple(found) == tuple(theirs_found) and repr(found) == repr(theirs_found)
    else:
        assert all(np.array_equal(v, before[k]) for k, v in mine.state_dict().items())


def test_what_is_no_state_dict():
    mine = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'list'>"):
        mine.load_state_dict([])
    due = error_of(torch.nn.Linear(2, 2).load_state_dict, {"weight": 3, "bias": "x"})
    assert error_of(mine.load_state_dict, {"weight": 3, "bias": "x"}) == due


def wrong_uses(module, tensor, parameter):
    """Functions of a Module that torch refuses."""
    made = module.Module
    return [
        lambda m: setattr(m, "first", 3), lambda m: setattr(m, "scale", 3),
        lambda m: setattr(m, "seen", 3), lambda m: m.register_buffer("a.b", tensor),
        lambda m: m.register_buffer("", tensor), lambda m: m.register_buffer("number", tensor),
        lambda m: m.register_buffer("x", 3), lambda m: m.register_parameter("a.b", parameter),
        lambda m: m.register_parameter("", parameter),
        lambda m: m.register_parameter("number", None),
        lambda m: m.register_parameter("x", 3), lambda m: m.add_module("a.b", m.first),
        lambda m: m.add_module("", m.first), lambda m: m.add_module("number", m.first),
        lambda m: m.add_module("x", 3), lambda m: m.add_module(3, m.first), lambda m: m.missing,
        lambda m: m.get_submodule("inner.x"), lambda m: m.get_submodule("number"),
        lambda m: m.get_parameter("first.x"), lambda m: m.get_parameter("first"),
        lambda m: made()(tensor), lambda m: made(3), lambda m: made(x=3), lambda m: m.train(3),
        lambda m: m.inner[5], lambda m: m.by_name["x"], lambda m: m.inner + m.by_name,
        lambda m: m.inner * 0, lambda m: m.inner * 1.5, lambda m: m.inner.insert(9, m.first),
        lambda m: module.ModuleList(3), lambda m: module.ModuleDict(3),
        lambda m: delattr(m, "what"),
        lambda m: module.Sequential(3), lambda m: m.to("nowhere") and None,
    ]  # fmt: skip


def test_wrong_uses_are_refused_in_torchs_words():
    theirs, mine = THEIRS(), OURS()
    tensor = torch.zeros(2)
    all_theirs = wrong_uses(torch.nn, tensor, torch.nn.Parameter(tensor))
    all_ours = wrong_uses(nn, nn.tensor.zeros(2), nn.Parameter(np.zeros(2)))
    for i, (one, other) in enumerate(zip(all_theirs, all_ours, strict=True)):
        due, found = error_of(one, theirs), error_of(other, mine)
        assert due is not None and found is not None, i
        if i == len(all_ours) - 1:  # a device: torch lists its own
            assert found == (
                RuntimeError,
                "fastlstm.nn runs on the CPU: there is no device 'nowhere'",
            )
            continue
        text = due[1].replace("torch.nn.modules.module", "fastlstm.nn.module")
        text = text.replace("torch.nn.modules.container", "fastlstm.nn.containers")
        text = text.replace("torch.nn.modules.linear", "fastlstm.nn.layers.linear")
        assert found == (due[0], text), i


def test_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.Identity()

    with pytest.raises(
        AttributeError, match=r"cannot assign module before Module.__init__\(\) call"
    ):
        Early()
    early = Early.__new__(Early)
    with pytest.raises(AttributeError, match="cannot assign parameters before Module"):
        early.weight = nn.Parameter([1.0])


def test_attributes_replace_one_another():
    mine = OURS()
    mine.scale = None
    assert mine.scale is None and "scale" in dict(mine._parameters)
    mine.first = nn.Identity()
    mine.number = nn.Parameter([1.0])
    assert "number" in dict(mine.named_parameters()) and "number" not in mine.__dict__
    mine.seen = np.ones(3, np.float32)
    assert type(mine.seen) is nn.Tensor and "seen" in dict(mine.named_buffers())
    del mine.by_name, mine.seen, mine.number
    assert not hasattr(mine, "by_name") and not hasattr(mine, "seen")
    assert "by_name" in dir(OURS()) and "scale" in dir(OURS())


def test_containers_as_torchs():
    for module in (torch.nn, nn):
        parts = [module.Identity(), module.ReLU(), module.Tanh()]
        seq = module.Sequential(*parts)
        assert seq[-1] is parts[2] and list(seq[1:]) == parts[1:] and len(seq) == 3
        named = module.Sequential(OrderedDict([("one", parts[0]), ("two", parts[1])]))
        assert named.one is parts[0] and list(dict(named.named_children())) == ["one", "two"]
        del seq[0]
        assert list(seq._modules) == ["0", "1"]
        seq[0] = parts[0]
        seq.insert(1, parts[1]).append(parts[0])
        assert [type(m).__name__ for m in seq] == ["Identity", "ReLU", "Tanh", "Identity"]
        assert seq.pop(-1) is parts[0] and len(seq + named) == 5 and len(2 * seq) == 6
        items = module.ModuleList(parts)
        items += [module.GELU()]
        items.insert(0, module.SiLU())
        assert items.pop(1) is parts[0] and [str(i) for i in range(4)] == list(items._modules)
        assert len(items[1:]) == 3 and isinstance(items + items, module.ModuleList)
        by = module.ModuleDict([("x", parts[0])])
        by.update({"y": parts[1]})
        assert list(by) == ["x", "y"] and "x" in by and by.pop("x") is parts[0] and len(by) == 1
        by.clear()
        assert list(by.items()) == []
        if module is nn:
            weights = nn.ParameterList([np.zeros(2), np.ones((2, 3))])
            assert [n for n, _ in weights.named_parameters()] == ["0", "1"] and len(weights) == 2
            assert nn.ParameterDict({"a": np.zeros(2)})["a"].shape == (2,)
            with pytest.raises(RuntimeError, match="ParameterList should not be called"):
                weights()
    assert repr(nn.ModuleList([nn.Linear(2, 2)] * 3 + [nn.ReLU()])) == repr(
        torch.nn.ModuleList([torch.nn.Linear(2, 2)] * 3 + [torch.nn.ReLU()])
    )
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        nn.Sequential(nn.ReLU())(np.zeros(2, np.float32), x=3)


def test_copies_and_pickles(rng):
    mine = Pickled()
    x = rng.normal(0, 1, (4, 2, 3)).astype(np.float32)
    due = mine(x)
    for again in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine)), copy.copy(mine)):
        assert np.array_equal(again(x), due)
        assert type(again.layer.weight) is nn.Parameter
    deep = copy.deepcopy(mine)
    deep.layer.weight = nn.Parameter(np.zeros((2, 3)))
    assert np.array_equal(mine(x), due) and not np.array_equal(deep(x), due)


def test_new_weights_are_seen_and_old_ones_are_read_only(rng):
    mine = nn.Linear(3, 2)
    mine.weight[...] = 1  # before the first call: nothing is packed
    nn.init.zeros_(mine.bias)
    x = rng.normal(0, 1, (4, 3)).astype(np.float32)
    check(mine(x), np.repeat(x.sum(1, keepdims=True), 2, 1), 1e-6)
    with pytest.raises(RuntimeError, match="assign a new one to the layer, or use load_state_dict"):
        mine.weight[0] = 2
    with pytest.raises(RuntimeError, match="is packed"):
        mine.weight.fill_(2)
    with pytest.raises(ValueError, match="read-only"):
        mine.weight.numpy()[0] = 2
    mine.weight = nn.Parameter(np.zeros((2, 3)))
    assert not mine(x).any()
    mine.bias = None
    mine.load_state_dict({"weight": np.ones((2, 3), np.float32)})
    check(mine(x), np.repeat(x.sum(1, keepdims=True), 2, 1), 1e-6)
    norm = nn.BatchNorm1d(3)
    norm(x)
    norm.eps = 1e6
    assert np.abs(norm(x)).max() < 1e-2
    norm.running_mean = np.float32([1e6] * 3)
    assert np.abs(norm(x)).max() > 1


def test_tied_weights_stay_tied(rng):
    mine = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    mine[1].weight = mine[0].weight
    weight = rng.normal(0, 1, (3, 3)).astype(np.float32)
    mine.load_state_dict({"0.weight": weight}, strict=False)
    assert mine[0].weight is mine[1].weight and np.array_equal(mine[1].weight, weight)


def test_parts_of_a_parameter_are_tensors():
    p = nn.Parameter(np.ones((2, 3)))
    for made in (p[0], p * 2, p.t(), p.view(-1), p + p, p.detach().clone()):
        assert type(made) is nn.Tensor
    data = np.ones(3, np.float32)
    nn.Parameter(data)[0] = 5
    assert data[0] == 1  # a Parameter is a copy
    assert p.requires_grad and p.data is p


def test_settings():
    mine = OURS()
    assert mine.training and not mine.eval().training and not mine.first.training
    assert mine.train().by_name["a"].training
    assert mine.to("cpu") is mine.to(nn.tensor.device("cpu")) is mine.to(np.float32) is mine.float()
    assert mine.cpu() is mine and mine.requires_grad_(False) is mine and mine.zero_grad() is None
    with pytest.raises(TypeError, match="only accepts floating point or complex dtypes"):
        mine.to(np.int64)
    with pytest.raises(TypeError, match="float64 is not computed"):
        mine.to(np.float64)
    for name in ("half", "double", "cuda", "register_forward_hook"):
        with pytest.raises(NotImplementedError, match=f"{name} is not supported"):
            getattr(mine, name)()
    x = np.ones((2, 3), np.float32)
    layer = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(3))
    assert np.array_equal(layer.train()(x), layer.eval()(x))  # training or not, it is inference


def test_nn_is_imported_late():
    import subprocess
    import sys

    code = (
        "import sys, fastlstm\n"
        "assert not any(m.startswith('fastlstm.nn') for m in sys.modules)\n"
        "fastlstm.nn.Linear\nassert 'fastlstm.nn' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert fastlstm.nn is nn and "nn" in dir(fastlstm)


INITS = (
    "xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "kaiming_normal_", "orthogonal_",
    "uniform_", "normal_", "trunc_normal_", "ones_", "eye_",
)  # fmt: skip


def test_init_has_the_distributions_of_torch():
    torch.manual_seed(0)
    nn.tensor.manual_seed(0)
    shape = (300, 200)
    for name in INITS:
        due = getattr(torch.nn.init, name)(torch.empty(shape)).numpy()
        found = getattr(nn.init, name)(nn.Parameter(np.empty(shape)))
        assert abs(found.numpy().mean() - due.mean()) < 0.02
        assert np.isclose(found.numpy().std(), due.std(), rtol=0.03)
        assert np.isclose(np.abs(found.numpy()).max(), np.abs(due).max(), rtol=0.25)
    assert nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain(
        "leaky_relu", 0.2
    )
    for name, args in (("Linear", (40, 30)), ("Conv1d", (8, 9, 5)), ("LSTM", (9, 16))):
        theirs, mine = getattr(torch.nn, name)(*args), getattr(nn, name)(*args)
        for (key, one), other in zip(mine.named_parameters(), theirs.parameters(), strict=True):
            assert np.abs(one.numpy()).max() == pytest.approx(other.abs().max().item(), rel=0.35), (
                key
            )
