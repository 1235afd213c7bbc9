# SPDX-License-Identifier: MIT
"""Layers told by names: weights kept as the parts they are computed from, what stands under a
layer's prefix and makes it another module, names with other separators, and what is assumed."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

import fastlstm
from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.find import find
from fastlstm.files.read import inspect

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::FutureWarning")]

KINDS = {
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
    "RNN": nn.RNN,
    "LSTMCell": nn.LSTMCell,
    "RNNCell": nn.RNNCell,
}


def saved(path, state):
    torch.save(state, path)
    return path


def names_of(module):
    return [name for name, _ in module.named_parameters()]


def outputs(module, x):
    """y of a torch module in evaluation; of a cell, h after one step from zeros."""
    module.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = module(x)
        y = y[0] if isinstance(y, tuple) else y
    return (y if y.ndim == 3 else y[None]).numpy()


def check(path, module, weights, x, prefix="net.rnn."):
    """The loaded layer's weights are `weights`, {name: tensor}, within 4 ULP, and its outputs are
    torch's."""
    layer = load(path)
    cell = isinstance(module, nn.RNNCellBase)
    given = read_state_dict(path)
    for name, value in weights.items():
        made = layer.state_dict()[f"{name}_l0" if cell else name]
        np.testing.assert_array_max_ulp(made, value.detach().numpy(), 4)
        assert prefix + name not in given or given[prefix + name].shape == value.shape
    y = layer(x[None].numpy() if cell else x.numpy())[0]
    assert np.abs(y - outputs(module, x)).max() <= 1e-6
    other = fastlstm.__dict__[layer.kind].from_state_dict(
        torch.load(path, weights_only=True), prefix
    )
    assert all(np.array_equal(a, layer.state_dict()[n]) for n, a in other.state_dict().items())


def state_of(module, prefix="net.rnn."):
    return {prefix + name: value for name, value in module.state_dict().items()}


def _weight_norm_old(module, name):
    weight_norm(module, name)


def _spectral_old(module, name):
    spectral_norm(module, name)


def _pruned(module, name):
    prune.random_unstructured(module, name, 0.4)


WAYS = {
    "weight norm, old": _weight_norm_old,
    "weight norm, old, of columns": lambda m, n: weight_norm(m, n, dim=1),
    "weight norm, old, of all": lambda m, n: weight_norm(m, n, dim=None),
    "weight norm": parametrizations.weight_norm,
    "weight norm of columns": lambda m, n: parametrizations.weight_norm(m, n, dim=1),
    "weight norm of all": lambda m, n: parametrizations.weight_norm(m, n, dim=None),
    "spectral norm, old": _spectral_old,
    "spectral norm": parametrizations.spectral_norm,
    "pruned": _pruned,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_weights_are_computed_from_their_parts(tmp_path, rng, kind, way):
    """Of every matrix at once, in evaluation, as torch computes them."""
    torch.manual_seed(3)
    options = {} if kind.endswith("Cell") else {"num_layers": 2, "bidirectional": kind != "RNN"}
    module = KINDS[kind](5, 6, **options)
    matrices = [name for name in names_of(module) if name.startswith("weight")]
    x = torch.from_numpy(rng.standard_normal((7, 5) if not options else (4, 3, 5)).astype("f4"))
    for name in matrices:
        WAYS[way](module, name)
    for _ in range(5):  # spectral norm's power iteration, which evaluation does not go on with
        module.train()(x)
    path = saved(tmp_path / "x.pt", state_of(module))
    outputs(module, x)
    weights = {name: getattr(module, name) for name in matrices}
    check(path, module, weights, x)
    assert not inspect(path)[2]["net.rnn."].problem


def test_a_pruned_bias_and_one_matrix_alone(tmp_path, rng):
    module = nn.LSTM(3, 4)
    prune.l1_unstructured(module, "bias_ih_l0", 0.5)
    parametrizations.weight_norm(module, "weight_hh_l0")
    x = torch.from_numpy(rng.standard_normal((4, 2, 3)).astype("f4"))
    path = saved(tmp_path / "x.pt", state_of(module))
    check(path, module, {n: getattr(module, n) for n in ("bias_ih_l0", "weight_hh_l0")}, x)


def test_large_matrices_are_folded_in_blocks(tmp_path):
    module = nn.LSTM(700, 300)
    for name, way in (("weight_ih_l0", "weight norm"), ("weight_hh_l0", "weight norm of columns")):
        WAYS[way](module, name)
    layer = load(saved(tmp_path / "x.pt", state_of(module)))
    module.double()  # torch's own float32 sums are 13 ULP off
    for name in ("weight_ih_l0", "weight_hh_l0"):
        due = getattr(module, name).detach().float().numpy()
        np.testing.assert_array_max_ulp(layer.state_dict()[name], due, 1)


class Twice(nn.Module):
    def forward(self, x):
        return 2 * x


def _unknown(module):
    parametrize.register_parametrization(module, "weight_hh_l0", Twice())


def _two(module):
    parametrizations.weight_norm(module, "weight_hh_l0")
    parametrizations.spectral_norm(module, "weight_hh_l0")


@pytest.mark.parametrize(
    ("change", "says"),
    [(_unknown, "'original'"), (_two, "'1._u'"),
     (lambda m: parametrizations.orthogonal(m, "weight_hh_l0"), "'0.base'")],
)  # fmt: skip
def test_other_parametrizations_are_refused_by_name(tmp_path, change, says):
    module = nn.LSTM(3, 4)
    change(module)
    path = saved(tmp_path / "x.pt", state_of(module))
    with pytest.raises(LoadError, match=r"weight_hh_l0 is computed from parts") as caught:
        load(path)
    assert says in str(caught.value) and "remove_parametrizations" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weight_hh_l0_g": torch.ones(16, 2)}, r"weight_hh_l0: its g has the shape \(16, 2\)"),
        ({"weight_hh_l0_g": torch.ones(16, 1, dtype=torch.int32)}, "'g' is int32, not a float"),
        ({"weight_hh_l0_v": torch.ones(0, 4)}, "a part of it is empty"),
        ({"weight_hh_l0_v": torch.ones(16, 5)}, "fits no LSTM"),
        ({"weight_hh_l0": torch.ones(16, 4)}, "is there, and so are parts"),
        ({"weight_hh_l0_u": torch.ones(16)}, "'u'"),
    ],
)
def test_parts_that_do_not_fit(tmp_path, change, says):
    module = nn.LSTM(3, 4)
    weight_norm(module, "weight_hh_l0")
    with pytest.raises(LoadError, match=says):
        load(saved(tmp_path / "x.pt", dict(module.state_dict()) | change))
    state = dict(nn.LSTM(3, 4).state_dict())
    state["weight_hh_l0_orig"] = state.pop("weight_hh_l0")
    for parts, words in (({"mask": torch.ones(4, 4)}, "its mask has the shape"),
                         ({"u": torch.ones(3), "v": torch.ones(4)}, "do not fit the weight"),
                         ({"u": torch.ones(16)}, "computed from parts")):  # fmt: skip
        more = {f"weight_hh_l0_{name}": value for name, value in parts.items()}
        with pytest.raises(LoadError, match=words):
            load(saved(tmp_path / "y.pt", state | more))


