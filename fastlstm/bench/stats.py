# SPDX-License-Identifier: MIT
"""What is made of samples: medians, spreads, ratios within rounds, and when not to believe them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOISY = 0.10  # a spread beyond this share of the median is called noisy
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
    builds: float = 0.0  # how far the medians of the passes are apart, over the median

    @property
    def spread(self) -> float:
        """Interquartile range over the median."""
        return (self.q3 - self.q1) / self.median

    def scaled(self, factor: float) -> Ratio:
        values = (self.median, self.q1, self.q3, self.low, self.high)
        return Ratio(self.of, *(value * factor for value in values), self.builds)


def ratio(above, below, of: str, passes=()) -> Ratio:
    """above[n] / below[n]: both from the n-th round. `passes`: the rounds at which one begins."""
    rounds = np.divide(above, below)
    low, q1, middle, q3, high = np.percentile(rounds, [0, 25, 50, 75, 100]).tolist()
    medians = [float(np.median(part)) for part in np.split(rounds, list(passes)) if part.size]
    apart = (max(medians) - min(medians)) / middle
    return Ratio(of, middle, q1, q3, low, high, apart)


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
    if ratio.spread > NOISY:
        reasons.append(f"ratios spread over {ratio.spread:.0%}")
    if ratio.builds > NOISY:
        reasons.append(f"passes {ratio.builds:.0%} apart")
    if cpu_ratio and abs(ratio.median / cpu_ratio - 1) > NOISY:
        reasons.append(f"ratio in CPU time {cpu_ratio:.3g}")
    return reasons
