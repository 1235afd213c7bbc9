# SPDX-License-Identifier: MIT
"""Single rules of the readers, HDF5's and Keras'; and ONNX's limits. See test_load_rules.py."""

import struct

import h5py
import numpy as np
import onnx
import pytest
from load_corpus.build import Record, zip_bytes
from load_corpus.others import attribute, field, good_hdf5, model, node, onnx_tensor
from onnx import helper
from test_load_formats import refused
from test_load_keras import _gru, _model, old_weights
from test_load_onnx import model_of

from fastlstm import LoadError, load, read_state_dict
from fastlstm.files.hdf5 import file as hdf5
from fastlstm.files.onnx import wire as onnx_wire
from fastlstm.files.read import inspect
from fastlstm.files.source import Source
from fastlstm.variants import Activation

pytestmark = pytest.mark.once


class Nowhere:
    """A source for the parser, to find the places to break."""

    size = 0

    def error(self, *text):
        return AssertionError(text)


def places(data, path, kind):
    """Offsets of the messages of a kind in the object `path` ("/" the root)."""
    file = hdf5.Hdf5(Nowhere(), data)
    each = file.root if path == "/" else dict(hdf5.walk(file))[path]
    return each.address, [(start, size) for k, start, size in each.messages if k == kind]


def broken(path, at, raw, *says):
    """The file is refused once `raw` stands at `at`."""
    data = bytearray(path.read_bytes())
    assert data[at : at + len(raw)] != raw
    data[at : at + len(raw)] = raw
    path.write_bytes(data)
    refused(path, *says)


def made(path, write, libver="earliest"):
    with h5py.File(path, "w", libver=libver) as file:
        write(file)
    read_state_dict(path)
    return path, path.read_bytes()


NEWER = ("v108", "v108")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("MAX_OBJECTS", 2, "more than 2 objects"), ("MAX_LINKS", 2, "more than 2 names"),
     ("MAX_TEXT", 3, "more than 3 bytes"), ("MAX_MESSAGES", 2, "more than 2 messages"),
     ("MAX_DEPTH", 2, "nested deeper than 2")],
)  # fmt: skip
def test_limits(tmp_path, monkeypatch, name, value, says):
    path = tmp_path / "x.h5"
    path.write_bytes(good_hdf5())
    read_state_dict(path)
    monkeypatch.setattr(hdf5, name, value)
    refused(path, says)


def test_no_hdf5_where_keras_has_it(tmp_path):
    parts = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": bytes(100)}
    path = tmp_path / "x.keras"
    path.write_bytes(zip_bytes([Record(n, d) for n, d in parts.items()]))
    refused(path, "no HDF5 signature")


def _attributes(file):
    file["x"] = np.ones(3, "f4")
    file["y"] = np.ones(3, "f4")  # so that the first one's header cannot just grow
    file.flush()
    for n in range(6):
        file["x"].attrs[f"attribute {n}"] = "some text that needs room" * 9


@pytest.mark.parametrize("libver", ["earliest", NEWER], ids=str)
def test_headers_in_several_blocks(tmp_path, libver):
    """Attributes added later stand in continuations: found, of a size, and not circular."""
    path, data = made(tmp_path / "x.h5", _attributes, libver)
    address, found = places(data, "x", 0x10)
    assert found
    if libver == "earliest":
        (size,) = struct.unpack("<I", data[address + 8 : address + 12])
        broken(path, found[0][0], struct.pack("<QQ", address + 16, size), "many continuations")
    else:
        broken(path, data.find(b"OCHK"), b"NONE", "without its signature")


@pytest.mark.parametrize("libver", ["earliest", NEWER], ids=str)
def test_messages_longer_than_their_block(tmp_path, libver):
    path, data = made(tmp_path / "x.h5", lambda f: f.create_dataset("x", data=np.ones(3)), libver)
    _, ((start, _),) = places(data, "x", 1)
    at = start - 6 if libver == "earliest" else data.rfind(b"\1", 0, start) + 1
    broken(path, at, b"\xf0\xff", "runs past its block")


