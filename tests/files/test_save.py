# SPDX-License-Identifier: MIT
"""fastlstm's own file: what is saved comes back, mapped and shared; the rest is refused."""

import dataclasses
import json
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from load_corpus.build import safetensors_bytes

import fastlstm
from fastlstm import LoadError, load, load_all
from fastlstm.engine.int8 import quantized
from fastlstm.files.read import inspect, sniff
from fastlstm.files.safetensors import layers as own
from fastlstm.variants import RELU, SIGMOID, TANH, Activation, Layer

LAYERS = [
    lambda: fastlstm.LSTM(3, 4),
    lambda: fastlstm.LSTM(3, 5, 2, bias=False, batch_first=True, bidirectional=True, proj_size=2),
    lambda: fastlstm.GRU(3, 4, 2, reset_after=False),
    lambda: fastlstm.GRU(1, 1),
    lambda: fastlstm.RNN(3, 4, nonlinearity="relu", bidirectional=True),
    lambda: fastlstm.RNN(130, 33, 3),
    lambda: fastlstm.LSTM(3, 4, 2, dropout=0.3),
]


@pytest.mark.parametrize("make", LAYERS, ids=lambda make: repr(make()).split(", isa")[0])
def test_what_is_saved_comes_back(tmp_path, rng, make):
    layer, path = make(), tmp_path / "layer"
    layer.save(path)
    again = load(path)
    assert repr(again) == repr(layer) and sniff(path) == "fastlstm"
    for name, array in again.state_dict().items():
        assert array.tobytes() == layer.state_dict()[name].tobytes()
    x = rng.standard_normal((3, 5, layer.input_size)).astype(np.float32)
    assert np.array_equal(again(x)[0], layer(x)[0])
    # other libraries read it, and what they write again is a safetensors file
    assert set(safetensors.numpy.load_file(path)) == set(layer.state_dict())
    assert load(path, batch_first=True).batch_first
    assert load(path, dropout=0.25).dropout == 0.25


def test_dropout_is_trained_with_again(tmp_path, rng):
    layer, path = fastlstm.GRU(3, 4, 2, dropout=0.3), tmp_path / "layer"
    layer.save(path)
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    due = layer.forward_train(x, seed=1)[0]
    assert due.tobytes() != layer(x)[0].tobytes()
    assert load(path).forward_train(x, seed=1)[0].tobytes() == due.tobytes()
    assert load(path, dropout=0.0).forward_train(x, seed=1)[0].tobytes() == layer(x)[0].tobytes()
    assert "dropout=0.3" in str(inspect(path)[2][""])
    with pytest.raises(ValueError, match=r"dropout should be a number in range \[0, 1\], got 2"):
        load(path, dropout=2)


def test_older_versions_read_a_layer_without_dropout(tmp_path):
    """Its description has no more fields than theirs."""
    path, found = tmp_path / "layer", []
    fastlstm.LSTM(3, 4, 2).save(path)
    rewritten(path, lambda config: found.append(config) or json.dumps(config))
    fields = {"kind": "LSTM", "input_size": 3, "hidden_size": 4, "num_layers": 2}
    assert found == [{"version": 1, "layers": {"": fields}}]
    assert load(path).dropout == 0.0


