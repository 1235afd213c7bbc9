# SPDX-License-Identifier: MIT
"""95 % intervals: by bootstrap, which takes the statistic over and over, of examples drawn with
replacement; exact ones of a few counted things."""

import numpy as np

DRAWS = 2000


def interval(statistic, n, block=1, draws=DRAWS, seed=0):
    """{"value", "low", "high"}: statistic(indices) of all n examples, and the 2.5th and 97.5th
    percentile of it over draws of n examples.

    block   how many neighbours are drawn together: more than 1 where examples follow one another in
            time and are not independent (a circular block bootstrap)
    """
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        starts = rng.integers(0, n, -(-n // block))
        at = (starts[:, None] + np.arange(block)).ravel()[:n] % n
        values.append(statistic(at))
    low, high = np.percentile(values, [2.5, 97.5])
    return {"value": float(statistic(np.arange(n))), "low": float(low), "high": float(high)}


def correlation(a, b):
    """Pearson's r of two arrays."""
    return float(np.corrcoef(a, b)[0, 1])


def part_of(count, n):
    """`count` of n that were found, with its exact interval (Clopper and Pearson): what else the
    count could have been for the same odds of finding one."""
    from scipy.stats import beta

    low = n * beta.ppf(0.025, count, n - count + 1) if count else 0.0
    high = n * beta.ppf(0.975, count + 1, n - count) if count < n else float(n)
    return {"value": count, "low": float(low), "high": float(high)}


def mean_share(shares):
    """The mean of a few shares from 0 to 1, with the exact interval of as many yes and no of that
    mean: nothing in 0 to 1 varies more than they do. Of no shares it is 1, and could be all."""
    if not len(shares):
        return {"value": 1.0, "low": 0.0, "high": 1.0}
    found = part_of(float(np.sum(shares)), len(shares))
    return {name: float(value) / len(shares) for name, value in found.items()}


def events(count):
    """A number of events that come by chance, with its exact interval (Poisson's)."""
    from scipy.stats import chi2

    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return {"value": count, "low": float(low), "high": float(chi2.ppf(0.975, 2 * count + 2) / 2)}