def test_boolean_masks(tmp_path):
    module = nn.LSTM(3, 4)
    prune.l1_unstructured(module, "weight_hh_l0", 0.3)
    state = dict(module.state_dict())
    state["weight_hh_l0_mask"] = state["weight_hh_l0_mask"].bool()
    assert np.array_equal(
        load(saved(tmp_path / "x.pt", state)).state_dict()["weight_hh_l0"],
        module.weight_hh_l0.detach(),
    )


# ---- weight drop


class WeightDrop(nn.Module):
    """As AWD-LSTM and fastai write it. form: where the raw weight stands, and whether the dropped
    copy is in the state dict."""

    def __init__(self, form):
        super().__init__()
        self.module = nn.LSTM(3, 4)
        raw = self.module.weight_hh_l0
        del self.module._parameters["weight_hh_l0"]
        owner = self.module if form == "inside" else self
        owner.register_parameter("weight_hh_l0_raw", nn.Parameter(raw.detach().clone()))
        dropped = torch.nn.functional.dropout(raw.detach(), 0.5)
        if form == "a copy beside":
            self.module.register_parameter("weight_hh_l0", nn.Parameter(dropped))
        self.raw = raw.detach()


@pytest.mark.parametrize("form", ["inside", "a copy beside", "alone"])
def test_weight_drop_gives_the_raw_weights(tmp_path, form):
    module = WeightDrop(form)
    path = saved(tmp_path / "x.pt", state_of(module, "rnns.0."))
    ((prefix, layer),) = load_all(path).items()
    assert prefix == ("rnns.0.module." if form == "inside" else "rnns.0.")
    assert np.array_equal(layer.state_dict()["weight_hh_l0"], module.raw)
    assert np.array_equal(layer.state_dict()["bias_hh_l0"], module.module.bias_hh_l0.detach())
    again = fastlstm.LSTM.from_state_dict(
        module.state_dict(), "module." if form == "inside" else ""
    )
    assert np.array_equal(again.state_dict()["weight_hh_l0"], module.raw)


# ---- what stands beside


class Extended(nn.Module):
    """A user's cell with LSTMCell's names, and more."""

    def __init__(self, **more):
        super().__init__()
        cell = nn.LSTMCell(3, 4)
        for name, value in cell.named_parameters():
            self.register_parameter(name, value)
        for name, value in more.items():
            setattr(self, name, value)


