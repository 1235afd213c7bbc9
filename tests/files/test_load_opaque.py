# SPDX-License-Identifier: MIT
"""What stands beside the tensors of a checkpoint is inert, listed, and no reason to refuse it.

RELIABILITY: the audit hook sees nothing run, imported or opened, and the bounds of time and memory
hold, for files whose pickles name and make objects of every kind.
"""

import collections
import json
import pickle
import struct

import numpy as np
import pytest
import torch
from conftest import not_with_asan
from load_corpus import objects, opaque
from load_corpus.build import (
    DATA,
    FALSE,
    ORDERED,
    Record,
    call,
    checkpoint,
    dict_of,
    name_of,
    number,
    storage,
    tensor,
    text,
    tuple_of,
    zip_bytes,
)
from test_load_hostile import CALLS, SECONDS, _child, _within, linux

import fastlstm
from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.cli.main import main
from fastlstm.files.read import contents, inspect
from fastlstm.files.source import show

pytestmark = pytest.mark.once

MADE = dict(objects.made_cases())
SAVED = {name: (data, value) for name, data, value in opaque.saved_cases()}
# Values without a class of their own, or of which the tensors' names are all there is to tell.
PLAIN = {
    "optimizer-state", "scheduler", "defaultdict", "deque", "counter", "ordered", "list", "set",
    "frozenset", "complex", "bytes", "bytearray", "random-state", "big-int", "size", "device",
    "loop", "numpy-number", "numpy-bool", "numpy-dtype", "numpy-time", "numpy-text", "tuple-key",
    "enum-key", "class-key", "frozenset-key", "path-key", "device-key",
}  # fmt: skip


def put(path, data):
    path.write_bytes(data)
    return path


def refused(path, *says):
    with pytest.raises(LoadError) as caught:
        read_state_dict(path)
    for each in (str(path), *says):
        assert each in str(caught.value)


def test_the_corpus_is_large():
    assert len(MADE) >= 60 and len(SAVED) >= 200
    assert len(set(MADE.values())) == len(MADE)


@pytest.mark.parametrize("name", SAVED)
def test_saved_files_are_read_but_for_what_is_opaque(memory_path, name):
    """torch's own files: the layer is loaded to the bit, and the value beside it is listed."""
    data, _ = SAVED[name]
    path = put(memory_path / "x.pt", data)
    state = {f"state_dict.{key}": value for key, value in opaque.lstm().state_dict().items()}
    arrays = read_state_dict(path)
    assert list(arrays) == list(state)
    assert all(np.array_equal(arrays[key], state[key].numpy()) for key in state)
    layer = load(path)
    assert (layer.input_size, layer.hidden_size) == (2, 3)
    found = contents(path)[1]
    listed = {key for key in found.opaque | found.unread if key.split(".")[0] == "beside"}
    assert listed if name.rsplit("-", 2)[0] not in PLAIN else not listed
    unread = name.rsplit("-", 2)[0] in opaque.unread_tensors()
    assert set(found.unread) == ({"beside"} if unread else set())


@pytest.mark.parametrize("name", MADE)
def test_made_files_are_read_but_for_what_is_opaque(tmp_path, monkeypatch, name):
    """Attacks, and every opcode that makes or changes an object: the tensor beside is read."""
    monkeypatch.chdir(tmp_path)
    found = contents(put(tmp_path / "x.pt", MADE[name]))[1]
    assert {key: array.tolist() for key, array in found.arrays.items()} == {"w": [1, 2, 3, 4]}
    assert all(what.isprintable() for what in (found.opaque | found.unread).values())
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
    if name in objects.ATTACKS:
        assert set(found.opaque) == {"beside"}


