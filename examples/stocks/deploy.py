# SPDX-License-Identifier: MIT
"""Tomorrow's return and volatility of a share or index, day by day.

    python deploy.py                    # a simulated market, whose true volatility is known
    python deploy.py prices.csv         # columns High, Low, Close, a row a day, the oldest first

fastlstm and NumPy only. A file of models/ is a whole model, for the year of its name and trained on
the days before it. A stream keeps its state: a new day costs one step.
"""

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np

import fastlstm

MODELS, YEAR = Path(__file__).with_name("models"), 2018
RUNNING = 3  # which of the features is the log of the running variance
BLOCKS = " ▁▂▃▄▅▆▇█"


class Features:
    """What the network sees of a day, computed as the days come.

    All in percent: the return r of a day; the variance that its range tells, log(high/low)^2 / (4
    log 2) (Parkinson); and running means of both, which forget 6 % and 10 % a day.
    """

    def __init__(self):
        self.close, self.variance, self.ranges = None, 1.0, 1.0

    def step(self, high, low, close):
        """The day's five features, or None on the first day, which has no return."""
        if not 0 < low <= close <= high < math.inf:
            raise ValueError(f"no day has low {low}, close {close} and high {high}")
        before, self.close = self.close, close
        if before is None:
            return None
        r = 100 * math.log(close / before)
        parkinson = (100 * math.log(high / low)) ** 2 / (4 * math.log(2))
        self.variance += 0.06 * (r * r - self.variance)
        self.ranges += 0.1 * (parkinson - self.ranges)
        deviation = math.sqrt(self.variance)
        return (
            r / deviation,
            abs(r) / deviation,
            math.log(max(parkinson, 1e-3)),
            math.log(self.variance),
            math.log(self.ranges),
        )


def series(days):
    """Features (T - 1, 5) of T days (high, low, close)."""
    features = Features()
    return np.array([features.step(*day) for day in days][1:], np.float32)


class Forecaster:
    """A year's model: features (5) of a day -> the mean of tomorrow's return and its volatility."""

    def __init__(self, year=YEAR, dtype="float32"):
        path = MODELS / f"{year}.safetensors"
        self.model = fastlstm.load_model(path, dtype=dtype, num_threads=1)
        self.reset()

    def reset(self):
        self.features, self.stream = Features(), self.model.stream()

    def step(self, high, low, close):
        """Tomorrow's (mean, volatility) in percent, of today's prices; None on the first day."""
        found = self.features.step(high, low, close)
        if found is None:
            return None
        mean, volatility = self.stream.step(np.array([[found]], np.float32))
        return mean.item(), volatility.item()

    def forecast(self, features):
        """The same for many days at once, of `series`: (means (T,), volatilities (T,))."""
        mean, volatility = self.model.stream().step(features[:, None])
        return mean[:, 0], volatility[:, 0]


def simulated(days=750, seed=7, within=78):
    """[(high, low, close)], [true volatility of each day in percent]: a random walk of `within`
    steps a day, whose volatility rises with a fall and calms down after (GJR-GARCH)."""
    rng = np.random.default_rng(seed)
    price, variance, rows, truth = 1000.0, 1.0, [], []
    for _ in range(days):
        moves = rng.standard_normal(within) * math.sqrt(variance / within) / 100
        path = price * np.exp(np.concatenate([[0.0], np.cumsum(moves)]))
        rows.append((path.max(), path.min(), path[-1]))
        truth.append(math.sqrt(variance))
        r, price = 100 * moves.sum(), path[-1]
        variance = 0.02 + (0.02 + 0.14 * (r < 0)) * r * r + 0.88 * variance
    return rows, truth


def read_prices(path):
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f"{path}: {error}") from None
    if not rows or not {"High", "Low", "Close"} <= set(rows[0]):
        raise SystemExit(f"{path}: columns High, Low and Close are due")
    if len(rows) < 3:
        raise SystemExit(f"{path}: three days or more are due")
    days = []
    for row in rows:
        try:
            days.append(tuple(float(row[name]) for name in ("High", "Low", "Close")))
        except (TypeError, ValueError):
            raise SystemExit(f"{path}: a price is no number in {row}") from None
    return days


def sparkline(values, width=72):
    """The values as a line of blocks, each the mean of a stretch of time."""
    parts = [part.mean() for part in np.array_split(np.asarray(values), min(width, len(values)))]
    top = max(parts)
    return "".join(BLOCKS[min(8, int(8 * v / top + 0.5))] for v in parts)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prices", nargs="?", help="a CSV file; without it a simulated market")
    parser.add_argument("--int8", action="store_true", help="LSTM weights as 8-bit integers")
    args = parser.parse_args(arguments)

    days, truth = (read_prices(args.prices), None) if args.prices else simulated()
    model = Forecaster(dtype="int8" if args.int8 else "float32")
    start = time.perf_counter()
    try:
        forecasts = [model.step(*day) for day in days]
    except ValueError as error:
        raise SystemExit(f"{args.prices}: {error}") from None
    taken = (time.perf_counter() - start) / len(days)
    volatility = np.array([f[1] for f in forecasts[1:]])
    print("forecast volatility  " + sparkline(volatility))
    if truth:
        print("true volatility      " + sparkline(truth[2:]))
        r = np.corrcoef(np.log(volatility[:-1]), np.log(truth[2:]))[0, 1]
        print(f"\nA simulated market: the forecasts' correlation with the truth is {r:.2f}.")
    mean, last = forecasts[-1]
    print(
        f"Tomorrow: {mean:+.2f} % in the mean (do not trade on it), volatility {last:.2f} %.\n"
        f"{model.model.dtype}, the model of {YEAR}: {taken * 1e6:.0f} microseconds a day"
    )


if __name__ == "__main__":
    main()