MORE = {
    "layernorm_i": (nn.LayerNorm(4), "normalisation inside the cell"),
    "ln": (nn.LayerNorm(4), "normalisation inside the cell"),
    "peephole_i": (nn.Parameter(torch.ones(4)), "peepholes"),
    "weight_ch": (nn.Parameter(torch.ones(12, 4)), "a cell with more weights"),
    "h0": (nn.Parameter(torch.ones(4)), "a learned initial state"),
    "attention": (nn.Linear(4, 4), "attention inside it"),
    "lora_A": (nn.Parameter(torch.ones(2, 4)), "adapters"),
    "fc": (nn.Linear(4, 4), "a module with parameters of its own"),
}


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("prefix", ["", "dec.cell.", "state_dict.cell."])
def test_a_cell_with_more_parameters_is_no_plain_cell(tmp_path, name, prefix):
    part, looks = MORE[name]
    path = saved(tmp_path / "x.pt", state_of(Extended(**{name: part}), prefix))
    with pytest.raises(
        LoadError, match=r"no plain LSTM: [12] more tensors? under its prefix"
    ) as caught:
        load(path)
    said = str(caught.value)
    assert name in said and looks in said and "LSTM.from_state_dict" in said
    ((_, layer),) = inspect(path)[2].items()
    assert layer.kind == "LSTM" and "unusable" in str(layer)
    with pytest.raises(ValueError, match="no plain LSTM"):
        fastlstm.LSTM.from_state_dict(torch.load(path), prefix)
    plain = {
        n: v
        for n, v in torch.load(path).items()
        if n[len(prefix) :] in dict(nn.LSTMCell(3, 4).named_parameters())
    }
    assert fastlstm.LSTM.from_state_dict(plain, prefix).hidden_size == 4


@pytest.mark.parametrize("name", ["embedding.weight", "h0", "ln_ih.weight", "decoder.weight_ih_l0"])
def test_a_named_layer_has_its_prefix_for_itself(tmp_path, name):
    """A subclass of nn.LSTM is not nn.LSTM, and a container has no weight_ih_l0 itself."""
    state = {f"encoder.{n}": v for n, v in nn.LSTM(3, 4).state_dict().items()}
    path = saved(tmp_path / "x.pt", state | {f"encoder.{name}": torch.ones(16, 3)})
    with pytest.raises(LoadError, match=f"1 more tensor under its prefix .'{name}'"):
        load(path, "encoder")


@pytest.mark.parametrize("prefix", ["", "model.", "state_dict.model."])
def test_without_a_prefix_other_modules_stand_beside(tmp_path, prefix):
    state = state_of(nn.LSTM(3, 4), prefix) | {
        prefix + name: torch.ones(4)
        for name in ("fc.weight", "norm.weight", "embedding.weight", "mean", "h0", "head.bias",
                     "bn1.running_mean", "layers.0.norm1.weight", "output.weight_v")
    }  # fmt: skip
    assert load(saved(tmp_path / "x.pt", state)).hidden_size == 4
    for name in ("ln_ih.weight", "layernorm_i.weight", "weight_ih_l0_x", "bias_c",
                 "norm_cell.bias", "peepholes", "weight_norm.weight"):  # fmt: skip
        with_it = saved(tmp_path / "y.pt", state | {prefix + name: torch.ones(4)})
        with pytest.raises(LoadError, match="no plain LSTM: 1 more tensor"):
            load(with_it)


def test_a_torchscript_list_of_weights_is_the_layers_own():
    state = {f"a.{n}": v.numpy() for n, v in nn.LSTM(3, 4).state_dict().items()}
    state |= {f"a._flat_weights.{n}": np.ones(3) for n in range(4)}
    assert find(state).layers["a."].problem is None
    state["a._flat_weights.x"] = np.ones(3)
    assert "_flat_weights.x" in find(state).layers["a."].problem


def test_many_layers_under_each_other_take_no_time():
    """Each name is looked at once for each layer that it makes unusable, no more."""
    one = np.ones((4, 1), "f4")
    state = {}
    for depth in range(300):
        prefix = "a." * depth
        state |= {f"{prefix}{n}": one for n in ("weight_ih_l0", "weight_hh_l0")}
    layers = find(state).layers
    assert len(layers) == 300 and sum(layer.problem is None for layer in layers.values()) == 2
    assert "596 more tensors" in layers["a."].problem