def test_what_is_listed(tmp_path):
    """The class by its name, whatever BUILD sets; a function; a tensor's kind."""
    for name, says in {
        "build": "an object of 'm.C'", "newobj-ex": "an object of 'm.C'",
        "inst": "an object of 'os.system'", "lambda": "the name '__main__.<lambda>'",
        "reduce-of-object": "an object of 'functools.partial'",
        "reconstructor": "an object of 'm.C'", "module-id": "an object of 'm.C'",
        "ext1": "the name 'copyreg.extension 1'", "holds-itself": "an object of 'm.C'",
        "escape": r"an object of '\x1b[2J.\n\u202e'",
    }.items():  # fmt: skip
        found = contents(put(tmp_path / "x.pt", MADE[name]))[1]
        assert (found.opaque, found.unread) == ({"beside": says}, {}), name
    found = contents(put(tmp_path / "x.pt", MADE["reconstructor-dict"]))[1]
    assert found.opaque == {"beside.a": "an object of 'm.C'"}
    for name, says in {
        "quantised": "a quantised tensor", "sparse": "a sparse tensor",
        "from-type": "a tensor of the class 'm.C'", "parameter-of-object": "a parameter of 'm.C'",
    }.items():  # fmt: skip
        found = contents(put(tmp_path / "x.pt", MADE[name]))[1]
        assert (found.opaque, found.unread) == ({}, {"beside": says}), name


def test_nothing_is_run_imported_or_opened(tmp_path):
    """An audit hook sees all of these files being loaded: only `open`, only of them."""
    for name, data in MADE.items():
        put(tmp_path / f"made-{name}", data)
    for name, (data, _) in SAVED.items():
        put(tmp_path / f"saved-{name}", data)
    paths = sorted(map(str, tmp_path.iterdir()))
    report = _child("audit", *paths)
    assert set(report["events"]) == {"open", "builtins.id"}
    assert report["opened"] == paths
    assert report["refused"] == len(MADE)  # load_all: they have no layer


@linux
@not_with_asan
def test_time_and_memory(tmp_path):
    """BUILD bombs, chains of REDUCE, cycles: within the bounds of every other file."""
    for name, data in objects.bombs():
        put(tmp_path / name, data)
    report = _child("cost", *sorted(tmp_path.iterdir()))
    assert len(report) > 30
    read = set()
    for name, found in report.items():
        path = tmp_path / name
        pieces = max(1, path.stat().st_size / 65536)
        _within(path, found, CALLS * pieces, SECONDS * pieces)
        if found[0] == "1 arrays":
            read.add(path.name)
        else:
            limit = ("far more memory", "tensor names")
            assert any(each in found[0] for each in limit), (name, found[0])
    assert read >= {
        "build-one-state", "build-nested", "newobj-wide", "globals", "cycle", "cycles-wide", "ring",
        "web", "laughs", "names-long", "names-wide", "keys-colliding", "padded-objects",
        "padded-named", "quantised-storages",
    }  # fmt: skip


# ---- objects that are dicts or lists, and keys


class Config(dict):
    """A dict with attributes."""


def test_tensors_in_objects_that_hold_items_are_found(tmp_path):
    """As a dict's or a list's, in every protocol; those in attributes and arguments are not."""
    one = torch.ones(2)
    config = Config(a=one)
    config.attribute = torch.zeros(7)
    value = {
        "default": collections.defaultdict(list, {"a": {"b": one}}),
        "config": config,
        "deque": collections.deque([0, one], maxlen=4),
        "ordered": collections.OrderedDict(x=one),
        "namespace": torch.nn.Linear(2, 2),
    }
    for protocol in (1, 2, 4, 5):
        for legacy in (False, True):
            path = put(tmp_path / "x.pt", opaque.saved(value, legacy, protocol))
            assert list(read_state_dict(path)) == [
                "default.a.b",
                "config.a",
                "deque.1",
                "ordered.x",
            ]
            assert list(contents(path)[1].opaque) == ["namespace"]


def test_keys_that_are_no_text(tmp_path):
    """As Python prints them; an object by its class and its place in the dict."""
    path, one = tmp_path / "x.pt", torch.ones(1)
    keys = {
        3: "3", -2: "-2", True: "True", None: "None", 2.5: "2.5", ("a", 1): "('a', 1)",
        ("b",): "('b',)", (): "()", b"raw": "<key 8>",
        opaque._Colour.RED: "<load_corpus.opaque._Colour 9>",
        torch.nn.LSTM: "<torch.nn.modules.rnn.LSTM 10>", (("a", 1), 2): "<key 11>",
        torch.device("cpu"): "<key 12>",
    }  # fmt: skip
    torch.save({"w": dict.fromkeys(keys, one)}, path)
    assert list(read_state_dict(path)) == [f"w.{name}" for name in keys.values()]
    layer = opaque.lstm()
    torch.save({("model", 0): layer.state_dict(), ("model", 1): layer.state_dict()}, path)
    assert list(load_all(path)) == ["('model', 0).", "('model', 1)."]
    assert load(path, "('model', 1)").hidden_size == 3


