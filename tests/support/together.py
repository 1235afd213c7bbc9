# SPDX-License-Identifier: MIT
"""Threads that begin at the same moment."""

import threading


def together(work, count=8):
    """work(n) on thread n of `count`, none before all are there; back when all have returned."""
    start = threading.Barrier(count)

    def run(n):
        start.wait()
        work(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