def test_peepholes_of_our_own_state_dicts(tmp_path, rng):
    layer = fastlstm.LSTM(3, 4, 2, peepholes=True)
    state = {f"net.{n}": torch.from_numpy(v) for n, v in layer.state_dict().items()}
    again = load(saved(tmp_path / "x.pt", state))
    x = rng.standard_normal((5, 2, 3))
    assert again.peepholes and np.array_equal(again(x)[0], layer(x)[0])
    del state["net.peephole_l1"]
    with pytest.raises(LoadError, match="missing: peephole_l1"):
        load(saved(tmp_path / "y.pt", state))
    gru = {n: torch.from_numpy(v) for n, v in fastlstm.GRU(3, 4).state_dict().items()}
    with pytest.raises(LoadError, match="only an LSTM has peepholes"):
        load(saved(tmp_path / "z.pt", gru | {"peephole_l0": torch.ones(12)}))


# ---- names with other separators


@pytest.mark.parametrize("prefix", ["enc_", "a.enc_", "enc/", "model/enc/", "lstm_weight_"])
def test_separators_before_the_weights_name(tmp_path, rng, prefix):
    module = nn.LSTM(3, 4, 2, bidirectional=True)
    state = state_of(module, prefix) | {"fc.weight": torch.ones(4), "enc_fc.weight": torch.ones(4)}
    path = saved(tmp_path / "x.pt", state)
    x = torch.from_numpy(rng.standard_normal((4, 2, 3)).astype("f4"))
    for given in (None, prefix, prefix[:-1]):
        y = load(path, given)(x.numpy())[0]
        assert np.abs(y - outputs(module, x)).max() <= 1e-6
    for given in (prefix, prefix[:-1]):
        layer = fastlstm.LSTM.from_state_dict(state, given) if prefix == given else None
        assert layer is None or layer.bidirectional
    arrays = {name: value.numpy() for name, value in state.items()}
    np.savez(tmp_path / "y.npz", **arrays)
    assert load(tmp_path / "y.npz", prefix).num_layers == 2


def test_more_of_the_layers_own_words_with_an_underscore(tmp_path):
    state = state_of(nn.LSTM(3, 4), "enc_")
    with pytest.raises(LoadError, match="no plain LSTM"):
        load(saved(tmp_path / "x.pt", state | {"enc_weight_ch": torch.ones(4)}))
    cell = state_of(nn.LSTMCell(3, 4), "enc_")  # ordinary words
    assert find({n: v.numpy() for n, v in cell.items()}).layers == {}


def test_a_unique_suffix_is_enough(tmp_path):
    state = state_of(nn.LSTM(3, 4), "model_state.lstm.") | state_of(nn.LSTM(3, 5), "ema.gru.lstm2.")
    path = saved(tmp_path / "x.pt", state)
    for prefix in ("lstm", "lstm.", "model_state.lstm."):
        assert load(path, prefix).hidden_size == 4
    assert load(path, "lstm2").hidden_size == load(path, "gru.lstm2.").hidden_size == 5
    for wrong in ("stm", "2", "", ".", "state.lstm"):
        with pytest.raises(LoadError, match="no such layer; there are"):
            load(path, wrong)
    both = saved(tmp_path / "y.pt", state | state_of(nn.LSTM(3, 6), "b.lstm."))
    with pytest.raises(LoadError, match="no such layer"):
        load(both, "lstm")
    exact = saved(tmp_path / "z.pt", state | state_of(nn.LSTM(3, 6), "lstm."))
    assert load(exact, "lstm").hidden_size == 6


def test_from_state_dict_takes_a_cells_names(rng):
    x = torch.from_numpy(rng.standard_normal((2, 3)).astype("f4"))
    for kind in ("LSTM", "GRU", "RNN"):
        cell = getattr(nn, f"{kind}Cell")(3, 4)
        for prefix, given in (("", ""), ("dec.", "dec"), ("dec.", "dec.")):
            layer = getattr(fastlstm, kind).from_state_dict(state_of(cell, prefix), given)
            assert np.abs(layer(x[None].numpy())[0] - outputs(cell, x)).max() <= 1e-6
    with pytest.raises(ValueError, match=r'it is there under: "dec\.'):
        fastlstm.LSTM.from_state_dict(state_of(nn.LSTMCell(3, 4), "dec."), "enc")


# ---- what is assumed


def test_inspect_says_what_is_assumed(tmp_path):
    state = {}
    for kind, module in KINDS.items():
        state |= state_of(module(3, 4), f"{kind}.")
    layers = inspect(saved(tmp_path / "x.pt", state))[2]
    assert {prefix[:-1]: layer.assumed for prefix, layer in layers.items()} == {
        "LSTM": ("batch_first",), "GRU": ("batch_first",), "RNN": ("batch_first", "nonlinearity"),
        "LSTMCell": (), "RNNCell": ("nonlinearity",),
    }  # fmt: skip
    fastlstm.LSTM(3, 4).save(tmp_path / "own")
    assert inspect(tmp_path / "own")[2][""].assumed == ()
