# SPDX-License-Identifier: MIT
"""Times of several engines for the same work, by turns; what an installation weighs."""

import importlib.metadata
import time
from pathlib import Path

import numpy as np

import fastlstm


def microseconds(engines, rounds=7):
    """{name: {"us", "spread"}} of {name: f()}, each f one pass over the work, which counts as
    f.items pieces of work if it has that attribute.

    The engines take turns, each on one thread, and what is counted is the time that the processor
    worked: that is the time it takes where nothing else runs. It is the median over rounds; the
    spread is half the distance between the quartiles over it: above 0.1 other programs disturbed.
    """
    taken = {name: [] for name in engines}
    for run in engines.values():
        run()
    for _ in range(rounds):
        for name, run in engines.items():
            start = time.process_time()
            run()
            taken[name].append((time.process_time() - start) * 1e6 / getattr(run, "items", 1))
    found = {}
    for name, values in taken.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        found[name] = {"us": float(middle), "spread": float((high - low) / 2 / middle)}
    return found


def passes(run, items):
    """The function, with how many pieces of work one call does."""

    def call():
        return run()

    call.items = items
    return call


def size(folder):
    """Bytes of the files that a wheel has of a package's folder."""
    ends = (".py", ".pyi", ".so", ".pyd", ".pt", ".npz")
    return sum(p.stat().st_size for p in folder.rglob("*") if p.suffix in ends)


def installed(*names):
    """{name: megabytes of its installed files}, of those that are installed."""
    found = {}
    for name in names:
        try:
            files = [file.locate() for file in importlib.metadata.files(name) or []]
        except importlib.metadata.PackageNotFoundError:
            files = []
        total = sum(p.stat().st_size for p in files if p.is_file() and p.suffix != ".pyc")
        if name == "fastlstm" and total < 1e6:  # installed in place, for developing it
            total = size(Path(fastlstm.__file__).parent)
        if total:
            found[name] = round(total / 1e6, 1)
    return found
