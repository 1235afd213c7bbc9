# SPDX-License-Identifier: MIT
"""Fuzzing of the loaders with atheris: any exception but LoadError, or a slow input, is a finding.

    python tests/fuzz/fuzz_load.py MODE [--seconds N] [--seeds FOLDER] [-runs=N ...]

    pickle        the input is the pickle of a checkpoint whose zip is sound (CRCs right)
    zip           the input chooses the fields of the zip's headers
    safetensors   the input is the file; most of them begin as a header of the right length
    onnx          the input is the file, of 0x08 and a small number at least
    hdf5          the input is the file behind HDF5's signature
    numpy         the input is a pickle of arrays behind its first two bytes
    stream        the input follows the magic number of the stream before PyTorch 1.6
    script        the input is the pickle of a TorchScript archive that is sound
    npz           the input is a .npy record of a sound .npz
    keras         the input is the configuration of a sound .keras file, a zero byte, its HDF5 file
    own           the input is the metadata of fastlstm's own file, whose arrays are sound
    file          the input is the file, of any format

Needs `pip install atheris numpy safetensors`, and fastlstm importable. The seeds are the malformed
files of load_corpus and sound ones beside them, written to FOLDER (a temporary one) at the start.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path

import atheris
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

with atheris.instrument_imports(include=["fastlstm.loaders"]):
    from fastlstm.loaders import LoadError, inspect

from load_corpus import all_cases, headers, others  # noqa: E402
from load_corpus.build import DATA, GOOD, Record, dict_of, safetensors_bytes, tensor, zip_bytes  # noqa: E402

MODES = (
    "pickle", "zip", "safetensors", "onnx", "hdf5", "numpy", "stream", "script", "npz", "keras",
    "own", "file",
)  # fmt: skip
SECONDS = 4.0  # for 64 KiB: 1 s, and 4 times as slow under atheris
STREAM = b"\x80\2" + bytes.fromhex("8a0a6cfc9c46f9206aa85019") + b"."  # its magic number
STORAGES = {"0": DATA, "1": bytes(range(256)) * 2, "empty": b""}
MAX_LENGTH, MAX_SEED = 1 << 16, 1 << 12


def from_pickle(data):
    records = [Record(f"a/data/{key}", raw) for key, raw in STORAGES.items()]
    return zip_bytes([Record("a/data.pkl", data), *records, Record("a/version", b"3\n")])


def _number(choose):
    """A number as headers hold them, mostly near a limit."""
    special = (
        0,
        1,
        2,
        16,
        30,
        0xFFFF,
        0xFFFFFFFE,
        0xFFFFFFFF,
        1 << 32,
        (1 << 63) - 1,
        (1 << 64) - 1,
    )
    if choose.ConsumeBool():
        return special[choose.ConsumeIntInRange(0, len(special) - 1)]
    return choose.ConsumeIntInRange(0, 2000)


def _record(choose, name, data):
    record = Record(name, data)
    for field in ("crc", "method", "flags", "size", "packed", "offset", "disk"):
        if choose.ConsumeIntInRange(0, 40) == 0:
            wide = field in ("size", "packed", "offset")
            setattr(record, field, _number(choose) & (0xFFFFFFFFFFFFFFFF if wide else 0xFFFF))
    if choose.ConsumeIntInRange(0, 20) == 0:
        record.extra = choose.ConsumeBytes(choose.ConsumeIntInRange(0, 40))
    if choose.ConsumeIntInRange(0, 20) == 0:
        record.local_extra = choose.ConsumeBytes(choose.ConsumeIntInRange(0, 40))
    if choose.ConsumeIntInRange(0, 30) == 0:
        record.local = {"size": _number(choose), "crc": 0, "packed": 0}
    if choose.ConsumeIntInRange(0, 30) == 0:
        record.name = choose.ConsumeBytes(choose.ConsumeIntInRange(0, 20))
    return record


def from_choices(data):
    """An archive whose header fields the input chooses."""
    choose = atheris.FuzzedDataProvider(data)
    body = b"\x80\2" + dict_of(w=tensor()) + b"."
    parts = [("a/data.pkl", body), ("a/byteorder", b"little"), ("a/data/0", DATA), ("a/v", b"3")]
    records = [_record(choose, name, raw) for name, raw in parts]
    options = {"zip64": choose.ConsumeBool()}
    for name in ("end", "end64", "locator"):
        if choose.ConsumeIntInRange(0, 8) == 0:
            limit = 0xFFFFFFFFFFFFFFFF if name == "end64" else 0xFFFFFFFF
            fields = {"end": ("count", "here", "size", "offset"), "locator": ("disk", "disks")}
            field = choose.PickValueInList(list(fields.get(name, ("count", "size", "offset"))))
            options[name] = {field: _number(choose) & limit}
    raw = bytearray(zip_bytes(records, **options))
    for _ in range(choose.ConsumeIntInRange(0, 3)):
        raw[choose.ConsumeIntInRange(0, len(raw) - 1)] = choose.ConsumeIntInRange(0, 255)
    return bytes(raw)


def from_header(data):
    """The input as it is, or with the length that fits its first newline, where there is one."""
    head, found, rest = data[8:].partition(b"\n")
    return len(head).to_bytes(8, "little") + head + rest if found else data


def from_script(data):
    parts = {"a/data.pkl": data, "a/code/m.py": b"x", "a/data/0": DATA}
    return zip_bytes([Record(name, raw) for name, raw in parts.items()])


def from_keras(data):
    config, _, weights = data.partition(b"\0")
    parts = {"config.json": config, "metadata.json": b'{"keras_version": "3.1.0"}'}
    parts["model.weights.h5"] = weights or others.good_hdf5()
    return zip_bytes([Record(name, raw) for name, raw in parts.items()])


def from_metadata(data):
    """Our own file with arrays of RNN(1, 1), and the input as the text of its configuration."""
    text = json.dumps(data.decode("utf-8", "replace"))
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    arrays = ",".join(
        f'"{name}":{{"dtype":"F32","shape":{[1, 1] if n < 2 else [1]},'
        f'"data_offsets":[{4 * n},{4 * n + 4}]}}'
        for n, name in enumerate(names)
    )
    header = f'{{"__metadata__":{{"fastlstm":{text}}},{arrays}}}'
    return safetensors_bytes(header, DATA)


BUILD = {
    "pickle": from_pickle,
    "zip": from_choices,
    "safetensors": from_header,
    "onnx": lambda data: b"\x08\x08" + data,
    "hdf5": lambda data: b"\x89HDF\r\n\x1a\n" + data,
    "numpy": lambda data: b"\x80\x04" + data,
    "stream": lambda data: STREAM + data,
    "script": from_script,
    "npz": lambda data: zip_bytes([Record("w.npy", data)]),
    "keras": from_keras,
    "own": from_metadata,
    "file": bytes,
}


def check(path, size):
    """Loads the file; what comes back must be arrays that can be read, not larger than allowed."""
    start = time.process_time()
    try:
        _, arrays, layers = inspect(path, activation="tanh")
    except LoadError as error:
        assert str(error).startswith(path) and str(error).isprintable(), str(error)
        arrays, layers = {}, {}
    for layer in layers.values():
        assert str(layer).isprintable()
    for name, array in arrays.items():
        assert isinstance(name, str) and isinstance(array, np.ndarray)
        assert array.nbytes <= 8 * size + (16 << 20)
        array.copy()
    spent = time.process_time() - start
    assert spent <= SECONDS * max(1, size / 65536), f"{spent:.2f} s for {size} bytes"


def _stream():
    import torch

    file = BytesIO()
    torch.save({"w": torch.ones(4)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()[len(STREAM) :]


OWN_SEEDS = {
    "onnx": lambda: others.GOOD_ONNX[2:],
    "hdf5": lambda: others.good_hdf5()[8:],
    "numpy": lambda: others.GOOD_PICKLE[2:],
    "stream": _stream,
    "script": lambda: b"\x80\2c__torch__.m\nNet\n)\x81" + dict_of(w=tensor()) + b"b.",
    "npz": lambda: others.npy(others._HEADER, DATA),
    "keras": lambda: (
        b'{"class_name": "Sequential", "config": {"layers": [{"class_name": "LSTM", '
        b'"config": {"name": "lstm", "units": 2}}]}}'
    ),
    "own": lambda: (
        b'{"version": 1, "layers": {"": {"kind": "RNN", "input_size": 1, "hidden_size": 1}}}'
    ),
}


def seeds(mode, folder):
    """The inputs to begin with."""
    found = [("good", GOOD), ("good-header", headers.GOOD)]
    found += [(case.name, case.data) for case in all_cases()]
    if mode in OWN_SEEDS:
        (folder / "good").write_bytes(OWN_SEEDS[mode]())
        kind = {"numpy": "numpy-", "stream": "stream-"}.get(mode, f"{mode}-")
        cut = {"onnx": 2, "hdf5": 8, "numpy": 2, "stream": len(STREAM)}.get(mode)
        for name, data in found:
            if cut and name.startswith(kind) and len(data) <= MAX_SEED * 4:
                (folder / name).write_bytes(data[cut:])
        return
    for name, data in found:
        if len(data) > MAX_SEED:
            continue
        if mode == "pickle":
            try:
                with zipfile.ZipFile(BytesIO(data)) as archive:
                    data = archive.read("a/data.pkl")
            except Exception:  # a zip that is malformed itself, in whatever way: no seed
                continue
        elif mode == "safetensors":
            if "safetensors" not in name and "header" not in name:
                continue
            length = int.from_bytes(data[:8], "little")
            (folder / f"{name}-split").write_bytes(data[: 8 + length] + b"\n" + data[8 + length :])
        elif mode == "zip":
            data = data[::-1]
        (folder / name).write_bytes(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--seconds", type=int, default=60, help="0: no end")
    parser.add_argument("--seeds", type=Path, help="kept, and grown by what is found")
    options, flags = parser.parse_known_args()
    scratch = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = os.path.join(folder, "input")
        corpus = options.seeds or Path(folder) / "seeds"
        corpus.mkdir(parents=True, exist_ok=True)
        seeds(options.mode, corpus)

        def one(data):
            made = BUILD[options.mode](data)
            with open(path, "wb") as file:
                file.write(made)
            check(path, len(made))

        command = [sys.argv[0], f"-max_total_time={options.seconds}", f"-max_len={MAX_LENGTH}"]
        atheris.Setup([*command, *flags, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
