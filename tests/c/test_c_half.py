# SPDX-License-Identifier: MIT
"""float32 to float16 as weights are packed, and back as kernels read them, against NumPy
(tests/c/half_driver.c): every float16 number, on every instruction set that runs here."""

import subprocess

import numpy as np
import pytest
from c_core import CLEAN, X86, build, need

ALL = np.arange(1 << 16, dtype=np.uint16)


@pytest.fixture(scope="module")
def driver():
    return [build("half_driver")]


def piped(driver, numbers, dtype, *arguments):
    done = subprocess.run(
        [*driver, *arguments], input=numbers.tobytes(), capture_output=True, env=CLEAN, check=True
    )
    return np.frombuffer(done.stdout, dtype)


def neighbours(x):
    """x, and the float32 numbers next to each: one and two steps below and above."""
    below, above = np.nextafter(x, np.float32(-np.inf)), np.nextafter(x, np.float32(np.inf))
    further = np.nextafter(below, np.float32(-np.inf)), np.nextafter(above, np.float32(np.inf))
    return np.concatenate([x, below, above, *further])


def test_packing_rounds_as_numpy_does(driver):
    """At every float16 number, halfway between any two of them, where infinity begins, at the
    float32 numbers beside each of these, and at a million drawn patterns."""
    finite = ALL.view(np.float16)[np.isfinite(ALL.view(np.float16))].astype(np.float32)
    halfway = np.sort(finite)
    halfway = (halfway[1:] + halfway[:-1]) / 2
    edges = np.float32([65504, 65519.996, 65520, 65536, 3.4e38, np.inf, 2**-25, 2**-24, 1e-45])
    drawn = np.random.default_rng(3).integers(0, 1 << 32, 1_000_000, dtype=np.uint32)
    beside = [neighbours(x) for x in (finite, halfway, edges, -edges)]
    x = np.concatenate([*beside, drawn.view(np.float32)])
    with np.errstate(over="ignore"):
        want = x.astype(np.float16)
    got = piped(driver, x, np.float16, "round")
    number = ~np.isnan(x)
    assert len(got) == len(x) > 1_600_000
    np.testing.assert_array_equal(got[number].view(np.uint16), want[number].view(np.uint16))
    assert np.isnan(got[~number]).all() and (~number).any()


def assert_loads(driver):
    """Checks each instruction set that runs under `driver`; how many do."""
    want = ALL.view(np.float16).astype(np.float32)
    number = ~np.isnan(want)
    ran = 0
    sets = subprocess.run([*driver, "sets"], capture_output=True, text=True, check=True).stdout
    for isa in range(int(sets)):
        got = piped(driver, ALL, np.float32, "load", str(isa))
        if len(got):
            ran += 1
            np.testing.assert_array_equal(got[number].view(np.uint32), want[number].view(np.uint32))
            assert len(got) == len(want) and np.isnan(got[~number]).all()
    return ran


def test_kernels_read_every_float16_number_exactly(driver):
    assert assert_loads(driver) >= 1


@pytest.mark.skipif(not X86, reason="native already")
def test_aarch64_reads_every_float16_number_exactly():
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    arm = build("half_driver", arm=True, compiler="aarch64-linux-gnu-gcc", link=["-static"])
    assert assert_loads(["qemu-aarch64", "-cpu", "cortex-a53", arm]) == 2
