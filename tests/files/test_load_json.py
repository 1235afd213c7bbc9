# SPDX-License-Identifier: MIT
"""JSON: state dicts, and the models of RTNeural and the Neural Amp Modeler."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.read import inspect, sniff

pytestmark = pytest.mark.once


def put(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def listed(module, prefix=""):
    return {prefix + name: value.tolist() for name, value in module.state_dict().items()}


def same(layer, module, x, state=None):
    with torch.no_grad():
        y = module(torch.from_numpy(x), state)[0].numpy()
    return np.abs(layer(x)[0] - y).max() <= 1e-6


def test_a_state_dict_to_the_bit(tmp_path, rng):
    module = nn.ModuleDict(
        {"rnn": nn.LSTM(3, 4, 2, bidirectional=True), "conv": nn.Conv3d(2, 2, 3)}
    )
    path = put(tmp_path / "x.json", {"epoch": 3, "state_dict": listed(module), "names": ["a", "b"]})
    found = read_state_dict(path)
    assert {name.removeprefix("state_dict.") for name in found} == set(module.state_dict())
    for name, value in module.state_dict().items():
        assert np.array_equal(found[f"state_dict.{name}"].astype("f4"), value)
    x = rng.standard_normal((4, 2, 3)).astype("f4")
    assert same(load(path, "rnn"), module["rnn"], x) and sniff(path) == "json"


def test_forms_of_json(tmp_path):
    whole = {"a": [1, 2], "b": [[1, 2.5], [3, 4]], "c": {"d": [[[[[1]]]]]}, "e": [2**70, 1],
             "f": [[1], [1, 2]], "g": [1, "x"], "h": [True, False], "i": [None], "j": [], "k": 3,
             "l": [[], []], "m": [{"n": [1.0]}, [1, 2]], "o": [[1, 2], 3],
             "p": [2**70, 0.5]}  # fmt: skip
    for text in (
        json.dumps(whole),
        "\ufeff" + json.dumps(whole),
        " \n" + json.dumps(whole, indent=1),
    ):
        found = read_state_dict(put(tmp_path / "x.json", text))
        shapes = {name: (array.dtype.str[1:], array.shape) for name, array in found.items()}
        assert shapes == {
            "a": ("i8", (2,)), "b": ("f8", (2, 2)), "c.d": ("i8", (1,) * 5), "f.0": ("i8", (1,)),
            "f.1": ("i8", (2,)), "m.0.n": ("f8", (1,)), "m.1": ("i8", (2,)), "o.0": ("i8", (2,)),
            "p": ("f8", (2,)),
        }  # fmt: skip
    found = read_state_dict(put(tmp_path / "x.json", '{"a": [NaN, Infinity, -1e999, 1e-999]}'))
    assert np.isnan(found["a"][0]) and found["a"][1:].tolist() == [np.inf, -np.inf, 0]
    assert read_state_dict(put(tmp_path / "x.json", "{}")) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": [1', "character 8: no JSON"), ('{"a": [1]} x', "no JSON: Extra data"),
        ('{"a": ' + "[" * 60 + "1" + "]" * 60 + "}", "nested deeper than 50"),
        ('{"a": ' + "[" * 200_000, "nested deeper than 50"),
        ('{"a": ' * 100_000, "nested deeper than 50"),
        ('{"a": [' + "1" * 5000 + "]}", "more than 4,300 digits"),
        ('{"' + "a" * 5000 + '": [1]}', "a name longer than 4096"),
        ('{"\\ud800": [1]}', "is not Unicode"), ('{"a\udcff": [1]}', "the text is not UTF-8"),
        ('{"' + "n" * 4000 + '": {' + ",".join(f'"{n}": [1]' for n in range(900)) + "}}",
         "too many arrays, or too long names"),
        ('{"a": [' + "[]," * 600_000 + "[]]}", "its values would take up to"),
        ('{"a": [' + "1," * 1_200_000 + "1]}", "its values would take up to"),
    ],
)  # fmt: skip
def test_malformed_json(tmp_path, text, says):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LoadError) as caught:
        read_state_dict(path)
    assert (
        says in str(caught.value)
        and str(caught.value).isprintable()
        and len(str(caught.value)) < 400
    )


def test_wide_text_takes_memory_too(tmp_path):
    """One character beyond 16 bits makes CPython keep all in 4 bytes each."""
    head, size = '{"a": "\U0001f3b8", "b": "', 42 << 20
    with pytest.raises(LoadError, match="its values would take"):
        read_state_dict(put(tmp_path / "x.json", head + "x" * size + '"}'))
    assert read_state_dict(put(tmp_path / "x.json", head + "x" * (1 << 20) + '"}')) == {}


# ---- Neural Amp Modeler


def nam(module, h, c, head):
    """As the trainer exports it."""
    parts = []
    for n in range(module.num_layers):
        w = [
            getattr(module, f"{part}_l{n}")
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        parts += [torch.cat(w[:2], 1), w[2] + w[3], h[n], c[n]]
    parts += [head.weight, head.bias]
    return {
        "version": "0.5.4", "architecture": "LSTM", "metadata": {"name": "\u00e9"},
        "config": {n: getattr(module, n) for n in ("input_size", "hidden_size", "num_layers")},
        "weights": torch.cat([part.detach().flatten() for part in parts]).tolist(),
    }  # fmt: skip


@pytest.fixture
def amp(rng):
    torch.manual_seed(1)
    module, head = nn.LSTM(1, 6, 2), nn.Linear(6, 1)
    h, c = torch.randn(2, 6), torch.randn(2, 6)
    return module, h, c, head, nam(module, h, c, head)


def test_a_nam_model_with_its_initial_state(tmp_path, rng, amp):
    module, h, c, head, value = amp
    path = put(tmp_path / "amp.nam", value)
    layer, x = load(path), rng.standard_normal((50, 1)).astype("f4")
    assert repr(layer).startswith("LSTM(1, 6, num_layers=2") and sniff(path) == "json"
    assert same(layer, module, x, (h, c)) and not same(layer, module, x)
    stream, y = layer.stream(), layer(x)[0]
    assert np.array_equal(np.concatenate([stream.step(each[None]) for each in x]), y)
    found = read_state_dict(path)
    assert np.array_equal(found["head.weight"], head.weight.detach())
    assert np.array_equal(found["head.bias"], head.bias.detach())
    assert list(inspect(path)[2]) == ["lstm."]
    layer.save(tmp_path / "own")
    assert np.array_equal(load(tmp_path / "own")(x)[0], y)


def test_nam_models_in_a_sequence(tmp_path, amp):
    value = amp[-1]
    other = {"architecture": "WaveNet", "config": {}, "weights": [1.0]}
    whole = {
        "architecture": "Sequential",
        "config": {"models": [value, other, value, 3]},
        "weights": [],
    }
    assert list(load_all(put(tmp_path / "x.nam", whole))) == ["models.0.lstm.", "models.2.lstm."]
    with pytest.raises(LoadError, match=r"0 arrays|1 arrays"):
        load(put(tmp_path / "y.nam", other))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": [1.0] * 601}, r"601 weights; its layers have 528, and a head of 6 inputs 7"),
        ({"weights": [1.0] * 528}, "528 weights; its layers have 528"),
        ({"weights": [[1.0]]}, "its weights are no list of numbers"),
        ({"weights": "x"}, "its weights are no list of numbers"),
        ({"config": {"hidden_size": 6, "num_layers": 2}}, "must be ints from 1 to 10,000"),
        ({"config": {"hidden_size": True, "num_layers": 2, "input_size": 1}}, "must be ints"),
        ({"config": {"hidden_size": 10**9, "num_layers": 2, "input_size": 1}}, "must be ints"),
        ({"config": []}, "must be ints"),
        (
            {"config": {"hidden_size": 9999, "num_layers": 9999, "input_size": 1}},
            "weights; its layers",
        ),
    ],
)
def test_nam_models_that_do_not_fit(tmp_path, amp, change, says):
    with pytest.raises(LoadError, match=says):
        load(put(tmp_path / "x.nam", amp[-1] | change))


# ---- RTNeural


def keras_layout(module):
    """torch's weights as Keras has them."""
    gates = 4 if isinstance(module, nn.LSTM) else 3
    order = (0, 1, 2, 3) if gates == 4 else (1, 0, 2)

    def reordered(array):
        split = np.split(array, gates)
        return np.concatenate([split[n] for n in order])

    w, r, b, c = (reordered(getattr(module, f"{n}_l0").detach().numpy())
                  for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))  # fmt: skip
    return [w.T.tolist(), r.T.tolist(), (b + c if gates == 4 else np.stack([b, c])).tolist()]


