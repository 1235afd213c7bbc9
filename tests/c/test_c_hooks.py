# SPDX-License-Identifier: MIT
"""Every thread that works on a call enters before its first kernel and leaves after its last, also
when the call is interrupted (tests/c/hooks_driver.c)."""

import subprocess
import sys

import pytest
from c_core import CLEAN, build
from conftest import FULL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX")


def test_threads_enter_before_their_kernels_and_leave_after_them():
    driver = build("hooks_driver", flags=["-DFL_SPLIT_HOOK"], model=True)
    networks = 400 if FULL else 20
    done = subprocess.run(
        [driver, str(networks), "1", "3"], capture_output=True, text=True, env=CLEAN, timeout=3600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    for line in lines:
        words = line.split()
        calls, entered = int(words[0]), int(words[3])
        assert calls >= 4 and entered >= calls
    one, several, backward = (int(line.split()[0]) for line in lines[:3])
    assert one + several >= networks and backward >= networks / 4
