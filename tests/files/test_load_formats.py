# SPDX-License-Identifier: MIT
"""torch.save's stream before 1.6, TorchScript, .npz and pickled arrays: each through its own
library and through fastlstm, the same names, dtypes and bits; and what of them is refused."""

import collections
import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from load_corpus.build import Record, zip_bytes
from test_load_torch import DTYPES, LAYOUTS, STRUCTURES, expected, random_tensor

from fastlstm import LoadError, load, read_state_dict
from fastlstm.files.read import inspect, sniff

pytestmark = pytest.mark.once

OLD = {"_use_new_zipfile_serialization": False}


def assert_same(path, theirs):
    ours = read_state_dict(path)
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape), name
        assert array.tobytes() == np.ascontiguousarray(theirs[name]).tobytes(), name


def refused(path, *says):
    with pytest.raises(LoadError) as caught:
        read_state_dict(path)
    for text in (str(path), *says):
        assert text in str(caught.value)


# ---- the stream


@pytest.mark.parametrize("dtype", [d for d in DTYPES if not str(d).startswith("torch.uint")
                                   or d == torch.uint8], ids=str)  # fmt: skip
def test_stream_dtypes_and_layouts(tmp_path, rng, dtype):
    path = tmp_path / "old.pt"
    state = {name: make(random_tensor(dtype, rng)) for name, make in LAYOUTS.items()
             if name not in ("overlapping", "repeated-row")}  # fmt: skip
    torch.save(state, path, **OLD)
    assert sniff(path) == "torch-stream"
    assert_same(path, expected(torch.load(path, weights_only=False)))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_stream_structures(tmp_path, rng, structure, protocol):
    torch.manual_seed(1)
    path = tmp_path / "old.pt"
    torch.save(STRUCTURES[structure](rng), path, pickle_protocol=protocol, **OLD)
    assert_same(path, expected(torch.load(path, weights_only=False)))


def test_stream_of_python_2(tmp_path):
    """Its text is byte strings: SHORT_BINSTRING where newer ones have BINUNICODE."""
    file = io.BytesIO()
    torch.save(torch.nn.LSTM(2, 3).state_dict(), file, **OLD)
    raw = file.getvalue()
    for name in ("weight_ih_l0", "storage", "cpu", "bias_hh_l0"):
        text = name.encode()
        new = b"X" + len(text).to_bytes(4, "little") + text
        assert new in raw
        raw = raw.replace(new, b"U" + bytes([len(text)]) + text)
    (tmp_path / "py2.pt").write_bytes(raw)
    file.seek(0)
    assert_same(tmp_path / "py2.pt", expected(torch.load(file)))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.LSTM(3, 4, 2, bidirectional=True)
        self.cell = torch.nn.GRUCell(8, 4)
        self.register_buffer("steps", torch.arange(4))

    def forward(self, x):
        return self.cell(self.rnn(x)[0][0])


def test_whole_modules_in_a_stream_are_refused_with_the_way_out(tmp_path):
    path = tmp_path / "module.pt"
    for value in (Net(), torch.nn.LSTM(2, 3)):
        torch.save(value, path, **OLD)
        refused(path, "whole pickled object", "model.state_dict()")
    torch.save({"epoch": 1, "model": Net()}, path, **OLD)
    refused(path, "'model' is an object of", "model.state_dict()")


def test_streams_that_do_not_fit(tmp_path):
    file = io.BytesIO()
    torch.save({"w": torch.arange(3.0), "v": torch.ones(2)}, file, **OLD)
    raw, path = file.getvalue(), tmp_path / "x.pt"
    cases = {
        "bytes follow": raw + b"\0",
        "elements are due": raw[:-4],
        "protocol version": raw.replace(b"M\xe9\x03", b"M\xe8\x03"),
        "byte": raw[:60],
    }
    for says, data in cases.items():
        assert data != raw
        path.write_bytes(data)
        refused(path, says)


# ---- TorchScript


@pytest.mark.parametrize("how", ["script", "trace", "optimized"])
def test_torchscript(tmp_path, rng, how):
    net, path = Net().eval(), tmp_path / "net.pt"
    made = torch.jit.trace(net, torch.zeros(2, 1, 3)) if how == "trace" else torch.jit.script(net)
    torch.jit.save(made, path)
    kind, arrays, layers = inspect(path)
    assert kind == "torchscript"
    for name, tensor in torch.jit.load(path).state_dict().items():
        assert arrays[name].tobytes() == tensor.numpy().tobytes(), name
    assert list(layers) == ["rnn.", "cell."]
    x = rng.standard_normal((5, 2, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = net.rnn(torch.from_numpy(x))[0].numpy()
    assert np.abs(load(path, "rnn")(x)[0] - theirs).max() <= 2e-6


def test_torchscripts_code_is_not_looked_at(tmp_path):
    """A module whose code is not Python loads all the same; one whose pickle names other classes,
    or makes objects from arguments, does not."""
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Net()), file)
    path = tmp_path / "code.pt"
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        root = names[0].split("/")[0]
        parts = {n: archive.read(n) for n in names}
    changed = {n: b"import os; os.abort()" if "/code/" in n else d for n, d in parts.items()}
    path.write_bytes(zip_bytes([Record(n, d) for n, d in changed.items()]))
    assert load(path, "rnn").hidden_size == 4
    data = parts[f"{root}/data.pkl"]
    for old, new, says in (
        (b"c__torch__.", b"cbuiltins_", "whole pickled object"),
        (b")\x81", b"N\x85\x81", "made from arguments"),
    ):
        assert old in data
        changed[f"{root}/data.pkl"] = data.replace(old, new, 1)
        path.write_bytes(zip_bytes([Record(n, d) for n, d in changed.items()]))
        refused(path, says)


