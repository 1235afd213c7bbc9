# SPDX-License-Identifier: MIT
"""The kernels of int8 and bfloat16 by AMX's tiles against those without, bit by bit. A CPU that has
AVX-512 with VNNI and no AMX runs their machine code on a model of the instructions
(tests/c/amx_model.c); one with AMX runs them itself, and compares its instructions with the loops
that the model was held to.
"""

import subprocess
import sys

import pytest
from c_core import CLEAN, X86, build
from conftest import FULL

import fastlstm

pytestmark = [
    pytest.mark.skipif(not X86 or sys.platform != "linux", reason="AMX on Linux alone"),
    pytest.mark.skipif(
        "avx512-vnni" not in fastlstm.runnable_isas(), reason="the other kernels need AVX-512"
    ),
]

EVERY_ROW = ["-DFL_TILE_ROWS=1", "-DFL_SPLIT_HOOK", "-DFL_POLL_FLOP=1e6"]
TIMES = 100 if FULL else 1
HAS_AMX = "avx512-amx" in fastlstm.runnable_isas()


def drive(driver, *arguments, **environment):
    done = subprocess.run(
        [driver, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=None if FULL else 900,
        env=CLEAN | environment,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr[-5000:])
    return done.stdout.split()


@pytest.fixture(scope="module")
def instructions():
    return build("amx_model_driver", model=True)


@pytest.fixture(scope="module")
def networks():
    return build("amx_driver", model=True, flags=EVERY_ROW)


@pytest.mark.parametrize("mode, count", [("moves", 100), ("products", 200)])
def test_each_instruction_does_what_its_description_says(instructions, mode, count):
    """Every tile, shape and form of address; products of every kind."""
    *counts, _, _, whom = drive(instructions, mode, count * TIMES, 1)
    assert whom == "CPU" or (whom == "model" and len(counts) == 11)
    if mode == "products" and whom == "model":
        assert counts[-5:] == 5 * [str(count * TIMES)]


def test_ten_million_results_are_fused_multiply_adds_and_exact_sums():
    """Of TDPBF16PS with all exponents, zeros, terms that cancel, subnormals, and the bounds below
    which the kernels' numbers are zeros, where plain fused multiply-adds give the same; of TDPBSUD.
    The CPU's where it has AMX, and then the model's are the same."""
    driver = build("amx_results_driver", model=True)
    count, *_, whom = drive(driver, 10_000_000 if FULL or HAS_AMX else 300_000, 1)
    assert whom == ("CPU" if HAS_AMX else "model")
    if HAS_AMX:
        assert int(count) >= 10_000_000
        *few, _ = drive(driver, 300_000, 2)
        assert drive(driver, 300_000, 2, FL_AMX_MODEL="1") == [*few, "model"]


def test_wrong_uses_end_the_process(instructions):
    assert drive(instructions, "faults") == ["19"]


def test_gemms_read_nothing_beyond_their_rows_and_panels():
    """Between pages that may not be touched: drawn sizes, codes of 8 and 16 bits, bfloat16."""
    driver = build("amx_gemm_driver", model=True)
    assert drive(driver, 60 * TIMES, 1)[0] == str(180 * TIMES)


def test_networks_have_the_same_bits(networks):
    """Drawn networks of every cell, every row of some alone, time cut in two, 1 to 16 threads; the
    instruction sets' tests (test_c_bits.py) go on from these sets to all others."""
    comparisons, _ = map(int, drive(networks, "nets", 8 * TIMES, 2))
    assert comparisons == 48 * TIMES


def test_every_number_of_rows(networks):
    comparisons, _ = map(int, drive(networks, "batches", 3))
    assert comparisons == 2 * 4 * 65


def test_a_poll_may_use_tiles_and_fork(networks):
    """It runs another network, configures the tiles in a way of its own, and forks; so do libraries
    between calls."""
    polls, _ = map(int, drive(networks, "poll", 5))
    assert polls >= 16


def test_signals_leave_sums_as_they_are(networks):
    calls, _ = map(int, drive(networks, "signals", 200 * TIMES))
    assert calls >= 4


def test_refused_tiles_are_done_without(networks):
    """A filter refuses the system call, as a sandbox may."""
    assert drive(networks, "refused") == ["refused"]


@pytest.mark.skipif(not HAS_AMX, reason="on tiles of a CPU alone: the model is C")
@pytest.mark.parametrize("kind", ["address", "thread"])
def test_sanitizers_find_nothing(kind):
    """With AddressSanitizer and UBSan, and with ThreadSanitizer: what makes rows of codes, uses the
    sums, and shares both among threads. They do not see loads and stores of tiles; guard pages
    do."""
    driver = build("amx_driver", model=True, sanitizer=kind, flags=EVERY_ROW)
    comparisons, _ = map(int, drive(driver, "nets", 4 * TIMES, 7))
    assert comparisons == 24 * TIMES


@pytest.mark.parametrize("number", [2, 3], ids=["int8", "bfloat16"])
def test_a_linear_operator_asks_for_tiles(networks, number):
    """Of each format alone, in a process in which no network has asked; 1 to 65 rows."""
    drive(networks, "linear", number)


def test_few_rows_run_without_tiles():
    drive(build("amx_driver", model=True), "policy")