def test_a_tuple_key_of_very_long_texts(tmp_path):
    key = tuple_of(text("k" * 5000))
    path = put(tmp_path / "x.pt", checkpoint(b"}" + key + tensor() + b"s"))
    assert list(read_state_dict(path)) == ["<key 0>"]


def test_containers_that_contain_themselves(tmp_path):
    """Their tensors have the names that lead to them first."""
    state = {"w": torch.ones(2), "more": [torch.zeros(1)]}
    state["self"] = state
    state["more"].append(state)
    torch.save({"a": state, "more": state["more"]}, tmp_path / "x.pt")
    assert list(read_state_dict(tmp_path / "x.pt")) == ["a.w", "a.more.0", "more.0"]


def test_shared_objects_are_listed_once(tmp_path):
    module = torch.nn.Linear(1, 1)
    shared = {"m": module}
    value = {"w": torch.ones(1), "a": shared, "b": shared, "c": module}
    torch.save(value, tmp_path / "x.pt")
    assert list(contents(tmp_path / "x.pt")[1].opaque) == ["a.m"]


# ---- tensors of kinds that are not read


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "stream"])
@pytest.mark.parametrize("kind", opaque.unread_tensors())
def test_a_layer_that_needs_an_unread_tensor_is_refused_by_its_name(tmp_path, kind, legacy):
    path = tmp_path / "x.pt"
    good = {f"good.{name}": value for name, value in opaque.lstm().state_dict().items()}
    bad = {f"bad.{name}": value for name, value in opaque.lstm().state_dict().items()}
    bad["bad.weight_hh_l0"] = opaque.unread_tensors()[kind]
    put(path, opaque.saved({**bad, **good}, legacy))
    why = contents(path)[1].unread["bad.weight_hh_l0"]
    assert load(path, "good").hidden_size == 3
    with pytest.raises(LoadError) as caught:
        load(path, "bad")
    assert f"prefix 'bad.': weight_hh_l0 is {why}, which is not read" in str(caught.value)
    assert "bad.weight_hh_l0" not in read_state_dict(path)
    assert len(read_state_dict(path)) == 7


def test_a_cell_that_needs_an_unread_tensor(tmp_path):
    state = torch.nn.GRUCell(2, 3).state_dict()
    state["weight_ih"] = state["weight_ih"].to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(LoadError, match="weight_ih_l0 is a tensor of dtype 'float8_e4m3fn'"):
        load(tmp_path / "x.pt")


def test_files_of_nothing_that_is_read_say_what_they_hold(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"w": torch.eye(3).to_sparse()}, path)
    refused(path, "no tensor in it can be read: 'w' is a sparse tensor")
    torch.save(torch.eye(3).to_sparse(), path)
    refused(path, "a sparse tensor, which is not read")
    for legacy in (False, True):
        put(path, opaque.saved({"epoch": 1, "model": torch.nn.LSTM(2, 3)}, legacy))
        refused(path, "'model' is an object of 'torch.nn.modules.rnn.LSTM'", "model.state_dict()")
    many = {f"{n}": torch.ones(2).to_sparse() for n in range(8)}
    torch.save(many, path)
    refused(path, "'4' is a sparse tensor; and 3 more")
    torch.save({"epoch": 1, "args": opaque._Data()}, path)
    assert read_state_dict(path) == {}  # no tensor was there
    torch.save({"model": torch.nn.LSTM(2, 3), "lr": torch.ones(1)}, path)
    with pytest.raises(LoadError) as caught:
        load(path)
    said = (
        "1 arrays: none is named like a recurrent layer's (weight_ih_l0); 'model' is an object of"
    )
    assert said in str(caught.value) and "which is not looked into" in str(caught.value)


def test_more_objects_than_are_listed(tmp_path):
    data, _ = SAVED["many-zip-2"]
    found = contents(put(tmp_path / "x.pt", data))[1]
    assert len(found.opaque) == 1000 and "beside.999" in found.opaque


# ---- old picklers


def _python2():
    """What Python 2's pickler of protocol 2 wrote in a stream: text as byte strings, an OrderedDict
    of a list of pairs."""
    pid = (b"(U\7storage" + name_of("torch.FloatStorage") + b"U\x010U\3cpuK\4Nt") + b"Q"
    v1 = call("torch._utils._rebuild_tensor", pid, b"K\0", tuple_of(b"K\4"), tuple_of(b"K\1"))
    pairs = b"](]U\1wa" + v1 + b"ae"
    body = name_of("collections.OrderedDict") + pairs + b"\x85R"
    return body + b"}U\x09_metadataU\2\xff\xfesb"


