# SPDX-License-Identifier: MIT
"""torch.save's files through torch.load and through fastlstm: the same names, dtypes and bits."""

import collections
import io
import itertools
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from load_corpus.build import Record, zip_bytes

from fastlstm import LoadError, read_state_dict
from fastlstm.files.find import find
from fastlstm.files.read import sniff

DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int8,
    torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64, torch.complex128,
    torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip

LAYOUTS = {
    "contiguous": lambda t: t.reshape(4, 6),
    "scalar": lambda t: t[5],
    "empty": lambda t: t[:0],
    "empty-2d": lambda t: t[:0].reshape(3, 0, 2),
    "transposed": lambda t: t.reshape(4, 6).T,
    "permuted": lambda t: t.reshape(2, 3, 4).permute(2, 0, 1),
    "offset": lambda t: t[7:19],
    "strided": lambda t: t[1::3],
    "column": lambda t: t.reshape(6, 4)[:, 2],
    "block": lambda t: t.reshape(6, 4)[1:5, 1:3],
    "diagonal": lambda t: t[:16].reshape(4, 4).diagonal(),
    "unit-dims": lambda t: t[3:9].reshape(1, 6, 1).expand(1, 6, 1),
    "overlapping": lambda t: t.as_strided((3, 8), (5, 1), 2),
    "repeated-row": lambda t: t[:8].expand(3, 8),
}


def random_tensor(dtype, rng, count=24):
    """Random bits, NaN payloads included (bool: 0 and 1)."""
    itemsize = torch.empty((), dtype=dtype).element_size()
    raw = torch.from_numpy(rng.integers(0, 256, count * itemsize, dtype=np.uint8))
    return (raw & 1).bool() if dtype == torch.bool else raw.view(dtype)


def expected(value, prefix="", found=None):
    """{name: array} by this test's own reading of the rules, from what torch.load gave."""
    found = {} if found is None else found
    if isinstance(value, torch.Tensor):
        value = value.detach()
        if value.dtype == torch.bfloat16:
            bits = value.contiguous().view(torch.int16).numpy().astype(np.uint16)
            array = (bits.astype(np.uint32) << 16).view(np.float32)
        else:
            array = value.numpy()
        found[prefix] = array
    elif isinstance(value, dict):
        for key, child in value.items():
            expected(child, f"{prefix}.{key}" if prefix else f"{key}", found)
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            expected(child, f"{prefix}.{index}" if prefix else f"{index}", found)
    return found


def assert_same(path):
    ours = read_state_dict(path)
    theirs = expected(torch.load(path, weights_only=False))
    assert list(ours) == list(theirs)
    for name, array in ours.items():
        other = theirs[name]
        assert (array.dtype, array.shape) == (other.dtype, other.shape), name
        assert array.tobytes() == np.ascontiguousarray(other).tobytes(), name
    return ours


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_and_layouts(tmp_path, rng, dtype, layout):
    tensor = LAYOUTS[layout](random_tensor(dtype, rng))
    torch.save({"w": tensor}, tmp_path / "w.pt")
    assert list(assert_same(tmp_path / "w.pt")) == ["w"]


def _nested(rng):
    return {
        "model": {"a": torch.randn(2, 3), "b": [torch.ones(2), (torch.zeros(1), 5)]},
        "epoch": 7, "lr": 1e-3, "name": "run \u00e9\u4e2d\U0001f600", "none": None, "flag": True,
        "big": 2**70, "negative": -5, "size": torch.Size([1, 2]), "device": torch.device("cpu"),
        "dtype": torch.float16, "raw": b"\0\xff", "bytearray": bytearray(b"ab"), "empty": b"",
        "set": {1, 2}, "frozen": frozenset([3]), "complex": 1 + 2j, 5: torch.ones(1),
        "numpy": np.float64(1.5), "array": np.arange(4), "counter": collections.Counter([30, 30]),
        ("a", 1): 3, 2.5: "x", None: "y", "list": [1.0, [2, [3]]], "long": "x" * 70_000,
    }  # fmt: skip


