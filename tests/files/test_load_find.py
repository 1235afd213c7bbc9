# SPDX-License-Identifier: MIT
"""Recurrent layers among the arrays of a file: find, load, load_all and their errors."""

import io

import numpy as np
import pytest
import safetensors.torch
import torch

import fastlstm
from fastlstm import LoadError, load, load_all
from fastlstm.files.find import find as contents

pytestmark = pytest.mark.once


def find(state):
    return contents(state).layers


def arrays(module, prefix=""):
    return {prefix + name: value.numpy() for name, value in module.state_dict().items()}


def saved(path, *modules, kind="torch"):
    """A file of the state dicts of (prefix, module) pairs."""
    state = {
        p + name: value for p, module in modules for name, value in module.state_dict().items()
    }
    if kind == "torch":
        torch.save(state, path)
    else:
        safetensors.torch.save_file(state, path)
    return path


@pytest.mark.parametrize("prefix", ["", "lstm.", "a.b.", "weight_ih_l0.", "\u00e9 .", "x.0.rnn."])
def test_the_prefix_is_what_stands_before_the_name(prefix):
    found = find(arrays(torch.nn.LSTM(3, 4), prefix))
    assert list(found) == [prefix]
    assert str(found[prefix]) == "LSTM(3, 4); assumed: batch_first"


def test_the_text_is_the_call():
    module = torch.nn.LSTM(3, 4, 2, bias=False, bidirectional=True, proj_size=1)
    text = "LSTM(3, 4, num_layers=2, bias=False, bidirectional=True, proj_size=1)"
    assert str(find(arrays(module))[""]) == f"{text}; assumed: batch_first"


def test_layers_come_in_the_order_of_the_file():
    state = {"embed.weight": np.zeros((3, 3), np.float32)}
    for prefix in ("z.", "a.", "m."):
        state |= arrays(torch.nn.LSTM(3, 4), prefix)
    assert list(find(state)) == ["z.", "a.", "m."]
    assert list(find(dict(reversed(state.items())))) == ["m.", "a.", "z."]


def test_other_names_are_no_layers():
    zeros = np.zeros((4, 1), np.float32)
    names = [
        "weight_ih", "bias_ih", "lstm_weight_ih_l0x", "weight_ih_l", "weight_ih_l00",
        "xweight_ih_l0", "weight_ih_l-1", "weight_ih_l0_forward", "weight_ih_l\u0660",
        "weight_ih_l12345", "bias",
    ]  # fmt: skip
    assert find(dict.fromkeys(names, zeros)) == {}


@pytest.mark.parametrize("one", [1, 2, 7])
def test_units_of_any_number_are_told_apart(one):
    """Rows / H is 4, 3 or 1 also where H itself is 1, 3 or 4, and with a projection."""
    for kind in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
        for hidden in (1, 2, 3, 4, 12):
            layer = find(arrays(kind(one, hidden)))[""]
            assert (layer.kind, layer.input_size, layer.hidden_size) == (kind.__name__, one, hidden)
    for hidden, proj in ((2, 1), (4, 3), (12, 1), (12, 11)):
        layer = find(arrays(torch.nn.LSTM(one, hidden, proj_size=proj)))[""]
        assert (layer.hidden_size, layer.proj_size, layer.problem) == (hidden, proj, None)