def test_a_newer_object_header(tmp_path):
    path, data = made(tmp_path / "x.h5", lambda f: f.create_dataset("x", data=np.ones(3)), NEWER)
    broken(path, data.find(b"OHDR") + 4, b"\x09", "object header version 9")


def test_attributes(tmp_path):
    """Few are in the header; many are stored densely; none may have another's name."""
    few = lambda f: f.attrs.update({"first": 1, "other": 2})  # noqa: E731
    path, data = made(tmp_path / "x.h5", few, NEWER)
    broken(path, data.find(b"other"), b"first", "two attributes 'first'")
    with h5py.File(path, "w", libver=NEWER) as file:
        file.attrs.update({f"{n}": n for n in range(20)})
    refused(path, "stored densely")
    for values in (np.arange(3), ["a", "b", "c"], [b"a", b"b", b"c"]):  # the second in a heap
        path, data = made(tmp_path / "y.h5", lambda f, values=values: f.attrs.create("a", values))
        _, ((start, size),) = places(data, "/", 0xC)
        at = data.find(struct.pack("<Q", 3), start, start + size)
        broken(path, at, struct.pack("<Q", 99), "shorter than its shape")


def test_heaps_that_overlap(tmp_path):
    """Their objects are counted: they take room in the file."""
    path, data = made(tmp_path / "y.h5", lambda f: f.attrs.create("a", ["a", "b", "c"]))
    file = hdf5.Hdf5(Source(path), data)
    file.heap_entries = 2
    with pytest.raises(LoadError, match="more objects than the file has room for"):
        file.root.attributes()


def test_bools_and_other_enumerations(tmp_path):
    def write(file):
        file["b"] = np.array([True, False] * 8)
        file["e"] = np.zeros(3, h5py.enum_dtype({"A": 0, "B": 1}, "i1"))

    path, data = made(tmp_path / "x.h5", write)
    assert list(read_state_dict(path)) == ["b"]
    _, ((start, _),) = places(data, "b", 1)
    broken(path, data.find(b"\1\0" * 8), b"\2", "neither 0 nor 1")
    path.write_bytes(data)
    broken(path, start, b"\x09", "dataspace of version 9")


# ---- Keras' configurations


