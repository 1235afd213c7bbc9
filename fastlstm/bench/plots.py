# SPDX-License-Identifier: MIT
"""What the plots show of a run, without drawing; figures.py draws it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from . import machine
from .rows import Row
from .shapes import Shape
from .stats import QUANTILES
from .tables import duration, number, shape_text

ENGINES = ("fastlstm", "torch", "onnxruntime", "openvino", "ncnn")
OWN_ROOF = 1.2  # times the peak of float32's products that others have to be, to be drawn
MOST = 30.0  # times the fastest median: the end of the axis of latencies


def engine(row: Row) -> str:
    """The name without the way it was called."""
    return row.who.replace(",", " ").split()[0]


def groups(rows: list[Row]) -> list[list[Row]]:
    """The rows of one case and precision together, in their order."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        shape = row.shape and tuple(row.shape.values())
        threads = row.threads
        if row.who == "fastlstm, 1 thread":  # beside a case of more threads
            continue
        found.setdefault((row.case, shape, threads, row.precision), []).append(row)
    return list(found.values())


def title(row: Row) -> str:
    threads = f", {row.threads} threads" if row.threads > 1 else ""
    shape = shape_text(row)
    precision = "" if row.precision == "float32" else f", {row.precision}"
    return row.case + (f" ({shape}{threads}{precision})" if shape else "")


def fastest_of_each(rows: list[Row]) -> list[Row]:
    """One row for each `who`: where ours has several ways, the fastest."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.p50 is not None and (row.who not in best or row.p50 < best[row.who].p50):
            best[row.who] = row
    return list(best.values())


@dataclass
class Bar:
    label: str
    value: float
    low: float
    high: float
    over: str
    noisy: bool
    asked: float | None  # the target of this ratio

    def text(self) -> str:
        return f"{number(self.value)} over {self.over}" + (", noisy" if self.noisy else "")


def bars(rows: list[Row]) -> list[Bar]:
    """For each case that has a best other engine: its time over ours."""
    found = []
    for group in groups(rows):
        ours = [row for row in group if row.who == "fastlstm" and _over(row)]
        if not ours:
            continue
        row = min(ours, key=lambda row: row.p50)
        asked = [t.bound for t in row.targets if t.what == "over the best peer"]
        found.append(
            Bar(
                title(row), row.ratio.median, *row.ratio.ends, _over(row), bool(row.noisy),
                asked[0] if asked else None,
            )
        )  # fmt: skip
    return found


def _over(row: Row) -> str | None:
    """The other engine whose time over this row's is the row's ratio, if that is what it is."""
    above, _, below = row.ratio.of.partition(" / ") if row.ratio else ("", "", "")
    return above if below == "this" and above.split(" ")[0] in ENGINES[1:] else None


@dataclass
class Point:
    intensity: float
    gflops: float
    engine: str
    label: str


def points(rows: list[Row], threads: int) -> list[Point]:
    """Dense calls on the roofline, which are those with a share of its limits, or of another
    precision: one for each engine and case."""
    found = []
    for group in groups(rows):
        for row in fastest_of_each(group):
            if row.threads == threads and _on_roofline(row):
                shape = Shape(**row.shape)
                label = f"{row.who}: {title(row)}, {number(row.gflops)} GFLOP/s"
                found.append(Point(shape.intensity(row.precision), row.gflops, engine(row), label))
    return found


def _on_roofline(row: Row) -> bool:
    return row.limit_share is not None or (row.precision != "float32" and row.gflops is not None)


def thread_counts(rows: list[Row]) -> list[int]:
    """Of the rows the roofline shows."""
    return sorted({row.threads for row in rows if _on_roofline(row)})


@dataclass
class Roof:
    """One core's limits, times the cores in use: peak in GFLOP/s, [(name, GB/s)], and the peaks of
    products of fewer bits. On CPUs without AMX those of bfloat16 are fused multiply-adds, and have
    no roof of their own."""

    peak: float
    levels: list[tuple[str, float]]
    products: dict[str, float] = field(default_factory=dict)


def roof(run, threads: int) -> Roof | None:
    peak = run.roofline.get("peak")
    if not peak:
        return None
    cores = min(threads, run.machine["cpus"])
    levels = [(level["name"], level["gbs"] * cores) for level in run.roofline["levels"]]
    products = {
        dtype: own * cores
        for dtype, own in machine.peaks(run.roofline).items()
        if own > OWN_ROOF * peak
    }
    return Roof(peak * cores, levels, products)


@dataclass
class Strip:
    """Single calls of one engine, in multiples of the fastest median of the case."""

    who: str
    engine: str
    quantiles: dict[int, float]  # per cent: multiple
    text: str


def strips(rows: list[Row]) -> list[tuple[str, str, list[Strip]]]:
    """[(title of the case, what 1 is, its strips)]"""
    found = []
    for group in groups(rows):
        shown = [row for row in fastest_of_each(group) if row.latency]
        if not shown:
            continue
        at = QUANTILES.index(50)
        unit = min(row.latency[at] for row in shown)
        made = []
        for row in shown:
            multiples = {q: v / unit for q, v in zip(QUANTILES, row.latency, strict=True)}
            p50, p99 = (duration(row.latency[QUANTILES.index(q)]) for q in (50, 99))
            made.append(Strip(row.who, engine(row), multiples, f"p50 {p50}, p99 {p99}"))
        found.append((title(shown[0]), f"1 is {duration(unit)}", made))
    return found


def rounded(low: float, high: float) -> tuple[float, float]:
    """The nearest of 1, 2, 5, 10, ... around."""
    steps = [s * 10.0**p for p in range(-6, 9) for s in (1, 2, 5)]
    return max(s for s in steps if s <= low), min(s for s in steps if s >= high)


def ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within; whole powers of ten where that would be many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]
