# SPDX-License-Identifier: MIT
"""A run as Markdown and CSV, and what moved between two runs."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter

from . import machine
from .rows import NAMES, Row, Run
from .shapes import Shape


def number(value, digits=3) -> str:
    """Three significant digits, without an exponent where there need not be one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(places, 4)}f}" if abs(value) >= 1e-4 else f"{value:.1e}"


def duration(seconds: float) -> str:
    """In us below a millisecond, in ms above."""
    return f"{number(seconds * 1e6)} us" if seconds < 1e-3 else f"{number(seconds * 1e3)} ms"


def _scaled(name, scale):
    def cell(row):
        value = getattr(row, name)
        return number(None if value is None else value * scale)

    return cell


def shape_text(row: Row) -> str:
    if not row.shape:
        return ""
    shape = Shape(**row.shape)
    return f"{shape}" if shape.cell == "lstm" else f"{shape.cell} {shape}"


def who_text(row: Row) -> str:
    return f"{row.who} ({row.way})" if row.way else row.who


def interval_text(row: Row) -> str:
    return "..".join(map(number, row.ratio.ends)) if row.ratio else ""


def target_text(row: Row) -> str:
    return "; ".join(map(str, row.targets))


# heading, cell, right-aligned
COLUMNS = [
    ("case", lambda row: row.case, False),
    ("who", who_text, False),
    ("precision", lambda row: row.precision if row.shape else "", False),
    ("T, B, I, H", shape_text, False),
    ("threads", lambda row: str(row.threads) if row.shape else "", True),
    ("p50 us", _scaled("p50", 1e6), True),
    ("p90 us", _scaled("p90", 1e6), True),
    ("p99 us", _scaled("p99", 1e6), True),
    ("first ms", _scaled("first", 1e3), True),
    ("CPU us", _scaled("cpu", 1e6), True),
    ("GFLOP/s", _scaled("gflops", 1), True),
    ("% peak", _scaled("peak_share", 100), True),
    ("% bandwidth", _scaled("bandwidth_share", 100), True),
    ("% limit", _scaled("limit_share", 100), True),
    ("RSS MB", _scaled("rss", 1e-6), True),
    ("max error", lambda row: "" if row.error is None else f"{row.error:.0e}", True),
    ("ratio", lambda row: number(row.ratio.median) if row.ratio else "", True),
    ("of", lambda row: row.ratio.of if row.ratio else "", False),
    ("interval", interval_text, True),
    ("target", target_text, False),
    ("remarks", lambda row: row.remarks(), False),
]


def columns_of(rows: list[Row]) -> list[tuple]:
    """[(heading, the cells, right-aligned)]; columns that are empty throughout are left out."""
    columns = [(heading, [cell(row) for row in rows], right) for heading, cell, right in COLUMNS]
    return [column for column in columns if any(column[1])]


def aligned(columns) -> str:
    """A Markdown table."""
    columns = [(h, [c.replace("|", "\\|") for c in cells], r) for h, cells, r in columns]
    widths = [max(map(len, [heading, *cells])) for heading, cells, _ in columns]
    right = [to_right for _, _, to_right in columns]

    def line(texts):
        done = [
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(texts, widths, right, strict=True)
        ]
        return "| " + " | ".join(done) + " |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    body = zip(*(cells for _, cells, _ in columns), strict=True)
    return "\n".join([line([h for h, _, _ in columns]), line(rule), *map(line, body)])


def verdicts(rows: list[Row]) -> list[tuple]:
    """[VERDICT_HEADINGS] of every target, in the rows' order."""
    found = []
    for row in rows:
        for target in row.targets:
            verdict = target.verdict() + (", noisy" if row.noisy and target.met is not None else "")
            asked, value = f"{target.sign} {target.bound:g}", number(target.value)
            found.append(
                (row.case, verdict, value, asked, target.what, shape_text(row), str(row.threads))
            )
    return found


VERDICT_HEADINGS = ("case", "verdict", "found", "asked", "what", "T, B, I, H", "threads")


def counted(rows: list[Row]) -> str:
    """One line: how many targets were met."""
    targets = [target for row in rows for target in row.targets]
    met = sum(target.met is True for target in targets)
    missed = sum(target.met is False for target in targets)
    unknown = len(targets) - met - missed
    return f"targets: {met} met, {missed} missed" + (f", {unknown} not measured" * bool(unknown))


MEAN_HEADINGS = ("kind", "way", "threads", "cases", "geometric mean", "least", "below 1")


def means(rows: list[Row]) -> list[tuple]:
    """[MEAN_HEADINGS] of the ratios of the best other engine's time to this one's, for each kind of
    case and number of threads with several cases. Of several ways to make one call a case counts
    the best; ways to train are apart, since they do different work."""
    groups: dict[tuple, dict] = {}
    for row in rows:
        if row.who == "fastlstm" and row.ratio and row.shape and row.ratio.of.endswith(" / this"):
            way = row.way if row.kind == "train" else ""
            precision = "" if row.precision == "float32" else row.precision
            kind = f"{row.kind}, {precision}" if precision else row.kind
            cases, place = groups.setdefault((kind, way, row.threads), {}), _place(row)
            cases[place] = max(row.ratio.median, cases.get(place, 0.0))
    return [
        (
            kind, way, str(threads), str(len(cases)),
            number(math.exp(sum(map(math.log, cases.values())) / len(cases))),
            number(min(cases.values())), str(sum(ratio < 1 for ratio in cases.values())),
        )
        for (kind, way, threads), cases in groups.items() if len(cases) > 1
    ]  # fmt: skip