def _shared(rng):
    base = torch.randn(60)
    return {
        "first": base[:24].view(4, 6),
        "second": base[24:48],
        "all": base,
        "again": base,
        "turned": base.view(6, 10).T,
        "tail": base[59:],
    }


def _parameters(rng):
    plain = torch.nn.Parameter(torch.randn(3))
    stated = torch.nn.Parameter(torch.randn(3), requires_grad=False)
    stated.note = "kept by torch"
    noted = torch.randn(2)
    noted.note = {"a": 1}
    return {"plain": plain, "stated": stated, "noted": noted, "buffer": torch.nn.Buffer(noted)}


def _optimizer(rng):
    model = torch.nn.LSTM(3, 4, 2)
    optimizer = torch.optim.Adam(model.parameters(), amsgrad=True)
    model(torch.randn(5, 2, 3))[0].sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "generator": torch.get_rng_state(),
    }


def _many(rng):
    return {f"layer.{n}.weight": torch.randn(n % 5, 3) for n in range(600)}


def _modules(rng):
    return torch.nn.Sequential(
        collections.OrderedDict(
            conv=torch.nn.Conv1d(2, 3, 5),
            norm=torch.nn.BatchNorm1d(3),
            lstm=torch.nn.LSTM(3, 4, bidirectional=True),
            out=torch.nn.Linear(8, 2),
        )
    ).state_dict()


STRUCTURES = {
    "nested": _nested,
    "shared": _shared,
    "parameters": _parameters,
    "optimizer": _optimizer,
    "modules": _modules,
    "many": _many,
    "bare": lambda rng: torch.randn(3),
    "list": lambda rng: [torch.randn(3), [torch.randn(2)], 5],
    "tuple": lambda rng: (torch.randn(3), {"x": torch.randn(2)}),
    "ordered": lambda rng: collections.OrderedDict(a=torch.randn(3), b=collections.OrderedDict()),
    "nothing": lambda rng: {},
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_structures_and_protocols(tmp_path, rng, structure, protocol):
    torch.manual_seed(1)
    path = tmp_path / "checkpoint.with \u00e9.pt"
    torch.save(STRUCTURES[structure](rng), path, pickle_protocol=protocol)
    assert_same(path)


@pytest.mark.parametrize(
    ("layers", "bias", "both", "proj"),
    list(itertools.product([1, 3], [True, False], [True, False], [0, 2])),
)
def test_modules_are_found(tmp_path, layers, bias, both, proj):
    torch.manual_seed(2)
    for kind in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
        options = {"num_layers": layers, "bias": bias, "bidirectional": both}
        options |= {"proj_size": proj} if proj and kind is torch.nn.LSTM else {}
        module = kind(3, 5, **options)
        state = {f"net.rnn.{name}": value for name, value in module.state_dict().items()}
        torch.save({"state_dict": state}, tmp_path / "m.pt")
        arrays = assert_same(tmp_path / "m.pt")
        ((prefix, layer),) = find(arrays).layers.items()
        assert prefix == "state_dict.net.rnn."
        assert (layer.kind, layer.input_size, layer.hidden_size) == (kind.__name__, 3, 5)
        assert layer.proj_size == options.get("proj_size", 0)
        assert (layer.num_layers, layer.bias, layer.bidirectional) == (layers, bias, both)
        assert layer.problem is None


def test_shared_storage_is_shared(tmp_path):
    base = torch.zeros(100)
    torch.save({"a": base[:50], "b": base[25:], "c": torch.ones(3)}, tmp_path / "s.pt")
    arrays = read_state_dict(tmp_path / "s.pt")
    assert np.shares_memory(arrays["a"], arrays["b"])
    assert not np.shares_memory(arrays["a"], arrays["c"])
    arrays["a"][30] = 7
    assert arrays["b"][5] == 7


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_big_endian(tmp_path, rng, dtype):
    """A file of a big-endian machine: the byteorder record says so, the storages are swapped."""
    file = io.BytesIO()
    torch.save({"w": random_tensor(dtype, rng).reshape(4, 6).T}, file)
    size = torch.empty((), dtype=dtype).element_size() // (2 if dtype.is_complex else 1)
    records = []
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                data = np.frombuffer(data, f"u{size}").byteswap().tobytes()
            records.append(Record(name, data))
    (tmp_path / "big.pt").write_bytes(zip_bytes(records))
    if dtype not in (torch.uint16, torch.uint32, torch.uint64):  # torch.load does not swap these
        assert_same(tmp_path / "big.pt")
    file.seek(0)
    ours, theirs = read_state_dict(tmp_path / "big.pt"), expected(torch.load(file))
    assert ours["w"].tobytes() == theirs["w"].tobytes()


def test_without_byteorder_is_little(tmp_path):
    """PyTorch wrote no such record before 2.1."""
    file = io.BytesIO()
    torch.save({"w": torch.arange(5.0)}, file)
    with zipfile.ZipFile(file) as archive:
        names = [n for n in archive.namelist() if n.endswith(("data.pkl", "data/0", "version"))]
        records = [Record(name, archive.read(name)) for name in names]
    (tmp_path / "old.pt").write_bytes(zip_bytes(records))
    assert_same(tmp_path / "old.pt")


def test_zip64(tmp_path):
    """Sizes and offsets in the zip64 fields; then really beyond 4 GiB, by a hole in the file."""
    file = io.BytesIO()
    torch.save({"w": torch.arange(5.0), "v": torch.ones(3)}, file)
    with zipfile.ZipFile(file) as archive:
        records = [Record(name, archive.read(name)) for name in archive.namelist()]
    path = tmp_path / "wide.pt"
    path.write_bytes(zip_bytes(records, zip64=True))
    assert list(assert_same(path)) == ["w", "v"]
    hole = (4 << 30) + 4096
    with path.open("wb") as out:
        out.write(b"PK\3\4")
        out.seek(hole)
        out.write(zip_bytes(records, zip64=True, base=hole))
    assert path.stat().st_size > 4 << 30
    assert list(assert_same(path)) == ["w", "v"]


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(2, 3)

    def forward(self, x):
        return self.lstm(x)[0]


def _refused(path, *says):
    with pytest.raises(LoadError) as caught:
        read_state_dict(path)
    for text in (str(path), *says):
        assert text in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4])
