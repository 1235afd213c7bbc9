# SPDX-License-Identifier: MIT
"""What is made of samples: medians, spreads, ratios within rounds, and when not to believe them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NOISY = 0.10  # an interval or a spread wider than this share of the median is called noisy
SURE = 0.92  # how often, at the least, an interval holds the median
QUANTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)  # per cent: what the plots draw of a distribution


@dataclass
class Ratio:
    """Times of one engine over another's, round by round; `of` says which over which."""

    of: str
    median: float
    q1: float
    q3: float
    low: float
    high: float
    interval: list | None = None  # where the median lies, judged by the passes; older runs: None

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval, or else of the range."""
        low, high = self.interval or (self.low, self.high)
        return low, high

    @property
    def doubt(self) -> float:
        """The interval's width over the median."""
        low, high = self.ends
        return (high - low) / self.median

    def scaled(self, factor: float) -> Ratio:
        values = (self.median, self.q1, self.q3, self.low, self.high)
        interval = self.interval and [value * factor for value in self.interval]
        return Ratio(self.of, *(value * factor for value in values), interval)


def ratio(above, below, of: str, passes=()) -> Ratio:
    """above[n] / below[n]: both from the n-th round. `passes`: the rounds at which one begins."""
    rounds = np.divide(above, below)
    low, q1, middle, q3, high = np.percentile(rounds, [0, 25, 50, 75, 100]).tolist()
    parts = [part for part in np.split(rounds, list(passes)) if part.size]
    medians = [float(np.median(part)) for part in parts] if len(parts) > 1 else rounds.tolist()
    return Ratio(of, middle, q1, q3, low, high, median_interval(medians))


def median_interval(values) -> list[float]:
    """[low, high] between which the median of what `values` are drawn from lies: from the r-th
    smallest to the r-th largest of n, for the greatest r at which 1 - 2 P(Binomial(n, 1/2) < r)
    is at least SURE; the whole range of fewer than five.
    """
    n, outside, rank = len(values), 2 * 0.5 ** len(values), 0
    while rank + 1 < n / 2 and 1 - outside - 2 * math.comb(n, rank + 1) * 0.5**n >= SURE:
        rank += 1
        outside += 2 * math.comb(n, rank) * 0.5**n
    ordered = sorted(values)
    return [ordered[rank], ordered[-1 - rank]]


def median(seconds) -> float:
    return float(np.median(seconds))


def spread(seconds) -> float:
    """Interquartile range over the median."""
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    return float((high - low) / middle)


def percentile(seconds, per_cent: float) -> float:
    """The next sample that is there, upwards: p99 of fewer than 100 samples is the slowest."""
    return float(np.percentile(seconds, per_cent, method="higher"))


def quantiles(seconds) -> list[float]:
    """At QUANTILES, to five digits."""
    return [float(f"{percentile(seconds, each):.5g}") for each in QUANTILES]


def doubts(times: float | None, ratio: Ratio | None, cpu_ratio: float | None = None) -> list[str]:
    """Why a row is noisy, in words; [] if it is not.

    times      spread of the row's own times, asked only where there is no ratio
    cpu_ratio  the ratio in CPU time, where it should be the same (one thread): it does not count
               what other programs took, so where the two differ the machine was busy
    """
    reasons = []
    if ratio is None:
        if times is not None and times > NOISY:
            reasons.append(f"times spread over {times:.0%}")
        return reasons
    if ratio.doubt > NOISY:
        reasons.append(f"ratio known to {ratio.doubt:.0%}")
    if cpu_ratio and abs(ratio.median / cpu_ratio - 1) > NOISY:
        reasons.append(f"ratio in CPU time {cpu_ratio:.3g}")
    return reasons
