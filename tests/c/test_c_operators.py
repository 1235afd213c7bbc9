# SPDX-License-Identifier: MIT
"""The operators of csrc/ops (tests/c/operators_driver.c): the linear layer and the recurrent stack
against sums written out as loops, bit for bit, others against themselves on one thread, all in
memory of exactly their size; wrong shapes, short memory and interruption."""

import subprocess
import sys

import pytest
from c_core import CLEAN, X86, build, need
from conftest import FULL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX")

DRAWN = 9  # operators: linear, recurrent, and those of elements and along axes
LAYERS = {"plain": 50, "thread": 5, "address": 20}
if FULL:
    LAYERS = {"plain": 3000, "thread": 100, "address": 300}
# Ten times as many looks whether to stop, in calls of a tenth of the work: with checks and under
# qemu calls of the usual size were nearly all that took time. "plain" has those.
POLLS = ["-DFL_POLL_FLOP=1e7"]


def runs(command, layers, threads):
    done = subprocess.run(
        [*command, str(layers), "1", str(threads)],
        capture_output=True,
        text=True,
        env=CLEAN,
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert "WARNING" not in done.stderr, done.stderr[-5000:]
    return int(done.stdout.split()[0])


@pytest.mark.parametrize("sanitizer", LAYERS)
def test_operators_give_the_bits_of_their_sums(sanitizer):
    """Of 0 to 4 threads, each once for all operators that the driver draws and every instruction
    set."""
    layers = LAYERS[sanitizer]
    flags = [] if sanitizer == "plain" else POLLS
    count = runs([build("operators_driver", sanitizer=sanitizer, flags=flags)], layers, 4)
    assert count >= DRAWN * layers * 5 and count % (DRAWN * layers * 5) == 0


@pytest.mark.skipif(not X86, reason="native already")
def test_operators_on_aarch64():
    need("aarch64-linux-gnu-gcc", "qemu-aarch64")
    compiler = "aarch64-linux-gnu-gcc"
    arm = build("operators_driver", arm=True, compiler=compiler, flags=POLLS, link=["-static"])
    assert runs(["qemu-aarch64", "-cpu", "cortex-a53", arm], 5, 2) == DRAWN * 5 * 3 * 2