def test_weights_are_views_of_the_file(tmp_path, rng):
    """The pages are the file's: shared by every process that loads it, and read-only."""
    path = tmp_path / "large"
    fastlstm.LSTM(256, 512).save(path)
    layer = load(path)
    arrays = layer.packed.arrays.values()
    assert not any(array.flags.writeable for array in arrays)
    if sys.platform == "linux":
        places = [array.__array_interface__["data"][0] for array in arrays]
        with open("/proc/self/maps") as maps:
            spans = [line.split()[0] for line in maps if str(path) in line]
        low, high = (int(n, 16) for n in spans[0].split("-"))
        assert all(low <= place < high for place in places)
    x = rng.standard_normal((3, 2, 256)).astype(np.float32)
    y, _, tape = layer.forward_train(x)
    assert layer.backward(tape, y).params["weight_ih_l0"].any()
    state = layer.state_dict()
    state["weight_ih_l0"][:] = 0  # a copy
    layer.load_state_dict(state)
    assert not layer.state_dict()["weight_ih_l0"].any()
    assert load(path).state_dict()["weight_ih_l0"].any()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a"
    first = fastlstm.LSTM(3, 4)
    first.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        fastlstm.LSTM(3, 4).save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a"]
    mapped = load(path)
    fastlstm.LSTM(5, 6).save(path)  # while it is mapped: the old file lives on
    assert np.array_equal(mapped.state_dict()["weight_hh_l0"], first.state_dict()["weight_hh_l0"])
    assert load(path).hidden_size == 6
    with pytest.raises(FileNotFoundError):
        first.save(tmp_path / "missing" / "a")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_every_field_of_a_layer_is_kept(tmp_path):
    hard = Activation("hard_sigmoid", 0.2, 0.5)
    layers = {
        "a.": Layer("LSTM", 3, 4, activations=((hard, TANH, RELU),), clip=2.5, input_forget=True,
                    peepholes=("peephole_l0",), batch_first=True),
        "b.": Layer("GRU", 3, 4, direction="reverse", reset_after=False, output_order="processing",
                    dtype="float16"),
        "c.": Layer("RNN", 3, 4, direction="bidirectional", activations=((RELU,), (TANH,)),
                    merge="sum"),
        "d.": Layer("LSTM", 3, 4, direction="bidirectional", initial_state=("initial_h",),
                    dropout=0.5, precision="bfloat16x6"),
        "e.": Layer("RNN", 3, 4, dtype="int8", inputs="int8"),
    }  # fmt: skip
    assert {f.name for f in dataclasses.fields(Layer)} - {"problem", "assumed", "cell"} <= {
        name for layer in layers.values() for name in own.plain(layer)
    } | {"proj_size", "num_layers", "bias"}
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}
    found = {}
    for prefix, layer in layers.items():
        weights = {}
        for end in ("_l0", "_l0_reverse")[: layer.num_directions]:
            rows = 4 * gates[layer.kind]
            weights[f"weight_ih{end}"] = np.ones((rows, 3), np.float32)
            weights[f"weight_hh{end}"] = np.ones((rows, 4), np.float32)
            weights[f"bias_ih{end}"] = weights[f"bias_hh{end}"] = np.ones(rows, np.float32)
        if layer.dtype == "int8":
            weights |= {name: quantized(name, array) for name, array in weights.items()
                        if array.ndim == 2}  # fmt: skip
        weights |= {name: np.ones(12, np.float32) for name in layer.peepholes}
        weights |= {name: np.ones((2, 1, 4), np.float32) for name in layer.initial_state}
        found[prefix] = (layer, weights)
    own.write(tmp_path / "all", found)
    kind, arrays, again = inspect(tmp_path / "all")
    assert kind == "fastlstm" and again == layers
    assert {name.split(".", 1)[1] for name in arrays if name.startswith("a.")} == set(
        found["a."][1]
    )
    assert SIGMOID in again["d."].directions[0]
    assert [each.merge for each in load_all(tmp_path / "all").values()] == [
        each.merge for each in layers.values()
    ]
    made = load(tmp_path / "all", "a.")
    assert made.clip == 2.5 and made.input_forget and made.peepholes and made.batch_first
    assert made.activations == ((hard, TANH, RELU),)
    made = load(tmp_path / "all", "b.")
    assert made.dtype == "float16" and arrays["b.weight_ih_l0"].dtype == np.float16
    assert made.reverse and not made.reset_after and made.output_order == "processing"
    assert load(tmp_path / "all", "d.").dropout == 0.5
    h, c = load(tmp_path / "all", "d.").initial_state
    assert h.shape == c.shape == (2, 1, 4) and (h == 1).all() and not c.any()


