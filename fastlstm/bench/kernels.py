# SPDX-License-Identifier: MIT
"""The C kernels without Python: one step in C, and what Python adds to it.

The extension's `KernelProbe(isa, rows, k, hidden)` runs one kernel in a loop in C and returns the
seconds of one run. One step of a batch of one is its `gemm` over the I inputs and its `step` over
the H states, which ends with the gates. forward.py says how the functions
that end in _rows are called.
"""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
from pathlib import Path

import numpy as np

import fastlstm
from fastlstm.engine import backend

from . import measure, model, stats
from .forward import doubt, to_row
from .measure import SAMPLE_SECONDS, Entry
from .rows import Row

IN_CACHE = 512 * 1024  # bytes of weights that stay in any second-level cache beside the rest


class CStep(Entry):
    """The input product and the step of one row, timed inside C.

    With small weights a sample is many runs of one kernel, then many of the other, so that the
    clock does not count. Where the weights would push each other out of the cache (more than
    IN_CACHE), each kernel runs once in turn, as in a real step.
    """

    def __init__(self, isa, shape):
        super().__init__("fastlstm", lambda: None, f"C, {isa}")
        self.product = backend.KernelProbe(isa, 1, shape.I, shape.H)
        self.recurrent = backend.KernelProbe(isa, 1, shape.H, shape.H)
        self.in_turn = 16 * shape.H * (shape.I + shape.H) > IN_CACHE

    def _time(self, number: int) -> float:
        """Seconds of one step, over `number` of them."""
        if self.in_turn:
            both = [self.product.gemm(1) + self.recurrent.step(1) for _ in range(number)]
            return math.fsum(both) / number
        return self.product.gemm(number) + self.recurrent.step(number)

    def calibrate(self, rounds: int) -> None:
        self.number = 1
        while self._time(self.number) * self.number < SAMPLE_SECONDS:
            self.number *= 2

    def open(self) -> None:
        """Begin another pass. The kernels' buffers stay."""
        self.passes += [len(self.walls)] if self.walls else []

    def sample(self, threads: int) -> None:
        self._time(max(1, self.number // 8))
        self.walls.append(self._time(self.number))


def _missing(case):
    """The rows of a case where the extension is not there: one that says so."""
    yield []
    note = "this build cannot time one kernel"
    return [Row(case.name, case.kind.name, "fastlstm", shape=case.shape.record(), notes=[note])]


@functools.cache
def rtneural() -> dict[tuple[int, int], float]:
    """{(I, H): our time over RTNeural's for a step of a long sequence}, against its fastest build.

    RTNeural is C++ whose sizes are fixed when it is compiled: benchmarks/rtneural/run.sh builds
    both and times them in one process. {} without the sources beside this package or without
    RTNEURAL, the place of RTNeural's, in the environment.
    """
    script = Path(fastlstm.__file__).parents[1] / "benchmarks" / "rtneural" / "run.sh"
    if not os.environ.get("RTNEURAL") or not script.exists():
        return {}
    done = subprocess.run([str(script)], capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise RuntimeError(f"{script.name}: {last[0]}")
    return fastest_of_rtneural(done.stdout)


def fastest_of_rtneural(text: str) -> dict[tuple[int, int], float]:
    """What run.sh prints, one line for each size and build -> our time over the best build's."""
    line = r"I +(\d+) H +(\d+) +RTNeural +\d+ ns .*?: sequence +\d+ ns \(([\d.]+)\)"
    found: dict[tuple[int, int], float] = {}
    for inputs, hidden, over in re.findall(line, text):
        key = int(inputs), int(hidden)
        found[key] = max(found.get(key, 0.0), float(over))
    return found


def kernel_rows(case, ctx):
    """The C step for every instruction set that runs here; against RTNeural where it is."""
    return _kernel_rows(case, ctx) if hasattr(backend, "KernelProbe") else _missing(case)


def _kernel_rows(case, ctx):
    steps = [CStep(isa, case.shape) for isa in fastlstm.runnable_isas()]
    for step in steps:
        step.calibrate(ctx.rounds)
    yield steps
    rows = [to_row(case, step, case.shape.flops()) for step in steps]
    for row, step in zip(rows, steps, strict=True):
        row.p90 = row.p99 = None  # of samples, not of steps
        row.latency = []
        if step is not steps[0]:
            row.ratio = measure.ratio(step, steps[0], f"this / {steps[0].way}")
    shape = case.shape
    over = rtneural().get((shape.I, shape.H))
    if over is not None:
        rows[0].measured["of RTNeural's time"] = over
        rows[0].notes.append(f"{over:.2f} of RTNeural's time, its fastest build, in one process")
    doubt(rows)
    return rows


def share_rows(case, ctx):
    """Python's share of a step: a call's time minus the C step's, both from the same rounds.

    It counts all that is not the two kernels: the interpreter's call, checks, outputs, and the C
    network around them.
    """
    return _share_rows(case, ctx) if hasattr(backend, "KernelProbe") else _missing(case)


def _share_rows(case, ctx):
    shape, ways = case.shape, ctx.peers["fastlstm"].ways
    weights, x = model.make_weights(shape), model.make_input(shape)
    step = CStep(ctx.limits.isa, shape)
    entries = [step]
    # The plain calls start from zeros; only a stream carries its state.
    plain, carried = ways(shape, 1), ways(shape, 1, carry=True)
    for way, make in (carried | plain).items():

        def build(make=make):
            runner = make(weights)
            runner.load(x)
            return runner

        entries.append(Entry("fastlstm", build, way))
    for entry in entries:
        entry.calibrate(ctx.rounds)
    yield entries
    rows = []
    for entry in entries[1:]:
        share = float(np.median(np.subtract(entry.walls, step.walls))) * 1e6
        row = to_row(case, entry)
        row.notes.append(f"C step {step.median * 1e6:.3g} us, Python's share {share:.3g} us")
        row.detail["c_walls"] = step.walls
        row.noisy = stats.doubts(row.spread, None)
        row.measured[f"us of Python, {entry.way}"] = share
        rows.append(row)
    return rows
