# SPDX-License-Identifier: MIT
"""A whole run: every case prepared, measured in passes that lie minutes apart, made into rows."""

from __future__ import annotations

import importlib
import inspect
import time

from . import measure, rows, stats

# kind of a case -> module and function (case, context) -> rows
RUNNERS = {
    "ragged": ("special", "ragged_rows"),
    "subnormal": ("special", "subnormal_rows"),
    "contended": ("special", "contended_rows"),
    "train": ("training", "train_rows"),
    "kernel": ("kernels", "kernel_rows"),
    "share": ("kernels", "share_rows"),
    "memory": ("probes", "memory_rows"),
    "import": ("probes", "import_rows"),
    "wheel": ("probes", "wheel_rows"),
}


class Measuring:
    """One case on its way: prepared, measured pass by pass, then its rows."""

    def __init__(self, case, ctx):
        module, function = RUNNERS.get(case.kind, ("forward", "dense_rows"))
        module = importlib.import_module(f"{__package__}.{module}")
        self.case, self.ctx, self.peaks, self.entries, self.rows = case, ctx, [], [], None
        begun = getattr(module, function)(case, ctx)
        if inspect.isgenerator(begun):
            self._going = begun
            self._resume(None)
        else:
            self.rows = begun

    def _resume(self, peak) -> None:
        try:
            self.entries = self._going.send(peak)
        except StopIteration as end:
            self.entries, self.rows = [], end.value

    def run(self, turns) -> None:
        if self.entries:
            peak = self.ctx.measure(self.entries, turns, self.case.threads)
            self.peaks += [peak] if peak else []

    def finish(self) -> list:
        """The rows, with the targets' verdicts."""
        if self.rows is None:
            self._resume(stats.median(self.peaks) if self.peaks else None)
        rows.aim(self.rows, self.case.aims)
        return self.rows


def all_rows(todo, ctx, minutes, say) -> tuple[list, int]:
    """(rows, rounds taken): every case prepared and measured once, then in further passes.

    A pass that would not end within `minutes` from the start is not begun.
    """
    begun, measuring, taken = time.monotonic(), [], 0
    passes = measure.passes(ctx.rounds)
    for number, turns in enumerate(passes):
        started, preparing = time.monotonic(), 0.0
        for at, case in enumerate(todo):
            threads = f", {case.threads} threads" if case.threads > 1 else ""
            which = f"pass {number + 1} of {len(passes)}: " if len(passes) > 1 else ""
            say(f"{which}{case.name}: {case.shape or ''}{threads}", number * len(todo) + at)
            if number == 0:
                before = time.monotonic()
                measuring.append(Measuring(case, ctx))
                preparing += time.monotonic() - before
            measuring[at].run(turns)
        taken, now = taken + len(turns), time.monotonic()
        if taken < ctx.rounds and now - begun + (now - started - preparing) > 60 * minutes:
            say(f"{minutes:g} minutes: {taken} rounds, not {ctx.rounds}", number * len(todo))
            break
    return [row for each in measuring for row in each.finish()], taken
