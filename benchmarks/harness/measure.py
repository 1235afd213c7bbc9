# SPDX-License-Identifier: MIT
"""Timing: one statement per entry, entries in alternating rounds, ratios taken within a round.

A sample is `number` calls in one loop, long enough (2 ms and more, or one call) that the clock and
the loop do not matter. A round takes one sample of every entry, each round starting one entry
further on, so that drift of the machine and what the neighbour left in the cache fall on all alike.
"""

from __future__ import annotations

import math
import time
import timeit
from contextlib import nullcontext

import numpy as np

SAMPLE_SECONDS = 2e-3
NOISY = 0.10  # an IQR of the ratio beyond this share of its median is called noisy
SETTLE_SECONDS = 2.5


def settle(limit: float = SETTLE_SECONDS) -> None:
    """Wait until no thread of this process spins any more, `limit` seconds at most.

    Some engines let their workers spin after a call; without this wait they would do so at the
    expense of the next entry's time. One thread has nothing to wait for.
    """
    end = time.monotonic() + limit
    while time.monotonic() < end:
        used, wall = time.process_time(), time.perf_counter()
        time.sleep(1e-3)
        if time.process_time() - used < 0.2 * (time.perf_counter() - wall):
            return


class Entry:
    """Something that is timed: a runner, its call counts, and what was measured."""

    def __init__(self, who, runner, variant="", around=nullcontext):
        self.who = who
        self.variant = variant
        self.runner = runner
        self.around = around  # entered around each sample: a busy neighbour, for instance
        self.walls: list[float] = []  # seconds per call, one for each round
        self.cpus: list[float] = []  # CPU seconds per call, all threads of the process
        self.singles: list[float] = []  # seconds of single calls, for p99
        self.first = math.nan
        self.error = math.nan
        self.wrong = False  # further from float64 than is allowed
        self.number = 1
        self.typical = math.nan  # seconds per call, roughly
        self.single_count = 0

    def first_call(self) -> None:
        """The first call after `load`, timed alone: it may compile, allocate, start threads."""
        self.runner.start()
        begin = time.perf_counter()
        self.runner.call()
        self.first = time.perf_counter() - begin

    def calibrate(self, rounds: int) -> None:
        """Warm up and find how many calls make a sample."""
        self._timer = timeit.Timer(
            self.runner.statement, self.runner.setup, globals=self.runner.namespace
        )
        with self.runner.context():
            number, took = 1, self._timer.timeit(1)
            while took < SAMPLE_SECONDS / 2:
                number *= 2
                took = self._timer.timeit(number)
            each = min(self._timer.timeit(number) for _ in range(2)) / number
        self.typical = each
        self.number = max(1, math.ceil(SAMPLE_SECONDS / each))
        # Single calls for p99, as far as 0.2 s go; a sample that is one call counts by itself.
        wanted = 0 if self.number == 1 else min(1000, int(0.2 / each))
        self.single_count = math.ceil(wanted / rounds)

    def sample(self, threads: int) -> None:
        """One sample: untimed calls to warm the caches (not before long calls), then the loop."""
        if threads > 1:
            settle()
        with self.around(), self.runner.context():
            timer = self._timer
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
        return float(np.median(self.walls))

    def forget(self) -> None:
        """Drop what was measured; the calibration stays."""
        self.walls, self.cpus, self.singles = [], [], []


def alternate(entries, rounds: int, threads: int = 1) -> None:
    """`rounds` rounds over the entries: A B C, B C A, C A B, ..."""
    for turn in range(rounds):
        shift = turn % len(entries)
        for entry in entries[shift:] + entries[:shift]:
            entry.sample(threads)


def ratio(above: Entry, below: Entry) -> tuple[float, float]:
    """(median, IQR / median) of above's time / below's time, round by round.

    With rotation a round is the n-th sample of each entry.
    """
    rounds = np.divide(above.walls, below.walls)
    low, middle, high = np.percentile(rounds, [25, 50, 75])
    return float(middle), float((high - low) / middle)


def cpu_ratio(above: Entry, below: Entry) -> float | None:
    """The same in CPU time, which does not count the time another program had the CPU."""
    if not all(below.cpus):
        return None
    return float(np.median(np.divide(above.cpus, below.cpus)))


def percentile99(seconds) -> float:
    """p99 of single calls; under 100 of them this is the slowest."""
    return float(np.percentile(seconds, 99, method="higher"))


def spread(seconds) -> float:
    """IQR / median."""
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return float((high - low) / middle)


def keep_fastest(entries, threads: int, rounds: int = 3):
    """The fastest of several variants of one peer, by a few alternating rounds; closes the rest.

    Returns (kept entry, {variant: median microseconds}).
    """
    if len(entries) == 1:
        return entries[0], {}
    alternate(entries, rounds, threads)
    tried = {entry.variant: round(entry.median * 1e6, 3) for entry in entries}
    best = min(entries, key=lambda entry: entry.median)
    for entry in entries:
        if entry is not best:
            entry.runner.close()
    best.forget()
    return best, tried
