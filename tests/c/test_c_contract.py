# SPDX-License-Identifier: MIT
"""What fastlstm.h promises, in C (tests/c/contract_driver.c): guard pages around every buffer, the
core's own too; failing allocations; floating-point control registers; the same bits from one thread
and several; sanitizers and valgrind. Drawn networks of every cell, forward and backward, on every
instruction set. Leaks: LeakSanitizer (with "address") and valgrind look at the process's end.
"""

import subprocess
import sys

import pytest
from c_core import CLEAN, SANITIZERS, build, need
from conftest import FULL

import fastlstm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX")

WRAP = ["-Wl,--wrap=fl_alloc,--wrap=fl_alloc_lasting,--wrap=fl_free"]
GRID = 130 * 130 * 9  # I, H, B
LARGE = GRID - 130 * 40  # from here on H > 90 and B = 9: work that is shared out
# (first case, step) for each sanitizer: fewer where they are slow
GUARD = (0, 1) if FULL else (3, 1009)
FAIL = {"plain": (5, 5003), "address": (7, 20011)}
CONTROL = {"plain": (11, 20011), "address": (13, 80021)}
RACE = {"plain": (LARGE, 307), "address": (17, 15013), "thread": (LARGE + 1, 1601)}
VALGRIND = {"fail": (2600, 60101), "race": (2601, 60101), "control": (2602, 90001)}
MORE = 20 if FULL else 1
HAS_AMX = "avx512-amx" in fastlstm.runnable_isas()


def drive(kind, mode, start, threads, prefix=(), more=()):
    """The driver's two counts, after checking that it found nothing wrong. more: a format and a set
    for all networks, on tiles for every number of rows."""
    flags = ["-DFL_TILE_ROWS=1"] if more else []
    driver = build("contract_driver", sanitizer=kind, flags=flags, link=WRAP)
    first, step = start
    environment = CLEAN | {"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"}
    done = subprocess.run(
        [
            *prefix,
            driver,
            mode,
            str(first),
            str(GRID),
            str(max(1, step)),
            str(threads),
            *map(str, more),
        ],
        capture_output=True,
        text=True,
        timeout=None if FULL else 600,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert done.stderr == ""
    cases, _, count = done.stdout.partition(" cases, ")
    return int(cases), int(count.split()[0])


def test_guard_pages_on_both_sides_of_every_buffer():
    """In full every I and H in 1..130 with every B in 1..9."""
    cases, calls = drive("plain", "guard", GUARD, 4)
    assert cases >= (GRID if FULL else 150) and calls >= 2 * cases


@pytest.mark.skipif(not HAS_AMX, reason="a CPU with AMX")
@pytest.mark.parametrize("number", [2, 3], ids=["int8", "bfloat16"])
def test_guard_pages_around_what_tiles_read_and_write(number):
    """The same grid on tiles alone, whatever the number of rows."""
    first, step = GUARD
    cases, calls = drive("plain", "guard", (first, step), 4, more=(number, "avx512-amx"))
    assert cases >= (GRID if FULL else 150) and calls == 2 * cases


@pytest.mark.parametrize("kind", FAIL)
def test_any_allocation_may_fail(kind):
    """FL_NO_MEMORY or NULL, nothing written; then the same net gives the same bits."""
    first, step = FAIL[kind]
    cases, failed = drive(kind, "fail", (first, step // MORE), 3)
    assert cases >= 7 and failed >= 5 * cases


@pytest.mark.parametrize("kind", CONTROL)
def test_float_control_registers_stay_as_they_are(kind):
    """Rounding to nearest, down, up, to zero, with and without subnormals; four callers at once,
    each in another mode."""
    first, step = CONTROL[kind]
    cases, modes = drive(kind, "control", (first, step // MORE), 4)
    assert cases >= 2 and modes == 4 * 8 * cases


@pytest.mark.parametrize("kind", SANITIZERS)
def test_threads_share_the_work_of_a_call(kind):
    first, step = RACE[kind]
    cases, _ = drive(kind, "race", (first, step // MORE), 4)
    assert cases >= 4


@pytest.mark.parametrize("threads", [1, 2])
def test_zeros_past_the_lengths_can_be_interrupted(threads):
    """16 Mi floats of them: a poll for each 1.5 Mi."""
    assert drive("plain", "stop", (8, 1), threads) == (0, 0)


@pytest.mark.parametrize("mode", VALGRIND)
def test_valgrind_finds_nothing(mode):
    """Its processor has AVX2 and no AVX-512: the other kernels run."""
    need("valgrind")
    first, step = VALGRIND[mode]
    options = ["-q", "--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"]
    leaks = "--errors-for-leak-kinds=definite,indirect"  # "possible": stacks of threads still there
    quiet = "--show-leak-kinds=definite,indirect"
    drive("plain", mode, (first, step // MORE), 2, ["valgrind", *options, leaks, quiet])