def test_a_stream_of_python_2(tmp_path):
    magic = b"\x80\2" + bytes.fromhex("8a0a6cfc9c46f9206aa85019") + b"."
    head = magic + b"\x80\2M\xe9\3." + b"\x80\2}U\x0dlittle_endian\x88s."
    data = head + b"\x80\2" + _python2() + b"." + b"\x80\2]U\x010a." + struct.pack("<Q", 4) + DATA
    assert read_state_dict(put(tmp_path / "x", data))["w"].tolist() == [1, 2, 3, 4]


def test_a_storage_that_is_a_view_of_another(tmp_path):
    """In a stream. Its tensor is left out, the others are read."""

    def stored(view):
        pid = tuple_of(text("storage"), name_of("torch.FloatStorage"), text("0"), text("cpu"),
                       number(4), view) + b"Q"  # fmt: skip
        return tensor(pid, size=(2,))

    magic = b"\x80\2" + bytes.fromhex("8a0a6cfc9c46f9206aa85019") + b"."
    view = tuple_of(text("7"), number(1), number(2))
    untyped = stored(view).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v3")
    untyped = untyped[:-2] + name_of("torch.float32") + b"tR"
    body = dict_of(a=stored(b"N"), b=stored(view), c=untyped)
    data = magic + b"\x80\2M\xe9\3." + b"\x80\2}." + b"\x80\2" + body + b"."
    data += b"\x80\2]" + text("0") + b"a." + struct.pack("<Q", 4) + DATA
    found = contents(put(tmp_path / "x", data))[1]
    assert found.arrays["a"].tolist() == [1, 2]
    why = "a tensor in a storage that is a view of another"
    assert found.unread == {"b": why, "c": why}


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_protocols(tmp_path, protocol):
    """torch.save with each protocol that its own loader reads, in both formats."""
    state = {"state_dict": opaque.lstm().state_dict(), "epoch": 3, "big": -(1 << 70),
             "flag": True, "rate": 0.5, "version": torch.__version__}  # fmt: skip
    for legacy in (False, True):
        path = put(tmp_path / "x.pt", opaque.saved(state, legacy, protocol))
        torch.load(path, weights_only=False)
        assert load(path).hidden_size == 3
        assert list(contents(path)[1].opaque) == ["version"]


def test_protocol_0_has_no_storages(tmp_path):
    """Its persistent ids are text, which torch cannot load either."""
    path = put(tmp_path / "x.pt", opaque.saved({"w": torch.ones(1)}, protocol=0))
    refused(path, "PERSID", "no checkpoint needs")