ACTIVATIONS = {
    "linear": Activation("affine", 1.0, 0.0), "elu": Activation("elu", 1.0),
    "leaky_relu": Activation("leaky_relu", 0.2), "relu": Activation("relu"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(tmp_path, rng, name):
    """By name, or as the serialized function."""
    for value in (name, {"class_name": "function", "config": name}):
        config = _model("GRU", activation=value, recurrent_activation="sigmoid")
        path = old_weights(tmp_path / "g.h5", {"g": _gru(rng)}, config=config)
        assert inspect(path)[2]["g."].directions[0] == (Activation("sigmoid"), ACTIVATIONS[name])


def test_a_gru_of_weights_alone_without_biases(tmp_path, rng):
    weights = {n: a for n, a in _gru(rng).items() if "bias" not in n}
    path = old_weights(tmp_path / "g.h5", {"g": weights}, version="2.4.0")
    refused_layer(path, "pass reset_after=", activation="tanh")
    assert load(path, activation="tanh", reset_after=False).reset_after is False


def refused_layer(path, says, **options):
    with pytest.raises(LoadError) as caught:
        load(path, **options)
    assert says in str(caught.value)


def test_cudnns_layers_in_a_model(tmp_path, rng):
    path = old_weights(tmp_path / "g.h5", {"g": _gru(rng, flat=True)}, config=_model("CuDNNGRU"))
    assert load(path).reset_after


def test_an_rnn_of_keras_own_cell(tmp_path, rng):
    cell = {"class_name": "GRUCell", "config": {"units": 4, "recurrent_activation": "sigmoid"}}
    config = _model("RNN", cell=cell, go_backwards=True)
    layer = inspect(old_weights(tmp_path / "g.h5", {"g": _gru(rng)}, config=config))[2]["g."]
    assert (layer.kind, layer.direction, layer.problem) == ("GRU", "reverse", None)


def _two(rng, size=4):
    """The weights of two directions, the second of `size` units."""
    one, two = _gru(rng), _gru(rng, size)
    return {f"{side}_{n}": a for side, g in (("forward", one), ("backward", two))
            for n, a in g.items()}  # fmt: skip


_PLAIN = {"class_name": "GRU", "config": {"recurrent_activation": "sigmoid", "reset_after": False}}
_BACK = {"class_name": "GRU", "config": _PLAIN["config"] | {"go_backwards": True}}
BOTH = {
    "sizes": ({"layer": _PLAIN}, 5, "differ in kind or size"),
    "backwards": ({"layer": _BACK, "backward_layer": _PLAIN}, 4, "forward layer goes backwards"),
    "time": ({"layer": _PLAIN, "backward_layer": {
        "class_name": "GRU", "config": _BACK["config"] | {"time_major": True}}}, 4, "time_major"),
    "class": ({"layer": {"class_name": "Dense", "config": {}}}, 4, "class 'Dense' is not read"),
    "no config": ({"layer": {"class_name": "GRU"}}, 4, "it has no config"),
    "no config behind": ({"layer": _PLAIN, "backward_layer": {"class_name": "GRU"}}, 4,
                         "it has no config"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOTH)
def test_two_directions_that_do_not_fit(tmp_path, rng, name):
    config, size, says = BOTH[name]
    config = _model("Bidirectional", **config)
    refused_layer(old_weights(tmp_path / "b.h5", {"g": _two(rng, size)}, config=config), says)


def test_layers_whose_weights_are_not_there(tmp_path, rng):
    """Under another name; or with a bias that fits none."""
    config = _model("GRU")
    path = old_weights(tmp_path / "g.h5", {"other": _gru(rng)}, config=config)
    refused_layer(path, "its weights are not in the file")
    odd = _gru(rng) | {"g/bias:0": np.ones(5, "f4")}
    path = old_weights(tmp_path / "h.h5", {"g": odd}, config=config)
    refused_layer(path, "its weights are not in the file")


# ---- ONNX


def test_counts_and_lengths_in_onnx(tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    path.write_bytes(model([b"\x0a\0"] * 60_000))
    refused(path, "far more memory than the file is long")
    floats = attribute("activation_alpha", 7, b"abc")
    tensors = [onnx_tensor(n, np.ones((1, 8, k), "<f4")) for n, k in (("W", 1), ("R", 2))]
    path.write_bytes(model([node("LSTM", ["X", "W", "R"], ["y"], [floats])], tensors))
    refused(path, "floats of odd length")
    path.write_bytes(model([node("Add", ["a", "b"], ["c"])]))
    monkeypatch.setattr(onnx_wire, "MAX_FIELDS", 5)
    refused(path, "more than 5 fields")


def test_long_chains_and_functions(tmp_path):
    """A constant computed over 70 nodes is none; a function's body is looked into."""
    chain = [helper.make_node("Identity", [f"v{n}"], [f"v{n + 1}"]) for n in range(70)]
    chain.append(helper.make_node("LSTM", ["X", "v70", "R"], ["y"], hidden_size=4))
    stored = {"v0": np.ones((1, 16, 3), "f4"), "R": np.ones((1, 16, 4), "f4")}
    onnx.save(model_of(chain, ["X"], ["y"], stored), tmp_path / "c.onnx")
    refused_layer(tmp_path / "c.onnx", "is not a constant")
    inner = node("LSTM", ["X", "W", "R"], ["y"], [attribute("hidden_size", 3, 2)])
    tensors = [onnx_tensor(n, np.ones((1, 8, k), "<f4")) for n, k in (("W", 1), ("R", 2))]
    whole = model([], tensors) + field(25, field(1, "f") + field(4, "X") + field(7, inner))
    (tmp_path / "f.onnx").write_bytes(whole)
    ((_, layer),) = inspect(tmp_path / "f.onnx")[2].items()
    assert "is not a constant" in layer.problem
