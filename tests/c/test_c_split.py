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

# Calls of a run. With checks each takes ten times as long; in full they are as many as without.
CALLS = {"plain": 400, "thread": 60, "address": 60}
BRIEF = {"plain": 3000, "thread": 600, "address": 600}  # of few steps each
if FULL:
    CALLS = dict.fromkeys(SANITIZERS, 2000)
    BRIEF = {"plain": 100_000, "thread": 50_000, "address": 50_000}
FOUND = re.compile(r"joined (\d+), spans (\d+), left behind (\d+), rejoined (\d+), sleeps (\d+)")


@pytest.fixture(scope="module", params=SANITIZERS)
def driver(request):
    return build("split_driver", sanitizer=request.param, flags=["-DFL_SPLIT_HOOK"])


def calls_of(driver, table):
    return next(n for sanitizer, n in table.items() if f"-{sanitizer}-" in driver.name)


def run(driver, *arguments):
    """What the driver prints; a wrong bit or a sanitizer's finding fails."""
    done = subprocess.run(
        [driver, *map(str, arguments)], capture_output=True, text=True, timeout=7200, env=CLEAN
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert "WARNING" not in done.stderr, done.stderr[-5000:]
    return done.stdout


def run_until(enough, driver, mode, calls, seed, callers):
    """Runs with one seed after another until enough(...) is true of the five counts' sums: what
    partners do is for the system to say, and where others have the CPUs it may take them a while.
    """
    total = [0] * 5
    for more in range(0, 10_000, 100):
        found = FOUND.search(run(driver, mode, calls, seed + more, callers)).groups()
        total = [a + int(b) for a, b in zip(total, found, strict=True)]
        if enough(*total):
            return
    raise AssertionError(total)


@pytest.mark.parametrize("callers", [1, 4])
def test_late_helpers_cost_no_bit(driver, callers):
    def enough(joined, spans, left_behind, rejoined, sleeps):
        # several callers may hold each other's workers most of the time
        return sleeps and (callers > 1 or (spans and left_behind and rejoined))

    run_until(enough, driver, "bits", calls_of(driver, CALLS), callers, callers)


def test_calls_of_few_steps(driver):
    calls = calls_of(driver, BRIEF)
    run_until(lambda joined, spans, left_behind, *_: joined > calls / 100 and spans and left_behind,
              driver, "brief", calls, 11, 2)  # fmt: skip


def test_without_sleeps(driver):
    run(driver, "calm", calls_of(driver, CALLS) // (1 if FULL else 2), 7)


def test_a_poll_ends_the_call(driver):
    """And is not asked again. In full also how soon: 5 s for the slowest sanitizer."""
    out = run(driver, "stop", 50 if FULL else 5, 3)
    assert not FULL or float(out.split()[2]) < 5000
