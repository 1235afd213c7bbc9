# SPDX-License-Identifier: MIT
"""Units split among threads, driven from C (tests/c/split_driver.c): late helpers, and sanitizers.

The driver's threads sleep at random at every place of the protocol, so that the leader leaves
helpers behind and takes them in again thousands of times. The bits of every call are compared with
those of one thread.
"""

import re
import subprocess

import pytest
from c_core import CLEAN, SANITIZERS, build
from conftest import FULL

CALLS = 2000 if FULL else 400
BRIEF = {"plain": 3000, "thread": 3000, "address": 3000}  # of few steps each
if FULL:
    BRIEF = {"plain": 100_000, "thread": 50_000, "address": 50_000}
FOUND = re.compile(r"joined (\d+), spans (\d+), left behind (\d+), rejoined (\d+), sleeps (\d+)")


@pytest.fixture(scope="module", params=SANITIZERS)
def driver(request):
    return build("split_driver", sanitizer=request.param, define=["-DFL_SPLIT_HOOK"])


def run(driver, *arguments):
    """The five counts the driver prints; a wrong bit or a sanitizer's finding fails."""
    done = subprocess.run(
        [driver, *map(str, arguments)], capture_output=True, text=True, timeout=7200, env=CLEAN
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert "WARNING" not in done.stderr, done.stderr[-5000:]
    return map(int, FOUND.search(done.stdout).groups())


@pytest.mark.parametrize("callers", [1, 4])
def test_late_helpers_cost_no_bit(driver, callers):
    _, spans, left_behind, rejoined, sleeps = run(driver, "bits", CALLS, callers, callers)
    assert sleeps
    if callers == 1:  # several may hold each other's workers most of the time
        assert spans and left_behind and rejoined


def test_calls_of_few_steps(driver):
    calls = next(n for sanitizer, n in BRIEF.items() if f"-{sanitizer}-" in driver.name)
    joined, spans, left_behind, *_ = run(driver, "brief", calls, 11, 2)
    assert joined > calls / 100 and spans and left_behind


def test_without_sleeps(driver):
    run(driver, "calm", CALLS, 7)


def test_a_poll_ends_the_call(driver):
    run(driver, "stop", 50 if FULL else 5, 3)
