# SPDX-License-Identifier: MIT
"""Sound small files of every format with pieces changed at random: LoadError, or arrays.

The fuzzer's short sister (tests/fuzz/fuzz_load.py looks for coverage, and takes minutes).
"""

import time

import numpy as np
import pytest
from conftest import FULL
from load_corpus import headers, others
from load_corpus.build import GOOD
from test_load_hostile import _keras, _own, _saved, _script

from fastlstm.loaders import LoadError, inspect, load_all

SOUND = {
    "torch": lambda: GOOD,
    "stream": lambda: _saved(_use_new_zipfile_serialization=False),
    "torchscript": _script,
    "safetensors": lambda: headers.GOOD,
    "onnx": lambda: others.GOOD_ONNX,
    "hdf5": others.tiny_hdf5,
    "keras-hdf5": others.good_hdf5,
    "keras": _keras,
    "npz": lambda: others.GOOD_NPZ,
    "pickle": lambda: others.GOOD_PICKLE,
    "own": _own,
}
COUNT = 100_000 if FULL else 5000
SPECIAL = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 8, b"\1",
           b"\0" * 8, b"\x0a", b"(", b".", b"\x10\x27"]  # fmt: skip


def mutant(data, rng):
    """`data` after one to four changes of a few bytes."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, len(data)))
        kind, count = rng.integers(0, 6), int(rng.integers(1, 9))
        if kind == 0:
            piece = SPECIAL[rng.integers(0, len(SPECIAL))]
            data[at : at + len(piece)] = piece
        elif kind == 1:
            data[at] = rng.integers(0, 256)
        elif kind == 2:  # a number near by
            data[at] = (data[at] + int(rng.integers(-4, 5))) % 256
        elif kind == 3:
            del data[at : at + count]
        elif kind == 4:
            data[at:at] = data[at : at + count]
        else:  # what stands elsewhere
            other = int(rng.integers(0, len(data)))
            data[at : at + count] = data[other : other + count]
    return bytes(data)


@pytest.mark.parametrize("name", SOUND)
def test_mutants(memory_path, name):
    rng, data, path = np.random.default_rng(5), SOUND[name](), memory_path / "x"
    read = 0
    for n in range(COUNT):
        changed = mutant(data, rng)
        path.write_bytes(changed)
        start = time.process_time()
        try:
            _, arrays, layers = inspect(path, activation="tanh")
            read += 1
            for array in arrays.values():
                assert array.nbytes <= 8 * len(changed) + (16 << 20)
            assert all(str(layer).isprintable() for layer in layers.values())
            load_all(path, activation="tanh")
        except LoadError as error:
            assert str(error).startswith(str(path)) and str(error).isprintable()
        except Exception as error:
            raise AssertionError(f"mutant {n}: {type(error).__name__}: {error}") from error
        assert time.process_time() - start < 1, n
    assert 0 <= read < COUNT
