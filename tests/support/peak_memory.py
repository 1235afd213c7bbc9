# SPDX-License-Identifier: MIT
"""Measuring the memory of one call, in a process of its own: the head of that process's script."""

from pathlib import Path

import pytest

MIB = 1 << 20

# peak_of(call): by how many bytes resident memory rises, at its highest, while call() runs
PEAK_OF = """
import numpy as np, fastlstm
def status(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
def peak_of(call):
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")  # forget the peak so far
    result = call()
    return status("VmHWM") - before
"""

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="no /proc with peak memory here"
)