def test_files_whose_variants_do_not_fit(tmp_path):
    layer = Layer("LSTM", 3, 4)
    arrays = {"weight_ih_l0": np.ones((16, 3)), "weight_hh_l0": np.ones((16, 4))}
    arrays |= {"bias_ih_l0": np.ones(16), "bias_hh_l0": np.ones(16)}
    for changed, more, says in (
        ({"peepholes": ("peephole_l0",)}, {}, "peephole_l0 is missing"),
        ({"merge": "sum"}, {}, "merge='sum' needs two directions"),
        ({"merge": "max"}, {}, "merge 'max' is not known"),
        ({"peepholes": ("peephole_l0",)}, {"peephole_l0": np.ones(5)}, r"\(5,\), \(12,\) is due"),
        ({"initial_state": ("initial_h",)}, {"initial_h": np.ones((3, 1, 4))}, "initial state"),
        ({"initial_state": ("initial_h",)}, {"initial_h": np.ones(4)}, "initial state"),
        ({"initial_state": ("initial_h",)}, {}, "initial state"),
        ({"clip": -1.0}, {}, "clip must be greater than zero"),
        ({"activations": ((Activation("swish"), TANH, TANH),)}, {}, "'swish' is not known"),
        ({"activations": ((Activation("tanh", 1.0), TANH, TANH),)}, {}, "tanh takes no alpha"),
    ):  # fmt: skip
        changed = dataclasses.replace(layer, **changed)
        own.write(tmp_path / "odd", {"": (changed, arrays | more)})
        with pytest.raises(LoadError, match=says):
            load(tmp_path / "odd")


def rewritten(path, change):
    """The file with its metadata's text changed."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    config = json.loads(header["__metadata__"]["fastlstm"])
    header["__metadata__"]["fastlstm"] = change(config)
    text = json.dumps(header, separators=(",", ":"))
    path.write_bytes(safetensors_bytes(text, raw[8 + length :]))


def changed(**fields):
    return lambda config: json.dumps({"version": 1, "layers": {"": config["layers"][""] | fields}})


BAD = {
    "version": (lambda c: json.dumps(c | {"version": 2}), "version 2.*use a newer one"),
    "no version": (lambda c: json.dumps({"layers": {}}), "malformed"),
    "text": (lambda c: "hello", "malformed"),
    "deep": (lambda c: "[" * 50_000, "malformed"),
    "list": (lambda c: "[]", "malformed"),
    "layers": (lambda c: json.dumps({"version": 1, "layers": []}), "malformed"),
    "field": (changed(colour="red"), "not those of version 1"),
    "kind": (changed(kind="Lambda"), "a layer is malformed"),
    "size": (changed(hidden_size=5), "does not fit its weights"),
    "type": (changed(hidden_size="4"), "a layer is malformed"),
    "bool": (changed(bias=0), "a layer is malformed"),
    "another kind": (changed(kind="GRU"), "does not fit its weights"),
    "direction": (changed(direction="up"), "a layer is malformed"),
    "activations": (changed(activations=[[["tanh", None, None]]]), "a layer is malformed"),
    "activation": (changed(activations=[[1, 2]]), "a layer is malformed"),
    "dropout": (changed(dropout=2.0), "a layer is malformed"),
    "no layer": (lambda c: json.dumps({"version": 1, "layers": {"x.": {"kind": "LSTM"}}}),
                 "does not fit"),
    "no dict": (lambda c: json.dumps({"version": 1, "layers": {"": 3}}), "not those"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_metadata_that_does_not_fit(tmp_path, name):
    change, says = BAD[name]
    path = tmp_path / "x"
    fastlstm.LSTM(3, 4).save(path)
    rewritten(path, lambda config: json.dumps(config))
    assert load(path).hidden_size == 4
    rewritten(path, change)
    with pytest.raises(LoadError, match=says):
        load(path)


def test_neither_safetensors_nor_pickle_is_needed(tmp_path):
    path = tmp_path / "x"
    fastlstm.GRU(3, 4).save(path)
    code = (
        "import sys; sys.modules['safetensors'] = None; import fastlstm\n"
        "print(fastlstm.load(sys.argv[1]).kind); fastlstm.LSTM(1, 1).save(sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "GRU\n", done.stderr
    assert load(path).kind == "LSTM"
