# SPDX-License-Identifier: MIT
"""Watches a signal, step by step, and says where it is not like the clean part it was trained on.

    python deploy.py                          # a simulated pulse with five faults, plotted live
    python deploy.py --model ecg series.csv   # a value a line, or the second column

fastlstm and NumPy only. The model, whole in its file, forecasts the next steps and how sure it is,
and tells of a step how far off the forecasts made for it were: the score is a running mean of that.
A stream keeps the state: a new value costs one step.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np

import fastlstm

MODELS = Path(__file__).with_name("models")
NAMES = ("pulse", "ecg", "pressure")
STATE = {"h": "next_h", "c": "next_c", "due": "next_due"}  # a model's inputs and outputs
SMOOTH = 10  # steps over which a score is a running mean


class Detector:
    """A model, and a signal that it watches. A step whose score is above 1 is an anomaly: 1 is a
    quarter above the highest score of a clean part that was not trained on."""

    def __init__(self, name, dtype="float32"):
        if name not in NAMES:
            raise ValueError(f"no model {name!r}: there are {', '.join(NAMES)}")
        path = MODELS / f"{name}.safetensors"
        self.model = fastlstm.load_model(path, dtype=dtype, num_threads=1)
        self.reset()

    def reset(self):
        self.stream, self.before, self.score = self.model.stream(state=STATE), None, 0.0

    def step(self, value):
        """The score of the value, which has come after those before. ValueError if it is not
        finite, which would make all later scores NaN; the state is then as before."""
        if not math.isfinite(value):
            raise ValueError(f"a value must be finite, got {value}")
        before = value if self.before is None else self.before
        surprise = self.stream.step(np.array([before, value], np.float32))
        self.score += (surprise.item() - self.score) / SMOOTH
        self.before = value
        return self.score

    def scores(self, values):
        """The scores (T,) of a whole series, which begins afresh."""
        values = np.concatenate([values[:1], values]).astype(np.float32)
        return smoothed(self.model.stream(state=STATE).step(values))


def smoothed(surprise):
    score, found = 0.0, []
    for value in surprise.tolist():
        score += (value - score) / SMOOTH
        found.append(score)
    return np.array(found)


def pulse(steps, seed, faults=()):
    """A simulated pulse: a beat of two bumps every 40 steps or so. Each fault is (first step,
    steps, its name in FAULTS)."""
    rng, asked = np.random.default_rng(seed), steps
    steps += sum(length for _, length, _ in faults)  # of which a skip takes some away
    phase = np.cumsum(1 / (40 * np.repeat(rng.normal(1, 0.03, steps // 20 + 1), 20)[:steps])) % 1
    value = np.exp(-(((phase - 0.3) / 0.08) ** 2)) + 0.45 * np.exp(-(((phase - 0.58) / 0.1) ** 2))
    value = value * (1 + 0.05 * np.sin(np.arange(steps) / 150)) + rng.normal(0, 0.015, steps)
    for start, length, name in faults:
        value = FAULTS[name](value, start, length, rng)
    return value[:asked]


def _noise(x, a, n, rng):
    x = x.copy()
    x[a : a + n] += 0.35 * x.std() * rng.standard_normal(n)
    return x


def _reverse(x, a, n, rng):
    x = x.copy()
    x[a : a + n] = x[a : a + n][::-1]
    return x


def _flat(x, a, n, rng):
    x = x.copy()
    x[a : a + n] = x[a]
    return x


def _louder(x, a, n, rng):
    x = x.copy()
    x[a : a + n] += 0.3 * (x[a : a + n] - x.mean()) * np.hanning(n)
    return x


def _skip(x, a, n, rng):
    return np.concatenate([x[:a], x[a + n :]])


FAULTS = {"noise": _noise, "reversed": _reverse, "flat": _flat, "louder": _louder, "skip": _skip}


def show(t, value, low, high, score, colour):
    """A step as a line of a plot that runs downwards: the value, and the score."""
    place = int(40 * (value - low) / (high - low + 1e-9))
    line = " " * min(max(place, 0), 40) + "o"
    marks = "#" * min(20, int(5 * score))
    text = f"{t:6d} |{line:<42}| {marks:<20}"
    over = score > 1
    text += " <- anomaly" if over else ""
    print(f"\033[1;31m{text}\033[0m" if over and colour else text)


def read_values(path):
    """Numbers of a text file: the second column of a CSV file with several, without its heading."""
    values = []
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{path}: {error}") from None
    for n, line in enumerate(lines):
        cells = line.strip().split(",")
        try:
            value = float(cells[min(1, len(cells) - 1)])
        except ValueError:
            if n == 0:
                continue  # the heading
            value = math.nan
        if not math.isfinite(value):
            raise SystemExit(f"{path}, line {n + 1}: no finite number in {line.strip()!r}")
        values.append(value)
    if not values:
        raise SystemExit(f"{path}: no values")
    return values


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("series", nargs="?", help="a file of values; without it a simulated pulse")
    parser.add_argument("--model", choices=NAMES, default="pulse")
    parser.add_argument("--int8", action="store_true", help="weights as 8-bit integers")
    parser.add_argument("--every", type=int, default=8, help="steps a line of the plot")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to wait after a line")
    args = parser.parse_args(arguments)
    if args.every < 1 or not 0 <= args.delay < math.inf:
        parser.error("every is 1 or more, delay 0 or more")

    faults = [(220 + 150 * n, 20, name) for n, name in enumerate(FAULTS)]
    values = read_values(args.series) if args.series else pulse(1000, 11, faults)
    detector = Detector(args.model, dtype="int8" if args.int8 else "float32")
    low, high, taken, alarms = min(values), max(values), 0.0, []
    for t, value in enumerate(values):
        start = time.perf_counter()
        score = detector.step(value)
        taken += time.perf_counter() - start
        over = score > 1
        if over and (not alarms or t > alarms[-1][1] + SMOOTH):
            alarms.append([t, t])
        elif over:
            alarms[-1][1] = t
        if t % args.every == 0:
            show(t, value, low, high, score, sys.stdout.isatty())
            time.sleep(args.delay)
    print("\nalarms at steps " + (", ".join(f"{a}-{b}" for a, b in alarms) or "none"))
    if not args.series:
        print("the faults are at " + ", ".join(f"{a} ({name})" for a, _, name in faults))
    print(f"{detector.model.dtype}: {taken / len(values) * 1e6:.0f} microseconds a step")


if __name__ == "__main__":
    main()
