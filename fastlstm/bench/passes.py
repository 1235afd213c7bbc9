# SPDX-License-Identifier: MIT
"""A whole run: every case prepared, measured in passes that lie minutes apart, made into rows."""

from __future__ import annotations

import time

from . import measure, stats
from .rows import aim


class Measuring:
    """One case of a run: prepared when this is made, then timed pass by pass, then its rows.

    It drives the generator `case.kind.rows(case, ctx)`, as forward.py describes it.
    """

    def __init__(self, case, ctx):
        self.case, self.ctx, self.peaks = case, ctx, []
        self._generator = case.kind.rows(case, ctx)
        self.entries = next(self._generator)

    def run(self, rounds) -> None:
        """Time one pass over the case: a range of rounds."""
        if self.entries:
            peak = self.ctx.measure(self.entries, rounds, self.case.threads)
            self.peaks += [peak] if peak else []

    def finish(self) -> list:
        """The rows, with the targets' verdicts."""
        try:
            self._generator.send(stats.median(self.peaks) if self.peaks else None)
        except StopIteration as end:
            found = end.value
        aim(found, self.case.aims)
        return found


def all_rows(todo, ctx, minutes, say) -> tuple[list, int]:
    """(rows, rounds taken): every case prepared and measured once, then in further passes.

    A pass that would not end within `minutes` from the start is not begun. say(text, cases done)
    is called for each case.
    """
    begun, measuring, taken = time.monotonic(), [], 0
    passes = measure.passes(ctx.rounds)
    for number, rounds in enumerate(passes):
        started, preparing = time.monotonic(), 0.0
        for at, case in enumerate(todo):
            threads = f", {case.threads} threads" if case.threads > 1 else ""
            which = f"pass {number + 1} of {len(passes)}: " if len(passes) > 1 else ""
            say(f"{which}{case.name}: {case.shape or ''}{threads}", number * len(todo) + at)
            if number == 0:
                before = time.monotonic()
                measuring.append(Measuring(case, ctx))
                preparing += time.monotonic() - before
            measuring[at].run(rounds)
        taken, now = taken + len(rounds), time.monotonic()
        if taken < ctx.rounds and now - begun + (now - started - preparing) > 60 * minutes:
            say(f"{minutes:g} minutes: {taken} rounds, not {ctx.rounds}", number * len(todo))
            break
    return [row for each in measuring for row in each.finish()], taken
