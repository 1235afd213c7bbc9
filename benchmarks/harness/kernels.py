# SPDX-License-Identifier: MIT
"""The C kernels without Python: one step in C, and what Python adds to it.

`fastlstm._core.Bench(isa, rows, k, hidden)` runs one kernel in a loop in C and returns the seconds
of one run. One step of a batch of one is its `gemm` over the I inputs and its `step` over the H
states, which ends with the gates.
"""

from __future__ import annotations

import math

import numpy as np

from . import measure, model
from .measure import SAMPLE_SECONDS, Entry
from .report import Row
from .shapes import Shape

# I = 1 is what RTNeural's figures are for; I = H also.
C_STEPS = [Shape(1, 1, 1, width) for width in (16, 32, 64)]
C_STEPS += [Shape(1, 1, width, width) for width in (16, 32, 64, 128, 256)]
SHARES = [Shape(1, 1, width, width) for width in (16, 64, 128)]
IN_CACHE = 512 * 1024  # bytes of weights that stay in any second-level cache beside the rest


def kernel_hooks():
    """The extension, or None where it cannot run one kernel by itself."""
    from fastlstm import _core

    return _core if hasattr(_core, "Bench") else None


class CStep(Entry):
    """The input product and the step of one row, timed inside C.

    Small weights: many runs of one, then many of the other, so that the clock does not count.
    Weights that would push each other out of the cache: one of each in turn, as in a real step.
    """

    def __init__(self, core, isa, shape):
        super().__init__("fastlstm, C", None, isa)
        self.product = core.Bench(isa, 1, shape.I, shape.H)
        self.recurrent = core.Bench(isa, 1, shape.H, shape.H)
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

    def sample(self, threads: int) -> None:
        self._time(max(1, self.number // 8))
        self.walls.append(self._time(self.number))


def kernel_rows(ctx) -> list[Row]:
    """The C step for every instruction set that runs here, then Python's share of a step.

    The share is the call's time minus the C step's, both from the same rounds. It counts all that
    is not the two kernels: the interpreter's call, checks, outputs, and the C network around them.
    """
    core = kernel_hooks() if "fastlstm" in ctx.peers else None
    if core is None:
        return [Row("C step", "", "fastlstm", notes=["this build cannot time one kernel"])]
    import fastlstm

    rows = []
    for shape in C_STEPS:
        ctx.log(f"C step: {shape}")
        steps = [CStep(core, isa, shape) for isa in fastlstm.runnable_isas()]
        for step in steps:
            step.calibrate(ctx.rounds)
        measure.alternate(steps, ctx.rounds)
        for step in steps:
            row = Row("C step", str(shape), step.who, step.variant, median=step.median)
            row.spread = measure.spread(step.walls)
            row.gflops = shape.flops() / step.median / 1e9
            row.detail = {"walls": step.walls, "calls": step.number}
            if step is not steps[0]:
                row.ratio, row.ratio_spread = measure.ratio(step, steps[0])
                row.ratio_of = f"this / {steps[0].variant}"
            rows.append(row)
    for shape in SHARES:
        rows += _share_rows(ctx, core, shape)
    return rows


def _share_rows(ctx, core, shape) -> list[Row]:
    ctx.log(f"Python's share: {shape}")
    module, weights, x = ctx.peers["fastlstm"], model.make_weights(shape), model.make_input(shape)
    step = CStep(core, ctx.limits.isa, shape)
    entries = [step]
    for variant in module.variants(shape, 1, carry=True):  # the plain call starts from zeros
        carry = variant.startswith("stream")
        runner = module.build(weights, shape, 1, variant=variant, carry=carry)
        runner.load(x)
        entries.append(Entry("fastlstm", runner, variant))
    for entry in entries:
        entry.calibrate(ctx.rounds)
    measure.alternate(entries, ctx.rounds)
    rows = []
    for entry in entries[1:]:
        share = float(np.median(np.subtract(entry.walls, step.walls)))
        row = Row("Python's share", str(shape), entry.who, entry.variant, median=entry.median)
        row.p99 = measure.percentile99(entry.singles)
        row.spread = measure.spread(entry.walls)
        row.notes.append(f"C step {step.median * 1e6:.3g} us")
        row.detail = {"walls": entry.walls, "c_walls": step.walls, "share_us": share * 1e6}
        row.aim("us", share * 1e6, "<=", 1 if entry.variant.endswith("out") else 2)
        rows.append(row)
        entry.runner.close()
    return rows
