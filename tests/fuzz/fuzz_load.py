# SPDX-License-Identifier: MIT
"""Fuzzing of the loaders with atheris: any exception but LoadError, or a slow input, is a finding.

    python tests/fuzz/fuzz_load.py MODE [--seconds N] [--seeds FOLDER] [-runs=N ...]

    pickle        the input is the pickle of a checkpoint whose zip is sound (CRCs right)
    zip           the input chooses the fields of the zip's headers
    safetensors   the input is the file; most of them begin as a header of the right length
    file          the input is the file, of any format

Needs `pip install atheris numpy safetensors`, and fastlstm importable. The seeds are the malformed
files of load_corpus and sound ones beside them, written to FOLDER (a temporary one) at the start.
"""

import argparse
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
    from fastlstm.loaders import LoadError, find, read_state_dict

from load_corpus import all_cases, headers  # noqa: E402
from load_corpus.build import DATA, GOOD, Record, dict_of, tensor, zip_bytes  # noqa: E402

MODES = ("pickle", "zip", "safetensors", "file")
SECONDS = 4.0  # for 64 KiB: 1 s, and 4 times as slow under atheris
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


BUILD = {"pickle": from_pickle, "zip": from_choices, "safetensors": from_header, "file": bytes}


def check(path, size):
    """Loads the file; what comes back must be arrays that can be read, not larger than allowed."""
    start = time.process_time()
    try:
        arrays = read_state_dict(path)
    except LoadError as error:
        assert str(error).startswith(path) and str(error).isprintable(), str(error)
        arrays = {}
    for layer in find(arrays).values():
        assert str(layer).isprintable()
    for name, array in arrays.items():
        assert isinstance(name, str) and isinstance(array, np.ndarray)
        assert array.nbytes <= 8 * size + (16 << 20)
        array.copy()
    spent = time.process_time() - start
    assert spent <= SECONDS * max(1, size / 65536), f"{spent:.2f} s for {size} bytes"


def seeds(mode, folder):
    """The inputs to begin with."""
    found = [("good", GOOD), ("good-header", headers.GOOD)]
    found += [(case.name, case.data) for case in all_cases()]
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
