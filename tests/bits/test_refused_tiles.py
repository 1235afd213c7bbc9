# SPDX-License-Identifier: MIT
"""Layers of int8 and bfloat16 have the same bits in a process that the system refuses AMX's tiles
as in one that has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastlstm

pytestmark = [
    pytest.mark.needs("c"),
    pytest.mark.skipif(
        "avx512-amx" not in fastlstm.runnable_isas(), reason="this CPU has no AMX to refuse"
    ),
]
SUPPORT = Path(__file__).parents[1] / "support"


def rows_of(dtype, how, path):
    found = os.pathsep.join([str(Path(fastlstm.__file__).parents[1]), str(SUPPORT)])
    done = subprocess.run(
        [sys.executable, SUPPORT / "rows_of_calls.py", dtype, how, path],
        env=os.environ | {"PYTHONPATH": found}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    data = path.read_bytes()
    return done.stdout.strip(), [data[i : i + 8] for i in range(0, len(data), 8)]


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_rows_have_the_same_bits_without_leave_to_use_tiles(tmp_path, dtype):
    """Batches of 1 to 65, every cut of 40 steps, lengths, 1 to 16 threads."""
    allowed, with_tiles = rows_of(dtype, "allow", tmp_path / "with")
    refused, without = rows_of(dtype, "refuse", tmp_path / "without")
    assert (allowed, refused) == ("1", "0")
    assert len(with_tiles) == len(without) >= 10_000 and len(set(without)) > 3_000
    assert [i for i, pair in enumerate(zip(with_tiles, without)) if pair[0] != pair[1]] == []