def markdown(run: Run) -> str:
    parts = [aligned(columns_of(run.rows))]
    found = verdicts(run.rows)
    if found:
        columns = zip(VERDICT_HEADINGS, map(list, zip(*found, strict=True)), strict=True)
        right = ("threads", "asked", "found")
        parts += [counted(run.rows), aligned([(h, cells, h in right) for h, cells in columns])]
    if found := means(run.rows):
        columns = zip(MEAN_HEADINGS, map(list, zip(*found, strict=True)), strict=True)
        words = "The best other engine's time over this one's:"
        parts += [words, aligned([(h, cells, h not in ("kind", "way")) for h, cells in columns])]
    parts.append(f"{run.created}: {machine.line(run.machine, run.roofline)}")
    return "\n\n".join(parts) + "\n"


FLAT = ("case", "kind", "who", "way", "precision", "threads", "p50", "p90", "p99", "cpu",
        "first", "rss", "gflops", "peak_share", "bandwidth_share", "limit_share", "error",
        "wrong", "spread", "cpu_ratio")  # fmt: skip
SHAPE = ("T", "B", "I", "H", "L", "D", "cell")


def comma_separated(run: Run) -> str:
    """One line for each row, in seconds and bytes; no line about the machine."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    ratio = ("of", "median", "q1", "q3", "low", "high")
    heads = [
        *(NAMES.get(name, name) for name in FLAT),
        *SHAPE,
        *(f"ratio_{name}" for name in ratio),
    ]
    heads += ["interval_low", "interval_high", "targets", "remarks"]
    writer.writerow(heads)
    for row in run.rows:
        cells = [getattr(row, name) for name in FLAT]
        cells += [(row.shape or {}).get(name) for name in SHAPE]
        cells += [getattr(row.ratio, name) if row.ratio else None for name in ratio]
        cells += row.ratio.ends if row.ratio else (None, None)
        writer.writerow([*cells, target_text(row), row.remarks()])
    return out.getvalue()


# What moved


def _middle_and_ends(row: Row):
    """(what, value, low, high): the ratio, or else the times."""
    if row.ratio:
        return row.ratio.of, row.ratio.median, *row.ratio.ends
    if row.p50 is None:
        return None
    walls = row.walls or [row.p50]
    return "us", row.p50 * 1e6, min(walls) * 1e6, max(walls) * 1e6


def _place(row: Row) -> tuple:
    """What a row is about, but for the way its engine was called."""
    shape = row.shape and tuple(row.shape.values())
    return row.case, shape, row.threads, row.who, row.precision


def _several(rows: list[Row]) -> set:
    """The places that have more than one row, each of another way."""
    return {place for place, count in Counter(map(_place, rows)).items() if count > 1}


def _key(row: Row, several: set) -> tuple:
    """The same row has the same key in another run. Where a place has one row, which way was the
    fastest may differ from run to run and is not part of the key."""
    place = _place(row)
    return (*place, row.way if place in several else "")


def moved(before: Run, after: Run) -> tuple[list[tuple], list[str], list[str], int]:
    """([MOVED_HEADINGS], rows of `before` alone, of `after` alone, how many have not moved).

    A value has moved when the intervals of the two runs do not touch. It is the ratio, whichever
    peer was the best, or else the time, with its range over the rounds.
    """
    several = _several(before.rows) | _several(after.rows)
    old = {_key(row, several): row for row in before.rows}
    new = {_key(row, several): row for row in after.rows}
    found, same = [], 0
    for key, row in new.items():
        pairs = key in old and (_middle_and_ends(old[key]), _middle_and_ends(row))
        if not pairs or None in pairs:
            continue
        (of, was, low, high), (of_now, now, low_now, high_now) = pairs
        if (of == "us") != (of_now == "us"):
            continue
        if low_now <= high and low <= high_now:
            same += 1
            continue
        noisy = "noisy" if old[key].noisy or row.noisy else ""
        of = of if of == of_now else f"{of}, now {of_now}"
        change = f"{100 * (now / was - 1):+.1f} %"
        values = number(was), number(now), change, noisy
        found.append((row.case, shape_text(row), str(row.threads), who_text(row), of, *values))
    gone = [_named(row) for key, row in old.items() if key not in new]
    added = [_named(row) for key, row in new.items() if key not in old]
    return found, gone, added, same


def _named(row: Row) -> str:
    return f"{row.case} {shape_text(row)} {who_text(row)}".replace("  ", " ")


MOVED_HEADINGS = (
    "case", "T, B, I, H", "threads", "who", "of", "before", "after", "change", "remarks"
)  # fmt: skip


def compared(before: Run, after: Run) -> str:
    """What moved beyond the recorded spread, as Markdown."""
    found, gone, added, same = moved(before, after)
    parts = []
    if before.machine["cpu"] != after.machine["cpu"]:
        parts.append(f"Two machines: {before.machine['cpu']}; {after.machine['cpu']}.")
    if found:
        columns = zip(MOVED_HEADINGS, map(list, zip(*found, strict=True)), strict=True)
        right = ("threads", "before", "after", "change")
        parts.append(aligned([(h, cells, h in right) for h, cells in columns]))
    parts.append(f"{len(found)} rows moved beyond their spread, {same} did not.")
    for text, keys in (("only before", gone), ("only after", added)):
        if keys:
            parts.append(f"{text}: " + "; ".join(keys))
    return "\n\n".join(parts) + "\n"