def test_numpys_pickles_of_python_2(tmp_path):
    """Byte strings may be text: names, byte orders, and the numbers of an array."""
    array = (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\1b\x87R(K\1K\2\x85"
             b"cnumpy\ndtype\nU\2f4K\0K\1\x87R(K\3U\1<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
             b"\x89U\x08%btb")  # fmt: skip
    for raw in (b"\0\0\0A\0\0\0B", struct.pack("<2f", 1, -3)):
        path = put(tmp_path / "x.pkl", b"\x80\2}U\1w" + array.replace(b"%b", raw) + b"s.")
        assert read_state_dict(path)["w"].tobytes() == raw


def test_numpys_pickles_with_values_beside(tmp_path):
    value = {name: each for name, each in opaque.values().items() if name != "loop"}
    value |= {"w": np.arange(3.0), "objects": np.array([opaque._Data()]), "text": np.array(["a"]),
              "records": np.zeros(2, [("x", "f4")]), "when": np.zeros(2, "M8[s]"),
              "t": torch.ones(1), "p": torch.nn.Parameter(torch.ones(1))}  # fmt: skip
    for protocol in (2, 3, 4, 5):
        found = contents(put(tmp_path / "x.pkl", pickle.dumps(value, protocol)))[1]
        assert found.arrays["w"].tolist() == [0, 1, 2]
        assert {"objects", "text", "records", "when", "t", "p"} <= set(found.unread)
        assert {"version", "namespace", "module"} <= set(found.opaque)


def test_torchscript_with_values_beside(tmp_path):
    beside = dict_of(
        w=tensor(), v=name_of("torch.torch_version.TorchVersion") + tuple_of(text("2")) + b"R",
        q=call("torch._utils._rebuild_qtensor"),
    )  # fmt: skip
    body = b"\x80\2c__torch__.m\nNet\n)\x81" + beside + b"b."
    parts = {"a/data.pkl": body, "a/code/m.py": b"x", "a/data/0": DATA}
    constants = tuple_of(call("os.system", text("true")), call("torch._utils._rebuild_qtensor"))
    parts["a/constants.pkl"] = b"\x80\2" + constants + b"."
    path = put(tmp_path / "x.pt", zip_bytes([Record(name, raw) for name, raw in parts.items()]))
    found = contents(path)[1]
    assert list(found.arrays) == ["w"]
    assert list(found.unread) == ["q", "constants.1"]
    assert list(found.opaque) == ["v", "constants.0"]
    parts["a/data.pkl"] = body.replace(tensor(), b"N")
    put(path, zip_bytes([Record(name, raw) for name, raw in parts.items()]))
    refused(path, "'q' is a quantised tensor", "'v' is an object of 'torch.torch_version")


# ---- what inspect says


def test_inspect_lists_what_was_left_out(tmp_path, capsys):
    path = tmp_path / "x.pt"
    state = {"args": opaque._Data(), "state_dict": opaque.lstm().state_dict()}
    state["s"], state["\x1b"] = torch.eye(2).to_sparse(), torch.nn.LSTM
    torch.save(state, path)
    format_name, arrays, layers = inspect(path)
    assert (format_name, len(arrays), list(layers)) == ("torch", 4, ["state_dict."])
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "tensors not read\n    s  a sparse tensor\n" in said
    assert "not looked into\n    args    an object of 'load_corpus.opaque._Data'\n" in said
    assert f"    {show(chr(27))}  the name 'torch.nn.modules.rnn.LSTM'\n" in said
    assert main(["inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unread"] == {"s": "a sparse tensor"}
    assert told["opaque"]["args"] == "an object of 'load_corpus.opaque._Data'"
    torch.save(opaque.lstm().state_dict(), path)
    assert main(["inspect", str(path)]) == 0
    said = capsys.readouterr().out
    assert "not read" not in said and "not looked into" not in said


def test_hooks_and_attributes_of_tensors(tmp_path):
    """Parameters with attributes, subclasses, hooks: their numbers are read."""
    stated = torch.nn.Parameter(torch.ones(2))
    stated.note = opaque._Data()
    subclass = torch.ones(2).as_subclass(opaque._Tensor)
    subclass.note = opaque._Colour.RED
    buffer = torch.nn.Buffer(torch.ones(2))
    torch.save({"stated": stated, "subclass": subclass, "buffer": buffer}, tmp_path / "x.pt")
    found = read_state_dict(tmp_path / "x.pt")
    assert list(found) == ["stated", "subclass", "buffer"]
    assert all(array.tolist() == [1, 1] for array in found.values())


def test_older_names_of_the_rebuild_functions(tmp_path):
    view = tuple_of(storage(), b"K\0", tuple_of(b"K\4"), tuple_of(b"K\1"), FALSE, ORDERED)
    for name in ("torch.tensor._rebuild_from_type", "torch._tensor._rebuild_from_type"):
        made = call(name, name_of("torch._utils._rebuild_tensor_v2"), name_of("m.Mine"), view, b"}")
        path = put(tmp_path / "x.pt", checkpoint(dict_of(w=made)))
        assert read_state_dict(path)["w"].tolist() == [1, 2, 3, 4]


def test_a_layer_loads_beside_everything(tmp_path):
    """All the values and tensors above in one file, and the layer's numbers are torch's."""
    layer = opaque.lstm()
    state = {"state_dict": layer.state_dict()} | opaque.values() | opaque.unread_tensors()
    torch.save(state, tmp_path / "x.pt", pickle_protocol=4)
    x = np.linspace(-1, 1, 10, dtype=np.float32).reshape(5, 1, 2)
    ours = fastlstm.load(tmp_path / "x.pt")(x)[0]
    theirs = layer(torch.from_numpy(x))[0].detach().numpy()
    assert np.abs(ours - theirs).max() < 1e-6