_BROKEN = {
    "no weight_hh": (lambda s: s.pop("weight_hh_l0"), "weight_hh_l0 is missing"),
    "no weight_ih": (lambda s: s.pop("weight_ih_l0"), "weight_ih_l0 is missing"),
    "no layer 1": (lambda s: s.pop("weight_hh_l1"), "arrays"),
    "no reverse": (lambda s: s.pop("weight_hh_l0_reverse"), "arrays"),
    "one bias": (lambda s: s.pop("bias_hh_l1"), "arrays"),
    "a gap": (lambda s: s.update(weight_ih_l9=s["weight_ih_l1"]), "make up 10 layers"),
    "a projection of one": (lambda s: s.update(weight_hr_l1=np.ones((2, 5), np.float32)), "arrays"),
    "another width": (lambda s: s.update(weight_ih_l1=np.ones((20, 9), np.float32)), "is due"),
    "another height": (lambda s: s.update(bias_ih_l1=np.ones(19, np.float32)), "is due"),
    "no whole gates": (lambda s: s.update(weight_hh_l0=np.ones((21, 5), np.float32)), "fits no"),
    "five gates": (lambda s: s.update(weight_hh_l0=np.ones((25, 5), np.float32)), "fits no"),
    "flat": (lambda s: s.update(weight_hh_l0=np.ones(20, np.float32)), "has the shape (20,)"),
    "deep": (lambda s: s.update(bias_hh_l0=np.ones((20, 1), np.float32)), "has the shape (20, 1)"),
    "empty": (
        lambda s: s.update(weight_hh_l0=np.ones((20, 0), np.float32)),
        "has the shape (20, 0)",
    ),
    "no input": (lambda s: s.update(weight_ih_l0=np.ones((20, 0), np.float32)), "has the shape"),
    "ints": (lambda s: s.update(weight_ih_l1=np.ones((20, 10), np.int8)), "is int8, not a float"),
    "complex": (lambda s: s.update(bias_ih_l0=np.ones(20, np.complex64)), "not a float"),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_what_does_not_fit_together_has_a_problem(tmp_path, name):
    change, says = _BROKEN[name]
    state = arrays(torch.nn.LSTM(3, 5, 2, bidirectional=True))
    change(state)
    layer = find(state)[""]
    assert says in layer.problem and "unusable" in str(layer)
    torch.save(
        {f"net.{key}": torch.from_numpy(value) for key, value in state.items()}, tmp_path / "x"
    )
    for call in (load, load_all):
        with pytest.raises(LoadError) as caught:
            call(tmp_path / "x")
        assert says in str(caught.value) and "'net.'" in str(caught.value)


@pytest.mark.parametrize("kind", ["torch", "safetensors"])
@pytest.mark.parametrize("proj", [0, 2])
@pytest.mark.parametrize("both", [False, True])
def test_a_loaded_layer_computes_what_torch_does(tmp_path, rng, kind, both, proj):
    torch.manual_seed(3)
    module = torch.nn.LSTM(3, 5, 2, bidirectional=both, proj_size=proj)
    path = saved(tmp_path / "model", ("rnn.", module), kind=kind)
    x = rng.standard_normal((11, 4, 3)).astype(np.float32)
    with torch.no_grad():
        expected, (h, c) = module(torch.from_numpy(x))
    y, state = load(path)(x)
    for ours, theirs in ((y, expected), (state[0], h), (state[1], c)):
        assert np.abs(ours - theirs.numpy()).max() <= 1e-6
    again = load(path, "rnn", batch_first=True, num_threads=1)
    assert again.batch_first
    assert np.array_equal(again(x.swapaxes(0, 1))[0].swapaxes(0, 1), y)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_weights_of_other_float_types(tmp_path, dtype):
    module = torch.nn.LSTM(3, 5)
    torch.save(module.to(dtype).state_dict(), tmp_path / "half.pt")
    for name, array in load(tmp_path / "half.pt").state_dict().items():
        assert array.dtype == np.float32
        assert np.array_equal(array, module.state_dict()[name].float().numpy())


def test_several_layers_need_a_prefix(tmp_path):
    first, second = torch.nn.LSTM(3, 4), torch.nn.LSTM(4, 5, bidirectional=True)
    path = saved(tmp_path / "two.pt", ("enc.lstm.", first), ("dec.", second))
    with pytest.raises(LoadError) as caught:
        load(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: 2 recurrent layers") and "load_all" in said
    assert "'enc.lstm.': LSTM(3, 4); 'dec.': LSTM(4, 5, bidirectional=True)" in said
    for prefix in ("dec", "dec."):
        assert load(path, prefix).hidden_size == 5
    assert load(path, prefix="enc.lstm").hidden_size == 4
    layers = load_all(path, batch_first=True)
    assert list(layers) == ["enc.lstm.", "dec."]
    assert [layer.hidden_size for layer in layers.values()] == [4, 5]
    assert all(layer.batch_first for layer in layers.values())
    for wrong in ("", "enc", "enc.", ".", "stm", "dec..", "enc.lstm.weight_ih_l0"):
        with pytest.raises(LoadError) as caught:
            load(path, wrong)
        assert "no such layer; there are: 'enc.lstm.'" in str(caught.value)
        assert str(caught.value).startswith(f"{path}: prefix {wrong!r}")


def test_the_empty_prefix_is_a_prefix(tmp_path):
    path = saved(tmp_path / "x.pt", ("", torch.nn.LSTM(3, 4)), ("b.", torch.nn.LSTM(3, 6)))
    assert load(path, "").hidden_size == 4
    assert list(load_all(path)) == ["", "b."]


@pytest.mark.parametrize("kind", [torch.nn.GRU, torch.nn.RNN])
def test_gru_and_rnn_are_loaded_by_their_kind(tmp_path, rng, kind):
    module = kind(3, 4, 2, bidirectional=True)
    path = saved(tmp_path / "x.pt", ("a.", torch.nn.LSTM(3, 4)), ("b.", module))
    layers = load_all(path)
    assert type(layers["b."]) is type(load(path, "b")) is getattr(fastlstm, kind.__name__)
    assert type(layers["a."]) is fastlstm.LSTM
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    with torch.no_grad():
        assert np.abs(layers["b."](x)[0] - module(torch.from_numpy(x))[0].numpy()).max() <= 2e-6


def test_what_names_do_not_tell_may_be_said(tmp_path):
    path = saved(tmp_path / "x.pt", ("g.", torch.nn.GRU(3, 4)), ("r.", torch.nn.RNN(3, 4)))
    assert load(path, "g").reset_after and not load(path, "g", reset_after=False).reset_after
    assert load(path, "r").nonlinearity == "tanh"
    layers = load_all(path, nonlinearity="relu", reset_after=False)
    assert layers["r."].nonlinearity == "relu" and not layers["g."].reset_after


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bias", [True, False])
def test_cells_are_layers_of_one(tmp_path, rng, kind, bias):
    """LSTMCell's names have no _l0; other words of that form make up no layer."""
    cell = getattr(torch.nn, f"{kind}Cell")(3, 4, bias=bias)
    path = saved(tmp_path / "c.pt", ("dec.rnn.", cell), ("other.", torch.nn.Linear(2, 2)))
    layer = load(path, "dec.rnn")
    assert (layer.kind, layer.bias, layer.num_layers) == (kind, bias, 1)
    x = torch.from_numpy(rng.standard_normal((2, 3)).astype(np.float32))
    with torch.no_grad():
        h = cell(x)
    h = h[0] if kind == "LSTM" else h
    assert np.abs(layer(x.numpy()[None])[0][0] - h.numpy()).max() <= 2e-6
    both = arrays(getattr(torch.nn, kind)(3, 5), "dec.rnn.") | arrays(cell, "dec.rnn.")
    assert find(both)["dec.rnn."].hidden_size == 5


def test_wrappers_need_not_be_repeated(tmp_path):
    state = arrays(torch.nn.LSTM(3, 4), "state_dict.module._orig_mod.enc.lstm.")
    torch.save({n: torch.from_numpy(v) for n, v in state.items()}, tmp_path / "w.pt")
    for prefix in ("lstm", "enc.lstm", "enc.lstm.", "state_dict.module._orig_mod.enc.lstm"):
        assert load(tmp_path / "w.pt", prefix).hidden_size == 4
    for wrong in ("stm", "module.enc", "_orig_mod"):
        with pytest.raises(LoadError, match="no such layer"):
            load(tmp_path / "w.pt", wrong)
    twice = {f"{p}{n}": torch.from_numpy(v) for p in ("model.", "ema.", "module.")
             for n, v in arrays(torch.nn.LSTM(3, 4), "a.").items()}  # fmt: skip
    torch.save(twice, tmp_path / "t.pt")
    with pytest.raises(LoadError, match="no such layer"):
        load(tmp_path / "t.pt", "a")


def test_an_optimizers_state_is_no_layer(tmp_path):
    """Moments have the shapes of weights, and are told by their names alone."""
    model = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4)})
    optimizer = torch.optim.Adam(model.parameters())
    model["rnn"](torch.randn(2, 1, 3))[0].sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "state_dict": model.state_dict(), "optimizer_states": [
        optimizer.state_dict()], "hyper_parameters": {"lr": 0.1}}  # fmt: skip
    torch.save(checkpoint, tmp_path / "lightning.ckpt")
    assert list(load_all(tmp_path / "lightning.ckpt")) == ["state_dict.rnn."]
    assert load(tmp_path / "lightning.ckpt", "rnn").hidden_size == 4


