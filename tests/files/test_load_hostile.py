# SPDX-License-Identifier: MIT
"""Files made to do harm: refused with a LoadError, or read; nothing else ever happens.

RELIABILITY: no exception but LoadError; nothing run, imported or opened besides the file; no more
work than some calls of functions for each byte of the file (and no more than 0.1 s of them for a
bomb), no more memory than 3 x file + 64 MiB (6 x with quantised weights). FASTLSTM_FULL=1 asks for
seconds too: 1 s per 64 KiB.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FULL, not_with_asan
from load_corpus import all_cases, archives, chunks, headers, others, pickles, shared, texts
from load_corpus.build import (
    DATA,
    GOOD,
    Record,
    checkpoint,
    dict_of,
    records,
    storage,
    tensor,
    zip_bytes,
)

import fastlstm
from fastlstm import LoadError, load, load_all, read_state_dict
from fastlstm.files.read import sniff
from fastlstm.files.source import Source
from fastlstm.files.torch import packed
from fastlstm.files.torch.rebuild import ALLOWED

pytestmark = pytest.mark.once

CASES = list(all_cases())
BOMB_CALLS = 1_000_000  # of functions; the most is 801,219, for a file of 147 KiB
CALLS = 700_000  # for each 64 KiB of file, and at least once; the most is 550,559
BOMB_SECONDS = 0.1  # of CPU on a quick machine (speed.py); in full alone
SECONDS = 1.0  # for each 64 KiB of file, and at least once
MEMORY = 64 << 20  # and 3 bytes for each byte of file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all cases."""
    path = tmp_path_factory.mktemp("hostile")
    for case in CASES:
        (path / case.name).write_bytes(case.data)
    return path


