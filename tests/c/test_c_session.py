# SPDX-License-Identifier: MIT
"""Calls on threads of their caller's, driven from C (tests/c/session_driver.c): a pool like ONNX
Runtime's, whose threads come late, never, first or one index after another. The bits of every call
are compared with those of one thread."""

import re
import subprocess

import pytest
from c_core import CLEAN, SANITIZERS, build
from conftest import FULL

CALLS = {"plain": 2000, "thread": 400, "address": 400}
if FULL:
    CALLS = dict.fromkeys(SANITIZERS, 100_000)
FOUND = re.compile(r"beside (\d+), afterwards (\d+), led by the pool (\d+), joined (\d+)")


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_threads_that_come_late_never_or_in_any_order(sanitizer):
    driver = build("session_driver", sanitizer=sanitizer, flags=["-DFL_SPLIT_HOOK"])
    total = [0] * 4
    for seed in range(1000):  # again where others have the CPUs: what threads do is the system's
        done = subprocess.run(
            [driver, str(CALLS[sanitizer]), str(seed)],
            capture_output=True, text=True, timeout=7200, env=CLEAN,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr[-5000:]
        assert "WARNING" not in done.stderr, done.stderr[-5000:]
        counts = map(int, FOUND.search(done.stdout).groups())
        total = [a + b for a, b in zip(total, counts, strict=True)]
        if all(total):
            return
    raise AssertionError(total)