def test_a_file_without_layers(tmp_path):
    path = saved(tmp_path / "x.pt", ("a.", torch.nn.Linear(3, 4)))
    for call in (load, load_all):
        with pytest.raises(LoadError, match=r"x\.pt: 2 arrays: none is named like a recurrent"):
            call(path)


def test_the_listing_is_bounded(tmp_path):
    state = {f"layer{n}.{'x' * 300}.weight_ih_l0": torch.zeros(4, 1) for n in range(900)}
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(LoadError, match="900 recurrent layers") as caught:
        load(tmp_path / "x.pt")
    assert len(str(caught.value)) < 20_000


def test_wrong_options_are_the_callers_errors(tmp_path):
    """Not the file's fault: what from_state_dict raises stays."""
    path = saved(tmp_path / "x.pt", ("", torch.nn.LSTM(3, 4)))
    with pytest.raises(ValueError) as caught:
        load(path, isa="no such set")
    assert not isinstance(caught.value, LoadError)
    with pytest.raises(TypeError):
        load(path, hidden_size=4)
    for wrong in (0, b"lstm", ["lstm"]):
        with pytest.raises(TypeError, match="prefix must be a str"):
            load(path, wrong)


def test_the_package_offers_the_loaders(tmp_path):
    path = saved(tmp_path / "x.pt", ("", torch.nn.LSTM(3, 4)))
    assert isinstance(fastlstm.load(path), fastlstm.LSTM)
    assert list(fastlstm.load_all(path)) == [""]
    assert len(fastlstm.read_state_dict(path)) == 4
    assert issubclass(fastlstm.LoadError, ValueError)
    assert isinstance(fastlstm.load(io.BytesIO(path.read_bytes())), fastlstm.LSTM)
