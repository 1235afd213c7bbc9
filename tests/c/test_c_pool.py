# SPDX-License-Identifier: MIT
"""What a pool of streams asks of the core (tests/c/pool_driver.c): one network called from several
threads, states copied in and out; the bits, data races, and memory that is left."""

import subprocess

import pytest
from c_core import CLEAN, SANITIZERS, build
from conftest import FULL

STEPS = {"plain": 1_000_000, "thread": 200_000, "address": 100_000} if FULL else {}
WRAPPED = [f"-Wl,--wrap={name}" for name in ("fl_alloc", "fl_alloc_lasting", "fl_free")]


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_streams_of_several_callers_are_themselves_and_no_memory_is_left(sanitizer):
    driver = build("pool_driver", sanitizer=sanitizer, flags=["-DFL_SPLIT_HOOK"], link=WRAPPED)
    done = subprocess.run(
        [driver, str(STEPS.get(sanitizer, 2000)), "5"],
        capture_output=True, text=True, timeout=7200, env=CLEAN,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert "WARNING" not in done.stderr, done.stderr[-5000:]
