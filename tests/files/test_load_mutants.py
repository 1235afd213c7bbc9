# SPDX-License-Identifier: MIT
"""Sound and malformed small files of every format, changed at random: LoadError, or arrays.

The short form of fuzz/fuzz_load.py, over the same targets: the fuzzer looks for coverage, and takes
minutes. Files of whole models are run as well.
"""

import random

import pytest
from conftest import FULL
from load_corpus import whole
from load_corpus.targets import TARGETS
from speed import slowness
from work import work_of

from fastlstm import LoadError, load_all
from fastlstm.files.read import inspect

pytestmark = pytest.mark.once

CHANGED = 500_000 if FULL else 2_000  # beside the files to begin with, of which none is left out
RUN_CHANGED = 100_000 if FULL else 10_000  # of whole models, which are planned and run: 4 ms each
CALLS = 1_400_000  # of functions for 64 KiB: twice what test_load_hostile.py allows one load
SECONDS = 1.0  # of CPU for 64 KiB on a quick machine (speed.py); in full alone
OPTIONS = {"activation": "tanh"}


def run_whole(path, size):
    """Load the file as a whole model and run it once; True if it is read and runs."""
    try:
        whole.use(path)
    except (LoadError, MemoryError):
        return False
    return True


def look(path, size):
    """Load the file in every way; True if it is read."""
    try:
        _, arrays, layers = inspect(path, **OPTIONS)
        for array in arrays.values():
            assert array.nbytes <= 8 * size + (16 << 20)
        assert all(str(layer).isprintable() for layer in layers.values())
        if layers:
            load_all(path, **OPTIONS)
    except LoadError as error:
        assert str(error).startswith(str(path)) and str(error).isprintable()
        return False
    return True


@pytest.mark.filterwarnings("ignore:invalid escape:DeprecationWarning")  # of pickletools
@pytest.mark.filterwarnings("ignore:.*cannot be run:UserWarning")  # layers left out of load_all
@pytest.mark.parametrize("name", TARGETS)
def test_mutants(memory_path, name):
    """Half of them from files that are read."""
    target, path, rng = TARGETS[name], memory_path / "x", random.Random(5)
    use, changed = (run_whole, RUN_CHANGED) if name == "model" else (look, CHANGED)
    seeds, sound, read = target.seeds(), [], 0
    count = len(seeds) + changed
    slower = slowness()
    for n in range(count):
        if n < len(seeds):
            data = seeds[n]
        else:
            data = rng.choice(sound if sound and n % 2 else seeds)
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                data = target.change(data, rng)
        made = target.build(data)
        path.write_bytes(made)
        try:
            good, calls, spent = work_of(lambda: use(path, len(made)))  # noqa: B023 (called at once)
        except Exception as error:
            raise AssertionError(f"input {n}: {type(error).__name__}: {error}") from error
        pieces = max(1, len(made) / 65536)
        assert calls <= CALLS * pieces, f"input {n}: {calls} calls"
        assert not FULL or spent < SECONDS * pieces * slower, f"input {n}: {spent} s"
        read += good
        if good and len(sound) < 500:
            sound.append(data)
    assert 0 < read < count