def _child(*arguments):
    """The JSON that load_corpus.watch prints, run in a process of its own."""
    here = Path(__file__).parent
    folders = [str(here), str(here.parent / "support"), os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(filter(None, folders))
    done = subprocess.run(
        [sys.executable, "-m", "load_corpus.watch", *map(str, arguments)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_corpus_is_large():
    assert len(CASES) >= 300
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({case.data for case in CASES}) >= 0.98 * len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_for_its_reason(folder, case):
    path = folder / case.name
    with pytest.raises(LoadError) as caught:
        read_state_dict(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and case.says in said.removeprefix(str(path))
    assert "\n" not in said and len(said) < len(str(path)) + 2000
    assert caught.value.__cause__ is None


def test_the_sound_files_are_read(tmp_path):
    """What the malformed ones are made from: so they are refused for their one fault."""
    path = tmp_path / "good"
    for data in (GOOD, headers.GOOD, checkpoint(dict_of(w=tensor()), zip64=True)):
        path.write_bytes(data)
        assert read_state_dict(path)["w"].tolist() == [1, 2, 3, 4]
    for size, stride, offset in (((4,), (0,), 3), ((2, 2), (1, 1), 1), ((3,), (0,), 0)):
        path.write_bytes(checkpoint(dict_of(w=tensor(size=size, stride=stride, offset=offset))))
        array = read_state_dict(path)["w"]
        base = np.frombuffer(DATA, np.float32)[offset:]
        expected = np.lib.stride_tricks.as_strided(base, size, [4 * n for n in stride])
        assert np.array_equal(array, expected)
    path.write_bytes(checkpoint(dict_of(w=tensor(storage(count=0), size=(0,))), {"0": b""}))
    assert read_state_dict(path)["w"].shape == (0,)


def _saved(**options):
    file = io.BytesIO()
    torch.save({"w": torch.arange(3.0), "b": torch.ones(2, dtype=torch.bfloat16)}, file, **options)
    return file.getvalue()


def _script():
    """A TorchScript archive as small as one can be."""
    body = b"c__torch__.m\nNet\n)\x81" + dict_of(w=tensor()) + b"b"
    return zip_bytes([*records(body), Record("a/code/m.py", b"class Net")])


def _own():
    with tempfile.TemporaryDirectory() as folder:
        fastlstm.RNN(1, 1).save(f"{folder}/x")
        return Path(f"{folder}/x").read_bytes()


def _keras():
    parts = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": others.tiny_hdf5()}
    return zip_bytes([Record(name, data) for name, data in parts.items()])


def _mutants(data):
    """Every truncation, then every single-bit flip."""
    for end in range(len(data)):
        yield f"first {end} bytes", data[:end]
    flipped = bytearray(data)
    for bit in range(8 * len(data)):
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit}", bytes(flipped)
        flipped[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize(
    ("name", "make", "guarded"),
    [("torch", _saved, True), ("zip64", lambda: checkpoint(dict_of(w=tensor()), zip64=True), True),
     ("safetensors", lambda: headers.GOOD, False),
     ("stream", lambda: _saved(_use_new_zipfile_serialization=False), False),
     ("torchscript", lambda: _script(), True), ("own", lambda: _own(), False),
     ("onnx", lambda: others.GOOD_ONNX, False), ("hdf5", others.tiny_hdf5, False),
     ("chunked-hdf5", chunks.tiny_chunked, False), ("keras", lambda: _keras(), True),
     ("npz", lambda: others.GOOD_NPZ, True), ("pt2", lambda: archives.GOOD_PT2, True),
     ("agent", lambda: archives.GOOD_AGENT, True),
     ("deflated-agent", lambda: archives.deflated(GOOD), True),
     ("numpy-pickle", lambda: others.GOOD_PICKLE, False),
     ("json", lambda: texts.GOOD_JSON, False),
     ("packed", lambda: texts.packed_file(texts.PACKED), True),
     ("frozen", lambda: texts.frozen_file(texts.CODE), True)],
)  # fmt: skip
def test_every_truncation_and_bit_flip(memory_path, name, make, guarded):
    """LoadError or arrays. With a CRC over all that is read: LoadError, or the same arrays."""
    data, path = make(), memory_path / name
    path.write_bytes(data)
    right = read_state_dict(path)
    read = 0
    for what, mutant in _mutants(data):
        path.write_bytes(mutant)
        try:
            arrays = read_state_dict(path)
        except LoadError as error:
            assert str(error).startswith(str(path))
            continue
        read += 1
        assert what.startswith("bit"), f"read though cut to its {what}"
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
        if guarded:
            assert list(arrays) == list(right), what
            assert all(arrays[key].tobytes() == right[key].tobytes() for key in right), what
    assert 0 < read < 8 * len(data)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self")


def _within(path, found, calls, seconds):
    """The bounds of counted calls and of memory hold; in full that of time too. Quantised weights
    become four times as large."""
    outcome, called, spent, peak = found
    size = path.stat().st_size
    assert called <= calls, f"{path.name}: {called} calls, {outcome}"
    if FULL:
        assert spent <= seconds, f"{path.name}: {spent:.3f} s, {outcome}"
    times = 6 if path.name.startswith("quantised") else 3
    assert peak <= times * size + MEMORY, f"{path.name}: {peak >> 20} MiB, {outcome}"


@linux
@not_with_asan
def test_time_and_memory_of_the_corpus(folder):
    """Every case is refused within the work of a bomb and the memory bound."""
    report = _child("cost", *sorted(folder.iterdir()))
    assert len(report) == len(CASES)
    for path, found in report.items():
        assert found[0].startswith("LoadError"), path
        _within(Path(path), found, BOMB_CALLS, BOMB_SECONDS)


@linux
@not_with_asan
def test_time_and_memory_of_the_heaviest_files(tmp_path):
    """As much work as the caps allow, some of it valid: bounded by the file's size."""
    for name, data in (
        *pickles.slow_cases(),
        *headers.slow_cases(),
        *headers.bombs(),
        *others.slow_cases(),
        *chunks.slow_cases(),
        *shared.slow_cases(),
        *texts.slow_cases(),
    ):
        (tmp_path / name).write_bytes(data)
    report = _child("cost", *sorted(tmp_path.iterdir()))
    assert len(report) > 25
    for name, found in report.items():
        path = Path(name)
        pieces = max(1, path.stat().st_size / 65536)
        _within(path, found, CALLS * pieces, SECONDS * pieces)
    read = {Path(name).name for name, (outcome, *_) in report.items() if "arrays" in outcome}
    assert read >= {
        "names", "views", "padded-lists", "padded-views", "padded-full", "padded-tuples",
        "padded-names", "padded-wide", "bfloat16-32-MiB", "BF16-32-MiB", "10000-tensors",
        "onnx-dequantized", "onnx-numbers", "hdf5-many", "npz-zeros", "numpy-many", "numpy-large",
        "onnx-one-name", "hdf5-texts", "chunks-plain", "chunks-shuffled", "chunks-of-one",
        "json-layers", "json-under", "json-ragged", "json-weight-norm", "quantised-24-MiB",
        "frozen-one-list", "script-wide", "keras-names",
    }  # fmt: skip


def test_nothing_is_run_imported_or_opened(folder, tmp_path):
    """Audit hooks see the whole corpus and sound files being loaded: only `open`, only of them."""
    (tmp_path / "saved").write_bytes(_saved())
    (tmp_path / "good.safetensors").write_bytes(headers.GOOD)
    module = torch.nn.LSTM(2, 3)
    torch.save(module.state_dict(), tmp_path / "lstm.pt")
    sound = {"own": _own(), "onnx": others.GOOD_ONNX, "h5": others.good_hdf5(), "keras": _keras(),
             "chunked.h5": chunks.tiny_chunked(),
             "pt2": archives.GOOD_PT2, "agent.zip": archives.GOOD_AGENT,
             "json": texts.GOOD_JSON, "packed": texts.packed_file(texts.PACKED),
             "frozen": texts.frozen_file(texts.CODE), "npz": others.GOOD_NPZ,
             "pkl": others.GOOD_PICKLE, "script": _script(),
             "stream": _saved(_use_new_zipfile_serialization=False)}  # fmt: skip
    for name, data in sound.items():
        (tmp_path / name).write_bytes(data)
    paths = sorted(map(str, [*folder.iterdir(), *tmp_path.iterdir()]))
    beside = others.with_data_beside(tmp_path / "beside.onnx")  # opened with its model alone
    report = _child("audit", *paths, beside)
    # id(x) is audited too, and harmless; our own file is mapped
    assert set(report["events"]) == {"open", "builtins.id", "mmap.__new__"}
    assert report["opened"] == sorted([*paths, str(beside), f"{beside}.data"])
    assert report["refused"] > 2 * len(CASES)


def test_only_known_globals_do_anything():
    """The table of names that REDUCE gives a meaning, in full: a new one must be added here too."""
    kinds = (
        "sparse_tensor sparse_csr_tensor nested_tensor qtensor meta_tensor_no_storage "
        "wrapper_subclass device_tensor_from_numpy device_tensor_from_cpu_tensor xla_tensor"
    )
    utils = "tensor tensor_v2 tensor_v3 parameter parameter_with_state"
    plain = "set frozenset bytearray bytes complex"
    expected = {f"torch._utils._rebuild_{name}" for name in f"{utils} {kinds}".split()}
    expected |= {f"{m}.{name}" for m in ("builtins", "__builtin__") for name in plain.split()}
    expected |= {
        f"numpy.{m}.multiarray.{f}" for m in ("core", "_core") for f in ("scalar", "_reconstruct")
    }
    expected |= {f"numpy.{m}.numeric._frombuffer" for m in ("core", "_core")}
    expected |= {"torch.Size", "torch.device", "numpy.dtype"}
    expected |= {f"torch.nn.parameter.Uninitialized{name}" for name in ("Parameter", "Buffer")}
    expected |= {f"torch._tensor._rebuild_from_type{end}" for end in ("", "_v2")}
    expected |= {"torch.tensor._rebuild_from_type"}
    expected |= {"collections.OrderedDict", "collections.Counter", "_codecs.encode"}
    assert set(ALLOWED) == expected


@pytest.mark.parametrize("call", [read_state_dict, sniff, load, load_all])
def test_paths_that_are_no_files(tmp_path, call):
    """The errors of `open` stay; what can be opened and is no regular file is a LoadError."""
    with pytest.raises(FileNotFoundError):
        call(tmp_path / "missing.pt")
    with pytest.raises(IsADirectoryError):
        call(tmp_path)
    for wrong in (None, 0, 1.5, b"x"[0], io.StringIO("{}"), [GOOD]):
        with pytest.raises(TypeError):
            call(wrong)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(LoadError, match="only a regular file"):
            call(path)


def test_text_bytes_and_links_are_paths(tmp_path):
    path = tmp_path / "\u00e9.pt"
    path.write_bytes(GOOD)
    (tmp_path / "link").symlink_to(path)
    for form in (path, str(path), os.fsencode(path), tmp_path / "link"):
        assert list(read_state_dict(form)) == ["w"]


@pytest.mark.parametrize("keep", [0, 40, len(GOOD) // 2, len(GOOD) - 1])
def test_a_file_cut_while_it_is_read(tmp_path, keep):
    path = tmp_path / "cut.pt"
    path.write_bytes(GOOD)
    with Source(path) as source:
        os.truncate(path, keep)
        with pytest.raises(LoadError, match="became shorter"):
            packed.read(source)


def test_sizes_over_the_limits_are_refused_unread(tmp_path):
    """A header, or a pickle, one byte over its limit: files that are mostly holes."""
    path = tmp_path / "large"
    for over, says in ((1, "100000000 is the limit"), (0, "is due")):
        with path.open("wb") as file:
            file.write((100_000_000 + over).to_bytes(8, "little") + b"{")
            file.truncate(100_000_100)
        with pytest.raises(LoadError, match=f"header.*{says}"):
            read_state_dict(path)
    path.write_bytes(checkpoint(b"N" + b"B\0\0\0\4" + bytes(64 << 20) + b"0"))
    with pytest.raises(LoadError, match="67108864 is the limit"):
        read_state_dict(path)


def test_the_file_is_closed(memory_path):
    """After a load, and after a refusal."""
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for case in CASES[:50]:
        (memory_path / "x").write_bytes(case.data)
        with pytest.raises(LoadError):
            read_state_dict(memory_path / "x")
    (memory_path / "x").write_bytes(GOOD)
    read_state_dict(memory_path / "x")
    after = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    assert after == before


def test_messages_show_no_control_characters(tmp_path):
    """A name in the file cannot write to the terminal, nor fill it."""
    path = tmp_path / "x.pt"
    name = "a/\x1b[2J\n\u202e" + "b" * 900
    path.write_bytes(zip_bytes([Record("a/data.pkl", b"\x80\2N."), Record(name, b"x", method=8)]))
    with pytest.raises(LoadError) as caught:
        read_state_dict(path)
    said = str(caught.value)
    assert said.isprintable() and len(said) < 400
