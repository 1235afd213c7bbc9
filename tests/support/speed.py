# SPDX-License-Identifier: MIT
"""How quick this machine is now: what bounds in seconds, which only the long run has, are taken of.

Apart from conftest.py, which imports PyTorch: processes whose memory is measured use it too.
"""

import time

QUICK = 0.04  # s of processor time that the loop takes where bounds in seconds hold as they are


def slowness():
    """By how much this machine is slower than a quick one, at least 1: the best of five loops."""
    taken = []
    for _ in range(5):
        start = time.process_time()
        sum(i & 7 for i in range(1_000_000))
        taken.append(time.process_time() - start)
    return max(1.0, min(taken) / QUICK)