# ---- .npz and pickles

NUMBERS = [*(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"]
ARRAYS = {
    f"{dtype}.{n}": (np.arange(24) % 2 if dtype == "?" else np.arange(24)).astype(dtype).reshape(s)
    for dtype in (*NUMBERS, "?", "c8", "c16", ">f4", ">i8", "<f4")
    for n, s in enumerate([(24,), (4, 6), (2, 3, 4)])
} | {
    "scalar": np.array(3.0), "empty": np.empty((3, 0), np.float32),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)), "strided": np.arange(20.0)[::3],
}  # fmt: skip
NATIVE = {n: a.astype(a.dtype.newbyteorder("=")) for n, a in ARRAYS.items()}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=lambda f: f.__name__)
def test_npz(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **ARRAYS, text=np.array(["left", "out"]))
    assert sniff(path) == "npz"
    with np.load(path) as theirs:
        stored = {name: theirs[name] for name in ARRAYS}
    assert_same(path, {n: a.astype(a.dtype.newbyteorder("=")) for n, a in stored.items()})
    state = {n: v.numpy() for n, v in torch.nn.GRU(3, 4).state_dict().items()}
    save(path, **{f"enc/{n}".replace("/", "."): v for n, v in state.items()})
    assert load(path, "enc").kind == "GRU"


@pytest.mark.parametrize("size", [0, 1, 5, (1 << 18) - 128, 1 << 18, 3 << 20])
def test_npz_of_many_sizes(tmp_path, rng, size):
    """Around the block that is inflated at a time; what compresses to nothing and what does not."""
    arrays = {"zeros": np.zeros(size, np.uint8), "noise": rng.integers(0, 256, size, np.uint8)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert_same(tmp_path / "a.npz", arrays)


def test_npz_that_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, odd=np.array([{}], dtype=object))
    refused(path, "pickle")
    np.savez(path, odd=np.zeros(3, [("a", "f4")]))
    refused(path, "not that of an array of numbers")
    np.savez_compressed(path, zeros=np.zeros(60 << 20, np.uint8))
    assert path.stat().st_size < 100_000
    refused(path, "bytes of arrays", "is the limit")
    np.savez_compressed(path, a=np.zeros(1000))
    raw = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        (info,) = archive.infolist()
    start = info.header_offset + 30 + len(info.filename) + 20
    cut = bytearray(raw)
    cut[start + 4] ^= 0xFF
    path.write_bytes(cut)
    refused(path, "a.npy")
    header = b"\x93NUMPY\1\0" + (118).to_bytes(2, "little")
    for text, says in (
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "bytes are due"),
        ("{'descr': '<f4', 'fortran_order': __import__('os'), 'shape': (3,), }", "its header"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999), }", "large"),
    ):
        data = header + text.encode().ljust(117) + b"\n"
        path.write_bytes(zip_bytes([Record("a.npy", data)]))
        refused(path, says)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickled_arrays(tmp_path, protocol):
    path = tmp_path / "a.pkl"
    order = collections.OrderedDict(b=np.ones(3, np.float32), a=[np.zeros(2), (np.arange(3),)])
    value = {"m": ARRAYS, "n": order, "epoch": 3, "lr": np.float32(0.1), "name": "x", "raw": b"ab"}
    path.write_bytes(pickle.dumps(value, protocol))
    assert sniff(path) == "pickle"
    theirs = {f"m.{n}": a for n, a in NATIVE.items()}
    theirs |= {"n.b": order["b"], "n.a.0": order["a"][0], "n.a.1.0": order["a"][1][0]}
    assert_same(path, theirs)
    path.write_bytes(pickle.dumps(np.arange(4.0), protocol))
    assert_same(path, {"": np.arange(4.0)})
    state = {f"net.{n}": v.numpy() for n, v in torch.nn.LSTM(3, 4).state_dict().items()}
    path.write_bytes(pickle.dumps(state, protocol))
    assert load(path).hidden_size == 4


class Evil:
    def __reduce__(self):
        return print, ("pwned",)


def test_pickles_that_are_refused(tmp_path, capsys):
    path = tmp_path / "x.pkl"
    for value, says in (
        (torch.nn.LSTM(2, 3).state_dict(), "use torch.save"),
        (Evil(), "whole pickled object of class 'builtins.print'"),
        ({"a": np.array([Evil()])}, "'a' is an array of Python objects"),
        ({"a": np.array(["text"])}, "Python objects, text or records"),
        ({"a": np.zeros(2, [("x", "f4")])}, "no tensor in it can be read"),
        ({"a": np.zeros(2, "M8[s]")}, ""),
    ):
        path.write_bytes(pickle.dumps(value, 4))
        refused(path, says)
    path.write_bytes(pickle.dumps({"a": Evil()}, 4))
    assert read_state_dict(path) == {}
    path.write_bytes(pickle.dumps({"a": np.zeros(2)}, 4) + b"more")
    refused(path, "bytes follow")
    assert capsys.readouterr().out == ""
