# SPDX-License-Identifier: MIT
"""Timing: one statement for each entry, entries in alternating rounds, rounds in passes.

A sample is `number` calls in one loop, long enough (2 ms and more, or one call) that the clock and
the loop do not matter. A round takes one sample of every entry, each round starting one entry
further on, so that drift of the machine and what the neighbour left in the cache fall on all alike.
A pass takes a few rounds of every case, each engine built anew. So the rounds of a case lie minutes
apart, and what luck with memory or a neighbour on the machine does to a ratio for a while is seen
as a difference between its passes.
"""

from __future__ import annotations

import itertools
import math
import time
from contextlib import nullcontext

import numpy as np

from . import stats

SAMPLE_SECONDS = 2e-3
SINGLES_SECONDS = 0.2  # of single calls for the percentiles, of each entry, in the whole run
SETTLE_SECONDS = 2.5
PASS_ROUNDS = 3


def settle(limit: float = SETTLE_SECONDS) -> None:
    """Wait until no thread of this process spins any more, `limit` seconds at most.

    Some engines let their workers spin after a call; without this wait they would do so at the
    expense of the next entry's time. One thread has nothing to wait for. Linux adds the time of a
    thread that runs on to its process at ticks, up to 10 ms apart, so a shorter look sees none.
    """
    end = time.monotonic() + limit
    while time.monotonic() < end:
        used, wall = time.process_time(), time.perf_counter()
        time.sleep(25e-3)
        if time.process_time() - used < 0.2 * (time.perf_counter() - wall):
            return


class Entry:
    """Something that is timed: how to build it, how many calls a sample is, what was measured.

    who     its name in the tables
    build   () -> a Runner that has its input loaded; called again for each pass
    way     the way the engine is called, by the engine's name for it
    engine  its name in peers.PEERS, where that is not `who`
    precision
            of its products, of peers.PRECISIONS
    around  () -> a context manager that is entered around each sample: a busy neighbour, say
    """

    def __init__(self, who, build, way="", engine=None, around=nullcontext):
        self.who = who
        self.engine = engine or who
        self.precision = "float32"
        self.way = way
        self.around = around
        self.build = build
        self.runner = build()
        self.walls: list[float] = []  # seconds per call, one for each round
        self.cpus: list[float] = []  # CPU seconds per call, all threads of the process
        self.singles: list[float] = []  # seconds of single calls, for the percentiles
        self.passes: list[int] = []  # the round each pass after the first began with
        self.rss: int | None = None
        self.first = math.nan
        self.error = math.nan
        self.notes: list[str] = []
        self.wrong = False  # further from float64 than is allowed
        self.number = 1
        self.typical = math.nan  # seconds per call, roughly
        self.single_count = 0
        self.tried: dict = {}  # {way: microseconds}, where several ways were tried

    def calibrate(self, rounds: int) -> None:
        """Warm up and find how many calls make a sample."""
        timer = self.runner.timer
        with self.runner.context():
            number, took = 1, timer.timeit(1)
            while took < SAMPLE_SECONDS / 2:
                number *= 2
                took = timer.timeit(number)
            times = 2 if took < 10 * SAMPLE_SECONDS else 1
            each = min(timer.timeit(number) for _ in range(times)) / number
        self.typical = each
        self.number = max(1, math.ceil(SAMPLE_SECONDS / each))
        # A sample that is one call counts by itself.
        wanted = 0 if self.number == 1 else min(1000, int(SINGLES_SECONDS / each))
        self.single_count = math.ceil(wanted / rounds)

    def open(self) -> None:
        """Build and warm up for another pass, if it was closed after the last one."""
        if self.runner is None:
            self.passes.append(len(self.walls))
            self.runner = self.build()
            with self.runner.context():
                self.runner.timer.timeit(self.number)

    def sample(self, threads: int) -> None:
        """One sample: untimed calls to warm the caches (not before long calls), then the loop."""
        if threads > 1:
            settle()
        with self.around(), self.runner.context():
            timer = self.runner.timer
            if self.number > 1 or self.typical < 10 * SAMPLE_SECONDS:
                timer.timeit(max(1, self.number // 8))
            used = time.process_time()
            wall = timer.timeit(self.number)
            used = time.process_time() - used
            self.walls.append(wall / self.number)
            self.cpus.append(used / self.number)
            if self.number == 1:
                self.singles.append(wall)
            else:
                self.singles += [timer.timeit(1) for _ in range(self.single_count)]

    @property
    def median(self) -> float:
        return stats.median(self.walls)

    def forget(self) -> None:
        """Drop what was measured; the calibration stays."""
        self.walls, self.cpus, self.singles = [], [], []

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()
            self.runner = None


def alternate(entries, rounds, threads: int = 1) -> None:
    """Take a round over the entries for each number in `rounds`: A B C, B C A, C A B, ..."""
    for number in rounds:
        shift = number % len(entries)
        for entry in entries[shift:] + entries[:shift]:
            entry.sample(threads)


def passes(rounds: int) -> list[range]:
    """The rounds of each pass, as even as can be."""
    ends = np.linspace(0, rounds, max(1, round(rounds / PASS_ROUNDS)) + 1).round().astype(int)
    return [range(begin, end) for begin, end in itertools.pairwise(ends.tolist())]


def ratio(above: Entry, below: Entry, of: str) -> stats.Ratio:
    """above's time / below's time. With rotation a round is the n-th sample of each entry."""
    return stats.ratio(above.walls, below.walls, of, above.passes)


def cpu_ratio(above: Entry, below: Entry) -> float | None:
    """The same in CPU time, which does not count the time another program had the CPU."""
    if not above.cpus or not below.cpus or not all(below.cpus):
        return None
    return stats.ratio(above.cpus, below.cpus, "").median


def keep_fastest(entries, threads: int, rounds: int = 3) -> Entry:
    """The fastest of several ways to call one engine, by a few alternating rounds. The others are
    closed."""
    if len(entries) == 1:
        return entries[0]
    alternate(entries, range(rounds), threads)
    best = min(entries, key=lambda entry: min(entry.walls))
    best.tried = {entry.way: float(f"{min(entry.walls) * 1e6:.4g}") for entry in entries}
    for entry in entries:
        if entry is not best:
            entry.close()
    best.forget()
    return best
