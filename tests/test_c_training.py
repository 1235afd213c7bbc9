# SPDX-License-Identifier: MIT
"""forward_train and backward in C (tests/c/training_driver.c): guard pages around every buffer of
the caller's, the same bits from one thread and four, and sanitizers, on every instruction set."""

import os
import subprocess
import sys

import pytest
from c_core import SANITIZERS, build
from conftest import FULL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the driver is written for POSIX")

# Networks on each instruction set. Shapes of 1..130 in most; work is shared out from 3 Mflop on.
NETWORKS = {"plain": 100, "thread": 8, "address": 20}


@pytest.mark.parametrize("kind", SANITIZERS)
def test_guarded_buffers_and_sanitizers(kind):
    driver = build("training_driver", sanitizer=kind)
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    networks = NETWORKS[kind] * (40 if FULL else 1)
    for seed, largest in ((1, 130), (2, 17)):
        done = subprocess.run(
            [driver, str(networks), str(seed), "4", str(largest)],
            capture_output=True,
            text=True,
            timeout=3600,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-5000:]
        assert done.stderr == ""
        assert int(done.stdout.split()[0]) >= networks