def rtneural(*modules, **changes):
    layers = [
        {"type": type(module).__name__.lower(), "activation": "tanh",
         "shape": [None, None, module.hidden_size], "weights": keras_layout(module)} | changes
        for module in modules
    ]  # fmt: skip
    dense = {
        "type": "dense",
        "activation": "",
        "shape": [None, None, 1],
        "weights": [[[1.0]], [0.5]],
    }
    return {"in_shape": [None, None, 3], "layers": [*layers, dense]}


def test_models_of_rtneural(tmp_path, rng):
    first, second = nn.LSTM(3, 5), nn.GRU(5, 4)
    path = put(tmp_path / "x.json", rtneural(first, second))
    layers = load_all(path)
    assert list(layers) == ["layers.0.", "layers.1."]
    x = rng.standard_normal((9, 2, 3)).astype("f4")
    assert same(layers["layers.0."], first, x)
    assert same(layers["layers.1."], second, rng.standard_normal((9, 2, 5)).astype("f4"))
    assert read_state_dict(path)["layers.2.weights.0"].tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"activation": "relu"}, "its activation is 'relu': RTNeural runs every LSTM with tanh"),
        ({"shape": [None, 7]}, "its shape ends in '7', its weights in 5"),
        ({"weights": []}, "are not Keras' kernel"), ({"weights": [3, 4, 5]}, "are not Keras' ke"),
        ({"weights": 3}, "are not Keras' kernel"),
        ({"weights": [[[1.0]], [[1.0]], [1.0]]}, "are not Keras' kernel"),
        ({"type": "gru"}, "are not Keras' kernel"),
    ],
)  # fmt: skip
def test_layers_of_rtneural_that_do_not_fit(tmp_path, change, says):
    with pytest.raises(LoadError, match=says):
        load(put(tmp_path / "x.json", rtneural(nn.LSTM(3, 5), **change)))


def test_rtneural_layers_of_other_types(tmp_path):
    for layers in ([], [3, None, {"type": 5}, {"type": "conv1d"}, {}]):
        path = put(tmp_path / "x.json", {"in_shape": [1], "layers": layers})
        assert inspect(path)[2] == {}
        with pytest.raises(LoadError, match="none is named like"):
            load(path)
    old = rtneural(nn.GRU(3, 4))  # one bias: the reset gate before the product
    old["layers"][0]["weights"][2] = old["layers"][0]["weights"][2][0]
    assert not load(put(tmp_path / "y.json", old)).reset_after