def test_whole_modules_are_refused_with_the_way_out(tmp_path, protocol):
    path = tmp_path / "module.pt"
    torch.save(Net(), path, pickle_protocol=protocol)
    _refused(path, "Net'", "model.state_dict()")
    torch.save({"epoch": 1, "model": torch.nn.LSTM(2, 3)}, path, pickle_protocol=protocol)
    _refused(path, "torch.nn.modules.rnn.LSTM", "model.state_dict()")
    assert sniff(path) == "torch"


def test_what_has_no_array_is_left_out(tmp_path):
    """And refused by name where nothing else is there (test_load_opaque.py has more)."""
    path = tmp_path / "odd.pt"
    for value, says in (
        (torch.eye(3).to_sparse(), "a sparse tensor"),
        (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "a quantised tensor"),
        (torch.empty(3, device="meta"), "device meta"),
        (torch.ones(3, dtype=torch.complex64).conj(), "conjugated"),
        (torch.ones(3, dtype=torch.float8_e4m3fn), "float8_e4m3fn"),
        (torch.ones(1).expand(5), "more elements than its storage"),
    ):
        torch.save({"w": torch.ones(1), "odd": value}, path)
        assert list(read_state_dict(path)) == ["w"]
        torch.save({"odd": value}, path)
        _refused(path, "'odd' is", says)


def test_torch_is_not_needed(tmp_path):
    """In a process where importing torch, or pickle, fails."""
    torch.save(Net().state_dict(), tmp_path / "m.pt")
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from fastlstm import read_state_dict\n"
        "import fastlstm.files.torch.zip as t, fastlstm.files.inert_pickle as i\n"
        "assert not hasattr(t, 'pickle') and not hasattr(i, 'pickle')\n"
        "print(*read_state_dict(sys.argv[1]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == list(Net().state_dict()), done.stderr
