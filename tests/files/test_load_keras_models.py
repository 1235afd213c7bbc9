# SPDX-License-Identifier: MIT
"""Keras files whose recurrent layers stand in wrappers, in other models and in classes of a user's
own; stacked cells; merged directions; what such files do not say. The files lie in
data/keras_models beside this file, with what Keras 3 computed (support/make_keras_models.py)."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
from conftest import BACKEND
from load_corpus.build import Record, zip_bytes
from make_keras_models import ENDINGS, FOLDER
from test_load_keras import _gru, _model, old_weights

import fastlstm
from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.read import inspect
from fastlstm.variants import Activation

BOUND = 2e-6
FILES = [f"{model}.{ending}" for model, endings in ENDINGS.items() for ending in endings]
# Keras' .h5 files of a model of a user's own class have the layers' automatic names.
H5_NAMES = {"lstm_1.": "enc.", "bidirectional.": "bi.", "simple_rnn.": "blocks/simple_rnn.",
            "simple_rnn_1.": "blocks/simple_rnn_1.", "rnn.": "rnn."}  # fmt: skip
REFUSED = {
    "mixed.keras": "its stacked cells differ in kind or size",
    "conv_lstm.keras": "'ConvLSTM1D' convolves its inputs",
    "conv_lstm.weights.h5": "a ConvLSTM convolves its inputs",
    "own_class.keras": "'pkg>MyLSTM' is a class of its own, not one of Keras'",
    "own_class.h5": "'pkg>MyLSTM' is a class of its own, not one of Keras'",
    "own_class.weights.h5": "its class is called 'my_lstm', which is none of Keras' own",
    "own_cell.keras": "an RNN of 'pkg>MyCell': only Keras' own cells are read",
    "own_cell.weights.h5": "its cell is called 'my_cell', which is none of Keras' own",
    "own_name.keras": "'__main__>LSTM' is a class of its own, not one of Keras'",
}


def options_of(name):
    return {"activation": "tanh"} if name.endswith("weights.h5") else {}


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(FOLDER / "expected.npz"))


def test_the_files_are_those_of_the_script():
    assert {path.name for path in FOLDER.iterdir()} == {*FILES, "expected.npz"}
    assert set(REFUSED) < set(FILES)


@pytest.mark.parametrize("name", [n for n in FILES if n not in REFUSED])
def test_the_numbers_are_keras(expected, name):
    """Of every layer in the file, under the names of what is around it and its own."""
    model = name.split(".")[0]
    names = H5_NAMES if name == "subclassed.h5" else {}
    due = {key.removesuffix("x").partition("/")[2] for key in expected
           if key.startswith(f"{model}/") and key.endswith(".x")}  # fmt: skip
    options, layers = options_of(name), inspect(FOLDER / name, **options_of(name))[2]
    usable = {prefix: layer for prefix, layer in layers.items() if not layer.problem}
    if model == "mixed":  # the weights alone are those of two layers, one on the other
        due = set(usable)
    assert {names.get(prefix, prefix) for prefix in usable} == due and due
    for prefix, layer in usable.items():
        key = f"{model}/{names.get(prefix, prefix)}"
        if f"{key}x" not in expected:
            continue
        if layer.merge == "none":
            options = {"merge": "concat"}
        made = load(FOLDER / name, prefix, **options)
        assert made.batch_first
        assert np.abs(made(expected[f"{key}x"])[0] - expected[f"{key}y"]).max() <= BOUND, prefix
        if BACKEND != "numpy":
            same = made(expected[f"{key}x"][:1])[0]
            assert same.tobytes() == made(expected[f"{key}x"])[0][:1].tobytes()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_keras_own_is_named(name):
    (layer,) = inspect(FOLDER / name, **options_of(name))[2].values()
    assert layer.problem.startswith(REFUSED[name])
    with pytest.raises(LoadError) as caught:
        load(FOLDER / name, **options_of(name))
    assert f"prefix 'rec.': {layer.problem}" in str(caught.value)


def test_the_weights_of_a_users_own_class_are_there_all_the_same():
    weights = read_state_dict(FOLDER / "own_class.keras")
    assert fastlstm.LSTM.from_state_dict(weights, "rec", batch_first=True).hidden_size == 4


def test_what_a_file_does_not_say_is_assumed_and_said():
    """Of a model of a user's own class: all of Keras' defaults."""
    layers = inspect(FOLDER / "subclassed.keras")[2]
    gates = ("activation", "recurrent_activation")
    assert layers["enc."].assumed == (*gates, "go_backwards")
    assert layers["bi."].assumed == (*gates, "merge")
    assert layers["blocks/simple_rnn."].assumed == ("activation", "go_backwards")
    assert str(layers["enc."]) == (
        "LSTM(3, 4); assumed: activation, recurrent_activation, go_backwards"
    )
    options = {"activation": "relu", "recurrent_activation": "tanh", "go_backwards": True}
    layers = inspect(FOLDER / "subclassed.keras", **options)[2]
    assert layers["enc."].assumed == () and layers["enc."].direction == "reverse"
    assert layers["enc."].activations == ((Activation("tanh"), *2 * (Activation("relu"),)),)
    assert layers["bi."].assumed == ("merge",) and layers["bi."].bidirectional
    assert all(not each.assumed for each in inspect(FOLDER / "nested.keras")[2].values())


def test_go_backwards_is_the_callers_to_say(tmp_path, rng):
    """Weights alone do not say it. Keras reads from the end and gives the last step's output
    first."""
    for name in ("stacked.weights.h5", "subclassed.weights.h5"):
        prefix = "rec" if name.startswith("stacked") else "enc"
        path = FOLDER / name
        assert "go_backwards" in inspect(path, activation="tanh")[2][f"{prefix}."].assumed
        plain = load(path, prefix, activation="tanh")
        back = load(path, prefix, activation="tanh", go_backwards=True)
        assert (back.reverse, back.output_order) == (True, "processing")
        x = rng.standard_normal((2, 6, 3)).astype(np.float32)
        assert np.abs(back(x)[0] - plain(x[:, ::-1])[0]).max() <= 1e-6
    with pytest.raises(LoadError, match=r"nor does it say that it goes backwards: go_backwards="):
        load(path, "enc")
    with pytest.raises(LoadError, match=r"nor does it say how its directions are merged: merge="):
        load(path, "bi")
    with pytest.raises(TypeError, match="go_backwards must be a bool, got int"):
        load(path, "enc", activation="tanh", go_backwards=1)


def test_a_mode_of_no_merging_is_the_callers_to_choose():
    path = FOLDER / "bi_none.keras"
    with pytest.raises(LoadError, match=r"two arrays .*merge_mode=None.*: pass merge='concat'"):
        load(path)
    assert load(path, merge="concat").output_size == 8
    assert load(path, merge="sum").output_size == 4
    with pytest.raises(ValueError, match="merge 'none' is not known"):
        load(path, merge="none")


def test_all_layers_of_a_model_of_cells():
    """One that calls a cell itself; one whose cell has a weight beside it."""
    layers = inspect(FOLDER / "loop.keras")[2]
    assert layers["cell."].problem is None
    assert layers["decoder."].problem == (
        "beside its cell there is 'decoder/attention/vars/0', which no such layer has"
    )
    with pytest.warns(UserWarning, match=r"1 of 2 .*prefix 'decoder\.': beside its cell"):
        assert list(load_all(FOLDER / "loop.keras")) == ["cell."]


# ---- versions


def _two_rows(rng):
    return _gru(rng) | {"g/bias:0": rng.standard_normal((2, 12)).astype(np.float32)}


@pytest.mark.parametrize(
    ("version", "gate", "reset_after"),
    [("2.1.6-tf", Activation("hard_sigmoid", 0.2, 0.5), False), ("2.2.4-tf", None, True),
     ("2.2.4", Activation("hard_sigmoid", 0.2, 0.5), False), ("2.3.1", None, False),
     ("2.3.0-tf", None, True), ("2.4.0", None, True), ("3.1.0", None, True)],
)  # fmt: skip
def test_defaults_of_what_a_configuration_leaves_out(tmp_path, rng, version, gate, reset_after):
    """recurrent_activation by the version; reset_after by the bias, and without one likewise."""
    biases = {"one": _gru(rng), "two": _two_rows(rng)}
    biases["none"] = {n: a for n, a in biases["one"].items() if "bias" not in n}
    for which, weights in biases.items():
        path = old_weights(tmp_path / "g.h5", {"g": weights}, version, _model("GRU"))
        layer = inspect(path)[2]["g."]
        assert layer.problem is None
        assert layer.directions[0][0] == (gate or Activation("sigmoid"))
        assert layer.reset_after == {"one": False, "two": True, "none": reset_after}[which]
        also = ("reset_after",) if which == "none" else ()
        assert layer.assumed == ("activation", "recurrent_activation", *also)


def test_weights_alone_of_tf_keras_2_2_4(tmp_path, rng):
    """TensorFlow 1 and 2 wrote the same version with two defaults."""
    path = old_weights(tmp_path / "g.h5", {"g": _two_rows(rng)}, version="2.2.4-tf")
    says = r"Keras 2\.2 of TensorFlow 1 had hard_sigmoid .*, that of TensorFlow 2 sigmoid: pass"
    with pytest.raises(LoadError, match=says):
        load(path, activation="tanh")
    layer = load(path, activation="tanh", recurrent_activation="sigmoid")
    assert layer.reset_after and layer.activations is None


# ---- files made by h5py


def test_layers_in_a_group_that_does_not_name_them(tmp_path, rng):
    """Keras 2 wrote the weights inside a TimeDistributed without the inner layer's name; it reads
    them in turn."""
    says = {"units": 4, "activation": "tanh", "recurrent_activation": "sigmoid"}
    inner = [{"class_name": "GRU", "config": {"name": name} | says} for name in "ab"]
    model = {"class_name": "Sequential", "config": {"name": "m", "layers": inner}}
    wrapper = {"class_name": "TimeDistributed", "config": {"name": "td", "layer": model}}
    config = {"class_name": "Sequential", "config": {"layers": [wrapper]}}
    weights = {}
    for n in range(2):
        weights |= {f"td/z{9 - n}/{k.split('/')[1]}": v for k, v in _gru(rng).items()}
    path = old_weights(tmp_path / "t.h5", {"td": weights}, version="2.4.0", config=config)
    layers = load_all(path)
    assert list(layers) == ["td/m/a.", "td/m/b."]
    for n, layer in enumerate(layers.values()):
        kernel = weights[f"td/z{9 - n}/kernel:0"]
        r = kernel[:, 4:8].T  # z, r, h there
        assert np.array_equal(layer.state_dict()["weight_ih_l0"][:4], r)


def keras_zip(path, config, weights, names=()):
    """A .keras file of {path: array} and {group: name}."""
    with h5py.File(path, "w") as file:
        for name, array in weights.items():
            file[name] = array
        for group, name in dict(names).items():
            file.require_group(f"{group}/vars").attrs["name"] = name
    parts = {"config.json": json.dumps(config).encode(), "model.weights.h5": path.read_bytes(),
             "metadata.json": b'{"keras_version": "3.1.0"}'}  # fmt: skip
    path.write_bytes(zip_bytes([Record(name, raw) for name, raw in parts.items()]))
    return path


def _cell(at, inputs=3, size=2, gates=4):
    return {f"{at}/vars/0": np.ones((inputs, gates * size), "f4"),
            f"{at}/vars/1": np.ones((size, gates * size), "f4")}  # fmt: skip


def test_what_is_among_the_weights_of_a_users_own_model(tmp_path):
    config = {"class_name": "Mine", "config": {}}
    look = lambda weights, names=(): {  # noqa: E731
        prefix: layer.problem
        for prefix, layer in inspect(keras_zip(tmp_path / "x", config, weights, names))[2].items()
    }
    both = _cell("bi/forward_layer/cell") | _cell("bi/backward_layer/cell")
    assert look(both | {"bi/layer/vars/0": np.ones(3, "f4")}, {"m": "m"}) == {
        "bi.": "beside its cell there is 'bi/layer/vars/0', which no such layer has"
    }
    seeds = {"a/cell/seed_generator/vars/0": np.zeros(2, "u4")}
    assert look(_cell("a/cell") | seeds) == {"a.": None}
    assert look(_cell("a/cell"), {"a/cell": "my_cell"})["a."].startswith(
        "its cell is called 'my_cell'"
    )
    side = _cell("bi/forward_layer/cell/cells/gru_cell", gates=3)
    assert look(side) == {"bi/forward_layer.": (
        "a Bidirectional of stacked cells, each direction a stack of its own")}  # fmt: skip
    four = _cell("a/cell") | {f"a/cell/vars/{n}": np.ones(3, "f4") for n in (2, 3)}
    assert look(four) == {}
    unequal = _cell("a/cell/cells/gru_cell", gates=3) | _cell("a/cell/cells/gru_cell_1", 5, 2, 3)
    assert look(unequal) == {"a.": "its stacked cells differ in kind or size"}
    stack = {"class_name": "RNN", "config": {"cell": {"class_name": "StackedRNNCells"}}}
    with pytest.raises(LoadError, match="StackedRNNCells without cells"):
        load(keras_zip(tmp_path / "x", {"class_name": "Sequential", "config": [stack]}, both))


def _stack(*cells, **options):
    cells = [{"class_name": "GRUCell", "config": {"units": 2} | each} for each in cells]
    cell = {"class_name": "StackedRNNCells", "config": {"cells": cells}}
    return {"class_name": "RNN", "config": {"name": "r", "cell": cell} | options}


def test_stacked_cells_that_one_layer_cannot_be(tmp_path):
    weights = _cell("layers/rnn/cell/cells/gru_cell", gates=3)
    weights |= _cell("layers/rnn/cell/cells/gru_cell_1", 2, gates=3)

    def problem(layer, *, found=weights):
        config = {"class_name": "Sequential", "config": {"layers": [layer]}}
        (layer,) = inspect(keras_zip(tmp_path / "x", config, found))[2].values()
        return layer.problem

    assert problem(_stack({}, {})) is None
    assert (
        problem(_stack({}, {"activation": "relu"}))
        == "its stacked cells differ in their activations"
    )
    assert "differ in reset_after" in problem(_stack({}, {"reset_after": False}))
    assert problem(_stack({}, {}), found={"a": np.ones(3)}) == "its weights are not in the file"
    assert problem(_stack({}, {}, {})) == "its weights are not in the file"
    both = {"class_name": "Bidirectional", "config": {"name": "b", "layer": _stack({}, {})}}
    assert problem(both) == "a Bidirectional of stacked cells, each direction a stack of its own"


def test_bidirectionals_and_layers_of_other_packages(tmp_path):
    """A user's own class is refused by name, whatever it is derived from."""
    inner = {"class_name": "LSTM", "config": {"units": 2, "go_backwards": False}}
    for own, says in (
        ({"class_name": "Bidirectional", "registered_name": "pkg>Bidirectional",
          "config": {"layer": inner}}, "'pkg>Bidirectional' is a class of its own"),
        ({"class_name": "pkg>Both", "config": {"layer": inner, "merge_mode": "sum"}},
         "'pkg>Both' is a class of its own"),
        ({"class_name": "Bidirectional", "config": {"layer": inner | {"module": "mine.layers"}}},
         "'mine.layers>LSTM' is a class of its own"),
        ({"class_name": "Other", "config": inner["config"]},
         "a layer of class 'Other' is not read"),
    ):  # fmt: skip
        config = {"class_name": "Sequential", "config": {"layers": [own]}}
        (layer,) = inspect(keras_zip(tmp_path / "x", config, _cell("layers/x/cell")))[2].values()
        assert layer.problem.startswith(says)


def test_nothing_is_assumed_where_a_configured_layer_is_lost(tmp_path):
    """What is left among the weights may be its."""
    own = {"class_name": "LSTM", "config": {"name": "a", "units": 2}}
    config = {"class_name": "Sequential", "config": {"layers": [own]}}
    path = keras_zip(tmp_path / "x", config, _cell("elsewhere/cell"))
    assert {p: v.problem for p, v in inspect(path)[2].items()} == {
        "a.": "its weights are not in the file"
    }
    path = keras_zip(tmp_path / "y", config, _cell("layers/lstm/cell") | _cell("mine/cell", 4))
    first, second = inspect(path)[2].values()
    assert (first.assumed, second.assumed) == (
        ("activation", "recurrent_activation"),
        ("activation", "recurrent_activation", "go_backwards"),
    )
    assert dataclasses.replace(second, input_size=3, assumed=first.assumed) == first
