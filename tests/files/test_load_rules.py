# SPDX-License-Identifier: MIT
"""Single rules of the readers that the other files of these tests do not come to: pickles and
containers. Every branch of fastlstm/files is run by tests/test_load_*.py."""

import json
import struct

import h5py
import numpy as np
import onnx
import pytest
from load_corpus.build import (
    FALSE,
    Record,
    call,
    checkpoint,
    dict_of,
    name_of,
    number,
    records,
    storage,
    tensor,
    text,
    tuple_of,
    zip_bytes,
)
from load_corpus.others import GOOD_PICKLE, npy
from load_corpus.targets import TARGETS
from onnx import TensorProto, helper
from test_load_formats import refused
from test_load_keras import _gru, _model, old_weights
from test_load_onnx import model_of, only_layer

import fastlstm
from fastlstm import LoadError, load, read_state_dict
from fastlstm.files.find import find
from fastlstm.files.keras.cell import Cell
from fastlstm.files.read import inspect, read_layers
from fastlstm.files.safetensors import layers as own
from fastlstm.variants import Activation, Layer

pytestmark = pytest.mark.once


def put(path, data):
    path.write_bytes(data)
    return path


def test_unknown_arguments(tmp_path):
    path = put(tmp_path / "x.pt", checkpoint(dict_of(w=tensor())))
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        inspect(path, nonsense=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        read_layers(path, {"nonsense": 1})


def test_what_looks_like_a_cell_and_fits_none_is_left_alone():
    """Names without _l0 are common: no layer, and no complaint."""
    arrays = {"a.weight_ih": np.ones((8, 3), "f4"), "a.weight_hh": np.ones((7, 2), "f4")}
    assert find(arrays).layers == {}


# ---- pickles


def test_depth_that_grows_after_the_outer_list_was_made(tmp_path):
    first = b"]" * 60 + b"a" * 59 + b"q\0"
    second = b"]" * 60 + b"q\1" + b"a" * 59
    body = b"]" + first + b"a" + second + b"a" + b"h\1h\0a0"
    refused(put(tmp_path / "x.pt", checkpoint(body)), "nested deeper than 100")


def test_more_opcodes_than_any_checkpoint_has(tmp_path):
    body = b"\x80\2" + b"N0" * 500_001 + b"N."
    refused(put(tmp_path / "x.pt", checkpoint(body)), "more than 1000000 opcodes")


def test_tensors_of_rarer_forms(tmp_path):
    """An empty dict of metadata; sizes given as a list; both are read."""
    plain = tensor(tail=(FALSE, name_of("collections.OrderedDict") + b")R", b"}"))
    sizes = name_of("torch.Size") + b"](K\1K\4e\x85R"
    path = put(tmp_path / "x.pt", checkpoint(dict_of(w=plain, s=sizes)))
    assert read_state_dict(path)["w"].tolist() == [1, 2, 3, 4]
    untyped = storage("torch.storage.UntypedStorage", count=15)
    odd = call(
        "torch._utils._rebuild_tensor_v3", untyped, number(0), tuple_of(number(1)),
        tuple_of(number(1)), FALSE, name_of("collections.OrderedDict") + b")R",
        name_of("torch.float32"),
    )  # fmt: skip
    data = checkpoint(dict_of(w=odd), {"0": bytes(15)})
    refused(put(tmp_path / "y.pt", data), "15 bytes cannot be float32")


def test_a_storage_told_twice(tmp_path):
    """In a stream, with two counts."""
    one, two = (
        call("torch._utils._rebuild_tensor_v2",
             tuple_of(text("storage"), name_of("torch.FloatStorage"), text("0"), text("cpu"),
                      number(n), b"N") + b"Q", number(0), tuple_of(number(1)),
             tuple_of(number(1)), FALSE, name_of("collections.OrderedDict") + b")R")
        for n in (1, 2)
    )  # fmt: skip
    magic = b"\x80\2" + bytes.fromhex("8a0a6cfc9c46f9206aa85019") + b"."
    body = magic + b"\x80\2M\xe9\3." + b"\x80\2}." + b"\x80\2" + dict_of(a=one, b=two) + b"."
    refused(put(tmp_path / "x.pt", body + b"\x80\2]."), "told twice")


def test_named_tuples_in_torchscript(tmp_path):
    """A class of the code called with values: their tensors are numbered."""
    body = dict_of(pair=name_of("__torch__.m.Pair") + tuple_of(tensor(), number(3)) + b"R")
    parts = [*records(body), Record("a/code/m.py", b"x")]
    path = put(tmp_path / "x.pt", zip_bytes(parts))
    assert list(read_state_dict(path)) == ["pair.0"]


NUMPY = {
    "no name": (b"cnumpy\ndtype\n)R.", "a dtype needs a name"),
    "sizes": (GOOD_PICKLE[2:].replace(b"K\4\x85", b"K\4", 1), "bytes and a tuple"),
    "buffer": (b"cnumpy._core.numeric\n_frombuffer\nN\x85R.", "bytes, dtype, sizes"),
    "encode": (b"c_codecs\nencode\n" + text("a") + b"\x85R.", "text and 'latin1'"),
    "wide": (b"c_codecs\nencode\n" + tuple_of(text("\u0100"), text("latin1")) + b"R.",
             "characters that are no bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY)
def test_pickled_arrays_in_wrong_parts(tmp_path, name):
    body, says = NUMPY[name]
    refused(put(tmp_path / "x.pkl", b"\x80\4" + body), says)


def test_a_pickle_larger_than_the_limit(tmp_path):
    with (tmp_path / "x.pkl").open("wb") as file:
        file.write(b"\x80\4]")
        file.truncate((64 << 20) + 1)
    refused(tmp_path / "x.pkl", "a pickle of 67108865 bytes")


def test_an_npy_header_that_is_too_long(tmp_path):
    data = bytearray(npy("{}", bytes(200)))
    data[8:10] = b"\xff\xff"
    refused(put(tmp_path / "x.npz", zip_bytes([Record("w.npy", bytes(data))])), "10000 is")


# ---- our own file


def test_too_many_layers_for_the_metadata(tmp_path):
    layer = Layer("RNN", 1, 1)
    with pytest.raises(ValueError, match="bytes of metadata"):
        own.write(tmp_path / "x", {f"{n}{'a' * 200}.": (layer, {}) for n in range(4000)})
    assert not (tmp_path / "x").exists()


def test_an_initial_state_that_is_not_there(tmp_path):
    """The metadata names it, the file has no such array."""
    told = {"version": 1, "layers": {"": {"kind": "RNN", "input_size": 1, "hidden_size": 1,
                                          "initial_state": ["initial_h"]}}}  # fmt: skip
    path = put(tmp_path / "x", TARGETS["fastlstm"].build(json.dumps(told).encode()))
    with pytest.raises(LoadError, match="its initial state: its arrays are missing"):
        load(path)


def test_variants_of_our_own_file_that_do_not_fit(tmp_path):
    """A clip of nonsense; peepholes that are not there."""
    weights = fastlstm.LSTM(1, 1).state_dict()
    for fields, says in (
        ({"clip": -1.0}, "clip"), ({"peepholes": ("peephole_l0",)}, "peephole_l0 is missing"),
    ):  # fmt: skip
        own.write(tmp_path / "x", {"": (Layer("LSTM", 1, 1, **fields), weights)})
        with pytest.raises(LoadError, match=says):
            load(tmp_path / "x")


def test_names_of_a_file_are_shown_safely(tmp_path):
    """Nothing of a file reaches a terminal as a control character."""
    escape = ((Activation("\x1b[2J"),),)
    weights = fastlstm.RNN(1, 1).state_dict()
    own.write(tmp_path / "x", {"": (Layer("RNN", 1, 1, activations=escape), weights)})
    (layer,) = inspect(tmp_path / "x")[2].values()
    assert r"\x1b[2J" in str(layer) and str(layer).isprintable()


# ---- HDF5 and Keras


HEAP = 2048  # where it is in the file below


@pytest.mark.parametrize(
    "form, old, new, reason",
    [
        ("IQI", (8, HEAP, 1), (0, 0, 0), None),  # an empty text needs no heap
        ("IQI", (8, HEAP, 1), (8, HEAP, 9), "has no object 9"),
        ("IQI", (8, HEAP, 1), (8, HEAP + 8, 1), "a global heap is due"),
        ("IQI", (8, HEAP, 1), (9, HEAP, 1), "shorter than told"),
        ("3B5xQ", (1, 1, 1, 1), (1, 9, 1, 1), "a dataspace is malformed"),
        ("3B5xQ", (1, 1, 1, 1), (3, 1, 1, 1), "a dataspace of version 3"),
    ],
)
def test_a_text_in_a_heap(tmp_path, form, old, new, reason):
    with h5py.File(tmp_path / "x", "w") as file:
        file.attrs.create("a", ["eight by"], dtype=h5py.string_dtype())
        file["b"] = np.ones(2, "f4")
    data = (tmp_path / "x").read_bytes()
    assert data.index(b"GCOL") == HEAP
    assert data.count(struct.pack(f"<{form}", *old)) == 1
    data = data.replace(struct.pack(f"<{form}", *old), struct.pack(f"<{form}", *new))
    path = put(tmp_path / "y", data)
    if reason:
        with pytest.raises(LoadError, match=reason):
            read_state_dict(path)
    else:
        assert list(read_state_dict(path)) == ["b"]


def test_attributes_and_datasets_without_a_value(tmp_path):
    with h5py.File(tmp_path / "x", "w") as file:
        file.attrs["a"] = h5py.Empty("f4")
        file["b"], file["c"] = np.ones(2, "f4"), h5py.Empty("f4")
    assert "b" in read_state_dict(tmp_path / "x")


def test_kernels_of_no_cell():
    square, wide = np.ones((2, 2), "f4"), np.ones((3, 8), "f4")
    for parts in [
        (None, wide),
        (wide, square[0]),
        (wide, wide[:0]),
        (wide, wide.astype(int)),
        (wide, wide),
    ]:
        assert Cell.of([*parts, None]) is None


def test_configurations_as_no_keras_writes_them(tmp_path, rng):
    """Too long; nested too deeply; with items that are no layers: none of them is a layer."""
    model = _model("GRU", reset_after=False, recurrent_activation="sigmoid")
    weights = {"g": _gru(rng)}
    path = old_weights(tmp_path / "a.h5", weights, config=model | {"x": "y" * (2 << 20)})
    refused(path, "a configuration of", "2097152 is the limit")
    model["config"] += [{"class_name": "Odd", "config": 3}, {"config": {}}, 5]
    (layer,) = inspect(old_weights(tmp_path / "b.h5", weights, config=model))[2].values()
    assert layer.problem is None
    deep = model
    for n in range(40):
        deep = {"class_name": "Sequential", "config": {"name": f"{n}", "layers": [deep]}}
    assert inspect(old_weights(tmp_path / "c.h5", weights, config=deep))[2] == {}


def test_more_layers_than_are_looked_at(tmp_path):
    items = [{"class_name": "GRU", "config": {}}] * 10_001
    path = old_weights(tmp_path / "a.h5", {}, config={"class_name": "M", "config": items})
    assert len(inspect(path)[2]) == 10_000


def test_a_model_inside_a_model(tmp_path, rng):
    inner = _model("GRU", reset_after=False, recurrent_activation="sigmoid")
    inner["config"] = {"name": "inner", "layers": inner["config"]}
    model = {"class_name": "Sequential", "config": {"name": "outer", "layers": [inner]}}
    path = old_weights(tmp_path / "a.h5", {"inner": _gru(rng)}, config=model)
    ((prefix, layer),) = inspect(path)[2].items()
    assert (prefix, layer.problem) == ("inner/g.", None)


def test_half_of_a_bidirectional_layer(tmp_path, rng):
    """In weights alone: what is there is a layer by itself."""
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        for n, array in enumerate(_gru(rng).values()):
            file[f"layers/bidirectional/forward_layer/cell/vars/{n}"] = array
    (layer,) = inspect(tmp_path / "w.weights.h5", activation="tanh")[2].values()
    assert layer.direction == "forward" and not layer.reset_after


# ---- ONNX


def _lstm(**changes):
    """A model of one LSTM, inputs by role; gives (its bytes)."""
    stored = {"W": np.ones((1, 16, 3), "f4"), "R": np.ones((1, 16, 4), "f4")} | changes
    names = [n if n in stored else "" for n in ("B", "lengths", "h", "c", "P")]
    lstm = helper.make_node("LSTM", ["X", "W", "R", *names], ["y"], hidden_size=4, name="n")
    return model_of([lstm], ["X"], ["y"], stored)


def test_constant_inputs_of_an_lstm(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(_lstm(P=np.zeros((1, 12), "f4")), path)
    assert only_layer(path)[1].peepholes == ()
    for stored, says in (
        ({"lengths": np.array([3], np.int32)}, "sequence lengths are constants"),
        ({"h": np.ones((1, 2, 5), "f4")}, "initial_h ('h') has the shape (1, 2, 5)"),
        ({"W": np.ones((1, 16, 0), "f4")}, "has the shape (1, 16, 0)"),
    ):
        onnx.save(_lstm(**stored), path)
        assert says in only_layer(path)[1].problem


def test_quantised_weights_that_do_not_fit(tmp_path):
    stored = {"W": np.ones((1, 3, 16), "i1"), "R": np.ones((1, 4, 16), "i1"),
              "s": np.ones((1, 5), "f4"), "z": np.zeros((1, 5), "i1")}  # fmt: skip
    node = helper.make_node(
        "DynamicQuantizeLSTM", ["X", "W", "R", "", "", "", "", "", "s", "z", "s", "z"], ["y"],
        domain="com.microsoft", hidden_size=4,
    )  # fmt: skip
    onnx.save(model_of([node], ["X"], ["y"], stored), tmp_path / "q.onnx")
    assert "do not fit together" in only_layer(tmp_path / "q.onnx")[1].problem


def test_constants_of_every_kind(tmp_path):
    """Constant nodes that hold no tensor; what cannot be folded is no constant."""
    make = helper.make_node
    nodes = [
        make("Constant", [], ["f"], value_float=0.5), make("Constant", [], ["i"], value_int=3),
        make("Constant", [], ["fs"], value_floats=[1.0, 2.0]),
        make("Constant", [], ["is"], value_ints=[1, 16, 4]),
        make("Constant", [], ["t"], value_string="text"),
        make("Reshape", ["V", "is"], ["R"]),
        make("LSTM", ["X", "W", "R"], ["y"], hidden_size=4),
        make("LSTM", ["X", "t", "R"], ["y1"], hidden_size=4),
    ]  # fmt: skip
    stored = {"V": np.arange(64, dtype="f4"), "W": np.ones((1, 16, 3), "f4")}
    path = tmp_path / "c.onnx"
    onnx.save(model_of(nodes, ["X"], ["y"], stored), path)
    first, second = inspect(path)[2].values()
    assert first.problem is None and "is not a constant" in second.problem
    assert set(read_state_dict(path)) >= {"V", "W"}


FOLDS = {
    "squeeze": (helper.make_node("Squeeze", ["V"], ["W"]), (1, 1, 16, 3), "has the shape (16, 3)"),
    "squeeze axes": (helper.make_node("Squeeze", ["V"], ["W"], axes=[0]), (1, 1, 16, 3), None),
    "slice": (helper.make_node("Slice", ["V"], ["W"], starts=[0], ends=[-99], axes=[1]),
              (1, 16, 3), "has the shape (1, 0, 3)"),
    "blocks": (helper.make_node("DequantizeLinear", ["V", "s"], ["W"], block_size=2), (1, 16, 3),
               "is not a constant"),
    "strange type": (helper.make_node("Cast", ["V"], ["W"], to=TensorProto.FLOAT8E5M2), (1, 16, 3),
                     "is not a constant"),
    "keep zeros": (helper.make_node("Reshape", ["V", "z"], ["W"], allowzero=1), (1, 16, 0),
                   "has the shape (0, 16, 1)"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDS)
def test_folding(tmp_path, name):
    node, shape, says = FOLDS[name]
    stored = {"V": np.ones(shape, "f4"), "R": np.ones((1, 16, 4), "f4"),
              "s": np.ones(1, "f4"), "z": np.array([0, 16, 1])}  # fmt: skip
    lstm = helper.make_node("LSTM", ["X", "W", "R"], ["y"], hidden_size=4)
    onnx.save(model_of([node, lstm], ["X"], ["y"], stored), tmp_path / "f.onnx")
    problem = only_layer(tmp_path / "f.onnx")[1].problem
    assert problem is None if says is None else says in problem


def test_bfloat16_and_float16_in_onnx(tmp_path):
    """bfloat16 as float32; both, raw and one by one."""
    real = np.array([1.5, -2, 3e38, 0], np.float32)
    bits = (real.view(np.uint32) >> 16).astype(np.uint16)
    raw = TensorProto(name="raw", data_type=16, dims=[4], raw_data=bits.tobytes())
    single = TensorProto(name="single", data_type=16, dims=[4], int32_data=bits.tolist())
    half = helper.make_tensor("half", TensorProto.FLOAT16, [2], [1.5, -2.0])
    model = model_of([helper.make_node("Identity", ["X"], ["y"])], ["X"], ["y"])
    model.graph.initializer.extend([raw, single, half])
    onnx.save(model, tmp_path / "b.onnx")
    found = read_state_dict(tmp_path / "b.onnx")
    due = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(found["raw"], due) and np.array_equal(found["single"], due)
    assert found["half"].dtype == np.float16 and found["half"].tolist() == [1.5, -2]


def test_floats_one_by_one_without_packing(tmp_path):
    """A protobuf writer may put a key before each number."""
    from load_corpus.others import field, model

    body = b"".join(b"\x25" + struct.pack("<f", n) for n in (1, 2))
    wide = b"".join(b"\x51" + struct.pack("<d", n) for n in (3, 4))
    tensors = [field(1, 2) + field(2, 1) + field(8, "f") + body,
               field(1, 2) + field(2, 11) + field(8, "d") + wide]  # fmt: skip
    found = read_state_dict(put(tmp_path / "x.onnx", model([], tensors)))
    assert found["f"].tolist() == [1, 2] and found["d"].tolist() == [3, 4]
    for odd in (body[:5], field(4, b"\0" * 4) * 3, body[:5] + field(4, 1)):
        tensor = field(1, 2) + field(2, 1) + field(8, "f") + odd
        refused(put(tmp_path / "y.onnx", model([], [tensor])), "2 elements are due")
    halves = field(4, struct.pack("<f", 1)) + field(4, struct.pack("<f", 2))
    path = put(tmp_path / "z.onnx", model([], [field(1, 2) + field(2, 1) + field(8, "f") + halves]))
    assert read_state_dict(path)["f"].tolist() == [1, 2]


def test_external_data_in_wrong_places(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(16))
    for entries, says in (
        ({"location": "w.bin", "offset": "x"}, "is no number"),
        ({"location": "w.bin", "offset": "-1"}, "16 bytes are due"),
        ({"location": "w.bin", "length": "3"}, "16 bytes are due"),
        ({"location": "w.bin", "offset": "1"}, "16 bytes from 1 of a file of 16"),
        ({"location": "none.bin"}, "No such file"),
    ):
        tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=1)
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        model = model_of([helper.make_node("Identity", ["X"], ["y"])], ["X"], ["y"])
        model.graph.initializer.append(tensor)
        path = put(tmp_path / "m.onnx", model.SerializeToString())
        with pytest.raises(LoadError, match=says):
            read_state_dict(path, external_data=True)
        assert read_state_dict(path) == {}


def test_sums_of_products_that_are_no_lstm(tmp_path):
    make = helper.make_node
    nodes = [
        make("Sigmoid", ["a"], ["s"]), make("Mul", ["s", "X"], ["m"]),
        make("Add", ["m", "X"], ["p"]), make("Add", ["m", "m"], ["q"]),
        make("Add", ["s", "m"], ["r"]),
    ]  # fmt: skip
    onnx.save(model_of(nodes, ["X", "a"], ["q"]), tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx")[2] == {}
